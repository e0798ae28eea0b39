/*
 * What frames from the network cost the daemon.
 *
 * sealed_ingest_vs_floor: an accepted sealed frame, with one key, against a
 * bare loop of recvmmsg(2) that opens each datagram with libsodium and looks
 * at nothing.
 *
 * forged_cost_vs_floor: a forged datagram, with eight keys, against eight
 * failed attempts of libsodium alone.
 *
 * flood_stall_lateness_ms: how late stalls of this host's agents are told
 * while forged datagrams come as fast as one sender can send them.
 *
 * The sender stands on one processor, daemon and floors on the other. All
 * traffic is on the loopback device and ends with its window.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <varta/frame.h>

#include "agents.h"
#include "base/util.h"
#include "daemon.h"
#include "lateness.h"
#include "sample.h"
#include "secure/seal.h"
#include "support.h"

enum {
	ROUNDS = 7,
	WINDOW_MS = 300,
	WINDOW_QUICK_MS = 100,
	SETTLE_MS = 40,
	SESSIONS = 50,
	FIRST_PID = 1000,
	KEYS = 8,
	FORGED = 256,
	OPENS = 20000, /* attempts in one round of the floor */
	AGENTS = 200,
	THRESHOLD_MS = 300,
	SPACING_NS = 1000000,
	QUEUE = 1024,
	BURST = 32
};

/* Datagrams that go out with one call. */
struct burst {
	struct mmsghdr headers[BURST];
	struct iovec iov[BURST];
	uint8_t bytes[BURST][SEAL_SHARED_BYTES];
};

/* A process that reads and opens, and does nothing else. */
struct opener {
	pid_t pid;
	uint64_t *frames;
	struct sockaddr_in address;
};

struct scene {
	struct support_options options;
	unsigned window_ms;
	struct burst burst;
	uint8_t key[32];
	uint32_t counters[SESSIONS];
	uint8_t prefixes[SESSIONS][SEAL_PREFIX_BYTES];
	unsigned next_session;
	uint8_t forged[FORGED][SEAL_SHARED_BYTES];
	unsigned next_forged;
};

static int
udp_socket(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		support_die("socket: %s", strerror(errno));
	if (to != NULL &&
	    connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		support_die("connect: %s", strerror(errno));
	return fd;
}

static void
burst_init(struct burst *b, size_t len)
{
	for (size_t i = 0; i < BURST; i++) {
		b->iov[i] = (struct iovec){ b->bytes[i], len };
		b->headers[i] = (struct mmsghdr){
			.msg_hdr = { .msg_iov = &b->iov[i], .msg_iovlen = 1 }
		};
	}
}

/* The next frame of the next session. */
static void
seal_next(struct scene *s, uint8_t out[SEAL_SHARED_BYTES])
{
	unsigned i = s->next_session++ % SESSIONS;
	uint32_t counter = s->counters[i]++;
	const struct varta_frame frame = { .pid = FIRST_PID + i,
		.nonce = (uint64_t)counter + 1,
		.timestamp = counter };
	struct seal_iv iv = { .counter = counter };
	uint8_t plain[SEAL_PLAIN_BYTES];

	memcpy(iv.random, s->prefixes[i], sizeof(iv.random));
	support_check(varta_frame_encode(&frame, plain), "encode");
	seal_shared(s->key, &iv, plain, out);
}

/* Send as fast as it goes, for a window. */
static void
send_window(struct scene *s, int fd, bool forge)
{
	struct burst *b = &s->burst;
	uint64_t end_ns = support_now_ns() + s->window_ms * NS_PER_MS;

	do {
		for (size_t i = 0; i < BURST; i++)
			if (forge)
				memcpy(b->bytes[i],
				    s->forged[s->next_forged++ % FORGED],
				    SEAL_SHARED_BYTES);
			else
				seal_next(s, b->bytes[i]);
		if (sendmmsg(fd, b->headers, BURST, 0) < 0)
			support_die("sendmmsg: %s", strerror(errno));
	} while (support_now_ns() < end_ns);
	support_sleep_ms(SETTLE_MS);
}

/* ---- floors ------------------------------------------------------------- */

static _Noreturn void
read_and_open(int fd, const uint8_t key[32], uint64_t *frames)
{
	static struct burst b;
	uint8_t plain[SEAL_PLAIN_BYTES];

	burst_init(&b, SEAL_SHARED_BYTES);
	for (;;) {
		int n = recvmmsg(fd, b.headers, BURST, MSG_DONTWAIT, NULL);

		if (n < 0) {
			support_sleep_ms(1);
			continue;
		}
		for (int i = 0; i < n; i++)
			if (!seal_open_shared(key, b.bytes[i], plain))
				support_die("the floor opens nothing");
		__atomic_store_n(
		    frames, *frames + (uint64_t)n, __ATOMIC_RELAXED);
	}
}

static void
opener_start(const struct scene *s, struct opener *o)
{
	socklen_t len = sizeof(o->address);
	int fd = udp_socket(NULL);

	o->address = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (bind(fd, (struct sockaddr *)&o->address, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&o->address, &len) < 0)
		support_die("bind: %s", strerror(errno));
	o->frames = support_shared(sizeof(*o->frames));
	o->pid = support_fork(s->options.cpu_reader);
	if (o->pid == 0)
		read_and_open(fd, s->key, o->frames);
	(void)close(fd);
}

static double
opener_cost(struct scene *s, const struct opener *o, int fd)
{
	uint64_t frames = __atomic_load_n(o->frames, __ATOMIC_RELAXED);
	uint64_t cpu_ns = support_cpu_ns(o->pid);

	send_window(s, fd, false);
	cpu_ns = support_cpu_ns(o->pid) - cpu_ns;
	frames = __atomic_load_n(o->frames, __ATOMIC_RELAXED) - frames;
	if (frames == 0)
		support_die("the floor took nothing");
	return (double)cpu_ns / (double)frames;
}

/* Eight failed attempts, on the daemon's processor. */
static double
attempts_cost(const struct scene *s, double *shared)
{
	pid_t pid = support_fork(s->options.cpu_reader);
	uint8_t plain[SEAL_PLAIN_BYTES];

	if (pid == 0) {
		uint64_t cpu_ns = support_cpu_ns(getpid());
		unsigned opened = 0;

		for (unsigned i = 0; i < OPENS; i++)
			for (uint8_t k = 0; k < KEYS; k++) {
				const uint8_t key[32] = { k };

				opened += seal_open_shared(
				    key, s->forged[i % FORGED], plain);
			}
		*shared = (double)(support_cpu_ns(getpid()) - cpu_ns) / OPENS;
		_exit(opened == 0 ? 0 : 1);
	}
	while (__atomic_load_n((uint64_t *)shared, __ATOMIC_ACQUIRE) == 0)
		support_sleep_ms(1);
	support_sleep_ms(1);
	support_kill(pid);
	return *shared;
}

/* ---- the daemon --------------------------------------------------------- */

static const char *
write_keys(const char *name, const uint8_t (*keys)[32], size_t n)
{
	static struct sockaddr_un paths[2];
	static size_t next;
	struct sockaddr_un *path = &paths[next++ % 2];
	char hex[65];
	FILE *f;

	support_address(name, path);
	(void)unlink(path->sun_path);
	(void)umask(077);
	f = fopen(path->sun_path, "w");
	if (f == NULL)
		support_die("%s: %s", path->sun_path, strerror(errno));
	for (size_t i = 0; i < n; i++) {
		(void)sodium_bin2hex(hex, sizeof(hex), keys[i], 32);
		(void)fprintf(f, "%s\n", hex);
	}
	(void)fclose(f);
	return path->sun_path;
}

/* Where the line of its start says that it listens. */
static struct sockaddr_in
udp_address_of(const struct daemon *d)
{
	static const char word[] = ", UDP 127.0.0.1:";
	char text[4096] = "";
	FILE *f = fopen(d->log.sun_path, "r");
	const char *at = NULL;

	if (f != NULL) {
		size_t n = fread(text, 1, sizeof(text) - 1, f);

		text[n] = '\0';
		(void)fclose(f);
		for (const char *p = text; (p = strstr(p, word)) != NULL; p++)
			at = p;
	}
	if (at == NULL)
		support_die("the daemon names no UDP address");
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port =
		    htons((uint16_t)strtoul(at + strlen(word), NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* With one key, or with eight. Returns a socket to it. */
static int
start(const struct scene *s, size_t n_keys, bool events, struct daemon *d)
{
	uint8_t more_keys[KEYS - 1][32];
	const char *more[] = { "--udp-port", "0", "--key-file", NULL,
		"--accepted-key-file", NULL, NULL };
	struct sockaddr_in address;

	more[3] = write_keys("key", &s->key, 1);
	if (n_keys > 1) {
		randombytes_buf(more_keys, sizeof(more_keys));
		more[5] = write_keys(
		    "accepted", (const uint8_t(*)[32])more_keys, n_keys - 1);
	} else {
		more[4] = NULL;
	}
	daemon_start(&s->options,
	    &(struct daemon_options){
		.threshold_ms = events ? THRESHOLD_MS : 3600000,
		.cpu = s->options.cpu_reader,
		.metrics = true,
		.events = events,
		.more = more },
	    d);
	address = udp_address_of(d);
	return udp_socket(&address);
}

/* CPU of the daemon for each unit of a metric, over one window. */
static double
cost_of(struct scene *s, const struct daemon *d, int fd, bool forge,
    const char *metric)
{
	uint64_t n = daemon_metric(d, metric), cpu_ns;

	support_sleep_ms(SETTLE_MS);
	cpu_ns = support_cpu_ns(d->pid);
	send_window(s, fd, forge);
	cpu_ns = support_cpu_ns(d->pid) - cpu_ns;
	n = daemon_metric(d, metric) - n;
	if (n == 0)
		support_die("%s has not grown", metric);
	return (double)cpu_ns / (double)n;
}

static void
measure_accepted(struct scene *s)
{
	struct sample_rounds cost = { .n = 0 };
	struct opener opener;
	struct daemon d;
	int to_floor, to_daemon;

	opener_start(s, &opener);
	to_floor = udp_socket(&opener.address);
	to_daemon = start(s, 1, false, &d);
	for (unsigned i = 0; i < s->options.rounds; i++) {
		double floor = opener_cost(s, &opener, to_floor);

		sample_round(&cost,
		    cost_of(s, &d, to_daemon, false, "varta_beats_all_total"),
		    floor);
	}
	sample_begin("sealed_ingest_vs_floor");
	sample_ratio(&cost, "ns/frame");
	sample_number("refused",
	    (double)daemon_metric(&d, "varta_secure_replay_refused_total"));
	sample_end();
	support_kill(opener.pid);
	daemon_stop(&d);
	(void)close(to_floor);
	(void)close(to_daemon);
}

static void
measure_forged(struct scene *s)
{
	struct sample_rounds cost = { .n = 0 };
	double *shared = support_shared(sizeof(*shared));
	struct daemon d;
	int fd = start(s, KEYS, false, &d);

	for (unsigned i = 0; i < s->options.rounds; i++) {
		double floor;

		*shared = 0;
		floor = attempts_cost(s, shared);
		sample_round(&cost,
		    cost_of(
			s, &d, fd, true, "varta_frame_decrypt_failures_total"),
		    floor);
	}
	sample_begin("forged_cost_vs_floor");
	sample_ratio(&cost, "ns/datagram");
	sample_end();
	daemon_stop(&d);
	(void)close(fd);
}

/* ---- under a flood ------------------------------------------------------ */

static pid_t
flood(struct scene *s, int fd)
{
	pid_t pid = support_fork(s->options.cpu_sender);

	if (pid != 0)
		return pid;
	/* Ends by itself, should nobody end it. */
	s->window_ms = 10000;
	send_window(s, fd, true);
	_exit(0);
}

/* One reading of the lateness of AGENTS stalls, while the flood lasts. */
static void
stall_all(
    struct scene *s, struct agents *agents, int fd, struct lateness *lateness)
{
	struct agents_plan plan = {
		.spacing_ns = SPACING_NS, .jitter_ns = SPACING_NS, .beats = 1
	};
	pid_t flooder = flood(s, fd);

	support_sleep_ms(SETTLE_MS);
	plan.start_ns = support_now_ns() + 50 * NS_PER_MS;
	agents_run(agents, &plan);
	if (agents_finish(agents).sent != AGENTS)
		support_die("a beat was refused");
	support_sleep_ms(THRESHOLD_MS + AGENTS + 2 * SETTLE_MS);
	support_kill(flooder);
	lateness_read(lateness);
	if (lateness->n != AGENTS)
		support_die("%zu stalls of %u", lateness->n, AGENTS);
}

static void
measure_flood(struct scene *s)
{
	double p50[SUPPORT_ROUNDS_MAX], p99[SUPPORT_ROUNDS_MAX];
	struct sockaddr_un target;
	struct lateness lateness;
	struct agents *agents;
	struct daemon d;
	int fd = start(s, KEYS, true, &d);
	unsigned n = s->options.rounds;

	target = d.address;
	lateness_open(&lateness, d.events.sun_path, THRESHOLD_MS);
	agents = agents_new(AGENTS, s->options.cpu_sender, &target, 1);
	for (unsigned i = 0; i < n; i++) {
		stall_all(s, agents, fd, &lateness);
		p50[i] = sample_percentile(lateness.us, lateness.n, 500);
		p99[i] = sample_percentile(lateness.us, lateness.n, 990);
	}
	sample_begin("flood_stall_lateness_ms");
	sample_number("value", sample_percentile(p99, n, 500) / 1000);
	sample_number("p50", sample_percentile(p50, n, 500) / 1000);
	sample_number("worst_round", p99[n - 1] / 1000);
	sample_number("earliest", lateness.earliest_us / 1000);
	sample_number("forged",
	    (double)daemon_metric(&d, "varta_frame_decrypt_failures_total"));
	sample_text("unit", "ms");
	sample_end();
	agents_free(agents);
	lateness_close(&lateness);
	daemon_stop(&d);
	(void)close(fd);
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "sealed_ingest_vs_floor",
		"forged_cost_vs_floor", "flood_stall_lateness_ms", NULL };
	static struct scene scene = { .window_ms = WINDOW_MS };

	support_start(argc, argv, ROUNDS, &scene.options);
	if (support_lacks_processors(&scene.options, keys))
		return 0;
	if (support_long_queue(QUEUE) < 0) {
		sample_skip(keys, "needs a network namespace of its own");
		return 0;
	}
	if (sodium_init() < 0)
		support_die("libsodium cannot be used");
	if (scene.options.quick)
		scene.window_ms = WINDOW_QUICK_MS;
	support_pin(scene.options.cpu_sender);
	burst_init(&scene.burst, SEAL_SHARED_BYTES);
	randombytes_buf(scene.key, sizeof(scene.key));
	randombytes_buf(scene.prefixes, sizeof(scene.prefixes));
	randombytes_buf(scene.forged, sizeof(scene.forged));

	measure_accepted(&scene);
	measure_forged(&scene);
	measure_flood(&scene);
	sample_finish();
	return support_end();
}
