/*
 * Recovery for lanes, and rules for them that change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lanes_world.h"

/* ---- recovery ---- */

static void
recovery_is_told_the_lane_and_runs_once_for_a_process(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	uint32_t lane;

	(void)state;
	setup.command = "/bin/true";
	w = world_of(&setup);
	lane = busy_lane(&w, "first", 200);
	(void)busy_lane(&w, "second", 200);
	sim_run(w.s, SECONDS(1));
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, MS(300));
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_string_equal(sim_last_lane(w.s), "first");
	/* The process dies of it: another stall, within the same second. */
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "second"), 1);
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_int_equal(sim_recoveries(w.s, RECOVERY_DEBOUNCED), 1);
	end_world(&w);
}

static void
a_killed_process_with_many_lanes_is_recovered_once(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	char name[16];

	(void)state;
	setup.command = "/bin/true";
	setup.options.tracker_capacity = 2;
	w = world_of(&setup);
	for (int i = 0; i < 60; i++) {
		(void)snprintf(name, sizeof(name), "worker-%d", i);
		(void)busy_lane(&w, name, 200);
	}
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 60);
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_int_equal(sim_recoveries(w.s, RECOVERY_DEBOUNCED), 59);
	assert_int_equal(
	    sim_recoveries(w.s, RECOVERY_REFUSED_OUTSTANDING_CAPACITY), 0);
	end_world(&w);
}

/* ---- rules ---- */

static void
rules_name_lanes_and_give_them_thresholds_and_commands(void **state)
{
	static const struct rules rules = {
		.list = { { .name = "the-writer",
		    .lane = "writer",
		    .threshold_ms = 300,
		    .recovery_exec = "/bin/restart-writer" } },
		.n = 1,
		.want_lane = true,
	};
	struct sim_setup setup = lanes_setup();
	struct world w;
	uint32_t lane;
	uint64_t beat_ns;

	(void)state;
	setup.command = "/bin/true";
	w = world_of(&setup);
	sim_set_rules(w.s, &rules, 1000);
	lane = busy_lane(&w, "writer", 100);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "the-writer"), 1);
	sim_run(w.s, SECONDS(1));
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, SECONDS(1));
	assert_stalled_at(&w, "the-writer", beat_ns + MS(300), 0);
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_string_equal(sim_last_program(w.s), "/bin/restart-writer");
	assert_string_equal(sim_last_lane(w.s), "the-writer");
	end_world(&w);
}

static void
other_rules_change_lanes_and_judge_nobody_early(void **state)
{
	static const struct rules shorter = {
		.list = { { .name = "short",
		    .lane = "worker",
		    .threshold_ms = 50 } },
		.n = 1,
		.want_lane = true,
	};
	static const struct rules none;
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 500);
	uint64_t beat_ns, reload_ns;

	(void)state;
	sim_run(w.s, SECONDS(1));
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, MS(200));
	reload_ns = sim_now(w.s);
	sim_set_rules(w.s, &shorter, 1000);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	assert_stalled_at(&w, "short", reload_ns + MS(50), 0);
	/* And back. */
	sim_lane_beat_every(w.s, w.memory, lane, MS(10));
	sim_run(w.s, MS(100));
	sim_set_rules(w.s, &none, 1000);
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, MS(450));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_true(
	    sim_lane_last(w.s, EVENT_STALL, NULL)->at_ns >= beat_ns + MS(500));
	end_world(&w);
}

static void
rules_that_would_name_two_lanes_alike_keep_them_apart(void **state)
{
	static const struct rules alike = {
		.list = { { .name = "second", .lane = "first" } },
		.n = 1,
		.want_lane = true,
	};
	struct world w = world();
	uint32_t first = busy_lane(&w, "first", 100),
		 second = busy_lane(&w, "second", 100);

	(void)state;
	sim_set_rules(w.s, &alike, 1000);
	sim_lane_hang(w.s, w.memory, first);
	sim_lane_hang(w.s, w.memory, second);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "first"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "second"), 1);
	end_world(&w);
}

/* What cannot be read when the rules change has no rule by then. */
static void
a_lane_of_the_dead_has_none_of_the_new_rules(void **state)
{
	static const struct rules before = {
		.list = { { .name = "other", .lane = "other" },
		    { .name = "mine",
			.lane = "worker",
			.recovery_exec = "/bin/mine" } },
		.n = 2,
		.want_lane = true,
	};
	static const struct rules after = {
		.list = { { .name = "x", .lane = "x" },
		    { .name = "y", .lane = "y", .recovery_exec = "/bin/y" } },
		.n = 2,
		.want_lane = true,
	};
	struct sim_setup setup = lanes_setup();
	struct world w;

	(void)state;
	setup.command = "/bin/true";
	w = world_of(&setup);
	sim_set_rules(w.s, &before, 1000);
	(void)busy_lane(&w, "worker", 500);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, MS(5));
	sim_set_rules(w.s, &after, 1000);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "mine"), 1);
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_string_equal(sim_last_program(w.s), "/bin/true");
	end_world(&w);
}

static void
a_grace_begins_with_the_first_beat_whatever_the_rules_did(void **state)
{
	static const struct rules none;
	struct world w = world();
	uint64_t beat_ns;

	(void)state;
	(void)busy_lane(&w, "worker", 100);
	sim_run(w.s, HOURS(1));
	sim_set_rules(w.s, &none, 2000);
	sim_run(w.s, SECONDS(10));
	beat_ns = sim_now(w.s);
	sim_beat(w.s, w.agent, AGENT_OK);
	sim_run(w.s, SECONDS(10));
	assert_int_equal(sim_agent_count(w.s, EVENT_STALL, 0), 1);
	assert_in_range(sim_last(w.s, EVENT_STALL, 0)->at_ns,
	    beat_ns + SECONDS(2), beat_ns + SECONDS(2) + SLOT);
	end_world(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    recovery_is_told_the_lane_and_runs_once_for_a_process),
		cmocka_unit_test(
		    a_killed_process_with_many_lanes_is_recovered_once),
		cmocka_unit_test(
		    rules_name_lanes_and_give_them_thresholds_and_commands),
		cmocka_unit_test(
		    other_rules_change_lanes_and_judge_nobody_early),
		cmocka_unit_test(
		    rules_that_would_name_two_lanes_alike_keep_them_apart),
		cmocka_unit_test(a_lane_of_the_dead_has_none_of_the_new_rules),
		cmocka_unit_test(
		    a_grace_begins_with_the_first_beat_whatever_the_rules_did),
	};

	return cmocka_run_group_tests_name(
	    "sim_lanes_rules", tests, NULL, NULL);
}
