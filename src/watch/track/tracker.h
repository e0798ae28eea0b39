/*
 * Tracker: who is alive, who is due.
 *
 * A table of agents with fixed capacity, its identity map and its deadline
 * wheel, in one allocation. Implements the update rules of the reference, with
 * new sessions, terms for each agent, and stable slots: an agent keeps its
 * slot until it is removed. Pure: no I/O, no clock; descriptors in identities
 * are stored, never used or closed.
 *
 * A beat of a known agent compares and stores; it touches no timer. Deadlines
 * are noticed never early, and at most one slot of the wheel late. Times never
 * go back; the caller sees to that.
 *
 * All that is decided here is counted here: beats, joins, resumes, stalls,
 * beats that were limited, out of order or of a weaker origin, new sessions,
 * wraps, evictions and joins that found no room.
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
	bool note_intervals;     /* between beats, in stats; 1.5 ns a beat */
};

/* What an agent is held to; set when it joins. */
struct agent_terms {
	uint64_t threshold_ns;
	uint64_t grace_ns; /* not judged so long after its first beat; 0 none */
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

/* A second round over the batch, when what tracker_prefetch() has asked for may
 * have come: ask for the records that tracker_beat() will need. Does nothing
 * for a table so small that it is at hand anyway. */
void tracker_prefetch_record(const struct tracker *t, uint64_t id);

/* True when the process behind the slot is known to have ended: the next beat
 * with its pid needs a look at who sends it. */
bool tracker_is_gone(const struct tracker *t, uint32_t slot);

/*
 * A beat of the agent at slot. The rules, in this order:
 *
 * Rate. A beat is limited when it comes earlier than the full rate allows. It
 * may come up to 50 ms early, less a twentieth of the interval, because the
 * observer drains its queue now and then and sees beats in bunches: none at
 * one a second, 49.5 ms at a hundred a second. A change of status, a terminal
 * edge and a stronger origin always pass, and are not paid for later.
 *
 * Origin. A weaker one than the agent's is a conflict. A stronger one becomes
 * the agent's, and order starts over.
 *
 * Order. A terminal frame must have a greater timestamp than the last. Any
 * other must have a greater nonce, but for a wrap from the highest 2^20 to the
 * lowest, and for a new session: one that the intake knows of; a lower nonce
 * with a lower timestamp, from a process that the kernel names or from a socket
 * that nobody but its mode protects; over a network, any nonce after a silence
 * of the threshold, as long as no start time is known.
 *
 * A beat that is not accepted changes nothing but a counter.
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
 * A new agent, whose identity is not tracked; the beat is its first, and is
 * accepted. One that is a mere contact counts as none: the agent is not judged
 * before its first. When the table is full one agent may be evicted, if the
 * next scan_window slots have one that is stalled, and gone or silent for more
 * than ten thresholds; else, when evicting is balanced, one that is merely
 * silent for so long. *ret_evicted is then what it was (its pidfd is now the
 * caller's to close), and *ret_did_evict is true.
 *
 * Costs a walk over all deadlines when the only free slots are still filed for
 * a later time than the new agent's deadline.
 *
 * Returns the slot, or SLOT_NONE when there is no room (counted).
 */
uint32_t tracker_join(struct tracker *t, const struct beat *beat,
    const struct identity *identity, const struct agent_terms *terms,
    uint64_t now_ns, struct agent_view *ret_evicted, bool *ret_did_evict);

/* Whether the agent has ever beaten. */
bool tracker_has_beaten(const struct tracker *t, uint32_t slot);

/* From now on the agent is not evicted, or again like any other. */
void tracker_hold(struct tracker *t, uint32_t slot, bool held);

/* Forget the agent. Its pidfd is the caller's to close. */
void tracker_remove(struct tracker *t, uint32_t slot);

/* The process has ended; the agent stays, to stall at its deadline. Its pidfd
 * is the caller's to close, and -1 from here on. */
void tracker_set_gone(struct tracker *t, uint32_t slot);

/*
 * Hold the agent to other terms. With another threshold it is not judged
 * before that has passed once, and a grace under way does not get shorter: new
 * terms by themselves make nobody stall. They count only after
 * tracker_rearm().
 */
void tracker_set_terms(struct tracker *t, uint32_t slot,
    const struct agent_terms *terms, uint64_t now_ns);

/* After tracker_set_terms(), once for all: every deadline is noted anew. Costs
 * a walk over all agents. */
void tracker_rearm(struct tracker *t, uint64_t now_ns);

/* An agent that owes a beat: past its own deadline and not stalled yet. */
struct tracker_due {
	uint32_t slot;
	uint64_t last_seen_ns;
	uint64_t threshold_ns;
	uint64_t deadline_ns; /* grace and delays included */
};

/*
 * The agents whose deadline has come at now_ns, at most max. Each is then
 * filed nowhere: the caller must tracker_stall() or tracker_defer() it at
 * once. Agents that have beaten since they were filed are filed again and do
 * not appear.
 *
 * Returns how many; max means: call again. A call looks at some thousands of
 * agents at most: when more have come up at once, tracker_next_ns() will say
 * that the next look is due now.
 */
size_t tracker_due(
    struct tracker *t, uint64_t now_ns, struct tracker_due *ret, size_t max);

/* Look again no earlier than at_ns. */
void tracker_defer(struct tracker *t, uint32_t slot, uint64_t at_ns);

/* The agent has stalled: latched until its next accepted beat, counted once.
 * May be said of any agent, whether it was due or not. */
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
bool tracker_row(const struct tracker *t, uint32_t slot, struct agent_row *ret);
uint32_t tracker_slots(const struct tracker *t);
uint32_t tracker_count(const struct tracker *t);

/* Agents that are stalled and of whose process a pidfd says that it is there.
 */
uint32_t tracker_hanging(const struct tracker *t);

/* Agents whose process has ended, and who only keep their place. */
uint32_t tracker_gone(const struct tracker *t);

#endif
