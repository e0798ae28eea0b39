/*
 * idle_wakeups_per_s: how often the daemon wakes when 50 agents are known and
 * nothing is due.
 * rss_kib: its resident memory at start, and with 4,096 agents.
 */
#include "agents.h"
#include "daemon.h"
#include "sample.h"
#include "support.h"

enum {
	AGENTS = 50,
	WINDOW_S = 20,
	WINDOW_QUICK_S = 3,
	/* The daemon may finish what the start and the beats have left. */
	SETTLE_MS = 2000,
	CROWD = 4096,
	QUEUE = 1024,
	THRESHOLD_MS = 3600000
};

static void
measure_idle(const struct support_options *options)
{
	struct daemon_options what = { .threshold_ms = THRESHOLD_MS,
		.cpu = -1 };
	uint64_t voluntary, cpu_ns;
	struct daemon daemon;
	struct agents *agents;
	unsigned window_s;

	window_s = options->quick ? WINDOW_QUICK_S : WINDOW_S;
	daemon_start(options, &what, &daemon);
	agents = agents_new(AGENTS, -1, &daemon.address, 1);
	agents_beat_once(agents, 0);
	support_sleep_ms(SETTLE_MS);
	voluntary = support_status(daemon.pid, "voluntary_ctxt_switches");
	cpu_ns = support_cpu_ns(daemon.pid);
	support_sleep_ms(window_s * 1000);
	voluntary =
	    support_status(daemon.pid, "voluntary_ctxt_switches") - voluntary;
	cpu_ns = support_cpu_ns(daemon.pid) - cpu_ns;

	sample_begin("idle_wakeups_per_s");
	sample_number("value", (double)voluntary / window_s);
	sample_number("floor", 0);
	sample_number("n", 1);
	sample_text("unit", "1/s");
	sample_number("window_s", window_s);
	sample_number("wakeups", (double)voluntary);
	sample_number("cpu_us", (double)cpu_ns / 1000);
	sample_end();
	agents_free(agents);
	daemon_stop(&daemon);
}

static void
measure_memory(const struct support_options *options)
{
	struct daemon_options what = {
		.threshold_ms = THRESHOLD_MS, .cpu = -1, .metrics = true
	};
	uint64_t at_start, with_crowd;
	struct daemon daemon;
	struct agents *agents;

	daemon_start(options, &what, &daemon);
	at_start = support_status_kib(daemon.pid, "VmRSS");
	agents = agents_new(CROWD, -1, &daemon.address, 1);
	agents_beat_once(agents, 0);
	with_crowd = support_status_kib(daemon.pid, "VmRSS");

	sample_begin("rss_kib");
	sample_number("value", (double)at_start);
	sample_number("with_4096_agents", (double)with_crowd);
	sample_number("agents_known",
	    (double)daemon_metric(&daemon, "varta_watch_pids_tracked"));
	sample_number("n", 1);
	sample_text("unit", "KiB");
	sample_end();
	agents_free(agents);
	daemon_stop(&daemon);
}

int
main(int argc, char **argv)
{
	struct support_options options;

	support_start(argc, argv, 1, &options);
	/* 4,096 first beats come quicker; no result depends on it. */
	(void)support_long_queue(QUEUE);
	measure_idle(&options);
	measure_memory(&options);
	sample_finish();
	return support_end();
}
