#include "watch/intake/admit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/util.h"

enum { START_NS = 12345 };

static unsigned
take_all(struct admit *a, uint64_t now_ns, unsigned most)
{
	unsigned n = 0;

	while (n < most && admit_take(a, now_ns))
		n++;
	return n;
}

static void
it_starts_full_and_no_fuller_than_its_burst(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, 5000, 10000, START_NS);
	assert_int_equal(take_all(&a, START_NS, 20000), 10000);
	assert_false(admit_take(&a, START_NS));
}

static void
one_token_of_a_hundred_a_second_is_back_after_exactly_10_ms(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, 100, 1, START_NS);
	assert_true(admit_take(&a, START_NS));
	assert_false(admit_take(&a, START_NS + 10 * NS_PER_MS - 1));
	assert_true(admit_take(&a, START_NS + 10 * NS_PER_MS));
	assert_false(admit_take(&a, START_NS + 10 * NS_PER_MS));
}

static void
asking_often_neither_speeds_up_nor_slows_down(void **state)
{
	struct admit a;
	uint64_t at_ns;
	unsigned n = 0;

	(void)state;
	/* A rate that divides nothing evenly, asked every 7 ns times 1001. */
	admit_init(&a, 777, 1, 0);
	for (at_ns = 1; at_ns <= 10 * NS_PER_S; at_ns += 7007)
		n += admit_take(&a, at_ns);
	/* The first token, then ten seconds' worth; one may be on its way.
	 * With a burst of 1 part of a token is lost at most once a token. */
	assert_in_range(n, 7700, 7771);
}

static void
no_rate_drifts_while_the_bucket_is_not_full(void **state)
{
	static const uint32_t rates[] = { 1, 3, 7, 333, 777, 99991 };
	struct admit a;
	uint64_t at_ns, n, i;

	(void)state;
	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		admit_init(&a, rates[i], 1000000, 0);
		(void)take_all(&a, 0, 1000000);
		n = 0;
		for (at_ns = 1009; at_ns <= NS_PER_S; at_ns += 1009)
			n += admit_take(&a, at_ns);
		/* One second brought exactly the rate, but for the part of a
		 * step that is left. */
		assert_in_range(n, rates[i] - 1, rates[i]);
	}
}

static void
a_long_silence_fills_it_and_no_more(void **state)
{
	static const uint64_t silences_ns[] = { NS_PER_S, 3600 * NS_PER_S,
		UINT64_MAX - START_NS };
	struct admit a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(silences_ns) / sizeof(silences_ns[0]); i++) {
		admit_init(&a, 1000, 50, START_NS);
		(void)take_all(&a, START_NS, 50);
		assert_int_equal(
		    take_all(&a, START_NS + silences_ns[i], 1000), 50);
	}
}

static void
the_largest_rate_and_burst_do_not_overflow(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, UINT32_MAX, UINT32_MAX, 0);
	assert_int_equal(take_all(&a, 0, 1000), 1000);
	assert_true(admit_take(&a, UINT64_MAX));
	assert_int_equal(a.millitokens, (UINT64_C(4294967295) - 1) * 1000);
	admit_init(&a, 1, UINT32_MAX, 0);
	assert_int_equal(take_all(&a, UINT64_MAX, 1000), 1000);
}

static void
time_that_steps_back_brings_nothing_and_costs_nothing(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, 100, 1, START_NS);
	assert_true(admit_take(&a, START_NS));
	assert_false(admit_take(&a, 0));
	assert_false(admit_take(&a, START_NS + 10 * NS_PER_MS - 1));
	assert_true(admit_take(&a, START_NS + 10 * NS_PER_MS));
}

static void
time_that_stands_still_brings_nothing(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, UINT32_MAX, 3, START_NS);
	assert_int_equal(take_all(&a, START_NS, 100), 3);
	assert_int_equal(take_all(&a, START_NS, 100), 0);
}

static void
a_rate_or_burst_of_zero_lets_everything_pass(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, 0, 10, START_NS);
	assert_int_equal(take_all(&a, START_NS, 1000), 1000);
	admit_give_back(&a);
	admit_init(&a, 10, 0, START_NS);
	assert_int_equal(take_all(&a, START_NS, 1000), 1000);
	admit_give_back(&a);
	assert_int_equal(take_all(&a, START_NS, 1000), 1000);
}

static void
a_token_given_back_can_be_taken_again(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, 1, 2, START_NS);
	assert_int_equal(take_all(&a, START_NS, 10), 2);
	admit_give_back(&a);
	assert_int_equal(take_all(&a, START_NS, 10), 1);
}

static void
giving_back_never_overfills(void **state)
{
	struct admit a;

	(void)state;
	admit_init(&a, 1, 2, START_NS);
	admit_give_back(&a);
	assert_int_equal(take_all(&a, START_NS, 10), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_starts_full_and_no_fuller_than_its_burst),
		cmocka_unit_test(
		    one_token_of_a_hundred_a_second_is_back_after_exactly_10_ms),
		cmocka_unit_test(asking_often_neither_speeds_up_nor_slows_down),
		cmocka_unit_test(no_rate_drifts_while_the_bucket_is_not_full),
		cmocka_unit_test(a_long_silence_fills_it_and_no_more),
		cmocka_unit_test(the_largest_rate_and_burst_do_not_overflow),
		cmocka_unit_test(
		    time_that_steps_back_brings_nothing_and_costs_nothing),
		cmocka_unit_test(time_that_stands_still_brings_nothing),
		cmocka_unit_test(a_rate_or_burst_of_zero_lets_everything_pass),
		cmocka_unit_test(a_token_given_back_can_be_taken_again),
		cmocka_unit_test(giving_back_never_overfills),
	};

	return cmocka_run_group_tests_name("admit", tests, NULL, NULL);
}
