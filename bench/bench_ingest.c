/*
 * ingest_vs_recv: what an accepted beat costs the daemon, against a bare loop
 * of recvmmsg(2) that looks at nothing.
 *
 * 50 agents beat as fast as they can on one processor; daemon and bare reader
 * stand on the other. First with these agents alone, then with a table that
 * holds as many others as the kernel has pids for: processes that beat once
 * and were killed, which the daemon keeps until their deadline.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <varta/varta.h>

#include "agents.h"
#include "daemon.h"
#include "reader.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 7,
	AGENTS = 50,
	WINDOW_MS = 300,
	WINDOW_QUICK_MS = 100,
	QUEUE = 1024,
	/* Longer than any nap of the daemon. */
	SETTLE_MS = 40,
	CAPACITY = 65536,
	/* pid_max is 32,768 on a stock kernel; others need pids too. */
	CROWD = 30000,
	CROWD_QUICK = 3000,
	CROWD_AT_ONCE = 500
};

struct scene {
	struct agents *agents;
	struct reader reader; /* target 0 */
	struct daemon daemon; /* target 1 */
	unsigned window_ms;
	uint64_t sent;
	uint64_t dropped;
};

static void
flood(struct scene *s, unsigned target)
{
	struct agents_plan plan = { .target = target,
		.start_ns = support_now_ns() };
	struct agents_tally tally;

	agents_run(s->agents, &plan);
	support_sleep_ms(s->window_ms);
	tally = agents_finish(s->agents);
	support_sleep_ms(SETTLE_MS);
	s->sent += tally.sent;
	s->dropped += tally.dropped;
}

static double
reader_cost(struct scene *s)
{
	uint64_t cpu_ns, frames;

	frames = reader_frames(&s->reader);
	cpu_ns = support_cpu_ns(s->reader.pid);
	flood(s, 0);
	cpu_ns = support_cpu_ns(s->reader.pid) - cpu_ns;
	frames = reader_frames(&s->reader) - frames;
	if (frames == 0)
		support_die("the bare reader took nothing");
	return (double)cpu_ns / (double)frames;
}

static double
daemon_cost(struct scene *s)
{
	uint64_t cpu_ns, beats;

	/* The scrapes stand outside of what is measured. */
	beats = daemon_metric(&s->daemon, "varta_beats_total");
	support_sleep_ms(SETTLE_MS);
	cpu_ns = support_cpu_ns(s->daemon.pid);
	flood(s, 1);
	cpu_ns = support_cpu_ns(s->daemon.pid) - cpu_ns;
	beats = daemon_metric(&s->daemon, "varta_beats_total") - beats;
	if (beats == 0)
		support_die("the daemon accepted nothing");
	return (double)cpu_ns / (double)beats;
}

/* A process that beats once and waits to be killed. */
static pid_t
visitor(const char *address)
{
	struct varta_agent *agent;
	pid_t pid;

	pid = support_fork(-1);
	if (pid != 0)
		return pid;
	support_check(varta_open(address, &agent), "varta_open");
	while (varta_beat(agent, VARTA_OK, 0) != VARTA_SENT)
		support_sleep_ms(1);
	for (;;)
		(void)pause();
}

static void
crowd(const struct scene *s, unsigned n)
{
	pid_t pids[CROWD_AT_ONCE];
	unsigned known, i, k;

	for (known = 0; known < n; known += k) {
		for (k = 0; k < CROWD_AT_ONCE && known + k < n; k++)
			pids[k] = visitor(s->daemon.address.sun_path);
		/* The daemon looks at a process at its first beat: it should
		 * still be there. */
		support_sleep_ms(SETTLE_MS);
		for (i = 0; i < k; i++)
			support_kill(pids[i]);
	}
	support_sleep_ms(SETTLE_MS);
}

static void
measure(struct scene *s, unsigned rounds, const char *part)
{
	struct sample_rounds cost = { .n = 0 };
	double floor;
	unsigned i;

	s->sent = s->dropped = 0;
	for (i = 0; i < rounds; i++) {
		floor = reader_cost(s);
		sample_round(&cost, daemon_cost(s), floor);
	}
	sample_begin(part);
	sample_ratio(&cost, "ns/frame");
	sample_number("agents_known",
	    (double)daemon_metric(&s->daemon, "varta_watch_pids_tracked"));
	sample_number("sent", (double)s->sent);
	sample_number("refused", (double)s->dropped);
	sample_end();
}

int
main(int argc, char **argv)
{
	static const char *const keys[] = { "ingest_vs_recv", NULL };
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
	    &(struct daemon_options){ .threshold_ms = 3600000,
		.capacity = CAPACITY,
		.cpu = options.cpu_reader,
		.metrics = true },
	    &scene.daemon);
	support_address("bare.sock", &targets[0]);
	targets[1] = scene.daemon.address;
	reader_start(
	    READER_BATCHED, options.cpu_reader, &targets[0], &scene.reader);
	scene.agents = agents_new(AGENTS, options.cpu_sender, targets, 2);
	agents_beat_once(scene.agents, 1);

	sample_begin("ingest_vs_recv");
	sample_begin("parts");
	measure(&scene, options.rounds, "50_agents");
	crowd(&scene, options.quick ? CROWD_QUICK : CROWD);
	measure(&scene, options.rounds, "full_of_pids");
	sample_end();
	sample_end();
	sample_finish();

	agents_free(scene.agents);
	reader_stop(&scene.reader);
	daemon_stop(&scene.daemon);
	return support_end();
}
