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
	LOOKS_AHEAD = 1024,

	ROUNDS_FROM = 1024, /* agents */
	ROUNDS_SLOTS = 16   /* of a threshold, at least */
};

/* After anything that may bring it closer. */
static void
note_quiet(struct tracker *t)
{
	t->quiet_ns = u64_min(wheel_quiet_ns(t->wheel), t->rounds.quiet_ns);
}

static void
file(struct tracker *t, uint32_t slot)
{
	struct table_hot *h = &t->hot[slot];

	wheel_put(t->wheel, slot, table_deadline_ns(h));
	h->notes |= TABLE_FILED;
	note_quiet(t);
}

void
table_watch(struct tracker *t, uint32_t slot, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];

	if ((h->notes & (TABLE_FILED | TABLE_IN_ROUND)) != 0)
		return;
	/* Few agents are looked at one by one, so that nobody is woken up for
	 * a round that finds all of them in order. */
	if (t->n_agents >= ROUNDS_FROM &&
	    h->threshold_ns / ROUNDS_SLOTS >= t->slot_ns &&
	    rounds_add(
		&t->rounds, slot, h->threshold_ns, h->last_seen_ns, now_ns)) {
		h->notes |= TABLE_IN_ROUND;
		note_quiet(t);
		return;
	}
	wheel_advance(t->wheel, now_ns);
	file(t, slot);
}

void
table_unwatch(struct tracker *t, uint32_t slot)
{
	struct table_hot *h = &t->hot[slot];

	if ((h->notes & TABLE_IN_ROUND) == 0)
		return;
	rounds_remove(&t->rounds, slot);
	h->notes &= (uint8_t)~TABLE_IN_ROUND;
}

/*
 * A slot of which the wheel has no entry any more: true when its agent is due.
 * Else it is watched again, if it has an agent that is.
 */
static inline bool
look(struct tracker *t, uint32_t slot, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];

	table_unfile(t, slot);
	if ((h->state & (TABLE_FREE | TABLE_STALLED)) != 0)
		return false;
	if (table_deadline_ns(h) <= now_ns) {
		h->state |= TABLE_UNWATCHED;
		return true;
	}
	table_watch(t, slot, now_ns);
	return false;
}

static void
ask_for(const struct tracker *t, const uint32_t *slots, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		__builtin_prefetch(&t->hot[slots[i]]);
}

static void
tell(const struct tracker *t, uint32_t slot, struct tracker_due *ret)
{
	const struct table_hot *h = &t->hot[slot];

	ret->slot = slot;
	ret->last_seen_ns = h->last_seen_ns;
	ret->threshold_ns = h->threshold_ns;
	ret->deadline_ns = table_deadline_ns(h);
}

/* Members of rounds that have been silent are filed in the wheel, or due. */
static size_t
go_rounds(
    struct tracker *t, uint64_t now_ns, struct tracker_due *ret, size_t max)
{
	size_t n = 0, looks = 0, i, taken, room;
	uint32_t slots[BATCH];
	struct table_hot *h;

	do {
		room = max - n < BATCH ? max - n : BATCH;
		taken = rounds_take(&t->rounds, now_ns, slots, room);
		ask_for(t, slots, taken);
		for (i = 0; i < taken; i++) {
			h = &t->hot[slots[i]];
			h->notes &= (uint8_t)~TABLE_IN_ROUND;
			if (table_deadline_ns(h) <= now_ns) {
				h->state |= TABLE_UNWATCHED;
				tell(t, slots[i], &ret[n++]);
			} else {
				file(t, slots[i]);
			}
		}
		looks += taken;
	} while (taken > 0 && n < max && looks < LOOKS_DUE);
	return n;
}

static size_t
go_wheel(
    struct tracker *t, uint64_t now_ns, struct tracker_due *ret, size_t max)
{
	size_t n = 0, looks = 0, i, taken, room;
	uint32_t slots[BATCH];

	do {
		room = max - n < BATCH ? max - n : BATCH;
		taken = wheel_take(t->wheel, now_ns, slots, room);
		ask_for(t, slots, taken);
		for (i = 0; i < taken; i++)
			if (look(t, slots[i], now_ns))
				tell(t, slots[i], &ret[n++]);
		looks += taken;
	} while (taken == room && n < max && looks < LOOKS_DUE);
	return n;
}

size_t
tracker_due(
    struct tracker *t, uint64_t now_ns, struct tracker_due *ret, size_t max)
{
	size_t n;

	if (likely(now_ns < t->quiet_ns))
		return 0;
	n = go_rounds(t, now_ns, ret, max);
	n += go_wheel(t, now_ns, ret + n, max - n);
	note_quiet(t);
	return n;
}

void
tracker_defer(struct tracker *t, uint32_t slot, uint64_t at_ns)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	h->hold_ns = u64_max(h->hold_ns, at_ns);
	h->state &= (uint8_t)~TABLE_UNWATCHED;
	if ((h->notes & (TABLE_FILED | TABLE_IN_ROUND)) == 0)
		file(t, slot);
}

void
tracker_set_terms(struct tracker *t, uint32_t slot,
    const struct agent_terms *terms, uint64_t now_ns)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	/* Before the first beat nothing is under way: see begin_grace(). */
	if (h->beats == 0) {
		h->threshold_ns = terms->threshold_ns;
		h->hold_ns =
		    u64_add_sat(t->cold[slot].joined_ns, terms->grace_ns);
		return;
	}
	h->hold_ns = u64_max(
	    h->hold_ns, u64_add_sat(t->cold[slot].joined_ns, terms->grace_ns));
	if (h->threshold_ns == terms->threshold_ns)
		return;
	h->threshold_ns = terms->threshold_ns;
	h->hold_ns =
	    u64_max(h->hold_ns, u64_add_sat(now_ns, terms->threshold_ns));
}

static bool
keep_none(const void *ctx, uint32_t slot)
{
	(void)ctx;
	(void)slot;
	return false;
}

/* Deadlines may come closer with other terms, which the wheel and the rounds
 * do not allow: all of them begin anew. */
void
tracker_rearm(struct tracker *t, uint64_t now_ns)
{
	uint32_t slot;

	wheel_sweep(t->wheel, keep_none, NULL);
	for (slot = 0; slot < t->n_slots; slot++) {
		table_unwatch(t, slot);
		if ((t->hot[slot].notes & TABLE_FILED) != 0)
			table_unfile(t, slot);
	}
	for (slot = 0; slot < t->n_slots; slot++)
		if ((t->hot[slot].state &
			(TABLE_FREE | TABLE_STALLED | TABLE_UNWATCHED)) == 0)
			table_watch(t, slot, now_ns);
}

void
tracker_stall(struct tracker *t, uint32_t slot, enum stall_reason why)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	if ((h->state & TABLE_STALLED) != 0)
		return;
	h->state |= TABLE_STALLED;
	table_unwatch(t, slot);
	t->n_stalled++;
	if (table_is_there(t, slot))
		t->n_hanging++;
	t->cold[slot].stalls++;
	t->stats->stalls[why]++;
}

/* Look at these before their time; true when one of them really is due at
 * next_ns. It is filed again. */
static bool
settle(struct tracker *t, const uint32_t *slots, size_t n, uint64_t now_ns,
    uint64_t next_ns)
{
	struct table_hot *h;
	bool ret = false;
	size_t i;

	ask_for(t, slots, n);
	for (i = 0; i < n; i++) {
		h = &t->hot[slots[i]];
		if (table_deadline_ns(h) > next_ns ||
		    (h->state & (TABLE_FREE | TABLE_STALLED)) != 0) {
			(void)look(t, slots[i], now_ns);
			continue;
		}
		file(t, slots[i]);
		ret = true;
	}
	return ret;
}

uint64_t
tracker_next_ns(struct tracker *t, uint64_t now_ns, uint64_t ahead_ns)
{
	uint64_t next, until, round = rounds_next_ns(&t->rounds);
	uint32_t slots[BATCH];
	size_t looks, n;

	until = u64_min(u64_add_sat(now_ns, ahead_ns), round);
	for (looks = 0; looks < LOOKS_AHEAD; looks += n) {
		next = wheel_next_ns(t->wheel);
		if (next <= now_ns || next > until || next == NS_NEVER)
			return u64_min(next, round);
		n = wheel_take_ahead(t->wheel, slots, BATCH);
		if (settle(t, slots, n, now_ns, next))
			return next;
	}
	return u64_min(wheel_next_ns(t->wheel), round);
}
