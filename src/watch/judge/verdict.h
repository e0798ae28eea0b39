/*
 * Verdict: has this agent stalled, and why?
 *
 * Called for an agent past its own deadline, after everything that was queued
 * has been read. Pure.
 */
#ifndef WATCH_JUDGE_VERDICT_H
#define WATCH_JUDGE_VERDICT_H

#include <stdint.h>

#include "watch/event.h"

enum verdict_kind {
	VERDICT_STALLED = 0,
	VERDICT_WAIT /* not yet: look again at look_at_ns */
};

struct verdict {
	enum verdict_kind kind;
	enum stall_reason why;
	uint64_t look_at_ns;
};

/* credit_ns: what the observer's own lateness gives back to this agent. */
struct verdict verdict_of(
    const struct agent_view *agent, uint64_t credit_ns, uint64_t now_ns);

#endif
