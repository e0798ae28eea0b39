/*
 * Tracker: who is alive, who is due.
 *
 * A table of agents with fixed capacity, its identity map and its deadline
 * wheel, in one allocation. Implements the update rules of the reference
 * (observer page 2.2) with decisions 4, 7 and 9 of this project. Pure: no
 * I/O, no clock; descriptors in identities are stored, never used or closed.
 *
 * A beat of a known agent stores and compares; it touches no timer. Slots are
 * stable: an agent keeps its slot until it is removed.
 */
#ifndef WATCH_TRACK_TRACKER_H
#define WATCH_TRACK_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/stats.h"

enum { TRACKER_CAPACITY_DEFAULT = 4096, TRACKER_CAPACITY_MAX = 1048576 };

enum tracker_eviction {
	TRACKER_EVICT_STRICT = 0, /* stalled agents only */
	TRACKER_EVICT_BALANCED    /* else any that is silent long enough */
};

struct tracker_options {
	uint32_t capacity; /* 1 to TRACKER_CAPACITY_MAX */
	enum tracker_eviction eviction;
	uint32_t scan_window;    /* slots looked at for one eviction, from 1 */
	uint32_t max_rate_per_s; /* of one agent; 0 no limit */
	uint64_t slot_ns;        /* finest slot of the wheel */
	uint64_t seed[2];        /* of the identity map; secret */
};

/* What an agent is held to; set when it joins. */
struct agent_terms {
	uint64_t threshold_ns;
	uint64_t grace_ns; /* not judged so long after its first beat */
};

enum tracker_outcome {
	TRACKER_ACCEPTED = 0,
	TRACKER_RESUMED, /* accepted, and it was stalled */
	TRACKER_RATE_LIMITED,
	TRACKER_OUT_OF_ORDER, /* counted by cause */
	TRACKER_ORIGIN_CONFLICT,
	TRACKER_OUTCOME_COUNT
};

struct tracker;

/* User memory in all for these options, bytes. */
size_t tracker_bytes(const struct tracker_options *options);

/*
 * Everything is allocated here. stats is borrowed. 0, -EINVAL (a value out of
 * its range) or -ENOMEM.
 */
int tracker_new(const struct tracker_options *options, struct stats *stats,
    uint64_t now_ns, struct tracker **ret);

/* Takes NULL. */
void tracker_free(struct tracker *t);

/* The slot of an identity, or SLOT_NONE. */
uint32_t tracker_find(const struct tracker *t, uint64_t id);

/* Ask for the memory that tracker_find(id) will need. */
void tracker_prefetch(const struct tracker *t, uint64_t id);

/* True when the process behind the slot is known to have ended: the next beat
 * with its pid needs a look at who sends it. */
bool tracker_is_gone(const struct tracker *t, uint32_t slot);

/*
 * A beat of the agent at slot. Rules in order: per-agent rate (a generic cell
 * rate with a tolerance for late draining; never for a change of status nor
 * for a terminal edge), origin, terminal order, nonce order with the wrap
 * rule, and a new session: from a kernel-attested process, a lower nonce with
 * a lower timestamp starts over.
 */
enum tracker_outcome tracker_beat(
    struct tracker *t, uint32_t slot, const struct beat *beat, uint64_t now_ns);

/*
 * True when the frame is the first terminal one after a regular one (or the
 * first at all) of its agent, known or not, with a newer terminal timestamp:
 * it passes both rate limits.
 */
bool tracker_is_terminal_edge(
    const struct tracker *t, uint32_t slot, const struct beat *beat);

/*
 * A new agent, whose identity is not tracked. When the table is full one agent
 * may be evicted: *ret_evicted is then what it was (its pidfd is now the
 * caller's to close), and *ret_did_evict is true.
 *
 * Returns the slot, or SLOT_NONE when there is no room (counted).
 */
uint32_t tracker_join(struct tracker *t, const struct beat *beat,
    const struct identity *identity, const struct agent_terms *terms,
    uint64_t now_ns, struct agent_view *ret_evicted, bool *ret_did_evict);

/* Forget the agent. Its pidfd is the caller's to close. */
void tracker_remove(struct tracker *t, uint32_t slot);

/* The process has ended; the agent stays, to stall at its deadline. Its pidfd
 * is the caller's to close, and -1 from here on. */
void tracker_set_gone(struct tracker *t, uint32_t slot);

/* An agent that owes a beat: past its own deadline and not stalled yet. */
struct tracker_due {
	uint32_t slot;
	uint64_t last_seen_ns;
	uint64_t threshold_ns;
};

/*
 * The agents whose deadline has come at now_ns, at most max. Each is then
 * filed nowhere: the caller must tracker_stall() or tracker_defer() it at
 * once. Agents that have beaten since they were filed are filed again and do
 * not appear.
 *
 * Returns how many; max means: call again.
 */
size_t tracker_due(
    struct tracker *t, uint64_t now_ns, struct tracker_due *ret, size_t max);

/* Look again no earlier than at_ns. */
void tracker_defer(struct tracker *t, uint32_t slot, uint64_t at_ns);

/* The agent has stalled: latched until its next accepted beat, counted. */
void tracker_stall(struct tracker *t, uint32_t slot, enum stall_reason why);

/*
 * When the next look is due, or NS_NEVER. Agents filed for a time within
 * ahead_ns that have beaten since are filed again first, so that no wake-up is
 * spent on them.
 */
uint64_t tracker_next_ns(struct tracker *t, uint64_t now_ns, uint64_t ahead_ns);

/* What is known of the agent at slot; false when the slot is free. Slots run
 * from 0 to tracker_slots() - 1. */
bool tracker_view(
    const struct tracker *t, uint32_t slot, struct agent_view *ret);
uint32_t tracker_slots(const struct tracker *t);
uint32_t tracker_count(const struct tracker *t);

#endif
