/*
 * Many agents, each a process of its own that beats through the library by a
 * plan: as fast as it goes, at a rate, or once at a given time.
 *
 * The processes are made once; then plans are run, one after the other, each
 * for all agents. The addresses are opened at the start of a process, so that
 * a plan costs nothing but its beats. An address need not exist yet.
 */
#ifndef BENCH_AGENTS_H
#define BENCH_AGENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "support.h"

enum { AGENTS_TARGETS_MAX = 2 };

struct agents;

struct agents_plan {
	unsigned target;     /* which of the addresses */
	uint64_t start_ns;   /* CLOCK_MONOTONIC; the first beat of agent 0 */
	uint64_t spacing_ns; /* agent i begins i times this later */
	uint64_t jitter_ns;  /* and by less than this later still, at random */
	uint64_t period_ns;  /* from beat to beat; 0: as fast as it goes */
	uint64_t beats;      /* of each agent; 0: until agents_finish() */
	bool insist;         /* try a refused beat again, 1 ms later */
};

struct agents_tally {
	uint64_t sent;
	uint64_t dropped;
};

/* n processes on cpu, with n_targets addresses. */
struct agents *agents_new(
    unsigned n, int cpu, const struct sockaddr_un *targets, unsigned n_targets);

/* Begin. The plan before must have been finished. */
void agents_run(struct agents *a, const struct agents_plan *plan);

/* Wait until all agents are through with their beats (0: tell them to stop),
 * and give what they sent and lost under this plan. */
struct agents_tally agents_finish(struct agents *a);

/* One plan of a single beat of each, in turn, to target. */
void agents_beat_once(struct agents *a, unsigned target);

pid_t agents_pid(const struct agents *a, unsigned i);

/* Kill and reap all. */
void agents_free(struct agents *a);

#endif
