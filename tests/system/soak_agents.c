/*
 * soak_agents: agents that beat as often as they are let, and others that come,
 * beat once and leave, for the test of what the observer uses in the long run.
 *
 * usage: soak_agents SOCKET WORKERS BEATS VISITORS
 *
 * Each worker is a process with an agent of libvarta. Together they send at
 * least so many beats; a beat that the queue refuses is made once more. Between
 * them they start so many visitors, each a process that opens an agent, beats
 * once and ends with 0. At the end one line of JSON says how many beats were
 * sent in all.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <varta/varta.h>

#include "base/text.h"

enum { WORKERS_MAX = 64 };

struct plan {
	const char *address;
	uint32_t workers;
	uint32_t beats;    /* of each worker */
	uint32_t visitors; /* of each worker */
};

/* In memory that all processes share. */
struct totals {
	_Atomic uint64_t sent;
	_Atomic uint64_t refused;
};

/* Until it is taken. */
static int
beat(struct varta_agent *agent, struct totals *totals)
{
	int r;

	while (
	    (r = varta_beat(agent, VARTA_OK, 0)) == VARTA_DROPPED_QUEUE_FULL) {
		atomic_fetch_add(&totals->refused, 1);
		(void)poll(NULL, 0, 1);
	}
	if (r != VARTA_SENT)
		return -1;
	atomic_fetch_add(&totals->sent, 1);
	return 0;
}

/* The life of a visitor; its exit code. */
static int
visit(const struct plan *plan, struct totals *totals)
{
	struct varta_agent *agent;

	if (varta_open(plan->address, &agent) < 0 || beat(agent, totals) < 0)
		return EXIT_FAILURE;
	/* Long enough for most of them to be seen alive. */
	(void)poll(NULL, 0, 1);
	return EXIT_SUCCESS;
}

static int
start_visitor(const struct plan *plan, struct totals *totals)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(visit(plan, totals));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return -1;
	return 0;
}

/* The life of a worker; its exit code. */
static int
work(const struct plan *plan, struct totals *totals)
{
	uint32_t started = 0;
	struct varta_agent *agent;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    varta_open(plan->address, &agent) < 0)
		return EXIT_FAILURE;
	for (uint32_t i = 1; i <= plan->beats; i++) {
		if (beat(agent, totals) < 0)
			return EXIT_FAILURE;
		for (; (uint64_t)started * plan->beats <
		       (uint64_t)i * plan->visitors;
		     started++)
			if (start_visitor(plan, totals) < 0)
				return EXIT_FAILURE;
	}
	varta_close(agent);
	return EXIT_SUCCESS;
}

/* How many of the workers did not come to their end. */
static uint32_t
wait_for_all(uint32_t workers)
{
	uint32_t failed = 0;
	int status;

	while (workers > 0) {
		if (wait(&status) >= 0) {
			failed += status != 0;
			workers--;
		} else if (errno != EINTR) {
			return failed + workers;
		}
	}
	return failed;
}

static int
run(const struct plan *plan)
{
	struct totals *totals = mmap(NULL, sizeof(*totals),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t started = 0, failed;

	if (totals == MAP_FAILED)
		return EXIT_FAILURE;
	while (started < plan->workers) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(work(plan, totals));
		if (pid < 0)
			break;
		started++;
	}
	failed = plan->workers - started + wait_for_all(started);
	(void)printf("{\"failed_workers\": %" PRIu32 ", \"sent\": %" PRIu64
		     ", \"refused\": %" PRIu64 "}\n",
	    failed, atomic_load(&totals->sent), atomic_load(&totals->refused));
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char *argv[])
{
	struct plan plan;
	uint32_t beats, visitors;

	if (argc != 5 || text_to_u32(argv[2], WORKERS_MAX, &plan.workers) < 0 ||
	    plan.workers == 0 || text_to_u32(argv[3], UINT32_MAX, &beats) < 0 ||
	    text_to_u32(argv[4], UINT32_MAX, &visitors) < 0) {
		(void)fputs(
		    "usage: soak_agents SOCKET WORKERS BEATS VISITORS\n",
		    stderr);
		return 2;
	}
	plan.address = argv[1];
	plan.beats = beats / plan.workers;
	plan.visitors = visitors / plan.workers;
	return run(&plan);
}
