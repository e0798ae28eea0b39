/*
 * paced_vs_naive: the daemon's processor time at a steady rate, against a bare
 * loop of poll(2) and recvmsg(2) that is woken for each datagram and looks at
 * nothing. 50 agents beat with their phases spread over the period.
 */
#include <stdio.h>

#include "agents.h"
#include "base/util.h"
#include "daemon.h"
#include "reader.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 5,
	AGENTS = 50,
	WINDOW_MS = 1500,
	WINDOW_QUICK_MS = 400,
	/* The daemon looks at the rate for a while before it naps. */
	WARM_MS = 300,
	QUEUE = 1024
};

struct scene {
	struct agents *agents;
	struct reader reader; /* target 0 */
	struct daemon daemon; /* target 1 */
	unsigned window_ms;
	uint64_t dropped;
};

/* Share of a processor that pid takes while target is beaten at the rate. */
static double
share(struct scene *s, unsigned target, unsigned per_s, pid_t pid)
{
	uint64_t period_ns = AGENTS * NS_PER_S / per_s, cpu_ns, wall_ns;
	struct agents_plan plan = {
		.target = target,
		.start_ns = support_now_ns() + 20 * NS_PER_MS,
		.spacing_ns = period_ns / AGENTS,
		.period_ns = period_ns,
	};

	agents_run(s->agents, &plan);
	support_sleep_ms(WARM_MS);
	wall_ns = support_now_ns();
	cpu_ns = support_cpu_ns(pid);
	support_sleep_ms(s->window_ms);
	cpu_ns = support_cpu_ns(pid) - cpu_ns;
	wall_ns = support_now_ns() - wall_ns;
	s->dropped += agents_finish(s->agents).dropped;
	return 100.0 * (double)cpu_ns / (double)wall_ns;
}

static void
measure(struct scene *s, unsigned rounds, unsigned per_s, const char *part)
{
	struct sample_rounds cpu = { .n = 0 };
	double floor;
	unsigned i;

	s->dropped = 0;
	for (i = 0; i < rounds; i++) {
		floor = share(s, 0, per_s, s->reader.pid);
		sample_round(&cpu, share(s, 1, per_s, s->daemon.pid), floor);
	}
	sample_begin(part);
	sample_ratio(&cpu, "% CPU");
	sample_number("refused", (double)s->dropped);
	sample_end();
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "paced_vs_naive", NULL };
	struct sockaddr_un targets[AGENTS_TARGETS_MAX];
	struct support_options options;
	struct scene scene = { .window_ms = WINDOW_MS };

	support_start(argc, argv, ROUNDS, &options);
	if (support_lacks_processors(&options, keys))
		return 0;
	if (support_long_queue(QUEUE) < 0) {
		sample_skip(keys, "needs a network namespace of its own");
		return 0;
	}
	support_pin(options.cpu_sender);
	if (options.quick)
		scene.window_ms = WINDOW_QUICK_MS;
	daemon_start(&options,
	    &(struct daemon_options){
		.threshold_ms = 60000, .cpu = options.cpu_reader },
	    &scene.daemon);
	support_address("bare.sock", &targets[0]);
	targets[1] = scene.daemon.address;
	reader_start(
	    READER_POLLED, options.cpu_reader, &targets[0], &scene.reader);
	scene.agents = agents_new(AGENTS, options.cpu_sender, targets, 2);
	agents_beat_once(scene.agents, 1);

	sample_begin("paced_vs_naive");
	sample_begin("parts");
	measure(&scene, options.rounds, 1000, "1000_per_s");
	measure(&scene, options.rounds, 10000, "10000_per_s");
	sample_end();
	sample_end();
	sample_finish();

	agents_free(scene.agents);
	reader_stop(&scene.reader);
	daemon_stop(&scene.daemon);
	return support_end();
}
