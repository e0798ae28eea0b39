/*
 * Deadlines: what the wheel hands out is looked at here, and filed again when
 * the agent has beaten since.
 */
#include <assert.h>

#include "watch/track/table.h"
#include "watch/track/tracker.h"

enum {
	BATCH = 64, /* records asked for at once */

	/* Agents looked at in one call. The rest is due at once again, but the
	 * loop can take in beats first. */
	LOOKS_DUE = 16384,
	LOOKS_AHEAD = 1024
};

void
table_file(struct tracker *t, uint32_t slot)
{
	struct table_hot *h = &t->hot[slot];

	if ((h->flags & TABLE_FILED) != 0)
		return;
	h->flags |= TABLE_FILED;
	wheel_put(t->wheel, slot, table_deadline_ns(h));
}

/* True when the agent is due; it is then filed no more. */
static inline bool
look(struct tracker *t, uint32_t slot, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];
	uint64_t deadline = table_deadline_ns(h);

	if (unlikely((h->flags & (TABLE_FREE | TABLE_STALLED)) != 0)) {
		table_unfile(t, slot);
		return false;
	}
	if (likely(deadline > now_ns)) {
		wheel_put(t->wheel, slot, deadline);
		return false;
	}
	h->flags &= (uint8_t)~TABLE_FILED;
	return true;
}

static void
ask_for(const struct tracker *t, const uint32_t *slots, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		__builtin_prefetch(&t->hot[slots[i]]);
}

size_t
tracker_due(
    struct tracker *t, uint64_t now_ns, struct tracker_due *ret, size_t max)
{
	size_t n = 0, looks = 0, i, taken, room;
	const struct table_hot *h;
	uint32_t slots[BATCH];

	do {
		room = max - n < BATCH ? max - n : BATCH;
		taken = wheel_take(t->wheel, now_ns, slots, room);
		ask_for(t, slots, taken);
		for (i = 0; i < taken; i++) {
			if (!look(t, slots[i], now_ns))
				continue;
			h = &t->hot[slots[i]];
			ret[n].slot = slots[i];
			ret[n].last_seen_ns = h->last_seen_ns;
			ret[n].threshold_ns = h->threshold_ns;
			n++;
		}
		looks += taken;
	} while (taken == room && n < max && looks < LOOKS_DUE);
	return n;
}

void
tracker_defer(struct tracker *t, uint32_t slot, uint64_t at_ns)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	h->hold_ns = u64_max(h->hold_ns, at_ns);
	table_file(t, slot);
}

void
tracker_stall(struct tracker *t, uint32_t slot, enum stall_reason why)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	if ((h->flags & TABLE_STALLED) != 0)
		return;
	h->flags |= TABLE_STALLED;
	t->n_stalled++;
	t->cold[slot].stalls++;
	t->stats->stalls[why]++;
}

/* File again, or for good, each of these; true when one of them really is due
 * at next_ns. */
static bool
settle(struct tracker *t, const uint32_t *slots, size_t n, uint64_t next_ns)
{
	const struct table_hot *h;
	bool ret = false;
	size_t i;

	ask_for(t, slots, n);
	for (i = 0; i < n; i++) {
		h = &t->hot[slots[i]];
		if ((h->flags & (TABLE_FREE | TABLE_STALLED)) != 0) {
			table_unfile(t, slots[i]);
			continue;
		}
		wheel_put(t->wheel, slots[i], table_deadline_ns(h));
		ret |= table_deadline_ns(h) <= next_ns;
	}
	return ret;
}

uint64_t
tracker_next_ns(struct tracker *t, uint64_t now_ns, uint64_t ahead_ns)
{
	uint64_t next, until = u64_add_sat(now_ns, ahead_ns);
	uint32_t slots[BATCH];
	size_t looks, n;

	for (looks = 0; looks < LOOKS_AHEAD; looks += n) {
		next = wheel_next_ns(t->wheel);
		if (next <= now_ns || next > until || next == NS_NEVER)
			return next;
		n = wheel_take_ahead(t->wheel, slots, BATCH);
		if (settle(t, slots, n, next))
			return next;
	}
	return wheel_next_ns(t->wheel);
}
