/*
 * Silence, lateness and who is to blame: the observer over hours of a made-up
 * clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim.h"

enum { AGENTS = 50 };

static void
start_agents(struct sim *s, uint32_t n, uint64_t period_ns)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t agent = sim_spawn(s, 0);

		sim_beat_every(
		    s, agent, sim_now(s) + i * (period_ns / n), period_ns);
	}
}

static void
fifty_agents_beat_for_three_hours_and_nobody_is_blamed(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);

	(void)state;
	start_agents(s, AGENTS, MS(250));
	sim_run(s, HOURS(3));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), AGENTS);
	/* The first beat of the fourth hour is in it. */
	assert_int_equal(sim_stats(s)->beats, 3 * 3600 * 4 * AGENTS + 1);
	assert_int_equal(sim_refused_beats(s), 0);
	assert_int_equal(sim_count(s, EVENT_LATE, 0), 0);
	sim_free(s);
}

static void
silence_is_told_once_never_early_and_at_most_a_slot_late(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);
	uint64_t last_beat;
	uint32_t a;

	(void)state;
	a = sim_spawn(s, 0);
	sim_run(s, MS(17));
	sim_beat(s, a, AGENT_OK);
	last_beat = sim_now(s);
	sim_run(s, SECONDS(60));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_true(
	    sim_last(s, EVENT_STALL, 0)->at_ns >= last_beat + SECONDS(1));
	assert_true(sim_last(s, EVENT_STALL, 0)->at_ns <=
		    last_beat + SECONDS(1) + MS(1));
	assert_int_equal(sim_last(s, EVENT_STALL, 0)->why.stall, STALL_SILENT);
	sim_free(s);
}

static void
a_beat_after_a_stall_resumes_and_arms_again(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);
	uint32_t a;

	(void)state;
	a = sim_spawn(s, 0);
	for (int i = 1; i <= 5; i++) {
		sim_beat(s, a, AGENT_OK);
		sim_run(s, SECONDS(3));
		assert_int_equal(sim_count(s, EVENT_STALL, 0), i);
		assert_int_equal(sim_count(s, EVENT_RESUME, 0), i - 1);
	}
	sim_free(s);
}

static void
an_idle_observer_does_not_wake_up(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint64_t before;

	(void)state;
	setup.options.threshold_ms = 24 * 3600 * 1000;
	s = sim_new(&setup);
	for (int i = 0; i < AGENTS; i++)
		sim_beat(s, sim_spawn(s, 0), AGENT_OK);
	sim_run(s, SECONDS(1));
	before = sim_wakeups(s);
	sim_run(s, HOURS(23));
	/* The one pass with which sim_run() begins, and one look for each
	 * turn of the wheel, which is more than four hours. */
	assert_true(sim_wakeups(s) - before <= 6);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_free(s);
}

static void
agents_in_phase_on_a_short_queue_are_refused_beats_but_not_blamed(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.queue_len = 11;
	setup.options.threshold_ms = 400;
	s = sim_new(&setup);
	/* All in the same instant; the observer runs when the first has sent,
	 * and in simulation only after the last. */
	for (uint32_t i = 0; i < AGENTS; i++)
		sim_beat_every(s, sim_spawn(s, 0), (i / 10) * MS(1), MS(100));
	sim_run(s, SECONDS(60));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_free(s);
}

static void
a_stopped_observer_blames_nobody_for_its_own_absence(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.queue_len = 11; /* nearly all beats meanwhile are lost */
	s = sim_new(&setup);
	start_agents(s, AGENTS, MS(250));
	sim_run(s, SECONDS(5));
	sim_stop_observer(s, SECONDS(10));
	sim_run(s, SECONDS(5));
	assert_true(sim_refused_beats(s) > 1000);
	assert_int_equal(sim_count(s, EVENT_LATE, 0), 1);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_free(s);
}

static void
a_continue_signal_without_a_stop_lets_nobody_off(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t pid;

	(void)state;
	setup.options.threshold_ms = 60000;
	s = sim_new(&setup);
	pid = sim_spawn(s, 0);
	sim_beat(s, pid, AGENT_OK);
	sim_run(s, SECONDS(50));
	sim_stop_observer(s, 0);
	sim_run(s, SECONDS(11));
	assert_int_equal(sim_count(s, EVENT_LATE, 0), 0);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	sim_free(s);
}

static void
a_stop_in_which_nobody_called_lets_nobody_off(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.options.threshold_ms = 60000;
	s = sim_new(&setup);
	sim_beat(s, sim_spawn(s, 0), AGENT_OK);
	sim_run(s, SECONDS(10));
	sim_stop_observer(s, SECONDS(40));
	sim_run(s, SECONDS(11));
	assert_int_equal(sim_count(s, EVENT_LATE, 0), 0);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	sim_free(s);
}

static void
a_starved_observer_blames_nobody_either(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.queue_len = 11;
	s = sim_new(&setup);
	start_agents(s, AGENTS, MS(250));
	for (int i = 0; i < 20; i++) {
		sim_run(s, MS(1700));
		sim_starve_observer(s, MS(900 + 137 * i));
	}
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	assert_true(sim_count(s, EVENT_LATE, 0) >= 15);
	sim_free(s);
}

static void
who_is_silent_is_still_found_after_an_absence(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);
	uint64_t back;
	uint32_t a;

	(void)state;
	start_agents(s, AGENTS, MS(250));
	a = sim_spawn(s, 0);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(600));
	sim_stop_observer(s, SECONDS(30));
	back = sim_now(s);
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_int_equal(sim_count(s, EVENT_STALL, sim_pid(s, a)), 1);
	/* It had 400 ms left, give or take when we last listened. */
	assert_true(sim_last(s, EVENT_STALL, 0)->at_ns > back);
	assert_true(
	    sim_last(s, EVENT_STALL, 0)->at_ns <= back + SECONDS(1) + MS(1));
	sim_free(s);
}

static void
queued_beats_are_read_before_anyone_is_judged(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);
	uint32_t a;

	(void)state;
	a = sim_spawn(s, 0);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(500));
	/* Late by less than is worth a pardon, with the beat in the queue. */
	sim_starve_observer(s, MS(520));
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(10));
	assert_int_equal(sim_count(s, EVENT_LATE, 0), 0);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_free(s);
}

static void
a_clock_that_leaps_an_hour_ahead_makes_no_stalls(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);

	(void)state;
	start_agents(s, AGENTS, MS(250));
	sim_run(s, SECONDS(5));
	for (uint32_t i = 0; i < AGENTS; i++)
		sim_beat_every(s, i, 0, 0);
	sim_run(s, MS(300)); /* all have left the plan */
	sim_starve_observer(s, HOURS(1));
	sim_run(s, 0);
	for (uint32_t i = 0; i < AGENTS; i++)
		sim_beat_every(s, i, sim_now(s) + MS(i), MS(250));
	sim_run(s, SECONDS(10));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	assert_int_equal(sim_stats(s)->clock_jumps_forward, 1);
	sim_free(s);
}

static void
of_a_hundred_thousand_agents_exactly_the_silent_are_told(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.agents_max = 100000;
	setup.queue_len = 4096;
	setup.options.tracker_capacity = 100000;
	setup.options.threshold_ms = 3000;
	s = sim_new(&setup);
	start_agents(s, 100000, SECONDS(1));
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), 100000);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	for (uint32_t i = 0; i < 100000; i += 100)
		sim_beat_every(s, i, 0, 0);
	sim_run(s, SECONDS(6));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1000);
	for (uint32_t i = 0; i < 100000; i += 5000)
		assert_int_equal(sim_count(s, EVENT_STALL, sim_pid(s, i)), 1);
	assert_int_equal(sim_refused_beats(s), 0);
	sim_free(s);
}

static void
nothing_is_allocated_in_a_pass(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.command = "/bin/true";
	s = sim_new(&setup);
	start_agents(s, AGENTS, MS(100));
	sim_run(s, SECONDS(10));
	for (uint32_t i = 0; i < AGENTS / 2; i++)
		sim_beat_every(s, i, 0, 0);
	sim_end(s, AGENTS - 1,
	    (struct exit_info){ .how = EXIT_HOW_CODE, .value = 3 }, true);
	sim_run(s, SECONDS(10));
	assert_true(sim_commands_started(s) >= AGENTS / 2);
	assert_int_equal(sim_allocations_in_passes(s), 0);
	sim_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    fifty_agents_beat_for_three_hours_and_nobody_is_blamed),
		cmocka_unit_test(
		    silence_is_told_once_never_early_and_at_most_a_slot_late),
		cmocka_unit_test(a_beat_after_a_stall_resumes_and_arms_again),
		cmocka_unit_test(an_idle_observer_does_not_wake_up),
		cmocka_unit_test(
		    agents_in_phase_on_a_short_queue_are_refused_beats_but_not_blamed),
		cmocka_unit_test(
		    a_stopped_observer_blames_nobody_for_its_own_absence),
		cmocka_unit_test(
		    a_continue_signal_without_a_stop_lets_nobody_off),
		cmocka_unit_test(a_stop_in_which_nobody_called_lets_nobody_off),
		cmocka_unit_test(a_starved_observer_blames_nobody_either),
		cmocka_unit_test(who_is_silent_is_still_found_after_an_absence),
		cmocka_unit_test(queued_beats_are_read_before_anyone_is_judged),
		cmocka_unit_test(
		    a_clock_that_leaps_an_hour_ahead_makes_no_stalls),
		cmocka_unit_test(
		    of_a_hundred_thousand_agents_exactly_the_silent_are_told),
		cmocka_unit_test(nothing_is_allocated_in_a_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
