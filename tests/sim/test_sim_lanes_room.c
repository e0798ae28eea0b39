/*
 * Who is taken in with lanes, and lanes that are no good or too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lanes_world.h"
#include "watch/track/tracker.h"

/* ---- who is taken in ---- */

static void
an_agent_of_a_user_who_may_not_beat_is_refused(void **state)
{
	struct world w = world();
	uint32_t stranger = sim_spawn(w.s, 0);

	(void)state;
	(void)sim_lane_open(
	    w.s, sim_attach_as(w.s, stranger, 4242), "worker", 100);
	sim_run(w.s, MS(1));
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_USER], 1);
	assert_int_equal(sim_memories(w.s), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, NULL), 0);
	assert_int_equal(sim_agents(w.s), 1);
	end_world(&w);
}

static void
who_may_attach_can_change(void **state)
{
	struct world w = world();

	(void)state;
	sim_allow_uid(w.s, 4242);
	w.memory = sim_attach_as(w.s, sim_spawn(w.s, 0), 4242);
	(void)busy_lane(&w, "worker", 100);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 1);
	assert_int_equal(sim_lane_last(w.s, EVENT_JOIN, "worker")->uid, 4242);
	end_world(&w);
}

static void
lanes_of_a_user_who_may_not_attach_any_more_leave(void **state)
{
	struct world w = world();
	struct world other = w;

	(void)state;
	(void)busy_lane(&w, "ours", 100);
	sim_allow_uid(w.s, 4242);
	other.memory = sim_attach_as(w.s, sim_spawn(w.s, 0), 4242);
	(void)busy_lane(&other, "theirs", 100);
	/* In place of the other one. */
	sim_allow_uid(w.s, 4343);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "theirs"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	assert_int_equal(sim_lanes_watched(w.s), 1);
	assert_int_equal(sim_memories(w.s), 1);
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_USER], 1);
	end_world(&w);
}

static void
an_agent_without_a_name_of_the_kernel_is_refused(void **state)
{
	struct world w = world();

	(void)state;
	(void)sim_lane_open(w.s, sim_attach_nameless(w.s), "worker", 100);
	sim_run(w.s, MS(1));
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_USER], 1);
	assert_int_equal(sim_memories(w.s), 1);
	assert_int_equal(sim_agents(w.s), 1);
	end_world(&w);
}

static void
an_agent_of_a_foreign_namespace_is_refused(void **state)
{
	struct world w = world();
	uint32_t stranger = sim_spawn(w.s, 0);

	(void)state;
	sim_set_namespace(w.s, stranger, 99);
	(void)sim_lane_open(w.s, sim_attach(w.s, stranger), "worker", 100);
	sim_run(w.s, MS(1));
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_AGENT], 1);
	assert_int_equal(sim_count(w.s, EVENT_MISMATCH, 0), 1);
	assert_int_equal(sim_memories(w.s), 1);
	assert_int_equal(sim_agents(w.s), 1);
	end_world(&w);
}

static void
an_agent_that_has_gone_by_then_is_refused(void **state)
{
	struct world w = world();

	(void)state;
	(void)sim_attach_and_go(w.s, sim_spawn(w.s, 0));
	sim_run(w.s, MS(1));
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_AGENT], 1);
	assert_int_equal(sim_memories(w.s), 1);
	assert_int_equal(sim_agents(w.s), 1);
	end_world(&w);
}

static void
an_agent_that_finds_no_room_among_agents_is_refused(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;

	(void)state;
	setup.options.tracker_capacity = 2;
	w = world_of(&setup);
	(void)sim_attach(w.s, sim_spawn(w.s, 0));
	(void)sim_attach(w.s, sim_spawn(w.s, 0));
	sim_run(w.s, MS(1));
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_AGENT], 1);
	assert_int_equal(sim_memories(w.s), 2);
	end_world(&w);
}

static void
an_agent_may_attach_twice(void **state)
{
	struct world w = world();
	struct world second = w;

	(void)state;
	second.memory = sim_attach(w.s, w.agent);
	sim_run(w.s, MS(1));
	(void)busy_lane(&w, "first", 100);
	(void)busy_lane(&second, "second", 100);
	/* Names are of the agent, not of the memory. */
	(void)busy_lane(&second, "first", 100);
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_RECORD], 1);
	assert_int_equal(sim_lanes_watched(w.s), 2);
	assert_int_equal(sim_agents(w.s), 1);
	sim_detach(w.s, w.memory);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "first"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "second"), 0);
	assert_int_equal(sim_agents(w.s), 1);
	sim_detach(w.s, second.memory);
	sim_run(w.s, SECONDS(1));
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
an_agent_attaches_255_times_at_most(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;

	(void)state;
	setup.lanes_max = 300;
	w = world_of(&setup);
	for (int i = 0; i < 255; i++)
		(void)sim_attach(w.s, w.agent);
	sim_run(w.s, MS(10));
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_AGENT], 1);
	assert_int_equal(sim_memories(w.s), 255);
	assert_int_equal(sim_agents(w.s), 1);
	sim_end(w.s, w.agent, in_order, true);
	sim_run(w.s, SECONDS(1));
	assert_all_is_forgotten(&w);
	end_world(&w);
}

/* ---- lanes that are too many, or no good ---- */

static void
a_name_is_there_once(void **state)
{
	struct world w = world();
	uint32_t first = busy_lane(&w, "worker", 100);

	(void)state;
	(void)busy_lane(&w, "worker", 100);
	(void)open_lane(&w, "", 100);
	assert_int_equal(
	    sim_stats(w.s)->lane_refused[STATS_LANE_RECORD] >= 2, true);
	assert_int_equal(sim_lanes_watched(w.s), 1);
	/* It is free again with the lane that had it. */
	sim_lane_close(w.s, w.memory, first);
	sim_run(w.s, MS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 2);
	end_world(&w);
}

static void
names_that_would_look_alike_are_one(void **state)
{
	struct world w = world();

	(void)state;
	(void)open_lane(&w, "worker\x01", 100);
	(void)open_lane(&w, "worker\xff", 100);
	(void)open_lane(&w, "w\xc3\xb6rker", 100);
	(void)open_lane(&w, "w\xc3\xa4rker", 100);
	assert_int_equal(sim_lanes_watched(w.s), 3);
	assert_int_equal(
	    sim_stats(w.s)->lane_refused[STATS_LANE_RECORD] >= 1, true);
	end_world(&w);
}

static void
lanes_of_a_full_table_wait_for_room(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	uint64_t wakeups;
	char name[16];

	(void)state;
	setup.lanes_max = 10;
	w = world_of(&setup);
	for (int i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "worker-%d", i);
		(void)sim_lane_open(w.s, w.memory, name, 60000);
	}
	sim_run(w.s, MS(10));
	assert_int_equal(sim_lanes_watched(w.s), 10);
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_ROOM], 190);
	/* Nobody asks again and again. */
	wakeups = sim_wakeups(w.s);
	sim_run(w.s, SECONDS(50));
	assert_in_range(sim_wakeups(w.s) - wakeups, 0, 5);
	sim_lane_close(w.s, w.memory, 3);
	sim_run(w.s, MS(10));
	assert_int_equal(sim_lanes_watched(w.s), 10);
	assert_int_equal(sim_stats(w.s)->lane_joins, 11);
	end_world(&w);
}

static void
room_that_one_agent_leaves_is_had_by_another(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w, other;
	uint64_t wakeups;
	char name[16];

	(void)state;
	setup.lanes_max = 10;
	w = world_of(&setup);
	other = w;
	other.agent = sim_spawn(w.s, 0);
	other.memory = sim_attach(w.s, other.agent);
	for (int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "worker-%d", i);
		(void)open_lane(&w, name, 60000);
	}
	for (int i = 0; i < 15; i++) {
		(void)snprintf(name, sizeof(name), "other-%d", i);
		(void)open_lane(&other, name, 60000);
	}
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "other-0"), 0);
	sim_end(w.s, w.agent, in_order, true);
	sim_run(w.s, MS(10));
	assert_int_equal(sim_lanes_watched(w.s), 10);
	assert_int_equal(sim_stats(w.s)->lane_joins, 20);
	wakeups = sim_wakeups(w.s);
	sim_run(w.s, SECONDS(50));
	assert_in_range(sim_wakeups(w.s) - wakeups, 0, 5);
	end_world(&w);
}

static void
lanes_behind_many_that_are_no_good_are_found(void **state)
{
	struct world w = world();

	(void)state;
	for (int i = 0; i < 200; i++)
		(void)sim_lane_open(w.s, w.memory, "", 100);
	(void)sim_lane_open(w.s, w.memory, "worker", 100);
	sim_run(w.s, MS(10));
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 1);
	assert_int_equal(sim_stats(w.s)->lane_refused[STATS_LANE_RECORD], 200);
	/* One more, behind those that were searched before. */
	(void)sim_lane_open(w.s, w.memory, "other", 100);
	sim_run(w.s, MS(10));
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "other"), 1);
	end_world(&w);
}

static void
all_lanes_of_an_agent_are_found_over_some_passes(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	char name[16];

	(void)state;
	setup.lanes_max = SIM_LANES_OF_ONE;
	w = world_of(&setup);
	for (uint32_t i = 0; i < SIM_LANES_OF_ONE; i++) {
		(void)snprintf(name, sizeof(name), "worker-%u", i);
		sim_lane_beat_every(w.s, w.memory,
		    sim_lane_open(w.s, w.memory, name, 100), MS(20));
	}
	sim_run(w.s, MS(50));
	assert_int_equal(sim_stats(w.s)->lane_joins, SIM_LANES_OF_ONE);
	assert_int_equal(sim_lanes_watched(w.s), SIM_LANES_OF_ONE);
	sim_run(w.s, SECONDS(2));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	/* And all at once they hang. */
	for (uint32_t i = 0; i < SIM_LANES_OF_ONE; i++)
		(void)last_beat(&w, i);
	sim_run(w.s, MS(105));
	assert_int_equal(
	    sim_lane_count(w.s, EVENT_STALL, NULL), SIM_LANES_OF_ONE);
	end_world(&w);
}

/* More looks than there is time for: it takes longer, but everybody's turn
 * comes. */
static void
lanes_with_short_thresholds_starve_no_others(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	uint32_t lane = 0;
	char name[16];

	(void)state;
	setup.lanes_max = 4000;
	w = world_of(&setup);
	for (uint32_t i = 0; i < 3000; i++) {
		if (i % 1000 == 0)
			w.memory = sim_attach(w.s, w.agent);
		(void)snprintf(name, sizeof(name), "worker-%u", i);
		lane = sim_lane_open(w.s, w.memory, name, 10);
		sim_lane_beat_every(w.s, w.memory, lane, MS(1));
	}
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lanes_watched(w.s), 3000);
	sim_reads_take(w.s, 12000);
	sim_run(w.s, SECONDS(1));
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, name), 1);
	end_world(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    an_agent_of_a_user_who_may_not_beat_is_refused),
		cmocka_unit_test(
		    lanes_of_a_user_who_may_not_attach_any_more_leave),
		cmocka_unit_test(who_may_attach_can_change),
		cmocka_unit_test(
		    an_agent_without_a_name_of_the_kernel_is_refused),
		cmocka_unit_test(an_agent_of_a_foreign_namespace_is_refused),
		cmocka_unit_test(an_agent_that_has_gone_by_then_is_refused),
		cmocka_unit_test(
		    an_agent_that_finds_no_room_among_agents_is_refused),
		cmocka_unit_test(an_agent_may_attach_twice),
		cmocka_unit_test(an_agent_attaches_255_times_at_most),
		cmocka_unit_test(a_name_is_there_once),
		cmocka_unit_test(names_that_would_look_alike_are_one),
		cmocka_unit_test(lanes_of_a_full_table_wait_for_room),
		cmocka_unit_test(room_that_one_agent_leaves_is_had_by_another),
		cmocka_unit_test(lanes_behind_many_that_are_no_good_are_found),
		cmocka_unit_test(
		    all_lanes_of_an_agent_are_found_over_some_passes),
		cmocka_unit_test(lanes_with_short_thresholds_starve_no_others),
	};

	return cmocka_run_group_tests_name("sim_lanes_room", tests, NULL, NULL);
}
