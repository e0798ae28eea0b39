/*
 * First contact, ends, pids that are used again, sessions that start over,
 * full tables, limits, and what recovery is asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <varta/frame.h>

#include "sim.h"

static const struct exit_info by_signal = { EXIT_HOW_SIGNAL, 9 };
static const struct exit_info by_code_3 = { EXIT_HOW_CODE, 3 };
static const struct exit_info in_order = { EXIT_HOW_CODE, 0 };

/* A world with one agent that has beaten once. */
static struct sim *
world(const struct sim_setup *setup, uint32_t *ret_agent)
{
	struct sim *s = sim_new(setup);

	*ret_agent = sim_spawn(s, 0);
	sim_beat(s, *ret_agent, AGENT_OK);
	sim_run(s, MS(100));
	return s;
}

static void
a_killed_process_is_told_at_once_and_stalls_at_its_deadline(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a;
	struct sim *s = world(&setup, &a);
	uint64_t died = sim_now(s);

	(void)state;
	sim_end(s, a, by_signal, true);
	sim_run(s, MS(10));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_last(s, EVENT_EXIT, 0)->at_ns, died);
	assert_int_equal(
	    sim_last(s, EVENT_EXIT, 0)->why.exit.how, EXIT_HOW_SIGNAL);
	assert_int_equal(sim_last(s, EVENT_EXIT, 0)->why.exit.value, 9);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_run(s, SECONDS(10));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_int_equal(sim_last(s, EVENT_STALL, 0)->why.stall, STALL_GONE);
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	sim_free(s);
}

static void
a_zombie_is_waited_for_and_its_cause_told_when_reaped_in_time(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a;
	struct sim *s = world(&setup, &a);

	(void)state;
	sim_end(s, a, by_code_3, false);
	sim_run(s, MS(30));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 0);
	sim_reap(s, a);
	sim_run(s, MS(30));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	assert_int_equal(
	    sim_last(s, EVENT_EXIT, 0)->why.exit.how, EXIT_HOW_CODE);
	assert_int_equal(sim_last(s, EVENT_EXIT, 0)->why.exit.value, 3);
	sim_free(s);
}

static void
a_zombie_that_nobody_reaps_is_told_after_fifty_milliseconds(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a;
	struct sim *s = world(&setup, &a);
	uint64_t died = sim_now(s);

	(void)state;
	sim_end(s, a, by_code_3, false);
	sim_run(s, SECONDS(10));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	assert_int_equal(
	    sim_last(s, EVENT_EXIT, 0)->why.exit.how, EXIT_HOW_UNKNOWN);
	assert_true(sim_last(s, EVENT_EXIT, 0)->at_ns <= died + MS(50));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_int_equal(sim_last(s, EVENT_STALL, 0)->why.stall, STALL_GONE);
	sim_reap(s, a);
	sim_run(s, SECONDS(1));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	sim_free(s);
}

static void
where_the_kernel_tells_no_cause_nothing_is_waited_for(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint64_t died;
	uint32_t a;

	(void)state;
	setup.exits_unknown = true;
	s = world(&setup, &a);
	died = sim_now(s);
	sim_end(s, a, in_order, false);
	sim_run(s, MS(1));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_last(s, EVENT_EXIT, 0)->at_ns, died);
	sim_free(s);
}

static void
exit_code_0_is_a_leave_and_nothing_stalls(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a;
	struct sim *s = world(&setup, &a);

	(void)state;
	sim_end(s, a, in_order, true);
	sim_run(s, SECONDS(60));
	assert_int_equal(sim_count(s, EVENT_LEAVE, 0), 1);
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 0);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_free(s);
}

static void
recovery_on_exit_does_not_wait_for_the_deadline(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint64_t died;
	uint32_t a;

	(void)state;
	setup.options.recovery_on_exit = true;
	setup.command = "/bin/true";
	s = world(&setup, &a);
	died = sim_now(s);
	sim_end(s, a, by_signal, true);
	sim_run(s, MS(5));
	assert_int_equal(sim_commands_started(s), 1);
	assert_int_equal(sim_last(s, EVENT_STALL, 0)->at_ns, died);
	sim_run(s, SECONDS(10));
	assert_int_equal(sim_commands_started(s), 1);
	sim_free(s);
}

static void
a_pid_used_again_does_not_hide_the_death_of_the_first(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a, b;
	struct sim *s = world(&setup, &a);

	(void)state;
	sim_end(s, a, by_signal, true);
	b = sim_spawn(s, sim_pid(s, a));
	sim_beat_every(s, b, sim_now(s), MS(100));
	sim_run(s, SECONDS(10));
	assert_int_equal(sim_count(s, EVENT_EXIT, sim_pid(s, a)), 1);
	assert_int_equal(sim_count(s, EVENT_STALL, sim_pid(s, a)), 1);
	assert_int_equal(sim_last(s, EVENT_STALL, 0)->why.stall, STALL_GONE);
	assert_int_equal(sim_count(s, EVENT_JOIN, sim_pid(s, b)), 2);
	assert_true(
	    sim_position(s, EVENT_STALL, 0) < sim_position(s, EVENT_JOIN, 0));
	assert_int_equal(sim_stats(s)->pid_recycled, 1);
	sim_free(s);
}

static void
without_pidfds_a_pid_used_again_is_seen_by_its_start_time(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a, b;

	(void)state;
	setup.no_pidfds = true;
	s = world(&setup, &a);
	assert_true(sim_stats(s)->pidfd_refused > 0);
	sim_end(s, a, by_signal, true);
	b = sim_spawn(s, sim_pid(s, a));
	sim_beat_every(s, b, sim_now(s), MS(100));
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), 2);
	sim_free(s);
}

static void
without_pidfds_a_death_is_found_at_the_deadline(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a;

	(void)state;
	setup.no_pidfds = true;
	s = world(&setup, &a);
	sim_end(s, a, by_signal, true);
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_EXIT, 0), 1);
	assert_int_equal(sim_last(s, EVENT_STALL, 0)->why.stall, STALL_GONE);
	sim_free(s);
}

static void
a_process_that_replaces_its_program_starts_over(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a;
	struct sim *s = world(&setup, &a);

	(void)state;
	sim_beat_every(s, a, sim_now(s), MS(100));
	sim_run(s, SECONDS(30));
	sim_exec(s, a);
	sim_run(s, SECONDS(30));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	assert_int_equal(sim_stats(s)->new_sessions, 1);
	assert_int_equal(sim_stats(s)->out_of_order[STATS_NONCE_REGRESSED], 0);
	sim_free(s);
}

static void
a_frame_sent_twice_is_counted_and_keeps_nobody_alive(void **state)
{
	struct sim_setup setup = sim_setup_default();
	uint32_t a;
	struct sim *s = world(&setup, &a);

	(void)state;
	for (int i = 0; i < 20; i++) {
		sim_send(s, sim_pid(s, a), 1000,
		    (struct sim_frame){ .nonce = 1, .pid = sim_pid(s, a) });
		sim_run(s, MS(100));
	}
	assert_int_equal(sim_stats(s)->out_of_order[STATS_NONCE_REPEATED], 20);
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	sim_free(s);
}

static void
strangers_are_refused_and_counted_by_cause(void **state)
{
	struct sim_setup setup = sim_setup_default();
	const uint8_t junk[33] = { 'V', 'A', 9 };
	uint32_t a;
	struct sim *s = world(&setup, &a);
	const struct stats *st = sim_stats(s);
	struct sim_frame f = { .nonce = 7, .pid = 5000 };

	(void)state;
	sim_send(s, 5000, 1234, f); /* another user */
	sim_send(s, 0, 1000, f);    /* another pid namespace */
	sim_send(s, 5001, 1000, f); /* in the name of another */
	sim_send_bytes(s, 5000, 1000, junk, 32);
	sim_send_bytes(s, 5000, 1000, junk, 31);
	sim_send_bytes(s, 5000, 1000, junk, 33);
	sim_run(s, MS(10));
	assert_int_equal(st->uid_refused, 1);
	assert_int_equal(st->pid_zero_refused, 1);
	assert_int_equal(st->frame_auth_failures, 1);
	assert_int_equal(st->decode_errors[STATS_BAD_VERSION], 1);
	assert_int_equal(st->truncated_datagrams, 2);
	assert_int_equal(sim_count(s, EVENT_MISMATCH, 5000), 1);
	assert_int_equal(sim_count(s, EVENT_DECODE, 0), 1);
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), 1);
	sim_free(s);
}

static void
another_pid_namespace_is_refused_unless_allowed(void **state)
{
	struct sim_setup setup = sim_setup_default();

	(void)state;
	for (int allowed = 0; allowed <= 1; allowed++) {
		struct sim *s;
		uint32_t a;

		setup.options.allow_cross_namespace = allowed;
		s = sim_new(&setup);
		a = sim_spawn(s, 0);
		sim_set_namespace(s, a, 4711);
		sim_beat(s, a, AGENT_OK);
		sim_run(s, MS(10));
		assert_int_equal(sim_count(s, EVENT_JOIN, 0), allowed);
		assert_int_equal(sim_count(s, EVENT_MISMATCH, 0), !allowed);
		assert_false(sim_has_failed(s));
		sim_free(s);
	}
}

static void
the_strict_check_fails_on_two_known_namespaces_only(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a, b;

	(void)state;
	setup.options.strict_namespace = true;
	s = sim_new(&setup);
	a = sim_spawn(s, 0);
	sim_set_namespace(s, a, 0); /* unknown */
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(10));
	assert_false(sim_has_failed(s));
	b = sim_spawn(s, 0);
	sim_set_namespace(s, b, 4711);
	sim_beat(s, b, AGENT_OK);
	sim_run(s, MS(10));
	assert_true(sim_has_failed(s));
	sim_free(s);
}

static void
a_full_table_refuses_newcomers_and_evicts_the_dead(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.options.tracker_capacity = 10;
	s = sim_new(&setup);
	for (int i = 0; i < 15; i++)
		sim_beat(s, sim_spawn(s, 0), AGENT_OK);
	sim_run(s, MS(100));
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), 10);
	assert_int_equal(sim_stats(s)->capacity_exceeded, 5);
	for (uint32_t i = 1; i < 10; i++)
		sim_beat_every(s, i, sim_now(s), MS(100));
	sim_end(s, 0, by_signal, true);
	sim_run(s, SECONDS(2));
	sim_beat(s, sim_spawn(s, 0), AGENT_OK);
	sim_run(s, MS(100));
	assert_int_equal(sim_count(s, EVENT_EVICTION, sim_pid(s, 0)), 1);
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), 11);
	sim_free(s);
}

static void
a_noisy_agent_is_limited_and_spends_nothing_of_the_others(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a, b;

	(void)state;
	setup.options.max_beat_rate = 10;
	setup.options.global_beat_rate = 100;
	setup.options.global_beat_burst = 50;
	s = sim_new(&setup);
	a = sim_spawn(s, 0);
	b = sim_spawn(s, 0);
	for (int i = 0; i < 300; i++)
		sim_beat(s, a, AGENT_OK);
	sim_beat(s, b, AGENT_OK);
	sim_run(s, MS(1));
	assert_true(sim_stats(s)->rate_limited[STATS_LIMITED_PER_PID] > 250);
	assert_int_equal(sim_stats(s)->rate_limited[STATS_LIMITED_GLOBAL], 0);
	assert_int_equal(sim_count(s, EVENT_JOIN, sim_pid(s, b)), 1);
	sim_free(s);
}

static void
the_last_word_of_a_process_passes_every_limit_once(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t agents[8];

	(void)state;
	setup.options.max_beat_rate = 1;
	setup.options.global_beat_rate = 1;
	setup.options.global_beat_burst = 8;
	s = sim_new(&setup);
	for (int i = 0; i < 8; i++)
		sim_beat(s, agents[i] = sim_spawn(s, 0), AGENT_OK);
	sim_run(s, MS(10));
	for (uint64_t i = 0; i < 3; i++)
		sim_send(s, sim_pid(s, agents[0]), 1000,
		    (struct sim_frame){ .nonce = VARTA_NONCE_TERMINAL,
			.timestamp = 100 + i,
			.pid = sim_pid(s, agents[0]),
			.status = AGENT_CRITICAL });
	sim_run(s, MS(10));
	assert_int_equal(sim_stats(s)->beats, 9);
	assert_int_equal(sim_stats(s)->rate_limited[STATS_LIMITED_GLOBAL] +
			     sim_stats(s)->rate_limited[STATS_LIMITED_PER_PID],
	    2);
	sim_free(s);
}

static void
recovery_runs_once_for_each_silence_and_is_debounced(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;
	uint32_t a;

	(void)state;
	setup.command = "/bin/true";
	setup.options.recovery_debounce_ms = 5000;
	s = world(&setup, &a);
	sim_run(s, SECONDS(2));
	assert_int_equal(sim_commands_started(s), 1);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, SECONDS(2));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 2);
	assert_int_equal(sim_commands_started(s), 1);
	assert_int_equal(sim_recoveries(s, RECOVERY_DEBOUNCED), 1);
	sim_run(s, SECONDS(5));
	sim_beat(s, a, AGENT_OK);
	sim_run(s, SECONDS(2));
	assert_int_equal(sim_commands_started(s), 2);
	assert_int_equal(sim_recoveries(s, RECOVERY_REAPED_ZERO), 2);
	sim_free(s);
}

static void
a_mass_stall_is_worked_off_in_portions(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct sim *s;

	(void)state;
	setup.command = "/bin/true";
	setup.agents_max = 4096;
	setup.queue_len = 4096;
	setup.options.tracker_capacity = 4096;
	s = sim_new(&setup);
	for (int i = 0; i < 4096; i++)
		sim_beat(s, sim_spawn(s, 0), AGENT_OK);
	sim_run(s, SECONDS(5));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 4096);
	assert_int_equal(sim_commands_started(s), 4096);
	assert_int_equal(sim_recoveries(s, RECOVERY_REAPED_ZERO), 4096);
	assert_true(sim_stats(s)->recovery_spawn_budget_exceeded > 0);
	sim_free(s);
}

static void
other_terms_hold_for_all_and_make_nobody_stall_by_themselves(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct rules rules = { .n = 0 };
	struct sim *s;
	uint64_t at;
	uint32_t a;

	(void)state;
	setup.options.threshold_ms = 60000;
	setup.command = "/bin/true";
	s = world(&setup, &a);
	sim_run(s, SECONDS(30));
	at = sim_now(s);
	sim_set_rules(s, &rules, 1000);
	sim_run(s, MS(990));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_run(s, MS(20));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_true(sim_last(s, EVENT_STALL, 0)->at_ns >= at + SECONDS(1));
	assert_int_equal(sim_count(s, EVENT_JOIN, 0), 1);
	sim_free(s);
}

static void
a_rule_gives_threshold_grace_and_name(void **state)
{
	struct sim_setup setup = sim_setup_default();
	struct rules rules = {
		.list = { { .name = "mine",
		    .has_uid = true,
		    .uid = 1000,
		    .threshold_ms = 100,
		    .grace_ms = 5000 } },
		.n = 1,
	};
	struct sim *s = sim_new(&setup);
	uint64_t at;
	uint32_t a;

	(void)state;
	sim_set_rules(s, &rules, 1000);
	a = sim_spawn(s, 0);
	at = sim_now(s);
	sim_beat(s, a, AGENT_OK);
	sim_run(s, SECONDS(4));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 0);
	sim_run(s, SECONDS(2));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 1);
	assert_true(sim_last(s, EVENT_STALL, 0)->at_ns >= at + SECONDS(5));
	assert_string_equal(sim_last(s, EVENT_STALL, 0)->name, "mine");
	sim_beat(s, a, AGENT_OK);
	sim_run(s, MS(110));
	assert_int_equal(sim_count(s, EVENT_STALL, 0), 2);
	sim_free(s);
}

/* Its rule is known by its name, not by where it stood. */
static void
an_agent_that_has_ended_keeps_its_rule_when_others_come(void **state)
{
	static const struct rules before = {
		.list = { { .name = "mine",
		    .has_uid = true,
		    .uid = 1000,
		    .recovery_exec = "/bin/mine" } },
		.n = 1,
	};
	static const struct rules after = {
		.list = { { .name = "other",
			      .has_uid = true,
			      .uid = 7,
			      .recovery_exec = "/bin/other" },
		    { .name = "mine",
			.has_uid = true,
			.uid = 1000,
			.recovery_exec = "/bin/mine-now" } },
		.n = 2,
	};
	static const struct rules none;
	struct sim_setup setup = sim_setup_default();

	(void)state;
	setup.command = "/bin/true";
	for (int i = 0; i < 2; i++) {
		struct sim *s = sim_new(&setup);
		uint32_t a = sim_spawn(s, 0);

		sim_set_rules(s, &before, 1000);
		sim_beat(s, a, AGENT_OK);
		sim_run(s, MS(100));
		sim_end(s, a, by_signal, true);
		sim_run(s, MS(100));
		sim_set_rules(s, i == 0 ? &after : &none, 1000);
		sim_run(s, SECONDS(5));
		assert_int_equal(sim_commands_started(s), 1);
		assert_string_equal(sim_last_program(s),
		    i == 0 ? "/bin/mine-now" : "/bin/true");
		sim_free(s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    an_agent_that_has_ended_keeps_its_rule_when_others_come),
		cmocka_unit_test(
		    a_killed_process_is_told_at_once_and_stalls_at_its_deadline),
		cmocka_unit_test(
		    a_zombie_is_waited_for_and_its_cause_told_when_reaped_in_time),
		cmocka_unit_test(
		    a_zombie_that_nobody_reaps_is_told_after_fifty_milliseconds),
		cmocka_unit_test(
		    where_the_kernel_tells_no_cause_nothing_is_waited_for),
		cmocka_unit_test(exit_code_0_is_a_leave_and_nothing_stalls),
		cmocka_unit_test(
		    recovery_on_exit_does_not_wait_for_the_deadline),
		cmocka_unit_test(
		    a_pid_used_again_does_not_hide_the_death_of_the_first),
		cmocka_unit_test(
		    without_pidfds_a_pid_used_again_is_seen_by_its_start_time),
		cmocka_unit_test(
		    without_pidfds_a_death_is_found_at_the_deadline),
		cmocka_unit_test(
		    a_process_that_replaces_its_program_starts_over),
		cmocka_unit_test(
		    a_frame_sent_twice_is_counted_and_keeps_nobody_alive),
		cmocka_unit_test(strangers_are_refused_and_counted_by_cause),
		cmocka_unit_test(
		    another_pid_namespace_is_refused_unless_allowed),
		cmocka_unit_test(
		    the_strict_check_fails_on_two_known_namespaces_only),
		cmocka_unit_test(
		    a_full_table_refuses_newcomers_and_evicts_the_dead),
		cmocka_unit_test(
		    a_noisy_agent_is_limited_and_spends_nothing_of_the_others),
		cmocka_unit_test(
		    the_last_word_of_a_process_passes_every_limit_once),
		cmocka_unit_test(
		    recovery_runs_once_for_each_silence_and_is_debounced),
		cmocka_unit_test(a_mass_stall_is_worked_off_in_portions),
		cmocka_unit_test(
		    other_terms_hold_for_all_and_make_nobody_stall_by_themselves),
		cmocka_unit_test(a_rule_gives_threshold_grace_and_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
