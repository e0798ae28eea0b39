/*
 * Pause: were we late ourselves?
 *
 * The observer notes when each pass began and ended and when the next one had
 * to begin. When it began later than that by more than a tolerance, or a pass
 * itself took so long, then agents cannot be blamed for beats that nobody could
 * take: the time since we last listened does not count as their silence. After
 * such a gap an agent has what was left of its threshold when we last listened,
 * never more than one whole. Decision 10 of this project. Pure.
 *
 * A stop signal may also fall into a time in which nothing was due. It then
 * shows in beats that were waiting when the process was continued, of which the
 * kernel may have refused others; without them nobody was kept waiting, however
 * long the stop was. How long it was nobody tells: all of the time since we
 * last listened is given back.
 */
#ifndef WATCH_JUDGE_PAUSE_H
#define WATCH_JUDGE_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PAUSE_TOLERANCE_MS = 50, /* of lateness that is nobody's business */
	PAUSE_KEPT = 8           /* gaps remembered one by one */
};

struct pause_gap {
	uint64_t end_ns;
	uint64_t length_ns;
};

struct pause {
	uint64_t listened_at_ns; /* begin of the last pass */
	uint64_t slept_at_ns;    /* end of the last pass */
	uint64_t wake_by_ns;     /* when the next had to begin; NS_NEVER */
	struct pause_gap gaps[PAUSE_KEPT]; /* newest first */
	unsigned n_gaps;
};

void pause_init(struct pause *p, uint64_t now_ns);

/* A pass ended; the next one must begin by wake_by_ns, or NS_NEVER. */
void pause_sleep(struct pause *p, uint64_t now_ns, uint64_t wake_by_ns);

/*
 * A pass begins. kept_waiting: the process has just been continued by a signal,
 * and beats were waiting.
 *
 * Returns the gap that is given back, 0 when we were in time.
 */
uint64_t pause_wake(struct pause *p, uint64_t now_ns, bool kept_waiting);

/* What does not count as silence of an agent that was last seen then. Gaps
 * older than the last PAUSE_KEPT are merged, in favour of the agents. */
uint64_t pause_credit_ns(const struct pause *p, uint64_t last_seen_ns);

#endif
