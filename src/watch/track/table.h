/*
 * The table behind the tracker: its records and what the files of this room
 * share about them. Nobody else includes this.
 *
 * A slot is in one of these states; "filed" is independent of all of them:
 *
 *	tracked   has an agent; filed, unless it is stalled or was just
 *	          handed out as due
 *	stalled   has an agent that is not judged again before its next beat
 *	free      an agent left; its entry in the wheel may still be there
 *	fresh     never used, from n_slots on
 *
 * A free slot that is filed may serve an agent whose deadline is not earlier
 * than the one it is filed for: the old entry then brings up the new agent, in
 * time or too early. A slot is never filed twice, so the wheel cannot overflow.
 */
#ifndef WATCH_TRACK_TABLE_H
#define WATCH_TRACK_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"
#include "watch/event.h"
#include "watch/stats.h"
#include "watch/track/idmap.h"
#include "watch/track/tracker.h"
#include "watch/track/wheel.h"

enum table_flags {
	TABLE_FILED = 1u << 0, /* the wheel has an entry of this slot */
	TABLE_FREE = 1u << 1,  /* no agent here */
	TABLE_STALLED = 1u << 2,
	TABLE_GONE = 1u << 3,
	TABLE_AFTER_TERMINAL = 1u << 4, /* the last beat was terminal */
	TABLE_HAS_TERMINAL = 1u << 5,   /* terminal_timestamp is known */
	TABLE_NO_NONCE = 1u << 6,       /* no regular beat yet */

	/* A beat that finds anything but TABLE_FILED here has more to do. */
	TABLE_UNUSUAL = TABLE_FILED | TABLE_FREE | TABLE_STALLED |
			TABLE_AFTER_TERMINAL | TABLE_NO_NONCE
};

/* The nonce of a terminal frame. */
#define TABLE_NONCE_TERMINAL UINT64_MAX

/* What a beat and a look at the deadline touch: one cache line. */
struct table_hot {
	_Alignas(64) uint64_t id;
	uint64_t last_seen_ns;
	uint64_t last_nonce;     /* of a regular frame */
	uint64_t last_timestamp; /* of a regular frame */
	uint64_t beats;
	uint64_t threshold_ns;
	uint64_t hold_ns; /* not judged before */
	uint32_t debt_ns; /* rate limit: last_seen_ns + debt_ns is the time at
			     which the next beat would come at the full rate */
	uint8_t status;
	uint8_t origin;
	uint8_t flags; /* enum table_flags */
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
	struct stats *stats;
	void *memory; /* all of it, this struct included */

	uint64_t interval_ns;  /* between two beats at the full rate; 0 none */
	uint64_t tolerance_ns; /* how much earlier a beat may come */

	uint32_t capacity;
	uint32_t n_slots; /* ever used */
	uint32_t n_agents;
	uint32_t n_stalled;
	uint32_t free_unfiled;     /* last in, first out */
	uint32_t free_filed_first; /* first in, first out */
	uint32_t free_filed_last;
	uint32_t scan_window;
	uint32_t scan_next; /* where the search for a victim goes on */
	enum tracker_eviction eviction;
};

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
	return slot < t->n_slots && (t->hot[slot].flags & TABLE_FREE) == 0;
}

static inline bool
table_is_terminal(const struct beat *beat)
{
	return beat->nonce == TABLE_NONCE_TERMINAL;
}

/* File the slot for its deadline, unless it is filed already. */
void table_file(struct tracker *t, uint32_t slot);

/* The wheel has handed out a slot that is free or stalled. */
void table_unfile(struct tracker *t, uint32_t slot);

#endif
