/*
 * The table behind the tracker: its records and what the files of this room
 * share about them. Nobody else includes this.
 *
 * A slot is in one of these states:
 *
 *	watched   has an agent, and its deadline will be noticed: it is filed
 *	          in the wheel, or a member of a round
 *	due       was handed out because its deadline has come, or has not
 *	          beaten yet
 *	stalled   has an agent that is not judged again before its next beat
 *	free      an agent left
 *	fresh     never used, from n_slots on
 *
 * A slot that is stalled or free may still be filed. A free one that is may
 * serve an agent whose deadline is not earlier than the one it is filed for:
 * the old entry then brings up the new agent, in time or too early. A slot is
 * never filed twice, so the wheel cannot overflow.
 */
#ifndef WATCH_TRACK_TABLE_H
#define WATCH_TRACK_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"
#include "watch/event.h"
#include "watch/stats.h"
#include "watch/track/idmap.h"
#include "watch/track/rounds.h"
#include "watch/track/tracker.h"
#include "watch/track/wheel.h"

/*
 * What makes a beat unusual, and below it status and origin of the agent: one
 * byte, so that one comparison tells that a beat brings no change and that
 * nothing else is to be done.
 */
enum table_state {
	TABLE_STATUS = 3u << 0,
	TABLE_ORIGIN = 3u << 2,
	TABLE_FREE = 1u << 4, /* no agent here */
	TABLE_STALLED = 1u << 5,
	TABLE_UNWATCHED = 1u << 6,     /* due: neither of the next two notes */
	TABLE_AFTER_TERMINAL = 1u << 7 /* the last beat was terminal */
};

_Static_assert((int)ORIGIN_COUNT <= 4 && (int)AGENT_STALLED <= 3, "two bits");

/* What no usual beat needs to know. */
enum table_notes {
	TABLE_FILED = 1u << 0,    /* the wheel has an entry of this slot */
	TABLE_IN_ROUND = 1u << 1, /* a member of a round */
	TABLE_GONE = 1u << 2,
	TABLE_HAS_TERMINAL = 1u << 3, /* terminal_timestamp is known */
	TABLE_HELD = 1u << 4          /* not to be evicted */
};

/* The nonce of a terminal frame. */
#define TABLE_NONCE_TERMINAL UINT64_MAX

/* What a beat and a look at the deadline touch: one cache line. */
struct table_hot {
	_Alignas(64) uint64_t id;
	uint64_t last_seen_ns;
	uint64_t next_nonce;     /* lowest regular one in order; 0 any */
	uint64_t last_timestamp; /* of a regular frame */
	uint64_t beats;
	uint64_t threshold_ns;
	uint64_t hold_ns; /* not judged before */
	uint32_t debt_ns; /* rate limit: last_seen_ns + debt_ns is the time at
			     which the next beat would come at the full rate */
	uint8_t state;    /* enum table_state */
	uint8_t notes;    /* enum table_notes */
	uint16_t unused;
};

struct table_link {
	uint32_t next;
	uint32_t prev;
};

struct table_cold {
	union {
		uint64_t start_ticks;
		struct table_link link; /* free slots that are filed, and next
					   alone for those that are not */
	};
	uint64_t terminal_timestamp;
	uint64_t joined_ns;
	uint32_t pid_namespace;
	uint32_t uid;
	uint32_t stalls;
	int pidfd;
};

struct tracker {
	struct table_hot *hot;
	struct table_cold *cold;
	struct idmap *ids;
	struct wheel *wheel;
	struct rounds rounds;
	struct stats *stats;
	void *memory; /* all of it, this struct included */

	uint64_t quiet_ns;     /* tracker_due() has nothing to do before */
	uint64_t slot_ns;      /* of the wheel */
	uint64_t tolerance_ns; /* of the rate limit: so much earlier is fine */
	uint32_t interval_ns;  /* between two beats at the full rate; 0 none */
	bool note_intervals;

	uint32_t capacity;
	uint32_t n_slots; /* ever used */
	uint32_t n_agents;
	uint32_t n_stalled;
	uint32_t n_hanging; /* of these, whose process is there */
	uint32_t n_gone;
	uint32_t free_unfiled;     /* last in, first out */
	uint32_t free_filed_first; /* first in, first out */
	uint32_t free_filed_last;
	uint32_t scan_window;
	uint32_t scan_next; /* where the search for a victim goes on */
	enum tracker_eviction eviction;
};

/* A pidfd says that its process has not ended. */
static inline bool
table_is_there(const struct tracker *t, uint32_t slot)
{
	return t->cold[slot].pidfd >= 0 &&
	       (t->hot[slot].notes & TABLE_GONE) == 0;
}

/* It beats again, or is about to be forgotten. */
static inline void
table_uncount_stalled(struct tracker *t, uint32_t slot)
{
	t->n_stalled--;
	if (table_is_there(t, slot))
		t->n_hanging--;
}

/* When the agent of this slot owes a beat. Grows only, so a slot is never
 * filed for a later time than this. */
static inline uint64_t
table_deadline_ns(const struct table_hot *h)
{
	return u64_max(
	    u64_add_sat(h->last_seen_ns, h->threshold_ns), h->hold_ns);
}

/* A slot with an agent in it: anything else is a mistake of the caller. */
static inline bool
table_is_used(const struct tracker *t, uint32_t slot)
{
	return slot < t->n_slots && (t->hot[slot].state & TABLE_FREE) == 0;
}

static inline uint8_t
table_origin(const struct table_hot *h)
{
	return (h->state & TABLE_ORIGIN) >> 2;
}

static inline uint8_t
table_status(const struct table_hot *h)
{
	return h->state & TABLE_STATUS;
}

/* The state of an agent of which this was the last beat, and no more. */
static inline uint8_t
table_state_of(const struct beat *beat)
{
	return (uint8_t)(beat->status | beat->origin << 2);
}

static inline bool
table_is_terminal(const struct beat *beat)
{
	return beat->nonce == TABLE_NONCE_TERMINAL;
}

/* See to it that the deadline of the slot will be noticed, if nothing does so
 * yet. What is filed for it in the wheel is never later than it. */
void table_watch(struct tracker *t, uint32_t slot, uint64_t now_ns);

/* The slot is not to be looked at any more. Its entry in the wheel stays. */
void table_unwatch(struct tracker *t, uint32_t slot);

/* The wheel has no entry of this slot any more. */
void table_unfile(struct tracker *t, uint32_t slot);

#endif
