#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/track/wheel.h"

enum { AGENTS = 4096, MS = 1000000 };

static void *memory;
static uint32_t out[AGENTS];

static struct wheel *
make(uint32_t agents, uint64_t now_ns)
{
	struct wheel *w;

	free(memory);
	/* Not zeroed: wheel_init() has to write all that it reads. */
	memory = aligned_alloc(64, wheel_size(agents));
	assert_non_null(memory);
	w = wheel_init(memory, agents, MS, now_ns);
	assert_ptr_equal(w, memory);
	return w;
}

static int
tear_down(void **state)
{
	(void)state;
	free(memory);
	memory = NULL;
	return 0;
}

static uint64_t
ms(uint64_t n)
{
	return n * MS;
}

static void
refuses_what_is_out_of_range(void **state)
{
	_Alignas(64) static uint8_t mem[64];

	(void)state;
	assert_int_equal(wheel_size(0), 0);
	assert_int_equal(wheel_size((1 << 24) + 1), 0);
	assert_true(wheel_size(1 << 24) > 0);
	assert_null(wheel_init(mem, 0, 1, 0));
	assert_null(wheel_init(mem, 1, 0, 0));
}

static void
an_agent_comes_up_in_its_slot_and_not_before(void **state)
{
	struct wheel *w = make(8, ms(100));

	(void)state;
	wheel_put(w, 3, ms(110) + 1);
	assert_int_equal(wheel_next_ns(w), ms(111));
	assert_int_equal(wheel_take(w, ms(111) - 1, out, 8), 0);
	assert_int_equal(wheel_take(w, ms(111), out, 8), 1);
	assert_int_equal(out[0], 3);
	assert_int_equal(wheel_take(w, ms(1000), out, 8), 0);
	assert_int_equal(wheel_next_ns(w), NS_NEVER);
}

static void
a_time_that_has_passed_is_the_next_slot(void **state)
{
	struct wheel *w = make(8, ms(100));

	(void)state;
	wheel_put(w, 0, 0);
	wheel_put(w, 1, ms(100));
	assert_int_equal(wheel_next_ns(w), ms(101));
	assert_int_equal(wheel_take(w, ms(100), out, 8), 0);
	assert_int_equal(wheel_take(w, ms(101), out, 8), 2);
}

static void
an_agent_that_is_filed_again_is_one_slot_late_at_most(void **state)
{
	static const uint64_t ahead_ms[] = { 1, 63, 64, 65, 127, 128, 4095,
		4096, 4097, 5000, 262143, 262144, 300000, 16777215 };
	struct wheel *w;
	uint64_t at, now;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ahead_ms); i++) {
		w = make(1, ms(77));
		at = ms(77 + ahead_ms[i]) - 5;
		wheel_put(w, 0, at);
		/* Handed out early, as often as there are coarser levels. */
		for (;;) {
			now = wheel_next_ns(w);
			assert_int_equal(now, ms(77 + ahead_ms[i]));
			assert_int_equal(wheel_take(w, now, out, 1), 1);
			if (at <= now)
				break;
		}
		assert_true(now - at < MS);
	}
}

static void
a_coarse_slot_is_handed_out_when_its_time_begins(void **state)
{
	struct wheel *w = make(2, 0);

	(void)state;
	wheel_put(w, 0, ms(3000));
	/* 3000 lies in the slot from 46 * 64 on. */
	assert_int_equal(wheel_take(w, ms(2944) - 1, out, 2), 0);
	assert_int_equal(wheel_take(w, ms(2944), out, 2), 1);
	wheel_put(w, 0, ms(3000));
	assert_int_equal(wheel_take(w, ms(3000) - 1, out, 2), 0);
	assert_int_equal(wheel_take(w, ms(3000), out, 2), 1);
}

static void
sixty_four_coarse_slots_ahead_is_not_now(void **state)
{
	struct wheel *w = make(1, 0);

	(void)state;
	/* From tick 10, 4096 + 9 ticks lie 64 slots of 64 ahead. */
	assert_int_equal(wheel_take(w, ms(63), out, 1), 0);
	wheel_put(w, 0, ms(63 + 4095));
	assert_int_equal(wheel_next_ns(w), ms(63 + 4095));
	assert_int_equal(wheel_take(w, ms(4095), out, 1), 0);
	assert_int_equal(wheel_take(w, ms(63 + 4095), out, 1), 1);
}

static void
never_is_looked_at_at_the_horizon(void **state)
{
	struct wheel *w = make(1, 0);

	(void)state;
	wheel_put(w, 0, NS_NEVER);
	assert_int_equal(wheel_next_ns(w), ms((1 << 24) - 1));
	assert_int_equal(wheel_take(w, ms((1 << 24) - 1), out, 1), 1);
}

static void
no_more_than_asked_for_are_taken_and_none_is_lost(void **state)
{
	struct wheel *w = make(100, 0);
	size_t i, taken;
	bool seen[100] = { false };

	(void)state;
	for (i = 0; i < 100; i++)
		wheel_put(w, (uint32_t)i, ms(5 + i % 3));
	assert_int_equal(wheel_take(w, ms(7), out, 0), 0);
	for (taken = 0; taken < 98; taken += 7)
		assert_int_equal(wheel_take(w, ms(7), out + taken, 7), 7);
	assert_int_equal(wheel_take(w, ms(7), out + taken, 7), 2);
	for (i = 0; i < 100; i++) {
		assert_false(seen[out[i]]);
		seen[out[i]] = true;
	}
}

static void
agents_filed_in_the_middle_of_taking_come_in_time(void **state)
{
	struct wheel *w = make(40, 0);
	size_t i;

	(void)state;
	for (i = 0; i < 30; i++)
		wheel_put(w, (uint32_t)i, ms(64));
	assert_int_equal(wheel_take(w, ms(64), out, 20), 20);
	wheel_put(w, 30, ms(64 + 4095));
	wheel_put(w, 31, ms(64));
	/* It begins early, in the slot of those that are being taken; but that
	 * must not bring it up again and again. */
	wheel_put(w, 32, ms(64 + 64));
	assert_int_equal(wheel_take(w, ms(64), out, 20), 10);
	assert_int_equal(wheel_take(w, ms(64), out, 20), 0);
	assert_int_equal(wheel_take(w, ms(65), out, 20), 1);
	assert_int_equal(out[0], 31);
	assert_int_equal(wheel_take(w, ms(128), out, 20), 1);
	assert_int_equal(out[0], 32);
	assert_int_equal(wheel_take(w, ms(4096 - 1), out, 20), 0);
	assert_int_equal(wheel_take(w, ms(64 + 4095), out, 20), 1);
	assert_int_equal(out[0], 30);
}

static void
a_jump_of_weeks_brings_up_all_at_once(void **state)
{
	struct wheel *w = make(AGENTS, 0);
	uint64_t weeks = ms(UINT64_C(30) * 86400 * 1000);
	uint32_t i;

	(void)state;
	for (i = 0; i < AGENTS; i++)
		wheel_put(w, i, (uint64_t)i * i * MS);
	assert_int_equal(wheel_take(w, weeks, out, AGENTS), AGENTS);
	assert_int_equal(wheel_take(w, weeks, out, AGENTS), 0);
	assert_int_equal(wheel_next_ns(w), NS_NEVER);
	/* And goes on from there. */
	wheel_put(w, 0, weeks + ms(5));
	assert_int_equal(wheel_next_ns(w), weeks + ms(5));
}

static void
time_does_not_go_back(void **state)
{
	struct wheel *w = make(2, 0);

	(void)state;
	assert_int_equal(wheel_take(w, ms(1000), out, 2), 0);
	assert_int_equal(wheel_take(w, ms(10), out, 2), 0);
	wheel_put(w, 0, ms(20));
	assert_int_equal(wheel_next_ns(w), ms(1001));
}

static void
time_passes_without_taking(void **state)
{
	struct wheel *w = make(2, 0);
	uint64_t day = ms(86400000);

	(void)state;
	wheel_advance(w, day);
	/* The horizon counts from now, not from a day ago. */
	wheel_put(w, 0, day + ms(10));
	assert_int_equal(wheel_next_ns(w), day + ms(10));
	wheel_put(w, 1, day + ms(100000));
	wheel_advance(w, day + ms(50));
	assert_int_equal(wheel_take(w, day + ms(50), out, 2), 1);
	assert_int_equal(out[0], 0);
}

static void
nothing_is_to_be_done_while_it_is_quiet(void **state)
{
	struct wheel *w = make(2, 0);

	(void)state;
	assert_int_equal(wheel_take(w, ms(10), out, 2), 0);
	wheel_put(w, 0, ms(40));
	assert_int_equal(wheel_quiet_ns(w), ms(40));
	wheel_put(w, 1, ms(30));
	assert_int_equal(wheel_quiet_ns(w), ms(30));
}

static void
the_earliest_can_be_taken_before_their_time(void **state)
{
	struct wheel *w = make(40, 0);
	uint32_t i;

	(void)state;
	assert_int_equal(wheel_take_ahead(w, out, 8), 0);
	for (i = 0; i < 20; i++)
		wheel_put(w, i, ms(70));
	wheel_put(w, 20, ms(5000));
	wheel_put(w, 21, ms(60));
	assert_int_equal(wheel_take_ahead(w, out, 8), 1);
	assert_int_equal(out[0], 21);
	assert_int_equal(wheel_take_ahead(w, out, 15), 15);
	/* The other five of that slot are still there, and come in time. */
	assert_int_equal(wheel_next_ns(w), ms(70));
	wheel_put(w, 0, ms(65));
	assert_int_equal(wheel_next_ns(w), ms(65));
	assert_int_equal(wheel_take(w, ms(70), out, 40), 6);
	assert_int_equal(wheel_next_ns(w), ms(5000));
}

static void
what_was_begun_is_taken_ahead_first(void **state)
{
	struct wheel *w = make(40, 0);
	uint32_t i;

	(void)state;
	for (i = 0; i < 20; i++)
		wheel_put(w, i, ms(10));
	assert_int_equal(wheel_take(w, ms(10), out, 4), 4);
	assert_int_equal(wheel_take_ahead(w, out, 40), 16);
	assert_int_equal(wheel_next_ns(w), NS_NEVER);
}

static bool
is_odd(const void *ctx, uint32_t agent)
{
	(void)ctx;
	return agent % 2 == 1;
}

static bool
is_none(const void *ctx, uint32_t agent)
{
	(void)ctx;
	(void)agent;
	return false;
}

static void
a_sweep_drops_those_that_are_not_kept(void **state)
{
	struct wheel *w = make(AGENTS, 0);
	uint32_t i;
	size_t n;

	(void)state;
	for (i = 0; i < AGENTS; i++)
		wheel_put(w, i, ms(1 + i % 300 * 40));
	/* Some of them in the chains that belong to no slot. */
	n = wheel_take(w, ms(1), out, 2);
	n += wheel_take_ahead(w, out + n, 2);
	for (i = 0; i < n; i++)
		wheel_put(w, out[i], ms(99));
	wheel_sweep(w, is_odd, NULL);
	n = wheel_take(w, ms(86400000), out, AGENTS);
	assert_int_equal(n, AGENTS / 2);
	for (i = 0; i < n; i++)
		assert_int_equal(out[i] % 2, 1);
	wheel_put(w, 1, ms(86400000 + 10));
	wheel_sweep(w, is_none, NULL);
	assert_int_equal(wheel_next_ns(w), NS_NEVER);
	assert_int_equal(wheel_take(w, ms(86500000), out, AGENTS), 0);
}

/* As many chains as can be, with one agent in each over full chunks. */
static void
there_is_room_for_all_wherever_they_fall(void **state)
{
	struct wheel *w = make(AGENTS, 0);
	uint32_t i, round;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < AGENTS; i++)
			wheel_put(w, i, ms((i % 64 + 1) << (6 * (i / 64 % 4))));
		wheel_sweep(w, is_odd, NULL);
		for (i = 0; i < AGENTS; i += 2)
			wheel_put(w, i, ms(i));
		i = 0;
		while (i < AGENTS)
			i += (uint32_t)wheel_take_ahead(w, out, 100);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_out_of_range),
		cmocka_unit_test(an_agent_comes_up_in_its_slot_and_not_before),
		cmocka_unit_test(a_time_that_has_passed_is_the_next_slot),
		cmocka_unit_test(
		    an_agent_that_is_filed_again_is_one_slot_late_at_most),
		cmocka_unit_test(
		    a_coarse_slot_is_handed_out_when_its_time_begins),
		cmocka_unit_test(sixty_four_coarse_slots_ahead_is_not_now),
		cmocka_unit_test(never_is_looked_at_at_the_horizon),
		cmocka_unit_test(
		    no_more_than_asked_for_are_taken_and_none_is_lost),
		cmocka_unit_test(
		    agents_filed_in_the_middle_of_taking_come_in_time),
		cmocka_unit_test(a_jump_of_weeks_brings_up_all_at_once),
		cmocka_unit_test(time_does_not_go_back),
		cmocka_unit_test(time_passes_without_taking),
		cmocka_unit_test(nothing_is_to_be_done_while_it_is_quiet),
		cmocka_unit_test(the_earliest_can_be_taken_before_their_time),
		cmocka_unit_test(what_was_begun_is_taken_ahead_first),
		cmocka_unit_test(a_sweep_drops_those_that_are_not_kept),
		cmocka_unit_test(there_is_room_for_all_wherever_they_fall),
	};

	return cmocka_run_group_tests_name("wheel", tests, NULL, tear_down);
}
