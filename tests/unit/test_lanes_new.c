/* Lanes of the observer: what they are made of, and who may not have them. */
#include "watch/lanes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/fault.h"

FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct stats stats;

static size_t
take_nothing(void *ctx, struct lane_news ret[static LANE_SOURCE_NEWS])
{
	(void)ctx;
	(void)ret;
	return 0;
}

static uint64_t
stopped_clock(void *ctx)
{
	(void)ctx;
	return 0;
}

static struct lanes_options
options_of(uint32_t capacity, uint32_t places)
{
	return (struct lanes_options){
		.capacity = capacity,
		.source = { .take = take_nothing, .places = places },
		.now_ns = stopped_clock,
	};
}

static void
there_are_no_more_places_than_lanes(void **state)
{
	struct lanes_options options = options_of(10, 11);
	struct lanes *l = NULL;

	(void)state;
	assert_int_equal(lanes_new(&options, &stats, &l), -EINVAL);
	options = options_of(0, 0);
	assert_int_equal(lanes_new(&options, &stats, &l), -EINVAL);
	options = options_of(65537, 10);
	assert_int_equal(lanes_new(&options, &stats, &l), -EINVAL);
	assert_null(l);
}

static void
a_lack_of_memory_is_told_and_leaves_nothing(void **state)
{
	const struct lanes_options options = options_of(10, 10);
	struct lanes *l = NULL;
	unsigned calls;

	(void)state;
	fault_off(&fault_calloc);
	assert_int_equal(lanes_new(&options, &stats, &l), 0);
	calls = fault_calloc.calls;
	lanes_free(l);
	l = NULL;
	for (unsigned nth = 1; nth <= calls; nth++) {
		fault_nth(&fault_calloc, nth, ENOMEM);
		assert_int_equal(lanes_new(&options, &stats, &l), -ENOMEM);
	}
	fault_off(&fault_calloc);
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(lanes_new(&options, &stats, &l), -ENOMEM);
	fault_off(&fault_malloc);
	assert_null(l);
}

static void
without_lanes_nothing_is_due(void **state)
{
	const struct lanes_options options = options_of(10, 10);
	struct lane_row row;
	struct lanes *l;

	(void)state;
	assert_int_equal(lanes_new(&options, &stats, &l), 0);
	lanes_take(l, 5);
	assert_true(lanes_judge(l, NULL, 1024, 5));
	assert_true(lanes_next_ns(l, 5, 10) == UINT64_MAX);
	assert_int_equal(lanes_count(l), 0);
	assert_int_equal(lanes_slots(l), 0);
	assert_false(lanes_row(l, 0, 5, &row));
	assert_false(lanes_is_stalled(l, 0, 1));
	assert_null(lanes_rule(l, 0, 1));
	lanes_free(l);
	lanes_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_are_no_more_places_than_lanes),
		cmocka_unit_test(a_lack_of_memory_is_told_and_leaves_nothing),
		cmocka_unit_test(without_lanes_nothing_is_due),
	};

	return cmocka_run_group_tests_name("lanes_new", tests, NULL, NULL);
}
