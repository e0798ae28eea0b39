/*
 * flood_stall_lateness_us: how late stalls of this host's agents are told,
 * 99th of 100, while one sender sends forged sealed frames as fast as it can
 * to an observer with eight keys; beside it the same without the flood.
 *
 * 200 processes beat once each, 1 ms apart and a little at random, and then owe
 * a beat. The event file has the last beat and the stall on one clock. The
 * sender of the flood and the agents stand on one processor, the daemon on the
 * other.
 */
#include <signal.h>
#include <sodium.h>
#include <sys/types.h>
#include <unistd.h>

#include "agents.h"
#include "base/util.h"
#include "daemon.h"
#include "lateness.h"
#include "sample.h"
#include "sealed.h"
#include "support.h"

enum {
	ROUNDS = 9,
	ROUNDS_QUICK = 2,
	AGENTS = 200,
	SPACING_NS = 1000000,
	THRESHOLD_MS = 300,
	LEAD_MS = 50, /* until the first beat */
	SETTLE_MS = 40,
	FLOOD_MS = 10000, /* it ends by itself, should nobody end it */
	QUEUE = 1024
};

#define FORGED_METRIC "varta_frame_decrypt_failures_total"

struct scene {
	struct support_options options;
	struct daemon daemon;
	int fd; /* to the daemon */
	struct agents *agents;
	struct lateness lateness;
	struct sealed_burst burst;
	struct sealed_forgery forgery;
	uint64_t *sent;
};

static pid_t
flood(struct scene *s)
{
	uint64_t end_ns = support_now_ns() + FLOOD_MS * NS_PER_MS;
	pid_t pid = support_fork(s->options.cpu_sender);

	if (pid != 0)
		return pid;
	while (support_now_ns() < end_ns) {
		sealed_burst_fill(&s->burst, &s->forgery);
		sealed_burst_send(&s->burst, s->fd);
		*s->sent += SEALED_BURST;
	}
	_exit(0);
}

/* One reading of the lateness of all agents' stalls: p50 and p99. */
static void
stall_all(struct scene *s, bool with_flood, double ret[2])
{
	struct agents_plan plan = {
		.spacing_ns = SPACING_NS, .jitter_ns = SPACING_NS, .beats = 1
	};
	pid_t flooder = with_flood ? flood(s) : 0;

	support_sleep_ms(SETTLE_MS);
	plan.start_ns = support_now_ns() + LEAD_MS * NS_PER_MS;
	agents_run(s->agents, &plan);
	if (agents_finish(s->agents).sent != AGENTS)
		support_die("a beat was refused");
	support_sleep_ms(
	    THRESHOLD_MS + AGENTS * SPACING_NS / NS_PER_MS + 2 * SETTLE_MS);
	if (with_flood)
		support_kill(flooder);
	lateness_read(&s->lateness);
	if (s->lateness.n != AGENTS)
		support_die("%zu stalls of %u", s->lateness.n, AGENTS);
	ret[0] = sample_percentile(s->lateness.us, AGENTS, 500);
	ret[1] = sample_percentile(s->lateness.us, AGENTS, 990);
}

static void
set_up(struct scene *s)
{
	const struct daemon_options what = {
		.threshold_ms = THRESHOLD_MS,
		.cpu = s->options.cpu_reader,
		.metrics = true,
		.events = true,
	};
	uint8_t key[32];

	randombytes_buf(key, sizeof(key));
	sealed_burst_init(&s->burst);
	sealed_forge(&s->forgery);
	s->sent = support_shared(sizeof(*s->sent));
	s->fd = sealed_start(&s->options, &what, key, SEALED_KEYS, &s->daemon);
	lateness_open(&s->lateness, s->daemon.events.sun_path, THRESHOLD_MS);
	s->agents =
	    agents_new(AGENTS, s->options.cpu_sender, &s->daemon.address, 1);
}

static void
tell(const struct scene *s, const struct sample_rounds *p50,
    const struct sample_rounds *p99)
{
	sample_begin("flood_stall_lateness_us");
	sample_value(p99, "us");
	sample_number("p50", sample_subject(p50));
	sample_number("p50_without", sample_floor(p50));
	sample_number("earliest", s->lateness.earliest_us);
	sample_number("stalls", (double)s->lateness.stalls);
	sample_number("forged_sent", (double)*s->sent);
	sample_number(
	    "forged_counted", (double)daemon_metric(&s->daemon, FORGED_METRIC));
	sample_end();
	sample_finish();
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "flood_stall_lateness_us", NULL };
	static struct sample_rounds p50, p99;
	static struct scene scene;

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
		scene.options.rounds = ROUNDS_QUICK;
	support_pin(scene.options.cpu_sender);
	set_up(&scene);
	for (unsigned i = 0; i < scene.options.rounds; i++) {
		double without[2], with[2];

		stall_all(&scene, false, without);
		stall_all(&scene, true, with);
		sample_round(&p50, with[0], without[0]);
		sample_round(&p99, with[1], without[1]);
	}
	tell(&scene, &p50, &p99);

	agents_free(scene.agents);
	lateness_close(&scene.lateness);
	daemon_stop(&scene.daemon);
	(void)close(scene.fd);
	return support_end();
}
