#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"

FAULT(int, -1, clock_getres, (clockid_t id, struct timespec *ts), (id, ts))
FAULT(int, -1, clock_gettime, (clockid_t id, struct timespec *ts), (id, ts))

static void
time_does_not_run_backwards(void **state)
{
	uint64_t before, now;
	int i;

	(void)state;
	before = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	assert_true(before > 0);
	for (i = 0; i < 1000; i++) {
		now = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
		assert_true(now >= before);
		before = now;
	}
}

static void
the_time_is_that_of_the_named_clock(void **state)
{
	struct timespec ts;
	uint64_t low, high;

	(void)state;
	low = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	high = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	assert_in_range(
	    (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec, low, high);
}

static void
each_system_has_the_clocks_that_it_says(void **state)
{
	(void)state;
	assert_true(clock_is_available(CLOCK_SOURCE_MONOTONIC));
	assert_int_equal(clock_id(CLOCK_SOURCE_MONOTONIC), CLOCK_MONOTONIC);
#ifdef __linux__
	assert_true(clock_is_available(CLOCK_SOURCE_BOOTTIME));
	assert_int_equal(clock_id(CLOCK_SOURCE_BOOTTIME), CLOCK_BOOTTIME);
	assert_true(clock_now_ns(CLOCK_SOURCE_BOOTTIME) > 0);
#endif
#ifndef __APPLE__
	assert_false(clock_is_available(CLOCK_SOURCE_MONOTONIC_RAW));
#endif
}

static void
the_wall_clock_counts_from_1970(void **state)
{
	uint64_t low, high;

	(void)state;
	low = (uint64_t)time(NULL);
	high = clock_wall_ms();
	assert_true(high / 1000 + 1 >= low);
	assert_true(clock_wall_ns() / NS_PER_MS + 1 >= high);
}

static void
a_clock_that_cannot_be_read_is_zero(void **state)
{
	(void)state;
	fault_always(&fault_clock_gettime, EINVAL);
	assert_int_equal(clock_now_ns(CLOCK_SOURCE_MONOTONIC), 0);
	assert_int_equal(clock_wall_ns(), 0);
	assert_int_equal(clock_wall_ms(), 0);
	fault_off(&fault_clock_gettime);
}

static void
the_step_of_the_coarse_clock_is_known(void **state)
{
	(void)state;
#ifdef CLOCK_MONOTONIC_COARSE
	uint64_t step_ns = clock_coarse_step_ns();

	assert_in_range(step_ns, 1, NS_PER_S);
	fault_nth(&fault_clock_getres, 1, EINVAL);
	assert_int_equal(clock_coarse_step_ns(), 0);
	assert_int_equal(clock_coarse_step_ns(), step_ns);
#else
	assert_int_equal(clock_coarse_step_ns(), 0);
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_does_not_run_backwards),
		cmocka_unit_test(the_time_is_that_of_the_named_clock),
		cmocka_unit_test(each_system_has_the_clocks_that_it_says),
		cmocka_unit_test(the_wall_clock_counts_from_1970),
		cmocka_unit_test(a_clock_that_cannot_be_read_is_zero),
		cmocka_unit_test(the_step_of_the_coarse_clock_is_known),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
