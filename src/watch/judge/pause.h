/*
 * Pause: were we late ourselves?
 *
 * The observer notes when it went to sleep, when it had to be up again, and
 * when it was. When it was later than its tolerance, or has been stopped and
 * continued, agents cannot be blamed for beats that nobody could take: each
 * gets back the time since the last pass ended, at most one threshold.
 * Decision 10 of this project. Pure.
 */
#ifndef WATCH_JUDGE_PAUSE_H
#define WATCH_JUDGE_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PAUSE_TOLERANCE_MS = 50, /* of lateness that blames nobody */
	PAUSE_KEPT = 8		 /* gaps remembered one by one */
};

struct pause_gap {
	uint64_t end_ns;
	uint64_t length_ns;
};

struct pause {
	uint64_t slept_at_ns; /* end of the last pass */
	uint64_t wake_by_ns;  /* when the next had to begin; NS_NEVER */
	struct pause_gap gaps[PAUSE_KEPT]; /* newest first */
	unsigned n_gaps;
};

void pause_init(struct pause *p, uint64_t now_ns);

/* A pass ended; the next one must begin by wake_by_ns, or NS_NEVER. */
void pause_sleep(struct pause *p, uint64_t now_ns, uint64_t wake_by_ns);

/*
 * A pass begins. stopped: the process was continued after a stop signal since
 * the last pass; missed_ns: how much longer than this clock says the machine
 * itself was away (suspend), else 0.
 *
 * Returns the gap to give back, 0 when we were in time.
 */
uint64_t pause_wake(
    struct pause *p, uint64_t now_ns, bool stopped, uint64_t missed_ns);

/* What an agent last seen then, with this threshold, gets back in all. */
uint64_t pause_credit_ns(
    const struct pause *p, uint64_t last_seen_ns, uint64_t threshold_ns);

#endif
