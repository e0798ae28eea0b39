/*
 * The identity map against an array that is searched from the front: random
 * additions and removals, near to full and to empty, ids near each other and
 * far apart. The seed is printed; VARTA_SEED gives it again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "support/seed.h"
#include "watch/event.h"
#include "watch/track/idmap.h"

enum { MAX = 200, OPERATIONS = 20000, MAPS = 20 };

struct model {
	struct idmap *map;
	void *memory;
	uint64_t ids[MAX]; /* by slot; what the map looks at, too */
	bool used[MAX];
	uint32_t capacity;
	uint32_t n;
};

static struct prng prng;

static int
seed(void **state)
{
	(void)state;
	prng_seed(&prng, seed_choose());
	return 0;
}

static uint32_t
find(const struct model *m, uint64_t id)
{
	uint32_t slot;

	for (slot = 0; slot < m->capacity; slot++)
		if (m->used[slot] && m->ids[slot] == id)
			return slot;
	return SLOT_NONE;
}

/* From so few that many come again. */
static uint64_t
some_id(const struct model *m)
{
	uint64_t id = prng_below(&prng, m->capacity + m->capacity / 2);

	return prng_below(&prng, 2) == 0 ? id : id << 32;
}

static void
operate(struct model *m)
{
	uint64_t id = some_id(m);
	uint32_t slot = find(m, id);

	assert_int_equal(idmap_find(m->map, id), slot);
	idmap_prefetch(m->map, id);
	(void)idmap_guess(m->map, id);
	if (slot != SLOT_NONE) {
		idmap_remove(m->map, id);
		m->used[slot] = false;
		m->n--;
		assert_int_equal(idmap_find(m->map, id), SLOT_NONE);
	} else if (m->n < m->capacity) {
		slot = (uint32_t)prng_below(&prng, m->capacity);
		while (m->used[slot])
			slot = (slot + 1) % m->capacity;
		m->ids[slot] = id;
		m->used[slot] = true;
		idmap_add(m->map, id, slot);
		m->n++;
		assert_int_equal(idmap_find(m->map, id), slot);
	}
}

static void
check_all(const struct model *m)
{
	uint32_t slot;

	for (slot = 0; slot < m->capacity; slot++)
		if (m->used[slot])
			assert_int_equal(
			    idmap_find(m->map, m->ids[slot]), slot);
}

static void
everybody_is_found_where_they_are(void **state)
{
	struct idmap_keys keys;
	struct model m;
	uint64_t seeds[2];
	size_t i, k, bytes;

	(void)state;
	for (k = 0; k < MAPS; k++) {
		memset(&m, 0, sizeof(m));
		m.capacity = 1 + (uint32_t)prng_below(&prng, MAX);
		bytes = (idmap_size(m.capacity) + 63) / 64 * 64;
		m.memory = aligned_alloc(64, bytes);
		assert_non_null(m.memory);
		memset(m.memory, 0, bytes);
		keys = (struct idmap_keys){ m.ids, sizeof(m.ids[0]) };
		seeds[0] = prng_u64(&prng);
		seeds[1] = prng_u64(&prng);
		m.map = idmap_init(m.memory, m.capacity, &keys, seeds);
		for (i = 0; i < OPERATIONS; i++) {
			operate(&m);
			if (i % 100 == 0)
				check_all(&m);
		}
		free(m.memory);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_is_found_where_they_are),
	};

	return cmocka_run_group_tests_name("prop_idmap", tests, seed, NULL);
}
