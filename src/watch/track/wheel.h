/*
 * Deadline wheel: which agents are due to be looked at now?
 *
 * Levels of 64 slots, each level 64 times as coarse as the one below. A slot
 * holds chunks of agent indexes (arrays, so that the walk can be prefetched).
 * Nothing is allocated after wheel_init(). The wheel never decides that an
 * agent has stalled: it only says when to look, never early and at most one
 * slot of the finest level late. The caller looks at the agent's own deadline
 * and files it again when that lies ahead.
 *
 * There is no removal: an agent that has left stays filed until its time
 * comes, or until wheel_sweep() takes all such out. Times never go back: an
 * earlier now_ns than the last is taken as the last.
 */
#ifndef WATCH_TRACK_WHEEL_H
#define WATCH_TRACK_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wheel;

/* Bytes that wheel_init() needs for this many agents; 0 when the number is 0
 * or too large. */
size_t wheel_size(uint32_t agents);

/*
 * Lay a wheel out in mem, which must hold wheel_size(agents) bytes, be aligned
 * to 64 and outlive the wheel. slot_ns is the width of a finest slot.
 *
 * Returns the wheel (it is mem), or NULL when agents or slot_ns is 0.
 */
struct wheel *wheel_init(void *mem, uint32_t agents, uint64_t slot_ns,
    uint64_t now_ns);

/*
 * File agent to be looked at no earlier than at_ns (at the next slot when that
 * has passed; NS_NEVER and other far times at the horizon of the wheel). It
 * must not be filed already.
 */
void wheel_put(struct wheel *w, uint32_t agent, uint64_t at_ns);

/*
 * Take the agents that are due at now_ns, at most max of them, into out. Time
 * spent is bounded by max plus the number of slots that have passed.
 *
 * Returns how many were taken; max means: call again.
 */
size_t wheel_take(
    struct wheel *w, uint64_t now_ns, uint32_t *out, size_t max);

/* The exact time of the earliest filed agent's slot, or NS_NEVER. No wake-up
 * is ever needed before it. */
uint64_t wheel_next_ns(const struct wheel *w);

/* Drop every filed agent for which keep() says no. Costs a walk over all. */
void wheel_sweep(struct wheel *w, bool (*keep)(void *ctx, uint32_t agent),
    void *ctx);

#endif
