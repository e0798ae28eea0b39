#include "base/prng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/fault.h"

FAULT(int, -1, getentropy, (void *p, size_t n), (p, n))

static void
the_generator_is_the_published_one(void **state)
{
	/* By hand from the definition of xoshiro256**, for state 1 2 3 4. */
	struct prng p = { .s = { 1, 2, 3, 4 } };

	(void)state;
	assert_true(prng_u64(&p) == 11520);
	assert_true(prng_u64(&p) == 0);
	assert_true(prng_u64(&p) == 1509978240);
	assert_true(prng_u64(&p) == UINT64_C(1215971899390074240));
}

static void
a_seed_gives_the_published_state(void **state)
{
	struct prng p;

	(void)state;
	/* The first outputs of splitmix64 for seed 0. */
	prng_seed(&p, 0);
	assert_true(p.s[0] == UINT64_C(0xe220a8397b1dcdaf));
	assert_true(p.s[1] == UINT64_C(0x6e789e6aa1b965f4));
	assert_true(p.s[2] == UINT64_C(0x06c45d188009454f));
	assert_true(p.s[3] == UINT64_C(0xf88bb8a8724c81ec));
}

static void
the_same_seed_gives_the_same_numbers(void **state)
{
	struct prng a, b, c;

	(void)state;
	prng_seed(&a, 42);
	prng_seed(&b, 42);
	prng_seed(&c, 43);
	assert_true(prng_u64(&a) == prng_u64(&b));
	assert_true(prng_u64(&a) != prng_u64(&c));
}

static void
numbers_below_a_bound_cover_it_evenly(void **state)
{
	unsigned seen[10] = { 0 };
	struct prng p;
	int i;

	(void)state;
	prng_seed(&p, 1);
	for (i = 0; i < 10000; i++)
		seen[prng_below(&p, 10)]++;
	for (i = 0; i < 10; i++)
		assert_in_range(seen[i], 800, 1200);
}

static void
every_bound_is_kept(void **state)
{
	struct prng p;
	uint64_t bound;
	int i;

	(void)state;
	prng_seed(&p, 2);
	for (i = 0; i < 64; i++) {
		bound = (UINT64_C(1) << i) + 1;
		assert_true(prng_below(&p, bound) < bound);
	}
	assert_int_equal(prng_below(&p, 1), 0);
	assert_true(prng_below(&p, UINT64_MAX) < UINT64_MAX);
}

static void
entropy_fills_more_than_one_call_gives(void **state)
{
	uint8_t bytes[1000], zero[16] = { 0 };
	size_t i;

	(void)state;
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(prng_entropy(bytes, sizeof(bytes) - 1), 0);
	for (i = 0; i + 16 < sizeof(bytes); i += 16)
		assert_memory_not_equal(bytes + i, zero, 16);
	assert_int_equal(bytes[sizeof(bytes) - 1], 0);
	assert_int_equal(prng_entropy(bytes, 0), 0);
}

static void
missing_entropy_is_an_error(void **state)
{
	uint8_t bytes[300];

	(void)state;
	fault_nth(&fault_getentropy, 2, ENOSYS);
	assert_int_equal(prng_entropy(bytes, sizeof(bytes)), -ENOSYS);
	fault_off(&fault_getentropy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_generator_is_the_published_one),
		cmocka_unit_test(a_seed_gives_the_published_state),
		cmocka_unit_test(the_same_seed_gives_the_same_numbers),
		cmocka_unit_test(numbers_below_a_bound_cover_it_evenly),
		cmocka_unit_test(every_bound_is_kept),
		cmocka_unit_test(entropy_fills_more_than_one_call_gives),
		cmocka_unit_test(missing_entropy_is_an_error),
	};

	return cmocka_run_group_tests_name("prng", tests, NULL, NULL);
}
