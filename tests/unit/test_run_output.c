/* What becomes of the output of children. */
#include "watch/act/run.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "act_world.h"
#include "base/fd.h"
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
say(uint32_t child, int stream, const char *text)
{
	assert_int_equal(fd_write_all(w->children[child].writers[stream], text,
			     strlen(text)),
	    0);
}

static void
the_last_words_of_a_failure_are_reported(void **state)
{
	const struct recovery_record *r;

	(void)state;
	w->pipes = true;
	world_start(w);
	world_stall(w, 1);
	say(0, 0, "trying\n");
	say(0, 1, "no such unit\n");
	world_end(w, 0, EXIT_HOW_CODE, 4);
	world_pass(w);
	r = world_last(w);
	assert_int_equal(r->stdout_bytes, 7);
	assert_int_equal(r->stderr_bytes, 13);
	assert_false(r->output_truncated);
	assert_string_equal(r->output, "trying\\nno such unit\\n");
}

static void
a_killed_child_has_last_words_too(void **state)
{
	(void)state;
	w->pipes = true;
	world_start(w);
	world_stall(w, 1);
	say(0, 0, "waiting");
	w->now_ns += 5 * NS_PER_S;
	world_pass(w);
	act_child_ended(w->act, w->children[0].token, w->now_ns);
	world_pass(w);
	assert_int_equal(world_last(w)->outcome, RECOVERY_KILLED);
	assert_string_equal(world_last(w)->output, "waiting");
}

static void
a_success_is_counted_and_not_quoted(void **state)
{
	const struct recovery_record *r;

	(void)state;
	w->pipes = true;
	w->options.capture_bytes = 4;
	world_start(w);
	world_stall(w, 1);
	say(0, 0, "done well");
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	r = world_last(w);
	assert_int_equal(r->stdout_bytes, 4);
	assert_true(r->output_truncated);
	assert_null(r->output);
}

static void
output_is_read_while_a_child_runs(void **state)
{
	char block[4096];
	int i, n = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	w->pipes = true;
	w->options.capture_bytes = 1 << 20;
	w->options.timeout_ns = 0;
	world_start(w);
	world_stall(w, 1);
	/* Whenever act asks to run the pipe has room again. */
	for (i = 0; i < 256; n++) {
		while (i < 256 && write(w->children[0].writers[0], block,
				      sizeof(block)) > 0)
			i++;
		assert_true(act_next_ns(w->act) <= w->now_ns + 100 * NS_PER_MS);
		w->now_ns = act_next_ns(w->act);
		world_pass(w);
	}
	assert_true(n < 40);
	/* Soon again after bytes, seldom when there were none. */
	w->now_ns = act_next_ns(w->act);
	world_pass(w);
	assert_int_equal(act_next_ns(w->act), w->now_ns + 100 * NS_PER_MS);
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	assert_int_equal(world_last(w)->stdout_bytes, 1 << 20);
}

static void
a_child_that_closed_its_output_costs_no_wake_ups(void **state)
{
	(void)state;
	w->pipes = true;
	w->options.timeout_ns = 0;
	world_start(w);
	world_stall(w, 1);
	fd_close(&w->children[0].writers[0]);
	fd_close(&w->children[0].writers[1]);
	w->now_ns += 100 * NS_PER_MS;
	world_pass(w);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
	assert_int_equal(act_n_children(w->act), 1);
}

static void
children_that_are_over_cost_no_wake_ups(void **state)
{
	(void)state;
	w->pipes = true;
	world_start(w);
	world_stall(w, 1);
	world_stall(w, 2);
	/* One closes its output with its end, one while it runs. */
	fd_close(&w->children[1].writers[0]);
	fd_close(&w->children[1].writers[1]);
	world_end(w, 0, EXIT_HOW_CODE, 0);
	world_pass(w);
	w->now_ns += 100 * NS_PER_MS;
	world_pass(w);
	world_end(w, 1, EXIT_HOW_CODE, 0);
	world_pass(w);
	assert_int_equal(act_n_children(w->act), 0);
	assert_int_equal(act_next_ns(w->act), NS_NEVER);
}

static void
a_grandchild_that_keeps_the_pipe_does_not_delay_the_report(void **state)
{
	int kept;

	(void)state;
	w->pipes = true;
	world_start(w);
	world_stall(w, 1);
	kept = fcntl(w->children[0].writers[0], F_DUPFD_CLOEXEC, 3);
	world_end(w, 0, EXIT_HOW_CODE, 1);
	world_pass(w);
	assert_int_equal(world_count(w, RECOVERY_REAPED_NONZERO), 1);
	assert_null(world_last(w)->output);
	fd_close(&kept);
}

static void
many_children_are_read_in_turn(void **state)
{
	uint32_t n;
	int i, left;

	(void)state;
	w->pipes = true;
	w->options.capacity = 300;
	w->options.timeout_ns = 0;
	world_start(w);
	for (n = 1; n <= 300; n++)
		world_stall(w, n);
	for (n = 0; n < 300; n++)
		say(n, 1, "x");
	for (i = 0; i < 2; i++) {
		w->now_ns = act_next_ns(w->act);
		world_pass(w);
	}
	for (n = 0; n < 300; n++) {
		assert_int_equal(
		    ioctl(w->children[n].writers[1], FIONREAD, &left), 0);
		assert_int_equal(left, 0);
	}
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(the_last_words_of_a_failure_are_reported),
		EACH(a_killed_child_has_last_words_too),
		EACH(a_success_is_counted_and_not_quoted),
		EACH(output_is_read_while_a_child_runs),
		EACH(a_child_that_closed_its_output_costs_no_wake_ups),
		EACH(children_that_are_over_cost_no_wake_ups),
		EACH(
		    a_grandchild_that_keeps_the_pipe_does_not_delay_the_report),
		EACH(many_children_are_read_in_turn),
	};

	return cmocka_run_group_tests_name("run_output", tests, NULL, NULL);
}
