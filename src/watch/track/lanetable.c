#include "watch/track/lanetable.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

enum {
	/* Between the reading of a clock and its store, or the look. */
	CLOCK_SLACK_MS = 20
};

struct lane {
	struct lane_id id;
	uint32_t next; /* of its owner, or of the free ones */
	struct lane_terms terms;
	uint64_t token;
	uint64_t joined_ns;
	uint64_t mark; /* of the last beat that was seen; 0: idle */
	uint64_t seen_ns;
	uint64_t looked_ns; /* at last */
	uint64_t hold_ns;   /* not due before */
	uint64_t beats;
	uint32_t stalls;
	uint8_t status;
	uint8_t state; /* enum lanetable_state */
	bool is_used;
};

struct lanetable {
	uint64_t *due_ns; /* by slot; NS_NEVER for a free one */
	struct lane *lanes;
	uint32_t *first; /* by owner */
	uint64_t next_ns;
	uint64_t last_token;
	uint32_t free; /* list */
	uint32_t capacity;
	uint32_t n_slots; /* ever used */
	uint32_t n;
	bool next_is_stale; /* next_ns may be too early */
};

int
lanetable_new(uint32_t capacity, struct lanetable **ret)
{
	struct lanetable *t;

	if (capacity < 1 || capacity > LANETABLE_MAX)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	/* Zeroed by the system: pages never used cost nothing. */
	t->due_ns = calloc(capacity, sizeof(t->due_ns[0]));
	t->lanes = calloc(capacity, sizeof(t->lanes[0]));
	t->first = malloc(capacity * sizeof(t->first[0]));
	if (t->due_ns == NULL || t->lanes == NULL || t->first == NULL) {
		lanetable_free(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < capacity; i++)
		t->first[i] = SLOT_NONE;
	t->next_ns = NS_NEVER;
	t->free = SLOT_NONE;
	t->capacity = capacity;
	*ret = t;
	return 0;
}

void
lanetable_free(struct lanetable *t)
{
	if (t == NULL)
		return;
	free(t->due_ns);
	free(t->lanes);
	free(t->first);
	free(t);
}

static struct lane *
lane_at(const struct lanetable *t, uint32_t slot)
{
	assert(slot < t->n_slots && t->lanes[slot].is_used);
	return &t->lanes[slot];
}

static void
set_due(struct lanetable *t, uint32_t slot, uint64_t due_ns)
{
	if (due_ns < t->next_ns)
		t->next_ns = due_ns;
	else if (t->due_ns[slot] <= t->next_ns)
		t->next_is_stale = true;
	t->due_ns[slot] = due_ns;
}

/* A busy lane is due at its deadline. */
static void
set_deadline(struct lanetable *t, uint32_t slot)
{
	const struct lane *l = &t->lanes[slot];

	set_due(t, slot,
	    u64_max(
		u64_add_sat(l->seen_ns, l->terms.threshold_ns), l->hold_ns));
}

static uint32_t
slot_take(struct lanetable *t)
{
	uint32_t slot = t->free;

	if (slot != SLOT_NONE)
		t->free = t->lanes[slot].next;
	else if (t->n_slots < t->capacity)
		slot = t->n_slots++;
	return slot;
}

uint32_t
lanetable_add(struct lanetable *t, const struct lane_id *id,
    const struct lane_terms *terms, uint64_t now_ns)
{
	uint32_t slot = slot_take(t);

	assert(id->owner < t->capacity);
	if (slot == SLOT_NONE)
		return SLOT_NONE;
	t->lanes[slot] = (struct lane){
		.id = *id,
		.next = t->first[id->owner],
		.terms = *terms,
		.token = ++t->last_token,
		.joined_ns = now_ns,
		.seen_ns = now_ns,
		.looked_ns = now_ns,
		.state = LANETABLE_IDLE,
		.is_used = true,
	};
	t->first[id->owner] = slot;
	t->n++;
	t->due_ns[slot] = NS_NEVER;
	set_due(t, slot, u64_add_sat(now_ns, terms->threshold_ns));
	return slot;
}

void
lanetable_remove(struct lanetable *t, uint32_t slot)
{
	struct lane *l = lane_at(t, slot);
	uint32_t *link = &t->first[l->id.owner];

	while (*link != slot)
		link = &t->lanes[*link].next;
	*link = l->next;
	set_due(t, slot, NS_NEVER);
	l->is_used = false;
	l->next = t->free;
	t->free = slot;
	t->n--;
}

uint32_t
lanetable_first(const struct lanetable *t, uint32_t owner)
{
	assert(owner < t->capacity);
	return t->first[owner];
}

uint32_t
lanetable_next(const struct lanetable *t, uint32_t slot)
{
	return lane_at(t, slot)->next;
}

size_t
lanetable_due(const struct lanetable *t, uint32_t *cursor, uint64_t now_ns,
    uint32_t *ret, size_t max)
{
	size_t n = 0;

	for (; *cursor < t->n_slots && n < max; ++*cursor)
		if (t->due_ns[*cursor] <= now_ns)
			ret[n++] = *cursor;
	return n;
}

uint64_t
lanetable_next_ns(struct lanetable *t)
{
	if (!t->next_is_stale)
		return t->next_ns;
	t->next_ns = NS_NEVER;
	for (uint32_t i = 0; i < t->n_slots; i++)
		t->next_ns = u64_min(t->next_ns, t->due_ns[i]);
	t->next_is_stale = false;
	return t->next_ns;
}

/*
 * When a beat was that has come since the last look. One from the future is one
 * of now. So is one from long before that look: its process has another clock,
 * as in a time namespace, and is then found to hang up to a threshold late, but
 * never early.
 */
static uint64_t
believe(uint64_t seen_ns, uint64_t looked_ns, uint64_t now_ns)
{
	if (u64_add_sat(seen_ns, CLOCK_SLACK_MS * NS_PER_MS) < looked_ns)
		return now_ns;
	return u64_min(seen_ns, now_ns);
}

bool
lanetable_note(struct lanetable *t, uint32_t slot,
    const struct lane_sample *sample, uint64_t now_ns)
{
	struct lane *l = lane_at(t, slot);
	bool was_stalled = l->state == LANETABLE_STALLED;
	bool has_moved = sample->mark != l->mark;
	uint64_t looked_ns = l->looked_ns;

	l->looked_ns = now_ns;
	l->beats = sample->beats;
	l->status = sample->status;
	if (was_stalled && !has_moved) {
		set_due(t, slot, u64_add_sat(now_ns, l->terms.threshold_ns));
		return false;
	}
	l->mark = sample->mark;
	if (sample->mark == 0) {
		l->state = LANETABLE_IDLE;
		set_due(t, slot, u64_add_sat(now_ns, l->terms.threshold_ns));
		return was_stalled;
	}
	if (has_moved)
		l->seen_ns = u64_max(
		    l->seen_ns, believe(sample->seen_ns, looked_ns, now_ns));
	l->state = LANETABLE_BUSY;
	set_deadline(t, slot);
	return was_stalled;
}

void
lanetable_defer(struct lanetable *t, uint32_t slot, uint64_t at_ns)
{
	struct lane *l = lane_at(t, slot);

	l->hold_ns = u64_max(l->hold_ns, at_ns);
	set_due(t, slot, u64_max(t->due_ns[slot], at_ns));
}

void
lanetable_look_at(struct lanetable *t, uint32_t slot, uint64_t at_ns)
{
	(void)lane_at(t, slot);
	set_due(t, slot, at_ns);
}

void
lanetable_stall(struct lanetable *t, uint32_t slot, uint64_t again_ns)
{
	struct lane *l = lane_at(t, slot);

	l->state = LANETABLE_STALLED;
	l->stalls++;
	set_due(t, slot, again_ns);
}

void
lanetable_set_terms(struct lanetable *t, uint32_t slot,
    const struct lane_terms *terms, uint64_t now_ns)
{
	struct lane *l = lane_at(t, slot);
	bool is_same = l->terms.threshold_ns == terms->threshold_ns;

	l->terms = *terms;
	if (is_same)
		return;
	l->hold_ns =
	    u64_max(l->hold_ns, u64_add_sat(now_ns, terms->threshold_ns));
	set_due(t, slot, l->hold_ns);
}

bool
lanetable_view(const struct lanetable *t, uint32_t slot, struct lane_view *ret)
{
	const struct lane *l;

	if (slot >= t->n_slots || !t->lanes[slot].is_used)
		return false;
	l = &t->lanes[slot];
	*ret = (struct lane_view){
		.id = l->id,
		.terms = &l->terms,
		.joined_ns = l->joined_ns,
		.seen_ns = l->seen_ns,
		.due_ns = t->due_ns[slot],
		.beats = l->beats,
		.token = l->token,
		.stalls = l->stalls,
		.status = l->status,
		.state = (enum lanetable_state)l->state,
	};
	return true;
}

uint32_t
lanetable_slots(const struct lanetable *t)
{
	return t->n_slots;
}

uint32_t
lanetable_count(const struct lanetable *t)
{
	return t->n;
}
