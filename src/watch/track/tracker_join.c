/*
 * Coming and going: slots for new agents, slots that become free, and who has
 * to leave when there is none.
 */
#include <assert.h>

#include "watch/track/table.h"
#include "watch/track/tracker.h"

enum { EVICT_THRESHOLDS = 10 }; /* of silence */

static void
unfiled_push(struct tracker *t, uint32_t slot)
{
	t->cold[slot].link.next = t->free_unfiled;
	t->free_unfiled = slot;
}

static void
filed_append(struct tracker *t, uint32_t slot)
{
	struct table_link *link = &t->cold[slot].link;

	link->next = SLOT_NONE;
	link->prev = t->free_filed_last;
	if (link->prev != SLOT_NONE)
		t->cold[link->prev].link.next = slot;
	else
		t->free_filed_first = slot;
	t->free_filed_last = slot;
}

static void
filed_unlink(struct tracker *t, uint32_t slot)
{
	const struct table_link *link = &t->cold[slot].link;

	if (link->prev != SLOT_NONE)
		t->cold[link->prev].link.next = link->next;
	else
		t->free_filed_first = link->next;
	if (link->next != SLOT_NONE)
		t->cold[link->next].link.prev = link->prev;
	else
		t->free_filed_last = link->prev;
}

void
table_unfile(struct tracker *t, uint32_t slot)
{
	struct table_hot *h = &t->hot[slot];

	h->notes &= (uint8_t)~TABLE_FILED;
	if ((h->state & TABLE_FREE) == 0)
		return;
	filed_unlink(t, slot);
	unfiled_push(t, slot);
}

static bool
is_used(const void *ctx, uint32_t slot)
{
	const struct tracker *t = ctx;

	return (t->hot[slot].state & TABLE_FREE) == 0;
}

/* Take the entries of all free slots out of the wheel. */
static void
sweep(struct tracker *t)
{
	wheel_sweep(t->wheel, is_used, t);
	while (t->free_filed_first != SLOT_NONE)
		table_unfile(t, t->free_filed_first);
}

/* A free slot for an agent with this deadline; the table is not full. */
static uint32_t
slot_take(struct tracker *t, uint64_t deadline_ns)
{
	uint32_t slot = t->free_filed_first;

	if (t->free_unfiled == SLOT_NONE) {
		if (slot != SLOT_NONE &&
		    table_deadline_ns(&t->hot[slot]) <= deadline_ns) {
			filed_unlink(t, slot);
			return slot;
		}
		if (t->n_slots < t->capacity)
			return t->n_slots++;
		sweep(t);
	}
	slot = t->free_unfiled;
	assert(slot != SLOT_NONE);
	t->free_unfiled = t->cold[slot].link.next;
	return slot;
}

/*
 * Who has to leave: the first in a window behind the last search that is
 * stalled, and gone or silent for very long; else, when that is allowed, the
 * first that is merely silent for very long.
 */
static uint32_t
find_victim(struct tracker *t, uint64_t now_ns)
{
	uint32_t window = t->scan_window, slot, second_best = SLOT_NONE, i;
	const struct table_hot *h;
	bool long_silent;

	if (t->eviction == TRACKER_EVICT_STRICT && t->n_stalled == 0)
		return SLOT_NONE;
	if (window > t->n_slots)
		window = t->n_slots;
	for (i = 0; i < window; i++) {
		slot = t->scan_next;
		t->scan_next = slot + 1 < t->n_slots ? slot + 1 : 0;
		h = &t->hot[slot];
		if ((h->notes & TABLE_HELD) != 0)
			continue;
		long_silent = u64_sub_sat(now_ns, h->last_seen_ns) >
			      u64_mul_sat(h->threshold_ns, EVICT_THRESHOLDS);
		if ((h->state & TABLE_STALLED) != 0 &&
		    ((h->notes & TABLE_GONE) != 0 || long_silent))
			return slot;
		if (long_silent && second_best == SLOT_NONE &&
		    t->eviction == TRACKER_EVICT_BALANCED)
			second_best = slot;
	}
	if (second_best == SLOT_NONE && window < t->n_slots)
		t->stats->eviction_scan_truncated++;
	return second_best;
}

/* True when the table has room, after this. */
static bool
make_room(struct tracker *t, uint64_t now_ns, struct agent_view *ret_evicted,
    bool *ret_did_evict)
{
	uint32_t victim;

	*ret_did_evict = false;
	if (t->n_agents < t->capacity)
		return true;
	victim = find_victim(t, now_ns);
	if (victim == SLOT_NONE) {
		t->stats->capacity_exceeded++;
		return false;
	}
	(void)tracker_view(t, victim, ret_evicted);
	tracker_remove(t, victim);
	t->stats->evicted++;
	*ret_did_evict = true;
	return true;
}

/* What the first beat of an agent leaves in its record, or a contact. */
static void
note_first(
    const struct tracker *t, const struct beat *beat, struct table_hot *hot)
{
	hot->state = table_state_of(beat);
	if (beat->is_contact) {
		hot->state |= TABLE_UNWATCHED;
		return;
	}
	hot->beats = 1;
	hot->debt_ns = t->interval_ns;
	if (table_is_terminal(beat)) {
		hot->state |= TABLE_AFTER_TERMINAL;
		hot->notes |= TABLE_HAS_TERMINAL;
	} else {
		hot->next_nonce = beat->nonce + 1;
		hot->last_timestamp = beat->timestamp;
	}
	t->stats->beats++;
}

uint32_t
tracker_join(struct tracker *t, const struct beat *beat,
    const struct identity *identity, const struct agent_terms *terms,
    uint64_t now_ns, struct agent_view *ret_evicted, bool *ret_did_evict)
{
	struct table_hot hot = { .id = beat->id };
	uint32_t slot;

	if (!make_room(t, now_ns, ret_evicted, ret_did_evict))
		return SLOT_NONE;

	hot.last_seen_ns = now_ns;
	hot.threshold_ns = terms->threshold_ns;
	hot.hold_ns = u64_add_sat(now_ns, terms->grace_ns);
	if (identity->gone)
		hot.notes |= TABLE_GONE;
	note_first(t, beat, &hot);

	slot = slot_take(t, table_deadline_ns(&hot));
	hot.notes |= t->hot[slot].notes & TABLE_FILED;
	t->hot[slot] = hot;
	t->cold[slot] = (struct table_cold){
		.start_ticks = identity->start_ticks,
		.terminal_timestamp = beat->timestamp,
		.joined_ns = now_ns,
		.pid_namespace = identity->pid_namespace,
		.uid = beat->uid,
		.pidfd = identity->pidfd,
	};
	idmap_add(t->ids, beat->id, slot);
	t->n_agents++;
	t->n_gone += identity->gone;
	t->stats->joins++;
	if (!beat->is_contact)
		table_watch(t, slot, now_ns);
	return slot;
}

bool
tracker_has_beaten(const struct tracker *t, uint32_t slot)
{
	assert(table_is_used(t, slot));
	return t->hot[slot].beats > 0;
}

void
tracker_hold(struct tracker *t, uint32_t slot, bool held)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	if (held)
		h->notes |= TABLE_HELD;
	else
		h->notes &= (uint8_t)~TABLE_HELD;
}

void
tracker_remove(struct tracker *t, uint32_t slot)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	idmap_remove(t->ids, h->id);
	t->n_agents--;
	t->n_gone -= tracker_is_gone(t, slot);
	if ((h->state & TABLE_STALLED) != 0)
		table_uncount_stalled(t, slot);
	table_unwatch(t, slot);
	h->state = TABLE_FREE;
	if ((h->notes & TABLE_FILED) != 0)
		filed_append(t, slot);
	else
		unfiled_push(t, slot);
}
