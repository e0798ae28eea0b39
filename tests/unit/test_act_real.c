/*
 * Act with real processes and the real clock, in a loop such as the observer's:
 * it sleeps until act asks to run or a child ends. Each wait has a deadline far
 * above what is needed.
 */
#include "watch/act/act.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"

static const uint64_t patience_ns = 30 * NS_PER_S;

struct real {
	struct act *act;
	struct stats stats;
	struct recovery_record last;
	char output[4 * ACT_CAPTURE_KEPT + 1];
	int pidfd; /* of the one child that runs; -1 none */
	uint64_t token;
};

static struct real real;

static uint64_t
now(void *ctx)
{
	(void)ctx;
	return clock_now_ns(CLOCK_SOURCE_MONOTONIC);
}

static enum act_wanted
wanted(void *ctx, const struct act_request *req)
{
	(void)ctx;
	(void)req;
	return ACT_WANTED;
}

static void
report(void *ctx, const struct recovery_record *record)
{
	(void)ctx;
	real.last = *record;
	real.output[0] = '\0';
	if (record->output != NULL)
		(void)snprintf(
		    real.output, sizeof(real.output), "%s", record->output);
	real.last.output = real.output;
}

static int
watch(void *ctx, int pidfd, uint64_t token)
{
	(void)ctx;
	assert_int_equal(real.pidfd, -1);
	real.pidfd = pidfd;
	real.token = token;
	return 0;
}

static void
unwatch(void *ctx, int pidfd)
{
	(void)ctx;
	assert_int_equal(real.pidfd, pidfd);
	real.pidfd = -1;
}

static void
begin(const char *script, uint64_t timeout_ns, bool can_watch)
{
	static char shell[] = "/bin/sh", c[] = "-c", text[1024], name[] = "x",
		    pid[] = "{pid}";
	static char *argv[] = { shell, c, text, name, pid, NULL };
	const struct act_options options = {
		.command = { argv, "inline" },
		.timeout_ns = timeout_ns,
		.capture_bytes = 1 << 20,
		.capacity = 4,
		.shutdown_grace_ns = patience_ns,
	};
	const struct act_ports ports = {
		.wanted = wanted,
		.report = report,
		.watch = can_watch ? watch : NULL,
		.unwatch = can_watch ? unwatch : NULL,
	};
	struct act_request req = { .id = 1,
		.pid = 42,
		.start_ticks = 1,
		.origin = ORIGIN_KERNEL_ATTESTED,
		.name = "web" };

	memset(&real, 0, sizeof(real));
	real.pidfd = -1;
	(void)snprintf(text, sizeof(text), "%s", script);
	assert_int_equal(act_new(&options, &ports, &real.stats, &real.act), 0);
	req.stalled_at_ns = now(NULL);
	assert_true(act_stall(real.act, &req));
	act_pass(real.act, now(NULL));
	assert_int_equal(real.last.outcome, RECOVERY_SPAWNED);
}

static void
run_until_it_is_over(void)
{
	uint64_t end_ns = now(NULL) + patience_ns, next_ns, wait_ns;
	struct pollfd pollfd = { .events = POLLIN };

	while (act_n_children(real.act) > 0) {
		assert_true(now(NULL) < end_ns);
		next_ns = act_next_ns(real.act);
		wait_ns = u64_sub_sat(u64_min(next_ns, end_ns), now(NULL));
		pollfd.fd = real.pidfd;
		if (poll(&pollfd, 1, (int)(wait_ns / NS_PER_MS) + 1) > 0)
			act_child_ended(real.act, real.token, now(NULL));
		act_pass(real.act, now(NULL));
	}
	assert_int_equal(act_next_ns(real.act), NS_NEVER);
	act_free(real.act);
}

static void
a_command_that_writes_a_mebibyte_comes_to_its_end(void **state)
{
	(void)state;
	begin("head -c 1048576 /dev/zero; echo done >&2; exit 3", 0, true);
	run_until_it_is_over();
	assert_int_equal(real.last.outcome, RECOVERY_REAPED_NONZERO);
	assert_int_equal(real.last.exit.value, 3);
	assert_int_equal(
	    real.last.stdout_bytes + real.last.stderr_bytes, 1 << 20);
	assert_true(real.last.output_truncated);
	assert_ptr_equal(strstr(real.output, "done\\n"),
	    real.output + strlen(real.output) - 6);
}

static void
a_command_is_told_about_its_agent(void **state)
{
	(void)state;
	begin("echo $1 $VARTA_AGENT_PID $VARTA_AGENT_NAME $VARTA_REASON $PATH;"
	      "exit 1",
	    0, true);
	run_until_it_is_over();
	assert_string_equal(real.output, "42 42 web silent /usr/bin:/bin\\n");
}

static void
a_command_that_takes_too_long_is_killed_with_all_it_started(void **state)
{
	(void)state;
	begin("echo begun; sleep 1000 & sleep 1000", 50 * NS_PER_MS, true);
	run_until_it_is_over();
	assert_int_equal(real.last.outcome, RECOVERY_KILLED);
	assert_int_equal(real.last.exit.how, EXIT_HOW_SIGNAL);
	assert_int_equal(real.last.exit.value, SIGKILL);
	assert_true(real.last.duration_ns >= 50 * NS_PER_MS);
}

static void
a_daemon_left_behind_does_not_hold_up_the_report(void **state)
{
	int pid;

	(void)state;
	begin("sleep 1000 & echo $!; exit 1", 0, true);
	run_until_it_is_over();
	assert_int_equal(real.last.outcome, RECOVERY_REAPED_NONZERO);
	pid = (int)strtol(real.output, NULL, 10);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
}

static void
an_end_that_nobody_tells_is_noticed(void **state)
{
	(void)state;
	begin("exit 0", 0, false);
	run_until_it_is_over();
	assert_int_equal(real.last.outcome, RECOVERY_REAPED_ZERO);
}

static void
a_shutdown_leaves_no_command_running(void **state)
{
	(void)state;
	begin("exec sleep 1000", 0, true);
	act_shutdown(real.act, now, NULL);
	assert_int_equal(real.last.outcome, RECOVERY_KILLED);
	assert_int_equal(real.last.exit.value, SIGKILL);
	assert_int_equal(kill((pid_t)real.last.child_pid, 0), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_command_that_writes_a_mebibyte_comes_to_its_end),
		cmocka_unit_test(a_command_is_told_about_its_agent),
		cmocka_unit_test(
		    a_command_that_takes_too_long_is_killed_with_all_it_started),
		cmocka_unit_test(
		    a_daemon_left_behind_does_not_hold_up_the_report),
		cmocka_unit_test(an_end_that_nobody_tells_is_noticed),
		cmocka_unit_test(a_shutdown_leaves_no_command_running),
	};

	return cmocka_run_group_tests_name("act_real", tests, NULL, NULL);
}
