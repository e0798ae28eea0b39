/*
 * lane_watch_cpu: what it costs the daemon to watch 4,032 lanes, each with a
 * threshold of a second and a thousand beats in it. It does not depend on the
 * rate of beats, since a beat tells nobody.
 *
 * Floor: a process that a timer wakes as often as the daemon may be woken at
 * most, every 10 ms, and that looks at as many records as are due by then.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <varta/varta.h>

#include "base/util.h"
#include "daemon.h"
#include "lib/lane_page.h"
#include "sample.h"
#include "support.h"

enum {
	ROUNDS = 5,
	PROCESSES = 4,
	LANES = PROCESSES * LANES_MAX,
	THRESHOLD_MS = 1000,
	BEAT_US = 1000,
	TICK_MS = 10,
	LOOKS_A_TICK = LANES * TICK_MS / THRESHOLD_MS,
	WINDOW_S = 8,
	WINDOW_QUICK_S = 2,
	SETTLE_MS = 2500
};

/* A process with as many lanes as one can have, all of which beat. */
static _Noreturn void
beat_all(const char *address)
{
	static struct varta_lane *lanes[LANES_MAX];
	struct varta_agent *agent;
	char name[LANE_NAME_BYTES];

	support_check(varta_open(address, &agent), "varta_open");
	for (int i = 0; i < LANES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "lane-%d", i);
		support_check(
		    varta_lane_open(agent, name, THRESHOLD_MS, &lanes[i]),
		    "varta_lane_open");
	}
	support_check(varta_lanes_attach(agent), "varta_lanes_attach");
	for (;;) {
		for (int i = 0; i < LANES_MAX; i++)
			varta_lane_beat(lanes[i]);
		(void)usleep(BEAT_US);
	}
}

/* The floor: wake up, look at what is due, sleep. */
static _Noreturn void
look_by_timer(const _Atomic uint64_t *records)
{
	const struct itimerspec every = {
		.it_value.tv_nsec = TICK_MS * 1000000,
		.it_interval.tv_nsec = TICK_MS * 1000000,
	};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t ticks, oldest = UINT64_MAX;
	size_t at = 0;

	if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) < 0)
		support_die("timerfd: %s", strerror(errno));
	for (;;) {
		if (read(fd, &ticks, sizeof(ticks)) < 0)
			support_die("timerfd: %s", strerror(errno));
		for (int i = 0; i < LOOKS_A_TICK; i++, at++) {
			uint64_t seen = atomic_load_explicit(
			    &records[at % LANES * 8], memory_order_relaxed);

			oldest = u64_min(oldest, seen);
		}
		/* So that the loop is not left out. */
		if (oldest == 1)
			(void)usleep(1);
	}
}

static uint64_t
cpu_over(pid_t pid, unsigned window_s)
{
	uint64_t cpu_ns = support_cpu_ns(pid);

	support_sleep_ms(window_s * 1000);
	return support_cpu_ns(pid) - cpu_ns;
}

/* Both run all the time; the windows take turns. */
static void
measure(const struct support_options *options, const struct daemon *daemon,
    pid_t floor)
{
	unsigned window_s = options->quick ? WINDOW_QUICK_S : WINDOW_S;
	struct sample_rounds rounds = { .n = 0 };
	uint64_t looks = daemon_metric(daemon, "varta_lane_looks_total");

	for (unsigned i = 0; i < options->rounds; i++) {
		double subject = (double)cpu_over(daemon->pid, window_s);

		sample_round(&rounds, subject / window_s / 1e7,
		    (double)cpu_over(floor, window_s) / window_s / 1e7);
	}
	looks = daemon_metric(daemon, "varta_lane_looks_total") - looks;
	sample_begin("lane_watch_cpu");
	sample_number("value", sample_subject(&rounds));
	sample_number("floor", sample_floor(&rounds));
	sample_number("n", (double)rounds.n);
	sample_text("unit", "%");
	sample_number("lanes", LANES);
	sample_number(
	    "looks_per_s", (double)looks / (2.0 * window_s * options->rounds));
	sample_number("stalls",
	    (double)daemon_metric(daemon, "varta_lane_stalls_all_total"));
	sample_end();
}

int
main(int argc, char **argv)
{
	static const char *const more[] = { "--lanes-max", "8192", NULL };
	struct daemon_options what = { .threshold_ms = THRESHOLD_MS,
		.cpu = -1,
		.metrics = true,
		.more = more };
	struct support_options options;
	struct daemon daemon;
	_Atomic uint64_t *records;
	pid_t pid;

	support_start(argc, argv, ROUNDS, &options);
	what.cpu = options.cpu_reader;
	daemon_start(&options, &what, &daemon);
	records = support_shared((size_t)LANES * LANE_RECORD_BYTES);
	for (int i = 0; i < PROCESSES; i++)
		if (support_fork(options.cpu_sender) == 0)
			beat_all(daemon.address.sun_path);
	pid = support_fork(options.cpu_reader);
	if (pid == 0)
		look_by_timer(records);
	daemon_await(&daemon, "varta_lanes", LANES);
	support_sleep_ms(SETTLE_MS);
	measure(&options, &daemon, pid);
	daemon_stop(&daemon);
	sample_finish();
	return support_end();
}
