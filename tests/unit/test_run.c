/* What becomes of children: their end and their time-out. Their output:
 * test_run_output.c. */
#include "watch/act/run.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "act_world.h"
#include "base/util.h"

static struct world *w;
static int descriptors;

static int
open_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			n++;
	}
	return n;
}

static int
setup(void **state)
{
	(void)state;
	descriptors = open_descriptors();
	w = world_new();
	w->pidfds = true;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	world_free(w);
	assert_int_equal(open_descriptors(), descriptors);
	return 0;
}

static void
a_child_that_ended_is_reported_with_its_code_and_duration(void **state)
{
	const struct recovery_record *r;

	(void)state;
	world_start(w);
	world_stall(w, 42);
	w->now_ns += 3 * NS_PER_MS;
	world_end(w, 0, EXIT_HOW_CODE, 0);
	assert_int_equal(act_next_ns(w->act), 0);
	world_pass(w);
	r = world_last(w);
	assert_int_equal(r->outcome, RECOVERY_REAPED_ZERO);
	assert_int_equal(r->agent_pid, 42);
	assert_int_equal(r->child_pid, WORLD_PID);
	assert_int_equal(r->exit.how, EXIT_HOW_CODE);
	assert_int_equal(r->exit.value, 0);
	assert_int_equal(r->duration_ns, 3 * NS_PER_MS);
	assert_int_equal(r->error, 0);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
	assert_int_equal(w->stats.recovery_duration_ns, 3 * NS_PER_MS);
	assert_int_equal(w->stats.recovery_duration_count, 1);
	assert_int_equal(act_n_children(w->act), 0);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
}

static void
another_code_or_a_signal_is_a_failure(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	world_stall(w, 2);
	world_end(w, 0, EXIT_HOW_CODE, 3);
	world_end(w, 1, EXIT_HOW_SIGNAL, SIGSEGV);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_NONZERO), 2);
	assert_int_equal(world_last(w)->exit.how, EXIT_HOW_SIGNAL);
	assert_int_equal(world_last(w)->exit.value, SIGSEGV);
}

static void
news_of_an_unknown_child_is_passed_over(void **state)
{
	uint64_t token;

	(void)state;
	world_start(w);
	world_stall(w, 1);
	token = w->children[0].token;
	world_end(w, 0, EXIT_HOW_CODE, 0);
	/* Twice, and once more when it is gone. */
	act_child_ended(w->act, token, w->now_ns);
	world_pass(w);
	act_child_ended(w->act, token, w->now_ns);
	act_child_ended(w->act, 0, w->now_ns);
	act_child_ended(w->act, UINT64_MAX, w->now_ns);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
}

static void
a_child_that_is_told_to_have_ended_and_has_not_is_asked_again(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	act_child_ended(w->act, w->children[0].token, w->now_ns);
	world_pass(w);
	assert_int_equal(act_n_children(w->act), 1);
	assert_false(w->children[0].watched);
	w->children[0].over = true;
	w->children[0].exit = (struct exit_info){ EXIT_HOW_CODE, 0 };
	assert_true(act_next_ns(w->act) <= w->now_ns + 100 * NS_PER_MS);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
}

static void
a_child_that_cannot_be_reaped_is_reported_as_such(void **state)
{
	const struct recovery_record *r;

	(void)state;
	world_start(w);
	world_stall(w, 1);
	w->reap_error = -ECHILD;
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	r = world_last(w);
	assert_int_equal(r->outcome, RECOVERY_REAP_FAILED);
	assert_int_equal(r->error, -ECHILD);
	assert_int_equal(r->exit.how, EXIT_HOW_UNKNOWN);
	assert_int_equal(act_n_children(w->act), 0);
	assert_int_equal(w->stats.recovery_duration_count, 0);
}

static void
a_pass_reaps_so_many_and_counts_that_it_stopped(void **state)
{
	uint32_t n;

	(void)state;
	w->options.capacity = 100;
	world_start(w);
	for (n = 1; n <= 100; n++)
		world_stall(w, n);
	for (n = 0; n < 100; n++)
		world_end(w, n, EXIT_HOW_CODE, 0);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 64);
	assert_int_equal(w->stats.recovery_reap_truncated, 1);
	assert_int_equal(act_next_ns(w->act), 0);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 100);
	assert_int_equal(w->stats.recovery_reap_truncated, 1);
}

/* 100 children of which nobody tells when they end. */
static void
run_unwatched(void)
{
	uint32_t n, i;

	w->options.capacity = 100;
	w->options.timeout_ns = 0;
	world_start(w);
	for (n = 1; n <= 100; n++)
		world_stall(w, n);
	for (i = 0; i < 100; i++)
		w->children[i].reaps = 0;
	world_pass(w);
	world_pass(w);
	/* 128 questions in turn: everyone was asked. */
	for (i = 0; i < 100; i++)
		assert_in_range(w->children[i].reaps, 1, 2);
	assert_true(w->stats.recovery_reap_truncated >= 2);
	assert_true(act_next_ns(w->act) <= w->now_ns + 100 * NS_PER_MS);
	for (i = 0; i < 100; i++)
		world_end(w, i, EXIT_HOW_CODE, 0);
	world_pass(w);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 100);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
}

static void
without_pidfds_all_are_asked_in_turn(void **state)
{
	(void)state;
	w->pidfds = false;
	run_unwatched();
}

static void
those_that_cannot_be_watched_are_asked_in_turn(void **state)
{
	(void)state;
	w->watch_fails = true;
	run_unwatched();
}

static void
without_a_way_to_watch_all_are_asked_in_turn(void **state)
{
	(void)state;
	w->ports.watch = NULL;
	w->ports.unwatch = NULL;
	run_unwatched();
}

static void
a_child_is_killed_at_its_time_out_and_reported_once(void **state)
{
	const struct recovery_record *r;

	(void)state;
	world_start(w);
	world_stall(w, 1);
	assert_int_equal(act_next_ns(w->act), w->now_ns + 5 * NS_PER_S);
	w->now_ns += 5 * NS_PER_S - 1;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 0);
	w->now_ns += 1;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 1);
	assert_int_equal(world_count(w, RECOVERY_KILLED), 0);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
	act_child_ended(w->act, w->children[0].token, w->now_ns);
	w->now_ns += 1;
	world_pass(w);
	r = world_last(w);
	assert_int_equal(r->outcome, RECOVERY_KILLED);
	assert_int_equal(r->exit.how, EXIT_HOW_SIGNAL);
	assert_int_equal(r->exit.value, SIGKILL);
	assert_int_equal(r->duration_ns, 5 * NS_PER_S + 1);
	assert_int_equal(world_count(w, RECOVERY_KILLED), 1);
	assert_int_equal(world_count(w, RECOVERY_REAPED_NONZERO), 0);
	assert_int_equal(w->stats.recovery_duration_count, 0);
	assert_int_equal(w->n_records, 2);
}

static void
a_killed_child_that_takes_its_time_is_waited_for(void **state)
{
	(void)state;
	w->kills_end = false;
	world_start(w);
	world_stall(w, 1);
	w->now_ns += 5 * NS_PER_S;
	world_pass(w);
	act_child_ended(w->act, w->children[0].token, w->now_ns);
	w->now_ns += 20 * NS_PER_S;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 1);
	assert_int_equal(act_n_children(w->act), 1);
	world_end(w, 0, EXIT_HOW_SIGNAL, SIGKILL);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_KILLED), 1);
}

static void
a_child_that_was_over_in_time_is_not_killed(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	w->children[0].over = true;
	w->children[0].exit = (struct exit_info){ EXIT_HOW_CODE, 0 };
	w->now_ns += 5 * NS_PER_S;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 0);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
}

static void
without_a_time_out_a_child_may_run_for_ever(void **state)
{
	(void)state;
	w->options.timeout_ns = 0;
	world_start(w);
	world_stall(w, 1);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
	w->now_ns = UINT64_MAX - 1;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 0);
}

static void
time_outs_come_in_the_order_of_the_starts(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	w->now_ns += NS_PER_S;
	world_stall(w, 2);
	assert_int_equal(act_next_ns(w->act), w->now_ns + 4 * NS_PER_S);
	w->now_ns += 4 * NS_PER_S;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 1);
	assert_int_equal(w->children[1].kills, 0);
	assert_int_equal(act_next_ns(w->act), w->now_ns + NS_PER_S);
}

static void
a_pass_ends_so_many_late_children(void **state)
{
	uint32_t n, killed = 0;

	(void)state;
	w->options.capacity = 100;
	world_start(w);
	for (n = 1; n <= 100; n++)
		world_stall(w, n);
	w->now_ns += 5 * NS_PER_S;
	world_pass(w);
	for (n = 0; n < 100; n++)
		killed += w->children[n].kills;
	assert_int_equal(killed, 64);
	assert_true(act_next_ns(w->act) <= w->now_ns);
}

static void
a_child_that_cannot_be_killed_is_tried_again_later(void **state)
{
	(void)state;
	world_start(w);
	world_stall(w, 1);
	w->kill_error = -EPERM;
	w->now_ns += 5 * NS_PER_S;
	world_pass(w);
	world_pass(w);
	assert_int_equal(w->children[0].kills, 1);
	assert_int_equal(act_n_children(w->act), 1);
	assert_int_equal(act_next_ns(w->act), w->now_ns + 5 * NS_PER_S);
	w->now_ns += 5 * NS_PER_S;
	world_pass(w);
	assert_int_equal(w->children[0].kills, 2);
	/* It was not ended by us. */
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
	assert_int_equal(world_count(w, RECOVERY_KILLED), 0);
}

static void
shut_down(void)
{
	act_shutdown(w->act, world_clock, w);
	w->act = NULL;
}

static void
shutdown_kills_and_reports_each_child(void **state)
{
	(void)state;
	w->pipes = true;
	world_start(w);
	world_stall(w, 1);
	world_stall(w, 2);
	world_stall(w, 3);
	w->children[0].over = true;
	w->children[0].exit = (struct exit_info){ EXIT_HOW_CODE, 0 };
	shut_down();
	/* One was over by itself. */
	assert_int_equal(world_count(w, RECOVERY_REAPED_ZERO), 1);
	assert_int_equal(world_count(w, RECOVERY_KILLED), 2);
	assert_int_equal(w->children[0].kills, 0);
	assert_int_equal(w->children[1].kills, 1);
	assert_int_equal(w->children[2].kills, 1);
}

static void
shutdown_starts_nothing_that_waits(void **state)
{
	struct act_request req;

	(void)state;
	world_start(w);
	req = world_request(w, 1);
	assert_true(act_stall(w->act, &req));
	shut_down();
	assert_int_equal(w->starts, 0);
	act_shutdown(NULL, world_clock, w);
}

static void
shutdown_gives_up_at_the_end_of_its_grace(void **state)
{
	uint64_t begin_ns;

	(void)state;
	w->kills_end = false;
	w->pidfds = false;
	w->options.shutdown_grace_ns = 20 * NS_PER_MS;
	world_start(w);
	world_stall(w, 1);
	begin_ns = w->now_ns;
	shut_down();
	assert_int_equal(world_count(w, RECOVERY_REAP_FAILED), 1);
	assert_int_equal(world_last(w)->error, -ETIMEDOUT);
	assert_in_range(w->now_ns - begin_ns, 20 * NS_PER_MS, 22 * NS_PER_MS);
}

static void
shutdown_waits_for_one_that_cannot_be_killed(void **state)
{
	(void)state;
	w->kill_error = -EPERM;
	w->options.shutdown_grace_ns = 0;
	world_start(w);
	world_stall(w, 1);
	world_end(w, 0, EXIT_HOW_CODE, 5);
	shut_down();
	assert_int_equal(world_count(w, RECOVERY_REAPED_NONZERO), 1);
}

static void
freeing_kills_nobody_and_leaves_nothing_open(void **state)
{
	(void)state;
	w->pipes = true;
	world_start(w);
	world_stall(w, 1);
	world_stall(w, 2);
	act_free(w->act);
	w->act = NULL;
	assert_int_equal(w->children[0].kills, 0);
	assert_false(w->children[0].watched);
	act_free(NULL);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(a_child_that_ended_is_reported_with_its_code_and_duration),
		EACH(another_code_or_a_signal_is_a_failure),
		EACH(news_of_an_unknown_child_is_passed_over),
		EACH(
		    a_child_that_is_told_to_have_ended_and_has_not_is_asked_again),
		EACH(a_child_that_cannot_be_reaped_is_reported_as_such),
		EACH(a_pass_reaps_so_many_and_counts_that_it_stopped),
		EACH(without_pidfds_all_are_asked_in_turn),
		EACH(those_that_cannot_be_watched_are_asked_in_turn),
		EACH(without_a_way_to_watch_all_are_asked_in_turn),
		EACH(a_child_is_killed_at_its_time_out_and_reported_once),
		EACH(a_killed_child_that_takes_its_time_is_waited_for),
		EACH(a_child_that_was_over_in_time_is_not_killed),
		EACH(without_a_time_out_a_child_may_run_for_ever),
		EACH(time_outs_come_in_the_order_of_the_starts),
		EACH(a_pass_ends_so_many_late_children),
		EACH(a_child_that_cannot_be_killed_is_tried_again_later),
		EACH(shutdown_kills_and_reports_each_child),
		EACH(shutdown_starts_nothing_that_waits),
		EACH(shutdown_gives_up_at_the_end_of_its_grace),
		EACH(shutdown_waits_for_one_that_cannot_be_killed),
		EACH(freeing_kills_nobody_and_leaves_nothing_open),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
