#include "base/steady.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
time_that_goes_on_is_told_as_it_is(void **state)
{
	struct steady s = { 0 };

	(void)state;
	assert_int_equal(steady_now_ns(&s, 0), 0);
	assert_int_equal(steady_now_ns(&s, 5), 5);
	assert_int_equal(steady_now_ns(&s, 5), 5);
	assert_int_equal(steady_now_ns(&s, UINT64_MAX), UINT64_MAX);
	assert_int_equal(s.n_back, 0);
}

static void
a_clock_that_went_back_stands_still_until_it_has_caught_up(void **state)
{
	struct steady s = { 0 };

	(void)state;
	assert_int_equal(steady_now_ns(&s, 100), 100);
	assert_int_equal(steady_now_ns(&s, 40), 100);
	assert_int_equal(s.n_back, 1);
	/* It is behind still, and went back once. */
	assert_int_equal(steady_now_ns(&s, 60), 100);
	assert_int_equal(steady_now_ns(&s, 100), 100);
	assert_int_equal(s.n_back, 1);
	assert_int_equal(steady_now_ns(&s, 101), 101);
	assert_int_equal(steady_now_ns(&s, 90), 101);
	assert_int_equal(s.n_back, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_that_goes_on_is_told_as_it_is),
		cmocka_unit_test(
		    a_clock_that_went_back_stands_still_until_it_has_caught_up),
	};

	return cmocka_run_group_tests_name("steady", tests, NULL, NULL);
}
