#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
sums_stop_at_the_top(void **state)
{
	(void)state;
	assert_int_equal(u64_add_sat(1, 2), 3);
	assert_true(u64_add_sat(UINT64_MAX - 1, 1) == UINT64_MAX);
	assert_true(u64_add_sat(UINT64_MAX, 1) == UINT64_MAX);
	assert_true(u64_add_sat(NS_NEVER, NS_NEVER) == NS_NEVER);
}

static void
differences_stop_at_zero(void **state)
{
	(void)state;
	assert_int_equal(u64_sub_sat(3, 2), 1);
	assert_int_equal(u64_sub_sat(2, 2), 0);
	assert_int_equal(u64_sub_sat(2, 3), 0);
	assert_int_equal(u64_sub_sat(0, UINT64_MAX), 0);
}

static void
products_stop_at_the_top(void **state)
{
	(void)state;
	assert_int_equal(u64_mul_sat(7, 6), 42);
	assert_int_equal(u64_mul_sat(UINT64_MAX, 0), 0);
	assert_true(
	    u64_mul_sat(UINT64_C(1) << 32, UINT64_C(1) << 32) == UINT64_MAX);
}

static void
a_size_that_does_not_fit_is_refused(void **state)
{
	size_t size = 7;

	(void)state;
	assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &size));
	assert_int_equal(size, 7);
	assert_true(size_mul(SIZE_MAX / 2, 2, &size));
	assert_true(size == SIZE_MAX - 1);
}

static void
powers_of_two_are_rounded_up_to(void **state)
{
	(void)state;
	assert_int_equal(u32_pow2_ceil(0), 1);
	assert_int_equal(u32_pow2_ceil(1), 1);
	assert_int_equal(u32_pow2_ceil(2), 2);
	assert_int_equal(u32_pow2_ceil(3), 4);
	assert_int_equal(u32_pow2_ceil(4096), 4096);
	assert_int_equal(u32_pow2_ceil(4097), 8192);
	assert_true(u32_pow2_ceil(UINT32_C(1) << 31) == UINT32_C(1) << 31);
}

static void
the_smaller_and_the_larger_are_told(void **state)
{
	(void)state;
	assert_int_equal(u64_min(1, 2), 1);
	assert_int_equal(u64_min(2, 1), 1);
	assert_int_equal(u64_max(1, 2), 2);
	assert_int_equal(u64_max(2, 1), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_stop_at_the_top),
		cmocka_unit_test(differences_stop_at_zero),
		cmocka_unit_test(products_stop_at_the_top),
		cmocka_unit_test(a_size_that_does_not_fit_is_refused),
		cmocka_unit_test(powers_of_two_are_rounded_up_to),
		cmocka_unit_test(the_smaller_and_the_larger_are_told),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
