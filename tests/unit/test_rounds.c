#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/track/rounds.h"

enum { AGENTS = 200 };

static const uint64_t T = 6400; /* threshold */

static struct rounds rounds;
static void *memory;
static uint32_t out[AGENTS];

static int
set_up(void **state)
{
	(void)state;
	memory = calloc(1, rounds_size(AGENTS));
	assert_non_null(memory);
	rounds_init(&rounds, memory, AGENTS);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	free(memory);
	return 0;
}

static void
nobody_is_waited_for_without_members(void **state)
{
	(void)state;
	rounds_seen(&rounds, 5);
	assert_int_equal(rounds_next_ns(&rounds), NS_NEVER);
	assert_int_equal(rounds_take(&rounds, NS_NEVER - 1, out, AGENTS), 0);
}

static void
a_silent_member_is_handed_out_before_its_threshold(void **state)
{
	(void)state;
	assert_true(rounds_add(&rounds, 70, T, 1000, 1000));
	assert_true(rounds_add(&rounds, 71, T, 1000, 1000));
	assert_int_equal(rounds_next_ns(&rounds), 1000 + T);
	/* The first round: both have just beaten. */
	assert_int_equal(rounds_take(&rounds, 1000 + T / 4, out, AGENTS), 0);
	assert_int_equal(rounds_take(&rounds, 1000 + T / 2, out, AGENTS), 0);
	assert_int_equal(rounds_next_ns(&rounds), 1000 + T);
	rounds_seen(&rounds, 71);
	assert_int_equal(rounds_take(&rounds, 1000 + T, out, AGENTS), 1);
	assert_int_equal(out[0], 70);
	assert_int_equal(rounds_next_ns(&rounds), 1000 + T / 2 + T);
}

static void
a_member_that_beats_stays(void **state)
{
	uint64_t now = 0;
	int i;

	(void)state;
	assert_true(rounds_add(&rounds, 0, T, 0, 0));
	for (i = 0; i < 100; i++) {
		now += T / 3;
		rounds_seen(&rounds, 0);
		assert_int_equal(rounds_take(&rounds, now, out, AGENTS), 0);
		assert_true(rounds_next_ns(&rounds) > now);
	}
}

static void
whoever_has_left_is_not_handed_out(void **state)
{
	(void)state;
	assert_true(rounds_add(&rounds, 1, T, 0, 0));
	assert_true(rounds_add(&rounds, 2, 2 * T, 0, 0));
	rounds_remove(&rounds, 1);
	assert_int_equal(rounds_next_ns(&rounds), 2 * T);
	rounds_remove(&rounds, 2);
	assert_int_equal(rounds_next_ns(&rounds), NS_NEVER);
}

static void
each_threshold_is_a_class_of_its_own_and_there_are_few(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < ROUNDS_CLASSES; i++)
		assert_true(rounds_add(&rounds, i, T * (1 + i), 0, 0));
	assert_false(rounds_add(&rounds, 100, T + 1, 0, 0));
	assert_true(rounds_add(&rounds, 101, T, 0, 0));
	assert_int_equal(rounds_next_ns(&rounds), T);
	/* Once a class is empty, another threshold can have it. */
	rounds_remove(&rounds, 1);
	assert_true(rounds_add(&rounds, 100, T + 1, 0, 0));
}

static void
one_that_cannot_wait_for_the_next_round_is_not_taken_in(void **state)
{
	(void)state;
	assert_true(rounds_add(&rounds, 0, T, 1000, 1000));
	assert_false(rounds_add(&rounds, 1, T, 999, 1000));
	assert_true(rounds_add(&rounds, 1, T, 1000, 1001));
}

static void
a_round_goes_on_where_it_was_left(void **state)
{
	uint32_t i, n, taken[AGENTS] = { 0 };

	(void)state;
	for (i = 0; i < AGENTS; i++)
		assert_true(rounds_add(&rounds, i, T, 0, 0));
	for (i = 0; i < AGENTS; i += 2)
		rounds_seen(&rounds, i);
	assert_int_equal(rounds_take(&rounds, T / 2, out, AGENTS), 0);
	for (i = 0; i < AGENTS; i += 2)
		rounds_seen(&rounds, i);
	for (i = 0; i < AGENTS / 2; i += n) {
		n = (uint32_t)rounds_take(&rounds, T, out, 7);
		assert_in_range(n, 1, 7);
		assert_int_equal(
		    rounds_next_ns(&rounds), n == 7 ? 0 : T / 2 + T);
		while (n > 0)
			taken[out[--n]]++;
		n = 7;
	}
	for (i = 0; i < AGENTS; i++)
		assert_int_equal(taken[i], i % 2);
}

static void
one_that_joins_a_round_under_way_is_not_forgotten(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_true(rounds_add(&rounds, i, T, 0, 0));
	assert_int_equal(rounds_take(&rounds, T / 2, out, AGENTS), 0);
	/* It stops behind the first word. */
	assert_int_equal(rounds_take(&rounds, T, out, 70), 70);
	/* Not seen since the last round began: too late for this one. */
	assert_false(rounds_add(&rounds, 1, T, T / 2 - 1, T + 50));
	assert_true(rounds_add(&rounds, 1, T, T / 2, T + 50));
	assert_true(rounds_add(&rounds, 2, T, T + 50, T + 50));
	assert_int_equal(rounds_take(&rounds, T + 60, out, AGENTS), 30);
	assert_int_equal(rounds_next_ns(&rounds), T / 2 + T);
	assert_int_equal(rounds_take(&rounds, T / 2 + T, out, AGENTS), 1);
	assert_int_equal(out[0], 1);
	assert_int_equal(rounds_next_ns(&rounds), T + T);
}

static void
all_are_handed_out_when_the_caller_was_very_late(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 10; i++) {
		assert_true(rounds_add(&rounds, i, T, 0, 0));
		rounds_seen(&rounds, i);
	}
	assert_int_equal(rounds_take(&rounds, T, out, AGENTS), 10);
	assert_int_equal(rounds_next_ns(&rounds), NS_NEVER);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_is_waited_for_without_members),
		TEST(a_silent_member_is_handed_out_before_its_threshold),
		TEST(a_member_that_beats_stays),
		TEST(whoever_has_left_is_not_handed_out),
		TEST(each_threshold_is_a_class_of_its_own_and_there_are_few),
		TEST(one_that_cannot_wait_for_the_next_round_is_not_taken_in),
		TEST(a_round_goes_on_where_it_was_left),
		TEST(one_that_joins_a_round_under_way_is_not_forgotten),
		TEST(all_are_handed_out_when_the_caller_was_very_late),
	};

	return cmocka_run_group_tests_name("rounds", tests, NULL, NULL);
}
