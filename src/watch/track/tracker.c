#include "watch/track/tracker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "watch/track/table.h"

enum {
	LINE_BYTES = 64,
	/* So few records (128 KB) lie in the second-level cache of any
	 * processor. Asking ahead costs 3 ns a beat where nothing is missing,
	 * and saves 22 ns among a million agents. */
	NEAR_RECORDS = 2048,
	TOLERANCE_MS = 50,  /* of the rate limit at high rates */
	TOLERANCE_LOSS = 20 /* and what part of the interval it shrinks by */
};

_Static_assert(sizeof(struct table_hot) == LINE_BYTES, "one cache line");
_Static_assert(sizeof(struct table_cold) == 40, "part of the 128 bytes");

/* Where the parts lie in the one allocation. */
struct layout {
	size_t hot;
	size_t cold;
	size_t ids;
	size_t wheel;
	size_t rounds;
	size_t end;
};

static size_t
line_end(size_t bytes)
{
	return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

/* capacity is in its range, so nothing here can overflow. */
static struct layout
layout_of(uint32_t capacity)
{
	struct layout l;

	l.hot = line_end(sizeof(struct tracker));
	l.cold = l.hot + capacity * sizeof(struct table_hot);
	l.ids = line_end(l.cold + capacity * sizeof(struct table_cold));
	l.wheel = line_end(l.ids + idmap_size(capacity));
	l.rounds = line_end(l.wheel + wheel_size(capacity));
	l.end = line_end(l.rounds + rounds_size(capacity));
	return l;
}

static bool
options_are_valid(const struct tracker_options *o)
{
	return o->capacity >= 1 && o->capacity <= TRACKER_CAPACITY_MAX &&
	       o->scan_window >= 1 && o->slot_ns >= 1 &&
	       (o->eviction == TRACKER_EVICT_STRICT ||
		   o->eviction == TRACKER_EVICT_BALANCED);
}

size_t
tracker_bytes(const struct tracker_options *options)
{
	if (!options_are_valid(options))
		return 0;
	/* The allocator may not begin at a cache line. */
	return layout_of(options->capacity).end + LINE_BYTES - 1;
}

static void
set_rate(struct tracker *t, uint32_t max_rate_per_s)
{
	if (max_rate_per_s == 0) {
		t->tolerance_ns = UINT64_MAX;
		return;
	}
	t->interval_ns = max_rate_per_s < NS_PER_S
			     ? (uint32_t)(NS_PER_S / max_rate_per_s)
			     : 1;
	t->tolerance_ns = u64_sub_sat(
	    TOLERANCE_MS * NS_PER_MS, t->interval_ns / TOLERANCE_LOSS);
}

int
tracker_new(const struct tracker_options *options, struct stats *stats,
    uint64_t now_ns, struct tracker **ret)
{
	struct idmap_keys keys;
	struct tracker *t;
	struct layout l;
	uint8_t *memory, *base;

	if (!options_are_valid(options))
		return -EINVAL;
	/* Zeroed by the system: pages of slots never used cost nothing. */
	memory = calloc(1, tracker_bytes(options));
	if (memory == NULL)
		return -ENOMEM;
	base =
	    memory + (LINE_BYTES - (uintptr_t)memory % LINE_BYTES) % LINE_BYTES;

	l = layout_of(options->capacity);
	t = (void *)base;
	t->memory = memory;
	t->hot = (void *)(base + l.hot);
	t->cold = (void *)(base + l.cold);
	keys.base = &t->hot[0].id;
	keys.stride = sizeof(t->hot[0]);
	t->ids =
	    idmap_init(base + l.ids, options->capacity, &keys, options->seed);
	t->wheel = wheel_init(
	    base + l.wheel, options->capacity, options->slot_ns, now_ns);
	assert(t->ids != NULL && t->wheel != NULL);

	rounds_init(&t->rounds, base + l.rounds, options->capacity);

	t->stats = stats;
	t->slot_ns = options->slot_ns;
	t->capacity = options->capacity;
	t->eviction = options->eviction;
	t->scan_window = options->scan_window;
	t->note_intervals = options->note_intervals;
	t->free_unfiled = SLOT_NONE;
	t->free_filed_first = SLOT_NONE;
	t->free_filed_last = SLOT_NONE;
	set_rate(t, options->max_rate_per_s);
	*ret = t;
	return 0;
}

void
tracker_free(struct tracker *t)
{
	if (t != NULL)
		free(t->memory);
}

uint32_t
tracker_find(const struct tracker *t, uint64_t id)
{
	return idmap_find(t->ids, id);
}

void
tracker_prefetch(const struct tracker *t, uint64_t id)
{
	idmap_prefetch(t->ids, id);
}

void
tracker_prefetch_record(const struct tracker *t, uint64_t id)
{
	if (t->capacity <= NEAR_RECORDS)
		return;
	/* No harm in a wrong guess, nor in an address outside of the table. */
	__builtin_prefetch(&t->hot[idmap_guess(t->ids, id)], 1);
}

bool
tracker_is_gone(const struct tracker *t, uint32_t slot)
{
	assert(table_is_used(t, slot));
	return (t->hot[slot].notes & TABLE_GONE) != 0;
}

void
tracker_set_gone(struct tracker *t, uint32_t slot)
{
	struct table_hot *h = &t->hot[slot];

	assert(table_is_used(t, slot));
	if ((h->state & TABLE_STALLED) != 0 && table_is_there(t, slot))
		t->n_hanging--;
	if ((h->notes & TABLE_GONE) == 0)
		t->n_gone++;
	h->notes |= TABLE_GONE;
	t->cold[slot].pidfd = -1;
}

bool
tracker_view(const struct tracker *t, uint32_t slot, struct agent_view *ret)
{
	const struct table_hot *h;
	const struct table_cold *c;
	bool stalled;

	if (!table_is_used(t, slot))
		return false;
	h = &t->hot[slot];
	c = &t->cold[slot];
	stalled = (h->state & TABLE_STALLED) != 0;
	*ret = (struct agent_view){
		.id = h->id,
		.beats = h->beats,
		.stalls = c->stalls,
		.last_seen_ns = h->last_seen_ns,
		.joined_ns = c->joined_ns,
		.threshold_ns = h->threshold_ns,
		.last_nonce = (h->state & TABLE_AFTER_TERMINAL) != 0
				  ? TABLE_NONCE_TERMINAL
				  : u64_sub_sat(h->next_nonce, 1),
		.start_ticks = c->start_ticks,
		.slot = slot,
		.pid = (uint32_t)h->id,
		.uid = c->uid,
		.pid_namespace = c->pid_namespace,
		.pidfd = c->pidfd,
		.status = stalled ? (uint8_t)AGENT_STALLED : table_status(h),
		.origin = table_origin(h),
		.stalled = stalled,
		.gone = (h->notes & TABLE_GONE) != 0,
	};
	return true;
}

bool
tracker_row(const struct tracker *t, uint32_t slot, struct agent_row *ret)
{
	const struct table_hot *h;

	if (!table_is_used(t, slot))
		return false;
	h = &t->hot[slot];
	ret->beats = h->beats;
	ret->last_seen_ns = h->last_seen_ns;
	ret->pid = (uint32_t)h->id;
	ret->source = (uint32_t)(h->id >> 32);
	ret->status = (h->state & TABLE_STALLED) != 0 ? (uint8_t)AGENT_STALLED
						      : table_status(h);
	ret->stalls = t->cold[slot].stalls;
	ret->joined_ns = t->cold[slot].joined_ns;
	return true;
}

uint32_t
tracker_slots(const struct tracker *t)
{
	return t->n_slots;
}

uint32_t
tracker_count(const struct tracker *t)
{
	return t->n_agents;
}

uint32_t
tracker_hanging(const struct tracker *t)
{
	return t->n_hanging;
}

uint32_t
tracker_gone(const struct tracker *t)
{
	return t->n_gone;
}
