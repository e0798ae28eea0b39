#include "watch/intake/senders.h"

#include <assert.h>
#include <stdlib.h>

#include "base/util.h"

/* A place; those in use are chained from the one that was silent longest. */
struct sender {
	uint64_t id; /* 0: free */
	uint64_t last_ns;
	uint32_t older;
	uint32_t newer;
};

/* Identities are found by linear probing in an index that is at most half
 * full; it holds place + 1. */
struct senders {
	uint64_t seed[2];
	uint32_t capacity;
	uint32_t count;
	uint32_t mask;
	uint32_t oldest;
	uint32_t newest;
	uint32_t *index;
	struct sender list[];
};

struct senders *
senders_new(uint32_t capacity, const uint64_t seed[static 2])
{
	struct senders *t;
	uint32_t n;

	assert(capacity >= 1 && capacity <= SENDERS_MAX);
	n = u32_pow2_ceil(2 * capacity);
	t = calloc(1, sizeof(*t) + capacity * sizeof(t->list[0]) +
			  n * sizeof(t->index[0]));
	if (t == NULL)
		return NULL;
	t->seed[0] = seed[0];
	t->seed[1] = seed[1] | 1;
	t->capacity = capacity;
	t->mask = n - 1;
	t->oldest = SENDERS_NONE;
	t->newest = SENDERS_NONE;
	t->index = (uint32_t *)(t->list + capacity);
	return t;
}

void
senders_free(struct senders *t)
{
	free(t);
}

/* Only identities whose key is known get here, so that it is enough that
 * nobody can tell which of them meet. */
static uint32_t
home_of(const struct senders *t, uint64_t id)
{
	uint64_t x = (id ^ t->seed[0]) * t->seed[1];

	x ^= x >> 32;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(x >> 32) & t->mask;
}

/* Where id stands in the index, or the empty entry where it would. */
static uint32_t
entry_of(const struct senders *t, uint64_t id)
{
	uint32_t i = home_of(t, id);

	while (t->index[i] != 0 && t->list[t->index[i] - 1].id != id)
		i = (i + 1) & t->mask;
	return i;
}

uint32_t
senders_find(const struct senders *t, uint64_t id)
{
	/* 0 is no place, and SENDERS_NONE once 1 is taken off. */
	return t->index[entry_of(t, id)] - 1;
}

static void
unchain(struct senders *t, uint32_t place)
{
	const struct sender *s = &t->list[place];

	if (s->older != SENDERS_NONE)
		t->list[s->older].newer = s->newer;
	else
		t->oldest = s->newer;
	if (s->newer != SENDERS_NONE)
		t->list[s->newer].older = s->older;
	else
		t->newest = s->older;
}

static void
chain_newest(struct senders *t, uint32_t place)
{
	struct sender *s = &t->list[place];

	s->older = t->newest;
	s->newer = SENDERS_NONE;
	if (t->newest != SENDERS_NONE)
		t->list[t->newest].newer = place;
	else
		t->oldest = place;
	t->newest = place;
}

/* Take entry i out of the index; what follows moves forward. */
static void
remove_entry(struct senders *t, uint32_t i)
{
	uint32_t next = i, home;

	for (;;) {
		t->index[i] = 0;
		do {
			next = (next + 1) & t->mask;
			if (t->index[next] == 0)
				return;
			home = home_of(t, t->list[t->index[next] - 1].id);
		} while (((next - home) & t->mask) < ((next - i) & t->mask));
		t->index[i] = t->index[next];
		i = next;
	}
}

/* A place that nobody has, or nobody any more. */
static uint32_t
free_place(struct senders *t, uint64_t now_ns, uint64_t stale_ns)
{
	uint32_t place = t->oldest;

	if (t->count < t->capacity)
		return t->count++;
	if (u64_sub_sat(now_ns, t->list[place].last_ns) < stale_ns)
		return SENDERS_NONE;
	unchain(t, place);
	remove_entry(t, entry_of(t, t->list[place].id));
	return place;
}

uint32_t
senders_take(struct senders *t, uint64_t id, uint64_t now_ns, uint64_t stale_ns)
{
	uint32_t place = free_place(t, now_ns, stale_ns);

	assert(id != 0);
	if (place == SENDERS_NONE)
		return SENDERS_NONE;
	t->index[entry_of(t, id)] = place + 1;
	t->list[place].id = id;
	t->list[place].last_ns = now_ns;
	chain_newest(t, place);
	return place;
}

void
senders_touch(struct senders *t, uint32_t place, uint64_t now_ns)
{
	t->list[place].last_ns = now_ns;
	if (t->newest == place)
		return;
	unchain(t, place);
	chain_newest(t, place);
}

uint64_t
senders_last_ns(const struct senders *t, uint32_t place)
{
	return t->list[place].last_ns;
}

uint64_t
senders_id(const struct senders *t, uint32_t place)
{
	return t->list[place].id;
}

uint32_t
senders_count(const struct senders *t)
{
	return t->count;
}

uint32_t
senders_capacity(const struct senders *t)
{
	return t->capacity;
}
