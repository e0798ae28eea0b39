/*
 * scrape_100k_ms: /metrics of 100,000 agents, from the request to the end of
 * the connection over the loopback device, against a bare writer that sends
 * the same reader as many bytes in pieces of 32 KiB.
 *
 * scrape_stall_delay_us: what such scrapes, one right after the other, add to
 * the time after which a stall is told. 200 further agents with a threshold of
 * 200 ms beat in turn and stall in turn, 2 ms apart. Taken is what the daemon
 * itself notes in varta_stall_lateness_seconds, from the deadline until the
 * stall is told: the 99th percentile under scrapes less the median without.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "crowd.h"
#include "sample.h"
#include "support.h"
#include "watch/tell/http.h"

enum {
	ROUNDS = 7,
	AGENTS = 100000,
	VICTIMS = 200,
	SPACING_NS = 2000000,
	PIECE_BYTES = 32768,
	WINDOW_MS = 1500,
	WINDOW_QUICK_MS = 500,
	QUEUE = 1024,
	SAMPLES_MAX = 4096,
	PATIENCE_MS = 20000,
	REPEATS = 3 /* scrapes in a round; the fastest counts, of both */
};

struct scene {
	struct crowd *crowd;
	pid_t watcher;
	int beats_fd;
	uint64_t nonce;
	unsigned window_ms;
	uint64_t body_bytes; /* of a scrape, with its headers */
	double cpu_ms[SUPPORT_ROUNDS_MAX * REPEATS]; /* of the watcher, each */
	size_t n_cpu;
	/* The bare writer: told how much to send by each connection. */
	struct sockaddr_in writer;
	/* The one who scrapes for ever. */
	uint32_t *scraping;
	uint32_t *scrapes;
};

static int
connect_to(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		support_die("connect: %s", strerror(errno));
	return fd;
}

/* Send the request and read to the end. Returns the bytes that came. */
static uint64_t
fetch(const struct sockaddr_in *to, const void *request, size_t n)
{
	static char buffer[65536];
	uint64_t bytes = 0;
	ssize_t got;
	int fd = connect_to(to);

	support_check(fd_write_all(fd, request, n), "request");
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		bytes += (uint64_t)got;
	if (got < 0)
		support_die("read: %s", strerror(errno));
	(void)close(fd);
	return bytes;
}

static uint64_t
scrape(const struct scene *s)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\n"
				      "Host: bench\r\n\r\n";
	const struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(s->crowd->port) };

	return fetch(&to, request, sizeof(request) - 1);
}

static _Noreturn void
be_writer(int listen_fd)
{
	static char piece[PIECE_BYTES];
	uint64_t left;
	size_t n;
	int fd;

	memset(piece, 'x', sizeof(piece));
	for (;;) {
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 || fd_read_full(fd, &left, sizeof(left)) !=
				  (ssize_t)sizeof(left))
			support_die("writer: %s", strerror(errno));
		for (; left > 0; left -= n) {
			n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
			support_check(fd_write_all(fd, piece, n), "write");
		}
		(void)close(fd);
	}
}

static void
start_writer(struct scene *s, int cpu)
{
	socklen_t len = sizeof(s->writer);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	s->writer = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (const struct sockaddr *)&s->writer, len) < 0 ||
	    listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&s->writer, &len) < 0)
		support_die("writer: %s", strerror(errno));
	if (support_fork(cpu) == 0)
		be_writer(fd);
	(void)close(fd);
}

/* Scrape for as long as the word says so. */
static _Noreturn void
be_scraper(const struct scene *s)
{
	for (;;) {
		support_wait(s->scraping, 0);
		while (__atomic_load_n(s->scraping, __ATOMIC_ACQUIRE) != 0) {
			(void)scrape(s);
			(void)__atomic_add_fetch(
			    s->scrapes, 1, __ATOMIC_RELEASE);
		}
	}
}

static void
set_scraping(const struct scene *s, uint32_t on)
{
	uint32_t before;

	__atomic_store_n(s->scraping, on, __ATOMIC_RELEASE);
	support_wake(s->scraping);
	if (on == 0)
		return;
	/* Under way, the first one whole. */
	before = __atomic_load_n(s->scrapes, __ATOMIC_ACQUIRE);
	while (__atomic_load_n(s->scrapes, __ATOMIC_ACQUIRE) == before)
		support_sleep_ms(1);
}

static void
fill(struct scene *s)
{
	const uint64_t end_ns = support_now_ns() + PATIENCE_MS * NS_PER_MS;
	uint32_t i;

	s->nonce = 1;
	for (i = 0; i < AGENTS; i++)
		crowd_beat(s->beats_fd, CROWD_FIRST_PID + i, s->nonce);
	while (__atomic_load_n(&s->crowd->stats.joins, __ATOMIC_RELAXED) <
	       AGENTS) {
		if (support_now_ns() > end_ns)
			support_die("agents are missing");
		support_sleep_ms(10);
	}
}

static double
ms_of(uint64_t from_ns)
{
	return (double)(support_now_ns() - from_ns) / (double)NS_PER_MS;
}

static void
measure_scrape(struct scene *s, struct sample_rounds *rounds)
{
	double floor = 0, subject = 0, ms;
	uint64_t from_ns, cpu_ns;
	unsigned i;

	for (i = 0; i < REPEATS; i++) {
		cpu_ns = support_cpu_ns(s->watcher);
		from_ns = support_now_ns();
		s->body_bytes = scrape(s);
		ms = ms_of(from_ns);
		s->cpu_ms[s->n_cpu++] =
		    (double)(support_cpu_ns(s->watcher) - cpu_ns) / 1e6;
		if (i == 0 || ms < subject)
			subject = ms;
		from_ns = support_now_ns();
		if (fetch(&s->writer, &s->body_bytes, sizeof(s->body_bytes)) !=
		    s->body_bytes)
			support_die("the bare writer was cut off");
		ms = ms_of(from_ns);
		if (i == 0 || ms < floor)
			floor = ms;
	}
	sample_round(rounds, subject, floor);
}

/* How late stalls were, in microseconds. */
struct lateness {
	double us[SAMPLES_MAX];
	size_t n;
};

static uint64_t
stalls_told(const struct stats_fine *h)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < STATS_FINE_BUCKETS; i++)
		n += __atomic_load_n(&h->buckets[i], __ATOMIC_ACQUIRE);
	return n;
}

/* Keep victims beating in turn for a while, and take down what the watcher
 * notes of those that stall meanwhile. */
static void
watch_stalls(struct scene *s, struct lateness *ret)
{
	const struct stats_fine *h = &s->crowd->stats.stall_lateness;
	uint64_t at_ns = support_now_ns(), end_ns, told, sum, n, late;
	uint32_t victim = 0;

	end_ns = at_ns + s->window_ms * NS_PER_MS;
	sum = __atomic_load_n(&h->sum_1024ns, __ATOMIC_ACQUIRE);
	told = stalls_told(h);
	for (ret->n = 0; at_ns < end_ns; at_ns += SPACING_NS) {
		support_sleep_until(at_ns);
		if (victim % VICTIMS == 0)
			s->nonce++;
		crowd_beat(s->beats_fd, CROWD_VICTIM_PID + victim++ % VICTIMS,
		    s->nonce);
		n = stalls_told(h) - told;
		late = __atomic_load_n(&h->sum_1024ns, __ATOMIC_ACQUIRE) - sum;
		told += n;
		sum += late;
		/* Two at once count twice with their mean. */
		for (uint64_t i = 0; i < n && ret->n < SAMPLES_MAX; i++)
			ret->us[ret->n++] = (double)late * 1.024 / (double)n;
	}
	if (ret->n < 10)
		support_die("nobody stalls");
}

struct delays {
	double quiet_us[SUPPORT_ROUNDS_MAX];
	double busy_us[SUPPORT_ROUNDS_MAX];
	double extra_us[SUPPORT_ROUNDS_MAX];
	double worst_us;
	size_t n;
	size_t stalls;
};

static void
measure_delay(struct scene *s, struct delays *d)
{
	static struct lateness quiet, busy;

	watch_stalls(s, &quiet);
	set_scraping(s, 1);
	watch_stalls(s, &busy);
	set_scraping(s, 0);

	d->quiet_us[d->n] = sample_percentile(quiet.us, quiet.n, 500);
	d->busy_us[d->n] = sample_percentile(busy.us, busy.n, 990);
	d->extra_us[d->n] = d->busy_us[d->n] - d->quiet_us[d->n];
	if (busy.us[busy.n - 1] > d->worst_us)
		d->worst_us = busy.us[busy.n - 1];
	d->stalls += busy.n;
	d->n++;
}

static void
tell(struct scene *s, const struct sample_rounds *scrapes, struct delays *d)
{
	sample_begin("scrape_100k_ms");
	sample_ratio(scrapes, "ms");
	sample_number("cpu_ms", sample_percentile(s->cpu_ms, s->n_cpu, 500));
	sample_number("bytes", (double)s->body_bytes);
	sample_number("agents", (double)(AGENTS + VICTIMS));
	sample_end();

	sample_begin("scrape_stall_delay_us");
	sample_number("value", sample_percentile(d->extra_us, d->n, 500));
	sample_text("unit", "us");
	sample_number("n", (double)d->n);
	sample_number("quiet_p50", sample_percentile(d->quiet_us, d->n, 500));
	sample_number("scraped_p99", sample_percentile(d->busy_us, d->n, 500));
	sample_number("scraped_worst", d->worst_us);
	sample_number("stalls", (double)d->stalls);
	sample_number("scrapes", (double)*s->scrapes);
	sample_end();
	sample_finish();
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "scrape_100k_ms",
		"scrape_stall_delay_us", NULL };
	struct sample_rounds scrapes = { .n = 0 };
	static struct delays delays;
	struct support_options options;
	struct scene s = { .window_ms = WINDOW_MS };
	unsigned i;

	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (!http_is_available()) {
		sample_skip(keys, "this build has no HTTP");
		return 0;
	}
	if (support_long_queue(QUEUE) < 0) {
		sample_skip(keys, "needs a network namespace of its own");
		return 0;
	}
	if (options.quick)
		s.window_ms = WINDOW_QUICK_MS;
	support_pin(options.cpu_sender);
	s.crowd = crowd_start(options.cpu_reader, &s.watcher);
	s.scraping = support_shared(2 * sizeof(*s.scraping));
	s.scrapes = s.scraping + 1;
	start_writer(&s, options.cpu_reader);
	if (support_fork(options.cpu_sender) == 0)
		be_scraper(&s);
	s.beats_fd = crowd_connect(s.crowd);
	fill(&s);

	for (i = 0; i < options.rounds; i++)
		measure_scrape(&s, &scrapes);
	for (i = 0; i < options.rounds; i++)
		measure_delay(&s, &delays);
	tell(&s, &scrapes, &delays);
	return support_end();
}
