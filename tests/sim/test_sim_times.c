/*
 * Times that the observer notes of agents: between beats, from a deadline to
 * the stall, from a stall to its recovery.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim.h"

static uint64_t
count(const struct stats_fine *h)
{
	uint64_t n = 0;

	for (size_t i = 0; i < STATS_FINE_BUCKETS; i++)
		n += h->buckets[i];
	return n;
}

/* How many were at most this long; a bound. */
static uint64_t
at_most(const struct stats_fine *h, uint64_t ns)
{
	uint64_t n = 0;

	for (size_t i = 0; stats_fine_bounds_ns[i] <= ns; i++)
		n += h->buckets[i];
	return n;
}

static void
every_beat_but_the_first_has_an_interval(void **state)
{
	struct sim_setup setup = sim_setup_default();
	const struct stats_fine *h;
	struct sim *s;

	(void)state;
	setup.options.prom_addr.given = true;
	s = sim_new(&setup);
	sim_beat_every(s, sim_spawn(s, 0), sim_now(s), MS(200));
	sim_run(s, SECONDS(60));
	h = &sim_stats(s)->beat_interval;
	assert_int_equal(count(h), sim_stats(s)->beats - 1);
	assert_int_equal(at_most(h, MS(100)), 0);
	assert_int_equal(at_most(h, MS(250)), count(h));
	assert_in_range(h->sum_1024ns * 1024, SECONDS(59), SECONDS(61));
	sim_free(s);
}

static void
intervals_over_stalls_and_changes_of_status_count_too(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a;

	(void)state;
	setup.options.control_socket = "/run/varta/control";
	s = sim_new(&setup);
	a = sim_spawn(s, 0);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, SECONDS(4));
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(3));
	sim_beat(s, a, AGENT_CRITICAL);
	sim_run(s, MS(10));
	assert_int_equal(sim_stats(s)->resumes, 1);
	assert_int_equal(count(&sim_stats(s)->beat_interval), 2);
	assert_int_equal(at_most(&sim_stats(s)->beat_interval, MS(10)), 1);
	sim_free(s);
}

static void
without_metrics_no_beat_pays_for_them(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);

	(void)state;
	sim_beat_every(s, sim_spawn(s, 0), sim_now(s), MS(200));
	sim_run(s, SECONDS(2));
	assert_int_equal(count(&sim_stats(s)->beat_interval), 0);
	sim_free(s);
}

static void
a_stall_is_told_within_a_slot_of_its_deadline(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);
	uint32_t i;

	(void)state;
	for (i = 0; i < 50; i++) {
		sim_beat(s, sim_spawn(s, 0), AGENT_OK);
		sim_run(s, MS(7) + 12345);
	}
	sim_run(s, SECONDS(3));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 50);
	assert_int_equal(count(&sim_stats(s)->stall_lateness), 50);
	assert_int_equal(at_most(&sim_stats(s)->stall_lateness, MS(1)), 50);
	sim_free(s);
}

static void
what_the_observer_gives_back_is_no_lateness(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s = sim_new(&setup);
	uint32_t a;

	(void)state;
	a = sim_spawn(s, 0);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(600));
	sim_stop_observer(s, SECONDS(30));
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_int_equal(count(&sim_stats(s)->stall_lateness), 1);
	assert_int_equal(at_most(&sim_stats(s)->stall_lateness, MS(1)), 1);
	sim_free(s);
}

static void
a_stall_that_is_told_with_the_end_is_not_late(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a;

	(void)state;
	setup.options.recovery_on_exit = true;
	s = sim_new(&setup);
	a = sim_spawn(s, 0);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(100));
	sim_end(
	    s, a, (struct exit_info){ .how = EXIT_HOW_CODE, .value = 1 }, true);
	sim_run(s, SECONDS(3));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_int_equal(count(&sim_stats(s)->stall_lateness), 0);
	sim_free(s);
}

static void
the_start_of_a_command_is_timed_from_the_stall(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.command = "/bin/true";
	s = sim_new(&setup);
	sim_beat(s, sim_spawn(s, 0), AGENT_OK);
	sim_run(s, SECONDS(3));
	assert_int_equal(sim_commands_started(s), 1);
	assert_int_equal(count(&sim_stats(s)->recovery_latency), 1);
	assert_int_equal(at_most(&sim_stats(s)->recovery_latency, MS(1)), 1);
	sim_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_beat_but_the_first_has_an_interval),
		cmocka_unit_test(
		    intervals_over_stalls_and_changes_of_status_count_too),
		cmocka_unit_test(without_metrics_no_beat_pays_for_them),
		cmocka_unit_test(a_stall_is_told_within_a_slot_of_its_deadline),
		cmocka_unit_test(what_the_observer_gives_back_is_no_lateness),
		cmocka_unit_test(a_stall_that_is_told_with_the_end_is_not_late),
		cmocka_unit_test(
		    the_start_of_a_command_is_timed_from_the_stall),
	};

	return cmocka_run_group_tests_name("sim_times", tests, NULL, NULL);
}
