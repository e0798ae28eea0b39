/*
 * Lanes from their opening to their closing while their process lives: when
 * they are found, when they stall, what is not blamed on them, what is too
 * many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lanes_world.h"
#include "watch/lanes.h"
#include "watch/track/tracker.h"

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

		sim_run(w.s, MS(500) + i * MS(7) + i * 1234);
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

		sim_run(w.s, MS(150) + i * 333333);
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
a_record_that_is_being_written_is_looked_at_again(void **state)
{
	struct world w = world();
	uint32_t lane;
	uint64_t beat_ns;

	(void)state;
	/* When it is found, */
	lane = sim_lane_open(w.s, w.memory, "worker", 100);
	sim_lane_torn(w.s, w.memory, lane, 5);
	sim_run(w.s, MS(2));
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 1);
	/* and when it is due. */
	sim_run(w.s, MS(300));
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, MS(90));
	sim_lane_torn(w.s, w.memory, lane, 5);
	sim_run(w.s, MS(100));
	assert_stalled_at(&w, "worker", beat_ns + MS(100), 10 * SLOT);
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
		    a_record_that_is_being_written_is_looked_at_again),
		cmocka_unit_test(a_stopped_observer_gives_lanes_the_time_back),
		cmocka_unit_test(
		    lanes_that_were_stopped_together_with_the_observer_are_not_blamed),
		cmocka_unit_test(
		    an_agent_and_its_lanes_are_judged_each_for_itself),
		cmocka_unit_test(an_agent_with_lanes_alone_owes_no_datagrams),
		cmocka_unit_test(an_agent_that_is_held_is_not_evicted),
		cmocka_unit_test(
		    an_agent_of_a_user_who_may_not_beat_is_refused),
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
		cmocka_unit_test(
		    a_lane_that_was_closed_and_opened_is_another_even_without_a_bell),
		cmocka_unit_test(
		    a_look_ahead_saves_wakeups_of_busy_lanes_alone),
	};

	return cmocka_run_group_tests_name("sim_lanes", tests, NULL, NULL);
}
