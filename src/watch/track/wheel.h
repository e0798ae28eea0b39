/*
 * Deadline wheel: which agents are due to be looked at now?
 *
 * Four levels of 64 slots, each level 64 times as coarse as the one below. A
 * slot holds chunks of agent indexes: arrays, so that the records of many
 * agents can be asked for at once. Nothing is allocated after wheel_init().
 *
 * The wheel never decides that an agent has stalled, it only says when to
 * look: never later than one slot of the finest level after the time for which
 * the agent was filed, but often earlier. A coarse slot is handed out whole
 * when its time begins, and what is not due yet is filed again by the caller,
 * who looks at the agent's own deadline in any case. Most agents have beaten
 * since and go far ahead at once, so that moving them from level to level
 * would be work for nothing.
 *
 * Agents are numbers, and nothing is looked up by them: there is no removal.
 * An agent that has left stays filed until its time comes, or until
 * wheel_sweep() takes all such out. Times never go back: an earlier now_ns
 * than the last is taken as the last.
 */
#ifndef WATCH_TRACK_WHEEL_H
#define WATCH_TRACK_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wheel;

/* Bytes that wheel_init() needs for this many agents; 0 when the number is 0
 * or above 2^24. */
size_t wheel_size(uint32_t agents);

/*
 * Lay a wheel out in mem, which must hold wheel_size(agents) bytes, be aligned
 * to 64 and outlive the wheel. slot_ns is the width of a finest slot.
 *
 * Returns the wheel (it is mem), or NULL when agents or slot_ns is out of
 * range.
 */
struct wheel *wheel_init(
    void *mem, uint32_t agents, uint64_t slot_ns, uint64_t now_ns);

/*
 * File agent to be looked at no later than one slot after at_ns: at the next
 * slot when that has passed; NS_NEVER and other far times at the horizon of
 * the wheel, 2^24 slots ahead. It must not be filed already, and no more
 * agents may be filed at once than the wheel was made for.
 */
void wheel_put(struct wheel *w, uint32_t agent, uint64_t at_ns);

/* wheel_take() has nothing to do before this time. Comes closer with
 * wheel_put() only. */
uint64_t wheel_quiet_ns(const struct wheel *w);

/*
 * Take agents that are to be looked at by now_ns, at most max of them, into
 * out. All that were filed for a time up to the slot of now_ns are among them.
 * Time spent is bounded by max plus the number of slots that hold agents,
 * however long the last call is ago.
 *
 * Returns how many were taken; max means: call again.
 */
size_t wheel_take(struct wheel *w, uint64_t now_ns, uint32_t *out, size_t max);

/*
 * Take agents before their time, those with the earliest first; at most max,
 * all of one slot. The rest of that slot comes with the next calls.
 *
 * Returns how many were taken; 0 when none is filed.
 */
size_t wheel_take_ahead(struct wheel *w, uint32_t *out, size_t max);

/* Let time pass up to now_ns without taking anything. Without it, times are
 * counted from the last wheel_take(), and the horizon with them. */
void wheel_advance(struct wheel *w, uint64_t now_ns);

/*
 * The time of the earliest filed agent, rounded up to its slot, or NS_NEVER.
 * No wake-up is ever needed before it. It is exact, but for a slot of which a
 * part has been taken or swept: then it may be too early by less than the
 * width of that slot.
 */
uint64_t wheel_next_ns(const struct wheel *w);

/* Drop every filed agent for which keep() says no. Costs a walk over all. */
void wheel_sweep(struct wheel *w, bool (*keep)(const void *ctx, uint32_t agent),
    const void *ctx);

#endif
