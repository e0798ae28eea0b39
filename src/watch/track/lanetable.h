/*
 * The table of lanes: which of them is due to be looked at, and what the last
 * look has shown.
 *
 * A lane beats into memory and tells nobody. So the table knows when each has
 * to be looked at next: when the last beat that was seen is as old as its
 * threshold. Whoever looks tells what it saw with lanetable_note(). A lane that
 * has beaten since is due later, one that has not may be judged, an idle one is
 * looked at once in a threshold, so that one that begins to work and hangs at
 * once is found in time. A stalled lane is looked at as often, for whether it
 * beats again.
 *
 * The times at which lanes are due lie next to each other and are walked
 * through: a microsecond for 4,096. Pure: no memory of agents is read here.
 * Nothing is allocated after lanetable_new().
 */
#ifndef WATCH_TRACK_LANETABLE_H
#define WATCH_TRACK_LANETABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"

enum {
	LANETABLE_MAX = 65536, /* lanes */
	LANETABLE_NAME_BYTES = 32
};

enum lanetable_state { LANETABLE_IDLE = 0, LANETABLE_BUSY, LANETABLE_STALLED };

/* What a lane is; none of it changes but the terms. */
struct lane_id {
	uint32_t owner;      /* below the number of owners */
	uint32_t index;      /* of its record in the memory of its owner */
	uint32_t generation; /* of that record */
};

struct lane_terms {
	uint64_t threshold_ns;
	uint16_t rule; /* that it matched, from 1; 0 none */
	char name[LANETABLE_NAME_BYTES];
};

/* What a look has shown. */
struct lane_sample {
	uint64_t mark;    /* of the last beat, as written; 0: idle */
	uint64_t seen_ns; /* when that was */
	uint64_t beats;
	uint8_t status;
};

/* What is known of one lane. */
struct lane_view {
	struct lane_id id;
	const struct lane_terms *terms; /* borrowed */
	uint64_t joined_ns;
	uint64_t seen_ns; /* last beat, or join */
	uint64_t due_ns;  /* to be looked at; while busy: its deadline */
	uint64_t beats;
	uint64_t token; /* is never that of another lane */
	uint32_t stalls;
	uint8_t status;
	enum lanetable_state state;
};

struct lanetable;

/* 1 to LANETABLE_MAX lanes of as many owners. 0, -EINVAL or -ENOMEM. */
int lanetable_new(uint32_t capacity, struct lanetable **ret);
void lanetable_free(struct lanetable *t); /* takes NULL */

/* A new lane, idle. Its slot, or SLOT_NONE when the table is full. */
uint32_t lanetable_add(struct lanetable *t, const struct lane_id *id,
    const struct lane_terms *terms, uint64_t now_ns);
void lanetable_remove(struct lanetable *t, uint32_t slot);

/* The lanes of an owner: the first, and the one after slot; SLOT_NONE at the
 * end. The order is that of the table's own. */
uint32_t lanetable_first(const struct lanetable *t, uint32_t owner);
uint32_t lanetable_next(const struct lanetable *t, uint32_t slot);

/*
 * Slots that are due at now_ns, from *cursor on (0 at first), at most max.
 * Returns how many; fewer than max at the end of the table.
 */
size_t lanetable_due(const struct lanetable *t, uint32_t *cursor,
    uint64_t now_ns, uint32_t *ret, size_t max);

/* When the next lane is due, or NS_NEVER. */
uint64_t lanetable_next_ns(struct lanetable *t);

/* Note what a look has shown, and with it when the lane is due next. True when
 * it was stalled and has beaten or idled since. */
bool lanetable_note(struct lanetable *t, uint32_t slot,
    const struct lane_sample *sample, uint64_t now_ns);

/* Look again no earlier than at_ns. */
void lanetable_defer(struct lanetable *t, uint32_t slot, uint64_t at_ns);

/* Look again at at_ns, be that later or sooner. */
void lanetable_look_at(struct lanetable *t, uint32_t slot, uint64_t at_ns);

/* The lane has stalled. It is looked at again at again_ns. */
void lanetable_stall(struct lanetable *t, uint32_t slot, uint64_t again_ns);

/* Other terms. With another threshold the lane is not due before that has
 * passed once. */
void lanetable_set_terms(struct lanetable *t, uint32_t slot,
    const struct lane_terms *terms, uint64_t now_ns);

/* False when the slot is free. Slots run from 0 to lanetable_slots() - 1. */
bool lanetable_view(
    const struct lanetable *t, uint32_t slot, struct lane_view *ret);
uint32_t lanetable_slots(const struct lanetable *t);
uint32_t lanetable_count(const struct lanetable *t);

#endif
