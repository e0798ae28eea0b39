#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "watch/event.h"
#include "watch/track/idmap.h"

enum { CAPACITY = 1000 };

struct record {
	uint64_t id;
	uint32_t other;
};

static struct record records[CAPACITY];
static void *memory;

static struct idmap *
make(uint32_t capacity, uint64_t seed)
{
	const struct idmap_keys keys = { &records[0].id, sizeof(records[0]) };
	const uint64_t seeds[2] = { seed, ~seed * 3 };
	size_t bytes = (idmap_size(capacity) + 63) / 64 * 64;
	struct idmap *m;

	free(memory);
	memory = aligned_alloc(64, bytes);
	assert_non_null(memory);
	memset(memory, 0, bytes);
	m = idmap_init(memory, capacity, &keys, seeds);
	assert_ptr_equal(m, memory);
	return m;
}

static int
tear_down(void **state)
{
	(void)state;
	free(memory);
	memory = NULL;
	return 0;
}

static void
add(struct idmap *m, uint64_t id, uint32_t slot)
{
	records[slot].id = id;
	idmap_add(m, id, slot);
}

static void
refuses_what_is_out_of_range(void **state)
{
	_Alignas(64) static uint8_t mem[256];
	const struct idmap_keys keys = { mem, 1 };
	const uint64_t seeds[2] = { 0 };

	(void)state;
	assert_int_equal(idmap_size(0), 0);
	assert_int_equal(idmap_size((1 << 24) + 1), 0);
	assert_true(idmap_size(1 << 24) > 0);
	assert_null(idmap_init(mem, 0, &keys, seeds));
}

static void
an_empty_map_knows_nobody(void **state)
{
	struct idmap *m = make(1, 1);

	(void)state;
	assert_int_equal(idmap_find(m, 0), SLOT_NONE);
	assert_int_equal(idmap_find(m, UINT64_MAX), SLOT_NONE);
	idmap_prefetch(m, 5);
}

static void
what_was_added_is_found_until_it_is_removed(void **state)
{
	struct idmap *m = make(3, 2);

	(void)state;
	add(m, 7, 2);
	add(m, UINT64_C(7) << 32, 0);
	add(m, 0, 1);
	assert_int_equal(idmap_find(m, 7), 2);
	assert_int_equal(idmap_find(m, UINT64_C(7) << 32), 0);
	assert_int_equal(idmap_find(m, 0), 1);
	assert_int_equal(idmap_find(m, 8), SLOT_NONE);
	idmap_remove(m, 7);
	assert_int_equal(idmap_find(m, 7), SLOT_NONE);
	assert_int_equal(idmap_find(m, 0), 1);
}

/* Among so many, runs go over the end of the table. */
static void
a_full_map_finds_all_whatever_was_removed(void **state)
{
	struct idmap *m;
	uint64_t seed;
	uint32_t i;

	(void)state;
	for (seed = 0; seed < 20; seed++) {
		m = make(CAPACITY, seed);
		for (i = 0; i < CAPACITY; i++)
			add(m, i * 64, i);
		for (i = 0; i < CAPACITY; i += 3)
			idmap_remove(m, i * 64);
		for (i = 0; i < CAPACITY; i++)
			assert_int_equal(
			    idmap_find(m, i * 64), i % 3 == 0 ? SLOT_NONE : i);
		for (i = 0; i < CAPACITY; i += 3)
			add(m, UINT64_MAX - i, i);
		for (i = 0; i < CAPACITY; i++)
			assert_int_equal(
			    idmap_find(m, i % 3 == 0 ? UINT64_MAX - i : i * 64),
			    i);
	}
}

static void
most_guesses_are_right(void **state)
{
	struct idmap *m = make(CAPACITY, 5);
	uint32_t i, right = 0;

	(void)state;
	for (i = 0; i < CAPACITY; i++)
		add(m, i, i);
	for (i = 0; i < CAPACITY; i++)
		right += idmap_guess(m, i) == i;
	assert_in_range(right, CAPACITY * 3 / 4, CAPACITY);
	(void)idmap_guess(m, CAPACITY + 1);
}

/* With a known seed a sender could make all its neighbours walk. */
static void
another_seed_is_another_order(void **state)
{
	struct idmap *m;
	uint8_t *first;
	size_t bytes = idmap_size(CAPACITY);
	uint32_t i;

	(void)state;
	first = malloc(bytes);
	assert_non_null(first);
	m = make(CAPACITY, 1);
	for (i = 0; i < 100; i++)
		add(m, i, i);
	memcpy(first, m, bytes);
	m = make(CAPACITY, 2);
	for (i = 0; i < 100; i++)
		add(m, i, i);
	assert_memory_not_equal(first, m, bytes);
	free(first);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_out_of_range),
		cmocka_unit_test(an_empty_map_knows_nobody),
		cmocka_unit_test(what_was_added_is_found_until_it_is_removed),
		cmocka_unit_test(a_full_map_finds_all_whatever_was_removed),
		cmocka_unit_test(most_guesses_are_right),
		cmocka_unit_test(another_seed_is_another_order),
	};

	return cmocka_run_group_tests_name("idmap", tests, NULL, tear_down);
}
