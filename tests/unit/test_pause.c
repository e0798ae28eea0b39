#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/judge/pause.h"

#define MS(n) ((uint64_t)(n)*NS_PER_MS)

static void
being_in_time_is_no_gap(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, MS(0));
	pause_sleep(&p, MS(1), MS(100));
	assert_int_equal(pause_wake(&p, MS(100), false), 0);
	pause_sleep(&p, MS(101), MS(200));
	/* A beat woke us early. */
	assert_int_equal(pause_wake(&p, MS(150), false), 0);
	assert_int_equal(pause_credit_ns(&p, 0), 0);
}

static void
lateness_up_to_the_tolerance_is_no_gap_and_beyond_it_is(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, 0);
	pause_sleep(&p, MS(1), MS(100));
	assert_int_equal(
	    pause_wake(&p, MS(100 + PAUSE_TOLERANCE_MS), false), 0);
	pause_sleep(&p, MS(200), MS(300));
	assert_int_equal(
	    pause_wake(&p, MS(300 + PAUSE_TOLERANCE_MS) + 1, false),
	    MS(300 + PAUSE_TOLERANCE_MS) + 1 - MS(100 + PAUSE_TOLERANCE_MS));
}

static void
sleeping_long_without_a_date_is_no_gap(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, 0);
	pause_sleep(&p, MS(1), NS_NEVER);
	assert_int_equal(pause_wake(&p, MS(3600000), false), 0);
}

static void
a_stop_with_beats_waiting_is_a_gap_whatever_the_date(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, 0);
	assert_int_equal(pause_wake(&p, MS(10), false), 0);
	pause_sleep(&p, MS(11), NS_NEVER);
	assert_int_equal(pause_wake(&p, MS(500), true), MS(490));
}

static void
a_stop_within_the_tolerance_is_no_gap(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, 0);
	pause_sleep(&p, MS(1), NS_NEVER);
	assert_int_equal(pause_wake(&p, MS(PAUSE_TOLERANCE_MS), true), 0);
	pause_sleep(&p, MS(51), NS_NEVER);
	assert_int_equal(pause_wake(&p, MS(51), true), 0);
	assert_int_equal(pause_credit_ns(&p, 0), 0);
}

static void
a_pass_that_took_too_long_is_a_gap(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, 0);
	assert_int_equal(pause_wake(&p, MS(10), false), 0);
	pause_sleep(&p, MS(2010), MS(2010));
	assert_int_equal(pause_wake(&p, MS(2010), false), MS(2000));
}

static void
credit_is_the_sum_of_the_gaps_after_the_last_beat(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, 0);
	pause_sleep(&p, 0, MS(100));
	(void)pause_wake(&p, MS(1000), false); /* gap of 1000 */
	pause_sleep(&p, MS(1000), MS(1100));
	(void)pause_wake(&p, MS(3000), false); /* gap of 2000 */
	assert_int_equal(pause_credit_ns(&p, MS(0)), MS(3000));
	assert_int_equal(pause_credit_ns(&p, MS(999)), MS(3000));
	assert_int_equal(pause_credit_ns(&p, MS(1000)), MS(2000));
	assert_int_equal(pause_credit_ns(&p, MS(3000)), 0);
}

static void
more_gaps_than_are_kept_are_merged_and_none_is_lost(void **state)
{
	struct pause p;
	uint64_t at = 0;

	(void)state;
	pause_init(&p, 0);
	for (int i = 0; i < 3 * PAUSE_KEPT; i++) {
		pause_sleep(&p, at, at);
		at += MS(100);
		assert_int_equal(pause_wake(&p, at, false), MS(100));
	}
	assert_int_equal(p.n_gaps, PAUSE_KEPT);
	assert_int_equal(pause_credit_ns(&p, 0), MS(100) * 3 * PAUSE_KEPT);
	assert_int_equal(pause_credit_ns(&p, at - 1), MS(100));
}

static void
a_clock_that_stands_still_or_goes_back_makes_no_gap(void **state)
{
	struct pause p;

	(void)state;
	pause_init(&p, MS(100));
	pause_sleep(&p, MS(100), MS(100));
	assert_int_equal(pause_wake(&p, MS(50), true), 0);
	assert_int_equal(pause_credit_ns(&p, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(being_in_time_is_no_gap),
		cmocka_unit_test(
		    lateness_up_to_the_tolerance_is_no_gap_and_beyond_it_is),
		cmocka_unit_test(sleeping_long_without_a_date_is_no_gap),
		cmocka_unit_test(
		    a_stop_with_beats_waiting_is_a_gap_whatever_the_date),
		cmocka_unit_test(a_stop_within_the_tolerance_is_no_gap),
		cmocka_unit_test(a_pass_that_took_too_long_is_a_gap),
		cmocka_unit_test(
		    credit_is_the_sum_of_the_gaps_after_the_last_beat),
		cmocka_unit_test(
		    more_gaps_than_are_kept_are_merged_and_none_is_lost),
		cmocka_unit_test(
		    a_clock_that_stands_still_or_goes_back_makes_no_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
