/*
 * Lanes and the ends of their processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lanes_world.h"
#include "watch/lanes.h"

/* ---- ends ---- */

static void
lanes_of_a_killed_process_stall_at_their_deadlines(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 200);
	uint64_t beat_ns, died_ns;
	const struct event *ev;

	(void)state;
	(void)open_lane(&w, "idler", 200);
	sim_run(w.s, SECONDS(1));
	beat_ns = last_beat(&w, lane);
	sim_run(w.s, MS(50));
	died_ns = sim_now(w.s);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, MS(10));
	assert_int_equal(sim_agent_count(w.s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	/* Who owed nothing has nothing to be told of. */
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "idler"), 1);
	assert_true(
	    sim_lane_last(w.s, EVENT_LEAVE, "idler")->at_ns <= died_ns + SLOT);
	sim_run(w.s, SECONDS(5));
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 1);
	assert_stalled_at(&w, "worker", beat_ns + MS(200), 0);
	ev = sim_lane_last(w.s, EVENT_STALL, "worker");
	assert_int_equal(ev->why.stall, STALL_GONE);
	assert_int_equal(ev->pid, sim_pid(w.s, w.agent));
	assert_int_not_equal(ev->slot, SLOT_NONE);
	/* Kept for whoever acts on it, and no longer. */
	assert_int_equal(sim_lanes_watched(w.s), 1);
	sim_run(w.s, MS(LANES_KEPT_MS));
	assert_all_is_forgotten(&w);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 0);
	end_world(&w);
}

static void
a_lane_that_had_stalled_before_its_process_ended_stalls_no_more(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 200);

	(void)state;
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, SECONDS(1));
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(15));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 1);
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
exit_code_0_is_a_leave_of_all_lanes(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 200);

	(void)state;
	(void)open_lane(&w, "idler", 200);
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, MS(50));
	sim_end(w.s, w.agent, in_order, true);
	sim_run(w.s, MS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, NULL), 2);
	assert_all_is_forgotten(&w);
	sim_run(w.s, SECONDS(60));
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	end_world(&w);
}

static void
a_zombie_is_waited_for(void **state)
{
	struct world w = world();

	(void)state;
	(void)busy_lane(&w, "worker", 20);
	sim_end(w.s, w.agent, in_order, false);
	sim_run(w.s, MS(40));
	/* Past its deadline: but was it code 0? */
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	sim_reap(w.s, w.agent);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 1);
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
a_zombie_that_nobody_reaps_has_ended_badly(void **state)
{
	struct world w = world();

	(void)state;
	(void)busy_lane(&w, "worker", 20);
	sim_end(w.s, w.agent, in_order, false);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_int_equal(
	    sim_lane_last(w.s, EVENT_STALL, NULL)->why.stall, STALL_GONE);
	sim_run(w.s, SECONDS(15));
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
recovery_on_exit_does_not_wait_for_the_deadlines(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	uint64_t died_ns;

	(void)state;
	setup.options.recovery_on_exit = true;
	setup.command = "/bin/true";
	w = world_of(&setup);
	(void)busy_lane(&w, "worker", 60000);
	(void)open_lane(&w, "idler", 60000);
	sim_run(w.s, SECONDS(1));
	died_ns = sim_now(w.s);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, MS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_int_equal(sim_lane_last(w.s, EVENT_STALL, NULL)->at_ns, died_ns);
	assert_int_equal(sim_lane_last(w.s, EVENT_STALL, NULL)->due_ns, 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "idler"), 1);
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_string_equal(sim_last_lane(w.s), "worker");
	sim_run(w.s, SECONDS(15));
	assert_int_equal(sim_commands_started(w.s), 1);
	assert_all_is_forgotten(&w);
	end_world(&w);
}

/* As by exec(2), or by a library that closes what it has. */
static void
a_process_that_lets_go_of_its_lanes_has_no_stalls(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 150);

	(void)state;
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, MS(100));
	sim_detach(w.s, w.memory);
	sim_exec(w.s, w.agent);
	sim_run(w.s, MS(120));
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 1);
	assert_all_is_forgotten(&w);
	/* It may attach again. */
	w.memory = sim_attach(w.s, w.agent);
	(void)busy_lane(&w, "worker", 150);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 2);
	end_world(&w);
}

static void
an_agent_without_a_pidfd_is_known_by_its_start_time(void **state)
{
	struct sim_setup setup = lanes_setup();
	struct world w;
	uint32_t lane;
	uint64_t beat_ns;

	(void)state;
	setup.no_pidfds = true;
	w = world_of(&setup);
	lane = busy_lane(&w, "worker", 200);
	sim_run(w.s, SECONDS(1));
	beat_ns = last_beat(&w, lane);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_agent_count(w.s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_stalled_at(&w, "worker", beat_ns + MS(200), 0);
	assert_int_equal(
	    sim_lane_last(w.s, EVENT_STALL, NULL)->why.stall, STALL_GONE);
	sim_run(w.s, SECONDS(15));
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
a_pid_that_is_used_again_has_lanes_of_its_own(void **state)
{
	struct world w = world();
	struct world next = w;
	uint32_t lane;

	(void)state;
	(void)busy_lane(&w, "worker", 200);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	/* Within the time for which the old ones are kept. */
	next.agent = sim_spawn(w.s, sim_pid(w.s, w.agent));
	next.memory = sim_attach(w.s, next.agent);
	lane = busy_lane(&next, "worker", 200);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "worker"), 2);
	sim_run(w.s, SECONDS(15));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_int_equal(sim_lanes_watched(w.s), 1);
	assert_int_equal(sim_memories(w.s), 1);
	sim_lane_hang(w.s, next.memory, lane);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 2);
	assert_int_equal(
	    sim_lane_last(w.s, EVENT_STALL, NULL)->why.stall, STALL_SILENT);
	end_world(&w);
}

static void
a_pid_that_is_used_again_at_once_hides_no_death(void **state)
{
	struct world w = world();
	struct world next = w;

	(void)state;
	(void)busy_lane(&w, "worker", 200);
	/* All of it between two passes. */
	sim_end(w.s, w.agent, by_signal, true);
	next.agent = sim_spawn(w.s, sim_pid(w.s, w.agent));
	next.memory = sim_attach(w.s, next.agent);
	(void)sim_lane_open(w.s, next.memory, "worker", 200);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_agent_count(w.s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_count(w.s, EVENT_STALL, 0), 1);
	sim_run(w.s, SECONDS(15));
	assert_int_equal(sim_memories(w.s) <= 1, true);
	end_world(&w);
}

/* ---- a child that holds what its parent had ---- */

static void
lanes_end_with_their_process_though_a_child_holds_the_connection(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 60000);

	(void)state;
	sim_held_by_child(w.s, w.memory);
	sim_run(w.s, SECONDS(1));
	(void)last_beat(&w, lane);
	sim_end(w.s, w.agent, in_order, true);
	sim_run(w.s, MS(5));
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, "worker"), 1);
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
a_memory_without_lanes_ends_with_its_process(void **state)
{
	struct world w = world();

	(void)state;
	sim_held_by_child(w.s, w.memory);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(1));
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
what_a_child_writes_does_not_keep_the_lanes_of_the_dead(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 200);

	(void)state;
	sim_held_by_child(w.s, w.memory);
	sim_run(w.s, SECONDS(1));
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, MS(5));
	sim_lane_beat_every(w.s, w.memory, lane, MS(10));
	(void)sim_lane_open(w.s, w.memory, "of-a-child", 200);
	sim_run(w.s, MS(300));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_JOIN, "of-a-child"), 0);
	sim_run(w.s, SECONDS(5));
	/* The child goes, too: nothing of that is told again. */
	sim_detach(w.s, w.memory);
	sim_run(w.s, SECONDS(6));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	assert_int_equal(sim_lane_count(w.s, EVENT_RESUME, "worker"), 0);
	assert_all_is_forgotten(&w);
	end_world(&w);
}

static void
lanes_of_the_dead_are_forgotten_on_a_busy_observer_too(void **state)
{
	struct world w = world();
	uint32_t lane = busy_lane(&w, "worker", 60000), other;

	(void)state;
	other = sim_spawn(w.s, 0);
	sim_beat_every(w.s, other, sim_now(w.s), MS(5));
	sim_lane_hang(w.s, w.memory, lane);
	sim_run(w.s, SECONDS(61));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, "worker"), 1);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(11));
	assert_int_equal(sim_lanes_watched(w.s), 0);
	assert_int_equal(sim_agents(w.s), 1);
	end_world(&w);
}

static void
a_lane_that_was_closed_just_before_the_end_does_not_stall(void **state)
{
	struct world w = world();
	uint32_t first = busy_lane(&w, "closed", 200),
		 second = busy_lane(&w, "reopened", 200);

	(void)state;
	sim_run(w.s, SECONDS(1));
	sim_bells_are_lost(w.s, true);
	sim_lane_close(w.s, w.memory, first);
	sim_lane_reopen(w.s, w.memory, second, "another");
	sim_lane_beat(w.s, w.memory, second);
	sim_held_by_child(w.s, w.memory);
	sim_end(w.s, w.agent, by_signal, true);
	sim_run(w.s, SECONDS(1));
	assert_int_equal(sim_lane_count(w.s, EVENT_STALL, NULL), 0);
	assert_int_equal(sim_lane_count(w.s, EVENT_LEAVE, NULL), 2);
	assert_all_is_forgotten(&w);
	end_world(&w);
}

/* ---- for long ---- */

static void
hours_of_coming_and_going_leave_nothing(void **state)
{
	struct world w = world();
	struct world one = w;

	(void)state;
	sim_end(w.s, w.agent, in_order, true);
	for (uint32_t i = 0; i < 1500; i++) {
		one.agent = sim_spawn(w.s, 5000 + i % 7);
		one.memory = sim_attach(w.s, one.agent);
		(void)busy_lane(&one, "first", 50);
		(void)open_lane(&one, "second", 50);
		if (i % 3 == 0)
			sim_detach(w.s, one.memory);
		sim_run(w.s, SECONDS(2));
		sim_end(w.s, one.agent, i % 2 == 0 ? by_signal : in_order,
		    i % 5 != 0);
		sim_run(w.s, SECONDS(5));
		assert_true(sim_memories(w.s) <= 4);
		assert_true(sim_lanes_watched(w.s) <= 8);
		assert_true(sim_agents(w.s) <= 4);
	}
	sim_run(w.s, SECONDS(15));
	assert_all_is_forgotten(&w);
	assert_int_equal(sim_stats(w.s)->lane_joins, 2 * 1500);
	end_world(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    lanes_of_a_killed_process_stall_at_their_deadlines),
		cmocka_unit_test(
		    a_lane_that_had_stalled_before_its_process_ended_stalls_no_more),
		cmocka_unit_test(exit_code_0_is_a_leave_of_all_lanes),
		cmocka_unit_test(a_zombie_is_waited_for),
		cmocka_unit_test(a_zombie_that_nobody_reaps_has_ended_badly),
		cmocka_unit_test(
		    recovery_on_exit_does_not_wait_for_the_deadlines),
		cmocka_unit_test(
		    a_process_that_lets_go_of_its_lanes_has_no_stalls),
		cmocka_unit_test(
		    an_agent_without_a_pidfd_is_known_by_its_start_time),
		cmocka_unit_test(a_pid_that_is_used_again_has_lanes_of_its_own),
		cmocka_unit_test(
		    a_pid_that_is_used_again_at_once_hides_no_death),
		cmocka_unit_test(
		    lanes_end_with_their_process_though_a_child_holds_the_connection),
		cmocka_unit_test(a_memory_without_lanes_ends_with_its_process),
		cmocka_unit_test(
		    what_a_child_writes_does_not_keep_the_lanes_of_the_dead),
		cmocka_unit_test(
		    lanes_of_the_dead_are_forgotten_on_a_busy_observer_too),
		cmocka_unit_test(
		    a_lane_that_was_closed_just_before_the_end_does_not_stall),
		cmocka_unit_test(hours_of_coming_and_going_leave_nothing),
	};

	return cmocka_run_group_tests_name("sim_lanes_ends", tests, NULL, NULL);
}
