/*
 * The memory of sessions: nothing is lost, nothing is made up.
 */
#include "watch/intake/prefixset.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"
#include "support/fault.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static const uint8_t hash_key[PREFIXSET_HASH_KEY_BYTES] = { 9 };

static struct prefixset *
make(uint32_t capacity, uint32_t sources)
{
	uint32_t list[PREFIXSET_SOURCES];
	struct prefixset *s;

	assert_int_equal(prefixset_new(capacity, hash_key, &s), 0);
	for (uint32_t i = 0; i < sources; i++)
		list[i] = 10 + i;
	prefixset_use(s, list, sources);
	return s;
}

static struct prefixset_entry
entry(const struct prefixset *s, uint32_t source, uint64_t prefix)
{
	return prefixset_entry(s, (uint64_t)source << 32 | 42, prefix);
}

static bool
add(struct prefixset *s, uint32_t source, uint64_t prefix)
{
	struct prefixset_entry e = entry(s, source, prefix);

	return prefixset_add(s, &e);
}

static bool
has(const struct prefixset *s, uint32_t source, uint64_t prefix)
{
	struct prefixset_entry e = entry(s, source, prefix);

	return prefixset_has(s, &e);
}

static void
remembers_as_many_as_fit_and_no_others(void **state)
{
	enum { N = 10000 };
	struct prefixset *s = make(N, 1);

	(void)state;
	for (uint64_t i = 0; i < N; i++) {
		assert_false(has(s, 10, i));
		assert_true(add(s, 10, i));
	}
	assert_false(add(s, 10, N));
	assert_int_equal(prefixset_count(s), N);
	for (uint64_t i = 0; i < 2 * N; i++)
		assert_int_equal(has(s, 10, i), i < N);
	assert_false(has(s, 11, 0));
	prefixset_free(s);
}

static void
identity_and_prefix_both_tell_sessions_apart(void **state)
{
	struct prefixset *s = make(10, 2);
	struct prefixset_entry e =
	    prefixset_entry(s, UINT64_C(10) << 32 | 1, 7);

	(void)state;
	assert_true(prefixset_add(s, &e));
	assert_true(prefixset_add(s, &e)); /* again: no harm */
	assert_int_equal(prefixset_count(s), 1);
	e = prefixset_entry(s, UINT64_C(10) << 32 | 2, 7);
	assert_false(prefixset_has(s, &e));
	e = prefixset_entry(s, UINT64_C(11) << 32 | 1, 7);
	assert_false(prefixset_has(s, &e));
	prefixset_free(s);
}

/* Sources come and go over a table that is nearly full, so that whatever is
 * moved when others are dropped is moved over its end, too. */
static void
dropping_a_source_takes_nothing_of_the_others(void **state)
{
	enum { N = 512, SOURCES = 8 };
	struct prng rng;

	(void)state;
	prng_seed(&rng, 1);
	for (unsigned round = 0; round < 100; round++) {
		struct prefixset *s = make(N, SOURCES);
		uint32_t source_of[N], keep[SOURCES], n = 0;

		for (uint64_t i = 0; i < N; i++) {
			source_of[i] = 10 + (uint32_t)prng_below(&rng, SOURCES);
			assert_true(
			    add(s, source_of[i], i + round * UINT64_C(7919)));
		}
		for (uint32_t i = 0; i < SOURCES; i++)
			if (i != round % SOURCES && prng_below(&rng, 2) == 0)
				keep[n++] = 10 + i;
		prefixset_use(s, keep, n);
		for (uint64_t i = 0; i < N; i++) {
			bool kept = false;

			for (uint32_t j = 0; j < n; j++)
				kept |= keep[j] == source_of[i];
			assert_int_equal(
			    has(s, source_of[i], i + round * UINT64_C(7919)),
			    kept);
		}
		prefixset_free(s);
	}
}

static void
a_source_that_is_gone_is_remembered_while_there_is_room(void **state)
{
	struct prefixset *s = make(100, 2);
	const uint32_t one = 10, other = 11;

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		assert_true(add(s, 11, i));
	prefixset_use(s, &one, 1);
	assert_true(has(s, 11, 5));
	prefixset_use(s, &other, 1);
	assert_true(has(s, 11, 5));
	prefixset_use(s, &one, 1);
	for (uint64_t i = 0; i < 40; i++)
		assert_true(add(s, 10, i));
	prefixset_use(s, &one, 1);
	assert_false(has(s, 11, 5));
	assert_true(has(s, 10, 5));
	assert_int_equal(prefixset_count(s), 40);
	prefixset_free(s);
}

static void
numbers_of_old_sources_go_to_new_ones(void **state)
{
	struct prefixset *s = make(1000, 1);

	(void)state;
	for (uint32_t source = 10; source < 200; source++) {
		prefixset_use(s, &source, 1);
		assert_true(add(s, source, source));
		assert_true(has(s, source, source));
	}
	assert_true(prefixset_count(s) <= PREFIXSET_SOURCES);
	prefixset_free(s);
}

static void
says_what_is_not_on_disk_yet(void **state)
{
	struct prefixset *s = make(1000, 1);
	struct prefixset_entry e;
	uint32_t cursor = 0, n = 0;
	int r;

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_true(add(s, 10, i));
	e = entry(s, 10, 1000);
	assert_true(prefixset_restore(s, &e));
	for (uint64_t i = 0; i < 60; i++) {
		e = entry(s, 10, i);
		prefixset_saved(s, &e);
	}
	while ((r = prefixset_next(s, true, 10, &cursor, &e)) >= 0)
		if (r == 1) {
			assert_int_equal(e.source, 10);
			assert_true(prefixset_has(s, &e));
			n++;
		}
	assert_int_equal(n, 40);
	cursor = n = 0;
	while ((r = prefixset_next(s, false, UINT32_MAX, &cursor, &e)) > 0)
		n++;
	assert_int_equal(r, -1);
	assert_int_equal(n, 101);
	prefixset_free(s);
}

static void
what_is_restored_may_be_of_a_source_that_is_gone(void **state)
{
	struct prefixset *s = make(10, 1);
	struct prefixset_entry e = entry(s, 99, 7);

	(void)state;
	assert_true(prefixset_restore(s, &e));
	assert_true(prefixset_has(s, &e));
	prefixset_drop_unused(s);
	assert_false(prefixset_has(s, &e));
	for (uint32_t i = 0; i < PREFIXSET_SOURCES - 1; i++) {
		e = entry(s, 200 + i, 7);
		if (i < 10)
			assert_true(prefixset_restore(s, &e));
		else
			assert_false(prefixset_restore(s, &e));
	}
	prefixset_free(s);
}

static void
a_digest_of_zero_is_one_like_others(void **state)
{
	struct prefixset *s = make(10, 1);
	struct prefixset_entry e = { .digest = 0, .source = 10 };

	(void)state;
	assert_false(prefixset_has(s, &e));
	assert_true(prefixset_add(s, &e));
	assert_true(prefixset_has(s, &e));
	prefixset_saved(s, &e);
	assert_true(prefixset_has(s, &e));
	prefixset_free(s);
}

static void
refuses_a_capacity_out_of_range_and_bears_a_lack_of_memory(void **state)
{
	struct prefixset *s = NULL;

	(void)state;
	assert_int_equal(prefixset_new(0, hash_key, &s), -EINVAL);
	assert_int_equal(
	    prefixset_new(PREFIXSET_CAPACITY_MAX + 1, hash_key, &s), -EINVAL);
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(prefixset_new(1, hash_key, &s), -ENOMEM);
	assert_null(s);
	prefixset_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remembers_as_many_as_fit_and_no_others),
		cmocka_unit_test(identity_and_prefix_both_tell_sessions_apart),
		cmocka_unit_test(dropping_a_source_takes_nothing_of_the_others),
		cmocka_unit_test(
		    a_source_that_is_gone_is_remembered_while_there_is_room),
		cmocka_unit_test(numbers_of_old_sources_go_to_new_ones),
		cmocka_unit_test(says_what_is_not_on_disk_yet),
		cmocka_unit_test(
		    what_is_restored_may_be_of_a_source_that_is_gone),
		cmocka_unit_test(a_digest_of_zero_is_one_like_others),
		cmocka_unit_test(
		    refuses_a_capacity_out_of_range_and_bears_a_lack_of_memory),
	};

	return cmocka_run_group_tests_name("prefixset", tests, NULL, NULL);
}
