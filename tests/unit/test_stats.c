#include "watch/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/util.h"

static void
bounds_rise_and_end_in_infinity(void **state)
{
	size_t i;

	(void)state;
	for (i = 1; i < STATS_BUCKETS; i++)
		assert_true(
		    stats_bucket_bounds_ns[i] > stats_bucket_bounds_ns[i - 1]);
	assert_true(stats_bucket_bounds_ns[STATS_BUCKETS - 1] == UINT64_MAX);
}

static void
a_duration_on_a_bound_belongs_below_it(void **state)
{
	struct stats_histogram h;
	size_t i;

	(void)state;
	for (i = 0; i + 1 < STATS_BUCKETS; i++) {
		h = (struct stats_histogram){ 0 };
		stats_histogram_add(&h, stats_bucket_bounds_ns[i]);
		stats_histogram_add(&h, stats_bucket_bounds_ns[i] + 1);
		assert_int_equal(h.buckets[i], 1);
		assert_int_equal(h.buckets[i + 1], 1);
		assert_int_equal(h.count, 2);
	}
}

static void
every_duration_is_counted_once(void **state)
{
	struct stats_histogram h = { 0 };
	uint64_t in_all = 0;
	size_t i;

	(void)state;
	stats_histogram_add(&h, 0);
	stats_histogram_add(&h, 3 * NS_PER_MS);
	stats_histogram_add(&h, 2 * NS_PER_S);
	assert_int_equal(h.buckets[0], 1);
	assert_int_equal(h.buckets[1], 1);
	assert_int_equal(h.buckets[STATS_BUCKETS - 1], 1);
	for (i = 0; i < STATS_BUCKETS; i++)
		in_all += h.buckets[i];
	assert_int_equal(in_all, h.count);
	assert_true(h.sum_ns == 2 * NS_PER_S + 3 * NS_PER_MS);
}

static void
the_sum_stops_at_the_top(void **state)
{
	struct stats_histogram h = { 0 };

	(void)state;
	stats_histogram_add(&h, UINT64_MAX);
	stats_histogram_add(&h, 1);
	assert_true(h.sum_ns == UINT64_MAX);
	assert_int_equal(h.count, 2);
}

/* What a plain look through the bounds gives. */
static size_t
bucket_of(uint64_t ns)
{
	size_t i = 0;

	while (ns > stats_fine_bounds_ns[i])
		i++;
	return i;
}

static void
assert_fine_bucket(uint64_t ns)
{
	struct stats_fine h = { 0 };
	size_t i;

	stats_fine_add(&h, ns);
	for (i = 0; i < STATS_FINE_BUCKETS; i++)
		assert_int_equal(h.buckets[i], i == bucket_of(ns));
	assert_true(h.sum_1024ns == (ns + 512) / 1024);
}

static void
a_fine_histogram_puts_every_duration_where_it_belongs(void **state)
{
	uint64_t step;
	size_t i;

	(void)state;
	for (i = 0; i < STATS_FINE_BUCKETS - 1; i++) {
		assert_fine_bucket(stats_fine_bounds_ns[i] - 1);
		assert_fine_bucket(stats_fine_bounds_ns[i]);
		assert_fine_bucket(stats_fine_bounds_ns[i] + 1);
	}
	assert_fine_bucket(0);
	assert_fine_bucket(UINT64_MAX);
	/* Around every power of two, and at places between them. */
	for (i = 0; i < 64; i++) {
		assert_fine_bucket(UINT64_C(1) << i);
		assert_fine_bucket((UINT64_C(1) << i) - 1);
		for (step = 1; step < 16; step++)
			assert_fine_bucket((UINT64_C(1) << i) / 16 * step);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_rise_and_end_in_infinity),
		cmocka_unit_test(a_duration_on_a_bound_belongs_below_it),
		cmocka_unit_test(every_duration_is_counted_once),
		cmocka_unit_test(the_sum_stops_at_the_top),
		cmocka_unit_test(
		    a_fine_histogram_puts_every_duration_where_it_belongs),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
