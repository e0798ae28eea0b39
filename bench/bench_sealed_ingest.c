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
 * The sender stands on one processor, daemon and floors on the other. All
 * traffic is on the loopback device and ends with its window.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <varta/frame.h>

#include "base/util.h"
#include "daemon.h"
#include "sample.h"
#include "sealed.h"
#include "support.h"

enum {
	ROUNDS = 7,
	WINDOW_MS = 300,
	WINDOW_QUICK_MS = 100,
	SETTLE_MS = 40,
	SESSIONS = 50,
	FIRST_PID = 1000,
	OPENS = 20000, /* attempts in one round of the floor */
	QUEUE = 1024
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
	struct sealed_burst burst;
	uint8_t key[32];
	uint32_t counters[SESSIONS];
	uint8_t prefixes[SESSIONS][SEAL_PREFIX_BYTES];
	unsigned next_session;
	struct sealed_forgery forgery;
};

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
	uint64_t end_ns = support_now_ns() + s->window_ms * NS_PER_MS;

	do {
		if (forge)
			sealed_burst_fill(&s->burst, &s->forgery);
		for (size_t i = 0; !forge && i < SEALED_BURST; i++)
			seal_next(s, s->burst.bytes[i]);
		sealed_burst_send(&s->burst, fd);
	} while (support_now_ns() < end_ns);
	support_sleep_ms(SETTLE_MS);
}

/* ---- floors ------------------------------------------------------------- */

static _Noreturn void
read_and_open(int fd, const uint8_t key[32], uint64_t *frames)
{
	static struct sealed_burst b;
	uint8_t plain[SEAL_PLAIN_BYTES];

	sealed_burst_init(&b);
	for (;;) {
		int n =
		    recvmmsg(fd, b.headers, SEALED_BURST, MSG_DONTWAIT, NULL);

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
	int fd = sealed_socket(NULL);

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
			for (uint8_t k = 0; k < SEALED_KEYS; k++) {
				const uint8_t key[32] = { k };

				opened += seal_open_shared(key,
				    s->forgery.frames[i % SEALED_FORGED],
				    plain);
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

/* With one key, or with eight. Returns a socket to it. */
static int
start(const struct scene *s, size_t n_keys, struct daemon *d)
{
	const struct daemon_options what = {
		.threshold_ms = 3600000,
		.cpu = s->options.cpu_reader,
		.metrics = true,
	};

	return sealed_start(&s->options, &what, s->key, n_keys, d);
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
	to_floor = sealed_socket(&opener.address);
	to_daemon = start(s, 1, &d);
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
	int fd = start(s, SEALED_KEYS, &d);

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

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "sealed_ingest_vs_floor",
		"forged_cost_vs_floor", NULL };
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
	sealed_burst_init(&scene.burst);
	randombytes_buf(scene.key, sizeof(scene.key));
	randombytes_buf(scene.prefixes, sizeof(scene.prefixes));
	sealed_forge(&scene.forgery);

	measure_accepted(&scene);
	measure_forged(&scene);
	sample_finish();
	return support_end();
}
