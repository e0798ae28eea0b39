#include "watch/act/children.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "watch/act/mix.h"

enum { CHILDREN_MAX = 1 << 24 };

/* Leaves the highest bit of a token to whoever mixes it with others. */
static const uint32_t generation_mask = INT32_MAX;

#define NONE UINT32_MAX

struct ends {
	uint32_t first;
	uint32_t last;
};

struct children {
	struct child *places;
	uint32_t *buckets;
	uint32_t *used; /* places in use, in no order, without gaps */
	uint64_t seed[2];
	struct ends lists[CHILD_LIST_COUNT];
	uint32_t bucket_mask;
	uint32_t max;
	uint32_t n_used;
	uint32_t n_orphans;
	uint32_t n_touched; /* places that were ever in use */
	uint32_t free;      /* first of those given back, linked by next */
};

size_t
children_size(uint32_t max)
{
	if (max == 0 || max > CHILDREN_MAX)
		return 0;
	return sizeof(struct children) +
	       (size_t)max * 2 * (sizeof(struct child) + sizeof(uint32_t)) +
	       u32_pow2_ceil(max) * sizeof(uint32_t);
}

struct children *
children_init(void *mem, uint32_t max, const uint64_t seed[2])
{
	struct children *t = mem;
	uint32_t n_buckets = u32_pow2_ceil(max);
	size_t i;

	assert(children_size(max) > 0);
	memset(mem, 0, children_size(max));
	t->places = (struct child *)(void *)(t + 1);
	t->used = (uint32_t *)(void *)(t->places + (size_t)max * 2);
	t->buckets = t->used + (size_t)max * 2;
	t->seed[0] = seed[0];
	t->seed[1] = seed[1];
	t->bucket_mask = n_buckets - 1;
	t->max = max;
	t->free = NONE;
	for (i = 0; i < ARRAY_SIZE(t->lists); i++)
		t->lists[i] = (struct ends){ NONE, NONE };
	memset(t->buckets, 0xff, n_buckets * sizeof(t->buckets[0]));
	return t;
}

static uint32_t
index_of(const struct children *t, const struct child *c)
{
	return (uint32_t)(c - t->places);
}

static uint32_t *
bucket_of(const struct children *t, uint64_t id)
{
	return &t->buckets[mix_id(id, t->seed) & t->bucket_mask];
}

static void
unchain(struct children *t, const struct child *c)
{
	uint32_t *link = bucket_of(t, c->id);

	while (*link != index_of(t, c))
		link = &t->places[*link].chain;
	*link = c->chain;
}

static void
list_remove(struct children *t, struct child *c)
{
	struct ends *ends = &t->lists[c->list];

	if (c->list == CHILD_IN_NO_LIST)
		return;
	if (c->prev != NONE)
		t->places[c->prev].next = c->next;
	else
		ends->first = c->next;
	if (c->next != NONE)
		t->places[c->next].prev = c->prev;
	else
		ends->last = c->prev;
	c->list = CHILD_IN_NO_LIST;
}

static void
list_append(struct children *t, struct child *c, enum child_list list)
{
	struct ends *ends = &t->lists[list];

	c->list = list;
	if (list == CHILD_IN_NO_LIST)
		return;
	c->prev = ends->last;
	c->next = NONE;
	if (ends->last != NONE)
		t->places[ends->last].next = index_of(t, c);
	else
		ends->first = index_of(t, c);
	ends->last = index_of(t, c);
}

bool
children_is_full(const struct children *t)
{
	return t->n_used - t->n_orphans >= t->max;
}

static struct child *
take_place(struct children *t)
{
	struct child *c;
	uint32_t generation;

	if (t->free == NONE)
		return &t->places[t->n_touched++];
	c = &t->places[t->free];
	t->free = c->next;
	generation = c->generation;
	memset(c, 0, sizeof(*c));
	c->generation = generation;
	return c;
}

struct child *
children_add(struct children *t, uint64_t id)
{
	uint32_t *bucket = bucket_of(t, id);
	struct child *c;

	assert(!children_is_full(t));
	c = take_place(t);
	c->generation = (c->generation + 1) & generation_mask;
	c->id = id;
	c->chain = *bucket;
	*bucket = index_of(t, c);
	c->position = t->n_used;
	t->used[t->n_used++] = index_of(t, c);
	list_append(t, c, CHILD_DUE);
	return c;
}

struct child *
children_find(const struct children *t, uint64_t id)
{
	uint32_t i;

	for (i = *bucket_of(t, id); i != NONE; i = t->places[i].chain) {
		if (t->places[i].id == id)
			return &t->places[i];
	}
	return NULL;
}

bool
children_make_orphan(struct children *t, struct child *c)
{
	assert(!c->orphan);
	if (t->n_orphans >= t->max)
		return false;
	unchain(t, c);
	c->orphan = true;
	t->n_orphans++;
	return true;
}

void
children_move(struct children *t, struct child *c, enum child_list to)
{
	list_remove(t, c);
	list_append(t, c, to);
}

struct child *
children_first(const struct children *t, enum child_list list)
{
	uint32_t i = t->lists[list].first;

	return i == NONE ? NULL : &t->places[i];
}

void
children_remove(struct children *t, struct child *c)
{
	uint32_t last = t->used[t->n_used - 1];

	list_remove(t, c);
	if (c->orphan)
		t->n_orphans--;
	else
		unchain(t, c);
	t->used[c->position] = last;
	t->places[last].position = c->position;
	t->n_used--;
	c->next = t->free;
	c->position = NONE;
	t->free = index_of(t, c);
}

uint64_t
children_token(const struct children *t, const struct child *c)
{
	return (uint64_t)c->generation << 32 | index_of(t, c);
}

struct child *
children_by_token(const struct children *t, uint64_t token)
{
	uint32_t i = (uint32_t)token;
	struct child *c;

	if (i >= t->n_touched)
		return NULL;
	c = &t->places[i];
	if (c->generation != token >> 32 || c->position == NONE)
		return NULL;
	return c;
}

uint32_t
children_count(const struct children *t)
{
	return t->n_used;
}

struct child *
children_at(const struct children *t, uint32_t i)
{
	assert(i < t->n_used);
	return &t->places[t->used[i]];
}
