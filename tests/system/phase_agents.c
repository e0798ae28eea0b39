/*
 * phase_agents: many agents that beat at the same instants, for the tests of
 * the kernel's queue.
 *
 * usage: phase_agents SOCKET AGENTS BEATS INTERVAL_MS
 *
 * Each agent is a process with an agent of libvarta. All beat at the same
 * absolute times. At the end one line of JSON says what became of the beats,
 * summed over all agents, and by how much the latest beat missed its time.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <varta/varta.h>

#include "base/text.h"
#include "base/util.h"

enum {
	AGENTS_MAX = 4096,
	/* For a process to be made and come to its first beat. */
	START_MS = 300,
	START_MS_A_HUNDRED = 200
};

struct plan {
	const char *address;
	uint32_t agents;
	uint32_t beats;
	uint64_t interval_ns;
	uint64_t start_ns;
};

/* One for each agent, in memory that they share with their parent. */
struct report {
	struct varta_counters counters;
	uint64_t latest_ns;
};

static uint64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void
sleep_until(uint64_t at_ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(at_ns / NS_PER_S),
		.tv_nsec = (long)(at_ns % NS_PER_S),
	};

	while (
	    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* The life of an agent; its exit code. */
static int
live(const struct plan *plan, struct report *ret)
{
	struct varta_agent *agent;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    varta_open(plan->address, &agent) < 0)
		return EXIT_FAILURE;
	for (uint32_t i = 0; i < plan->beats; i++) {
		uint64_t at_ns = plan->start_ns + i * plan->interval_ns;

		sleep_until(at_ns);
		ret->latest_ns = u64_max(ret->latest_ns, now_ns() - at_ns);
		(void)varta_beat(agent, VARTA_OK, i);
	}
	varta_counters_get(agent, &ret->counters);
	varta_close(agent);
	return EXIT_SUCCESS;
}

/* How many of the agents did not come to their end. */
static uint32_t
wait_for_all(uint32_t agents)
{
	uint32_t failed = 0;
	int status;

	while (agents > 0) {
		if (wait(&status) >= 0) {
			failed += status != 0;
			agents--;
		} else if (errno != EINTR) {
			return failed + agents;
		}
	}
	return failed;
}

static void
print(const struct plan *plan, const struct report *reports, uint32_t failed)
{
	struct report sum = { .latest_ns = 0 };

	for (uint32_t i = 0; i < plan->agents; i++) {
		const struct varta_counters *c = &reports[i].counters;

		sum.counters.sent += c->sent;
		sum.counters.dropped_queue_full += c->dropped_queue_full;
		sum.counters.dropped_no_observer += c->dropped_no_observer;
		sum.counters.dropped_peer_gone += c->dropped_peer_gone;
		sum.counters.dropped_storage_full += c->dropped_storage_full;
		sum.counters.failed += c->failed;
		sum.latest_ns = u64_max(sum.latest_ns, reports[i].latest_ns);
	}
	(void)printf("{\"failed_agents\": %" PRIu32 ", \"sent\": %" PRIu64
		     ", \"queue_full\": %" PRIu64 ", \"no_observer\": %" PRIu64
		     ", \"peer_gone\": %" PRIu64 ", \"storage_full\": %" PRIu64
		     ", \"failed\": %" PRIu64 ", \"latest_ns\": %" PRIu64 "}\n",
	    failed, sum.counters.sent, sum.counters.dropped_queue_full,
	    sum.counters.dropped_no_observer, sum.counters.dropped_peer_gone,
	    sum.counters.dropped_storage_full, sum.counters.failed,
	    sum.latest_ns);
}

static int
run(struct plan *plan)
{
	size_t size = plan->agents * sizeof(struct report);
	struct report *reports = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t started = 0, failed;

	if (reports == MAP_FAILED)
		return EXIT_FAILURE;
	plan->start_ns = now_ns() + (START_MS + (uint64_t)plan->agents *
						    START_MS_A_HUNDRED / 100) *
					NS_PER_MS;
	while (started < plan->agents) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(live(plan, &reports[started]));
		if (pid < 0)
			break;
		started++;
	}
	failed = plan->agents - started + wait_for_all(started);
	print(plan, reports, failed);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char *argv[])
{
	struct plan plan;
	uint32_t interval_ms;

	if (argc != 5 || text_to_u32(argv[2], AGENTS_MAX, &plan.agents) < 0 ||
	    plan.agents == 0 ||
	    text_to_u32(argv[3], UINT32_MAX, &plan.beats) < 0 ||
	    text_to_u32(argv[4], UINT32_MAX, &interval_ms) < 0) {
		(void)fputs("usage: phase_agents SOCKET AGENTS BEATS "
			    "INTERVAL_MS\n",
		    stderr);
		return 2;
	}
	plan.address = argv[1];
	plan.interval_ns = interval_ms * NS_PER_MS;
	return run(&plan);
}
