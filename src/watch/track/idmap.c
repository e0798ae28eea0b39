#include "watch/track/idmap.h"

#include <assert.h>
#include <string.h>

#include "watch/event.h"

enum {
	CAPACITY_MAX = 1 << 24,
	LINE_BYTES = 64,
	GUESSES = 4 /* entries that idmap_guess() reads */
};

/*
 * An entry is the hash above slot + 1; 0 is empty. The place where it belongs
 * follows from the hash alone, so that entries can be moved without a look at
 * the records. Within a run the low bits of the hash tell entries apart: a
 * record that is not the right one is touched once in thousands of look-ups.
 */
struct idmap {
	struct idmap_keys keys;
	uint64_t add;
	uint64_t factors[2];
	uint32_t n_entries;
	_Alignas(LINE_BYTES) uint64_t entries[];
};

/* A third more than the capacity, so at least one is always empty. */
static uint32_t
entries_for(uint32_t capacity)
{
	return capacity + capacity / 3 + 1;
}

size_t
idmap_size(uint32_t capacity)
{
	if (capacity == 0 || capacity > CAPACITY_MAX)
		return 0;
	return sizeof(struct idmap) +
	       (entries_for(capacity) + GUESSES - 1) * sizeof(uint64_t);
}

struct idmap *
idmap_init(void *mem, uint32_t capacity, const struct idmap_keys *keys,
    const uint64_t seed[2])
{
	struct idmap *m = mem;

	if (idmap_size(capacity) == 0)
		return NULL;
	m->keys = *keys;
	m->n_entries = entries_for(capacity);
	m->add = seed[0] + seed[1];
	/* Odd; and with many bits set even where the seed is 0. */
	m->factors[0] = (seed[0] ^ UINT64_C(0x9e3779b97f4a7c15)) | 1;
	m->factors[1] = (seed[1] ^ UINT64_C(0xbf58476d1ce4e5b9)) | 1;
	return m;
}

static uint32_t
hash(const struct idmap *m, uint64_t id)
{
	uint64_t x = (id + m->add) * m->factors[0];

	x ^= x >> 32;
	x *= m->factors[1];
	return (uint32_t)(x >> 32);
}

static uint32_t
home(const struct idmap *m, uint32_t h)
{
	return (uint32_t)((uint64_t)h * m->n_entries >> 32);
}

static uint32_t
after(const struct idmap *m, uint32_t i)
{
	return i + 1 == m->n_entries ? 0 : i + 1;
}

static uint64_t
id_at(const struct idmap *m, uint32_t slot)
{
	uint64_t id;

	memcpy(&id, (const uint8_t *)m->keys.base + slot * m->keys.stride,
	    sizeof(id));
	return id;
}

/* The place of id, or of the empty entry where its run ends. */
static uint32_t
place(const struct idmap *m, uint64_t id)
{
	uint32_t h = hash(m, id), i = home(m, h);
	uint64_t entry;

	for (;; i = after(m, i)) {
		entry = m->entries[i];
		if (entry == 0)
			return i;
		if ((uint32_t)(entry >> 32) == h &&
		    id_at(m, (uint32_t)entry - 1) == id)
			return i;
	}
}

uint32_t
idmap_find(const struct idmap *m, uint64_t id)
{
	/* An empty entry, less one, is SLOT_NONE. */
	return (uint32_t)m->entries[place(m, id)] - 1;
}

void
idmap_prefetch(const struct idmap *m, uint64_t id)
{
	__builtin_prefetch(&m->entries[home(m, hash(m, id))]);
}

static uint32_t
slot_if(uint64_t entry, uint32_t h, uint32_t otherwise)
{
	return (uint32_t)(entry >> 32) == h ? (uint32_t)entry - 1 : otherwise;
}

/* Without a branch that depends on what is found: unlike place(), which is
 * mispredicted on most calls. */
uint32_t
idmap_guess(const struct idmap *m, uint64_t id)
{
	uint32_t h = hash(m, id), ret = 0;
	const uint64_t *entry = &m->entries[home(m, h)];

	ret = slot_if(entry[3], h, ret);
	ret = slot_if(entry[2], h, ret);
	ret = slot_if(entry[1], h, ret);
	return slot_if(entry[0], h, ret);
}

void
idmap_add(struct idmap *m, uint64_t id, uint32_t slot)
{
	uint32_t i = place(m, id);

	assert(m->entries[i] == 0);
	m->entries[i] = (uint64_t)hash(m, id) << 32 | (slot + 1);
}

void
idmap_remove(struct idmap *m, uint64_t id)
{
	uint32_t hole = place(m, id), i, at, from_home, from_hole;

	assert(m->entries[hole] != 0);
	/*
	 * Close the gap: each entry behind it moves up, unless it would come
	 * to stand before the place where it belongs.
	 */
	for (i = after(m, hole); m->entries[i] != 0; i = after(m, i)) {
		at = home(m, (uint32_t)(m->entries[i] >> 32));
		from_home = i >= at ? i - at : i + m->n_entries - at;
		from_hole = i >= hole ? i - hole : i + m->n_entries - hole;
		if (from_home < from_hole)
			continue;
		m->entries[hole] = m->entries[i];
		hole = i;
	}
	m->entries[hole] = 0;
}
