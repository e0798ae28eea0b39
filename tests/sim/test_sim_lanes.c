/*
 * Lanes from their opening to their closing while their process lives: when
 * they stall, and what is not blamed on them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lanes_world.h"
#include "watch/lanes.h"

static void
a_lane_joins_stalls_resumes_and_leaves(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 200);
	const struct event *ev = sim_lane_last(w.s, EVENT_JOIN, "worker");
	uint64_t beat_ns;

	(void)state;
	assert_non_null(ev);
	assert_int_equal(ev->pid, sim_pid(w.s, w.agent));
	assert_int_equal(ev->uid, 1000);
	assert_int_equal(ev->threshold_ns, MS(200));
	assert_int_equal(sim_agent_count(w.s, EVENT_JOIN, ev->pid), 1);
	sim_run(w.s, SECONDS(10));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);

	beat_ns = last_beat(&w, lane);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_stalled_at(&w, "worker", beat_ns + MS(200), 0);
	ev = sim_lane_last(w.s, EVENT_STALL, "worker");
	assert_int_equal(ev->why.stall, STALL_SILENT);
	assert_int_equal(ev->due_ns, beat_ns + MS(200));
	assert_true(ev->silence_ns >= MS(200));

	sim_lane_beat_every(w.s, w.memory, lane, MS(10));
	sim_run(w.s, MS(201));
	assert_int_equal(sim_lane_count(w.s, EVENT_RESUME, "worker"), 1);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);

	sim_lane_close(w.s, w.memory, lane);
	sim_run(w.s, MS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 1);
	assert_int_equal(sim_lanes_watched(w.s), 0);
	end_world(&w);
}

static void
an_idle_lane_owes_nothing(void **state)
{
	struct world w = world();
	uint32_t lane = open_lane(&w, "worker", 100);

	(void)state;
	sim_run(w.s, HOURS(1));
	sim_lane_beat_every(w.s, w.memory, lane, MS(10));
	sim_run(w.s, SECONDS(1));
	sim_lane_idle(w.s, w.memory, lane);
	sim_run(w.s, HOURS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_RESUME, NULL), 0);
	/* One look in a threshold. */
	assert_in_range(
	    sim_stats(w.s)->lane_looks, 2 * 36000 - 10, 2 * 36000 + 20);
	end_world(&w);
}

static void
a_stalled_lane_that_idles_has_resumed(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 100);

	(void)state;
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, SECONDS(1));
	sim_lane_idle(w.s, w.memory, lane);
	sim_run(w.s, MS(101));
	assert_int_equal(sim_lane_count(w.s, EVENT_RESUME, "worker"), 1);
	sim_run(w.s, SECONDS(10));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	end_world(&w);
}

/* Begins to work in any moment between two looks, and hangs at once. */
static void
an_idle_lane_that_begins_and_hangs_is_found_at_its_deadline(void **state)
{
	struct world w = world();
	uint32_t lane = open_lane(&w, "worker", 100);

	(void)state;
	for (uint64_t i = 0; i < 60; i++) {
		uint64_t beat_ns;

		sim_run(w.s, MS(1500) + i * MS(7) + i * 1234);
		beat_ns = last_beat(&w, lane);
		sim_run(w.s, MS(101));
		assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), i + 1);
		assert_stalled_at(&w, "worker", beat_ns + MS(100), 0);
		sim_lane_idle(w.s, w.memory, lane);
	}
	end_world(&w);
}

static void
a_coarse_clock_makes_no_lane_stall_early(void **state)
{
	struct world w = world();
	uint32_t lane = open_lane(&w, "worker", 50);

	(void)state;
	sim_lane_coarse(w.s, w.memory, lane);
	for (uint64_t i = 0; i < 60; i++) {
		uint64_t beat_ns;

		sim_run(w.s, MS(1150) + i * 333333);
		beat_ns = last_beat(&w, lane);
		sim_run(w.s, MS(56));
		assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), i + 1);
		assert_stalled_at(
		    &w, "worker", beat_ns + MS(50), SIM_COARSE_NS);
		sim_lane_idle(w.s, w.memory, lane);
	}
	end_world(&w);
}

static void
a_look_that_takes_long_makes_no_lane_stall_early(void **state)
{
	struct world w = world();
	char name[16];

	(void)state;
	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "worker-%d", i);
		sim_lane_beat_every(
		    w.s, w.memory, open_lane(&w, name, 60), MS(55));
	}
	/* One pass takes up to 40 ms; nobody is silent for more than 55. */
	sim_reads_take(w.s, MS(2));
	sim_run(w.s, SECONDS(20));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	end_world(&w);
}

static void
a_time_from_the_future_lasts_for_one_threshold(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 100);
	const struct lane_reading liar = {
		.mark = UINT64_MAX,
		.generation = 1,
		.threshold_ms = 100,
		.status = 200,
		.name = "worker",
	};

	(void)state;
	sim_run(w.s, SECONDS(1));
	sim_lane_write(w.s, w.memory, lane, &liar);
	sim_run(w.s, MS(300));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	/* What it says of itself is clamped. */
	assert_int_equal(
	    sim_lane_last(w.s, EVENT_STALL, "worker")->status, AGENT_CRITICAL);
	end_world(&w);
}

static void
a_threshold_of_nothing_is_the_least_there_is(void **state)
{
	struct world w = world();
	uint32_t lane = open_lane(&w, "worker", 0);
	uint64_t beat_ns;

	(void)state;
	sim_run(w.s, MS(100));
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, MS(20));
	assert_stalled_at(
	    &w, "worker", beat_ns + MS(LANES_THRESHOLD_MS_MIN), 0);
	end_world(&w);
}

static void
a_record_that_is_being_written_is_searched_for_again(void **state)
{
	struct world w = world();
	uint32_t lane;

	(void)state;
	lane = sim_lane_open(w.s, w.memory, "worker", 100);
	sim_lane_torn(w.s, w.memory, lane, 5);
	sim_run(w.s, MS(2));
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 1);
	end_world(&w);
}

/* Nothing but the end of a lane, or the next one, is written to a record. */
static void
a_lane_whose_record_is_written_to_is_over(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 100);

	(void)state;
	sim_run(w.s, MS(300));
	(void)last_beat(&w, lane);
	sim_run(w.s, MS(90));
	sim_lane_torn(w.s, w.memory, lane, 5);
	sim_run(w.s, MS(100));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 2);
	end_world(&w);
}

static void
a_lane_that_was_closed_and_opened_is_another_even_without_a_bell(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "first", 100);

	(void)state;
	sim_run(w.s, SECONDS(1));
	sim_bells_are_lost(w.s, true);
	sim_lane_reopen(w.s, w.memory, lane, "second");
	sim_run(w.s, MS(102));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "first"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "second"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	/* One that was closed alone leaves, too. */
	sim_lane_close(w.s, w.memory, lane);
	sim_run(w.s, MS(102));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "second"), 1);
	end_world(&w);
}

static void
a_look_ahead_saves_wakeups_of_busy_lanes_alone(void **state)
{
	struct world w = world();
	uint64_t looks;
	uint32_t other = sim_spawn(w.s, 0);

	(void)state;
	(void)busy_lane(&w, "worker", 100);
	/* Something else wakes the observer all the time. */
	sim_beat_every(w.s, other, sim_now(w.s), MS(5));
	sim_run(w.s, SECONDS(1));
	looks = sim_stats(w.s)->lane_looks;
	sim_run(w.s, SECONDS(100));
	assert_in_range(sim_stats(w.s)->lane_looks - looks, 0, 10);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	end_world(&w);
}

/* ---- when the observer is late ---- */

static void
a_stopped_observer_gives_lanes_the_time_back(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 200);
	uint64_t beat_ns, back_ns;

	(void)state;
	sim_run(w.s, SECONDS(1));
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, MS(50));
	sim_stop_observer(w.s, SECONDS(10));
	back_ns = sim_now(w.s);
	sim_run(w.s, MS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	/* No less than what was left when it last listened. */
	assert_true(
	    sim_lane_last(w.s, EVENT_STALL, NULL)->at_ns >= back_ns + MS(100));
	assert_true(sim_lane_last(w.s, EVENT_STALL, NULL)->at_ns <=
		    back_ns + MS(200) + SLOT);
	assert_true(beat_ns < back_ns);
	end_world(&w);
}

static void
lanes_that_were_stopped_together_with_the_observer_are_not_blamed(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 100);

	(void)state;
	for (int i = 0; i < 20; i++) {
		sim_run(w.s, SECONDS(1));
		sim_lane_hang(w.s, w.memory, lane);
		sim_starve_observer(w.s, SECONDS(3));
		sim_lane_beat_every(w.s, w.memory, lane, MS(10));
	}
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	end_world(&w);
}

/* ---- together with datagrams ---- */

static void
an_agent_and_its_lanes_are_judged_each_for_itself(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 100), pid;

	(void)state;
	pid = sim_pid(w.s, w.agent);
	sim_beat_every(w.s, w.agent, sim_now(w.s), MS(300));
	sim_run(w.s, SECONDS(10));
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	/* The lane alone: */
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	assert_int_equal(sim_agent_count(w.s, EVENT_STALL, pid), 0);
	/* the agent alone: */
	sim_lane_beat_every(w.s, w.memory, lane, MS(10));
	sim_beat_every(w.s, w.agent, 0, 0);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_RESUME, NULL), 1);
	assert_int_equal(sim_agent_count(w.s, EVENT_STALL, pid), 1);
	/* It was one agent all the time, and stays one without lanes. */
	assert_int_equal(sim_agent_count(w.s, EVENT_JOIN, 0), 1);
	sim_detach(w.s, w.memory);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_agents(w.s), 1);
	end_world(&w);
}

static void
an_agent_with_lanes_alone_owes_no_datagrams(void **state)
{
	struct world w = world();

	(void)state;
	(void)busy_lane(&w, "worker", 100);
	sim_run(w.s, HOURS(1));
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	assert_int_equal(sim_agents(w.s), 1);
	/* From its first one on it does. */
	sim_beat(w.s, w.agent, AGENT_OK);
	sim_run(w.s, SECONDS(2));
	assert_int_equal(sim_agent_count(w.s, EVENT_STALL, 0), 1);
	end_world(&w);
}

static void
an_agent_that_is_held_is_not_evicted(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;

	(void)state;
	setup.options.tracker_capacity = 4;
	setup.options.eviction_policy = TRACKER_EVICT_BALANCED;
	w = world_of(&setup);
	(void)busy_lane(&w, "worker", 100);
	sim_run(w.s, SECONDS(60));
	for (int i = 0; i < 20; i++) {
		sim_beat(w.s, sim_spawn(w.s, 0), AGENT_OK);
		sim_run(w.s, SECONDS(30));
	}
	assert_true(sim_count(w.s, EVENT_EVICTION, 0) > 0);
	assert_int_equal(
	    sim_count(w.s, EVENT_EVICTION, sim_pid(w.s, w.agent)), 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, NULL), 0);
	end_world(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lane_joins_stalls_resumes_and_leaves),
		cmocka_unit_test(an_idle_lane_owes_nothing),
		cmocka_unit_test(a_stalled_lane_that_idles_has_resumed),
		cmocka_unit_test(
		    an_idle_lane_that_begins_and_hangs_is_found_at_its_deadline),
		cmocka_unit_test(a_coarse_clock_makes_no_lane_stall_early),
		cmocka_unit_test(
		    a_look_that_takes_long_makes_no_lane_stall_early),
		cmocka_unit_test(
		    a_time_from_the_future_lasts_for_one_threshold),
		cmocka_unit_test(a_threshold_of_nothing_is_the_least_there_is),
		cmocka_unit_test(
		    a_record_that_is_being_written_is_searched_for_again),
		cmocka_unit_test(a_lane_whose_record_is_written_to_is_over),
		cmocka_unit_test(
		    a_lane_that_was_closed_and_opened_is_another_even_without_a_bell),
		cmocka_unit_test(
		    a_look_ahead_saves_wakeups_of_busy_lanes_alone),
		cmocka_unit_test(a_stopped_observer_gives_lanes_the_time_back),
		cmocka_unit_test(
		    lanes_that_were_stopped_together_with_the_observer_are_not_blamed),
		cmocka_unit_test(
		    an_agent_and_its_lanes_are_judged_each_for_itself),
		cmocka_unit_test(an_agent_with_lanes_alone_owes_no_datagrams),
		cmocka_unit_test(an_agent_that_is_held_is_not_evicted),
	};

	return cmocka_run_group_tests_name("sim_lanes", tests, NULL, NULL);
}
