#include "watch/tell/lines.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"

static struct line line;

static struct event
event(enum event_kind kind)
{
	return (struct event){ .kind = kind,
		.pid = 42,
		.status = AGENT_DEGRADED,
		.silence_ns = 1234567890,
		.threshold_ns = NS_PER_S,
		.name = "worker" };
}

static void
assert_event(const struct event *ev, enum log_level level, uint32_t pid,
    const char *text)
{
	assert_true(lines_of_event(ev, &line));
	assert_string_equal(line.text, text);
	assert_int_equal(line.level, level);
	assert_int_equal(line.fields.pid, pid);
	assert_int_equal(line.fields.child_pid, 0);
	assert_null(line.fields.error);
}

static struct recovery_record
record(enum recovery_outcome outcome)
{
	return (struct recovery_record){ .outcome = outcome,
		.agent_pid = 42,
		.child_pid = 4242,
		.program = "/bin/restart",
		.duration_ns = 250 * NS_PER_MS,
		.exit = { EXIT_HOW_CODE, 3 } };
}

static void
assert_recovery(const struct recovery_record *rec, enum log_level level,
    uint32_t pid, uint32_t child_pid, const char *text)
{
	assert_true(lines_of_recovery(rec, &line));
	assert_string_equal(line.text, text);
	assert_int_equal(line.level, level);
	assert_int_equal(line.fields.pid, pid);
	assert_int_equal(line.fields.child_pid, child_pid);
}

static void
a_stall_says_who_how_long_and_why(void **state)
{
	struct event ev = event(EVENT_STALL);

	(void)state;
	ev.why.stall = STALL_SILENT;
	ev.origin = ORIGIN_KERNEL_ATTESTED;
	assert_event(&ev, LOG_WARN, 42,
	    "agent 42 (worker) stalled: silent for 1.234 s, threshold "
	    "1.000 s, last status degraded, its process is there");
	ev.origin = ORIGIN_OPERATOR_ATTESTED;
	assert_event(&ev, LOG_WARN, 42,
	    "agent 42 (worker) stalled: silent for 1.234 s, threshold "
	    "1.000 s, last status degraded, known over the network alone");
	ev.why.stall = STALL_GONE;
	ev.name = NULL;
	assert_event(&ev, LOG_WARN, 42,
	    "agent 42 stalled: silent for 1.234 s, threshold 1.000 s, last "
	    "status degraded, its process has ended");
}

static void
a_lane_is_named_behind_its_agent(void **state)
{
	struct event ev = event(EVENT_STALL);

	(void)state;
	ev.lane = "db";
	ev.why.stall = STALL_SILENT;
	ev.origin = ORIGIN_KERNEL_ATTESTED;
	assert_event(&ev, LOG_WARN, 42,
	    "agent 42 (worker) lane 'db' stalled: silent for 1.234 s, "
	    "threshold 1.000 s, last status degraded, its process is there");
	ev.name = NULL;
	ev.why.stall = STALL_GONE;
	assert_event(&ev, LOG_WARN, 42,
	    "agent 42 lane 'db' stalled: silent for 1.234 s, threshold "
	    "1.000 s, last status degraded, its process has ended");
	ev.kind = EVENT_JOIN;
	assert_event(&ev, LOG_DEBUG, 42, "agent 42 lane 'db' joined");
	ev.kind = EVENT_RESUME;
	assert_event(&ev, LOG_INFO, 42, "agent 42 lane 'db' beats again");
	ev.kind = EVENT_LEAVE;
	assert_event(&ev, LOG_DEBUG, 42, "agent 42 lane 'db' left");
}

static void
an_exit_says_the_code_or_the_signal(void **state)
{
	struct event ev = event(EVENT_EXIT);

	(void)state;
	ev.why.exit = (struct exit_info){ EXIT_HOW_CODE, 3 };
	assert_event(
	    &ev, LOG_WARN, 42, "agent 42 (worker) ended with exit code 3");
	ev.why.exit = (struct exit_info){ EXIT_HOW_SIGNAL, SIGSEGV };
	assert_event(&ev, LOG_WARN, 42,
	    "agent 42 (worker) was killed by signal 11 (SIGSEGV)");
	ev.why.exit = (struct exit_info){ EXIT_HOW_SIGNAL, 60 };
	assert_event(
	    &ev, LOG_WARN, 42, "agent 42 (worker) was killed by signal 60");
	ev.why.exit = (struct exit_info){ EXIT_HOW_UNKNOWN, 0 };
	assert_event(
	    &ev, LOG_WARN, 42, "agent 42 (worker) has ended, how is not known");
}

static void
other_news_of_agents_have_their_levels(void **state)
{
	struct event ev = event(EVENT_JOIN);

	(void)state;
	assert_event(&ev, LOG_DEBUG, 42, "agent 42 (worker) joined");
	ev = event(EVENT_RESUME);
	assert_event(&ev, LOG_INFO, 42, "agent 42 (worker) beats again");
	ev = event(EVENT_LEAVE);
	assert_event(
	    &ev, LOG_INFO, 42, "agent 42 (worker) ended with exit code 0");
	ev = event(EVENT_EVICTION);
	ev.name = "";
	assert_event(&ev, LOG_DEBUG, 42, "agent 42 made room for another");
	ev = event(EVENT_LATE);
	assert_event(&ev, LOG_WARN, 0,
	    "observer late by 1.234 s: no agent is blamed for that time");
}

static void
what_is_only_counted_has_no_line(void **state)
{
	static const enum event_kind kinds[] = { EVENT_BEAT, EVENT_DECODE,
		EVENT_IO, EVENT_CTRUNC, EVENT_MISMATCH };
	struct recovery_record rec = record(RECOVERY_DEBOUNCED);
	struct event ev;
	size_t i;

	(void)state;
	strcpy(line.text, "as it was");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ev = event(kinds[i]);
		assert_false(lines_of_event(&ev, &line));
	}
	assert_false(lines_of_recovery(&rec, &line));
	assert_string_equal(line.text, "as it was");
}

static void
a_long_name_is_cut_off(void **state)
{
	struct event ev = event(EVENT_JOIN);
	char name[2000], want[128] = "agent 42 (";

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ev.name = name;
	memset(want + strlen(want), 'n', LINES_NAME_MAX);
	strcat(want, ") joined");
	assert_event(&ev, LOG_DEBUG, 42, want);
}

static void
a_start_says_agent_child_and_program(void **state)
{
	struct recovery_record rec = record(RECOVERY_SPAWNED);

	(void)state;
	assert_recovery(
	    &rec, LOG_INFO, 42, 4242, "recovery started: /bin/restart");
	rec.program = NULL;
	assert_recovery(&rec, LOG_INFO, 42, 4242, "recovery started");
}

static void
a_failed_command_shows_its_last_output(void **state)
{
	struct recovery_record rec = record(RECOVERY_REAPED_NONZERO);

	(void)state;
	assert_recovery(&rec, LOG_WARN, 0, 4242,
	    "recovery command for agent 42 ended with exit code 3 after "
	    "0.250 s");
	/* Escaped as text_escape() does; the log escapes once again. */
	rec.output = "no\\tsuch \\x1bunit \\\\x \\x00.\\n\\r\\n";
	assert_recovery(&rec, LOG_WARN, 0, 4242,
	    "recovery command for agent 42 ended with exit code 3 after "
	    "0.250 s, output: no\tsuch \033unit \\x  .");
	rec.output = "\\n\\n";
	assert_recovery(&rec, LOG_WARN, 0, 4242,
	    "recovery command for agent 42 ended with exit code 3 after "
	    "0.250 s");

	rec = record(RECOVERY_KILLED);
	rec.exit = (struct exit_info){ EXIT_HOW_SIGNAL, SIGKILL };
	rec.output = "waiting";
	assert_recovery(&rec, LOG_WARN, 0, 4242,
	    "recovery command for agent 42 was killed by signal 9 (SIGKILL) "
	    "after 0.250 s (time-out), output: waiting");
}

static void
a_good_command_shows_no_output(void **state)
{
	struct recovery_record rec = record(RECOVERY_REAPED_ZERO);

	(void)state;
	rec.exit.value = 0;
	rec.output = "done";
	assert_recovery(&rec, LOG_DEBUG, 0, 4242,
	    "recovery command for agent 42 ended with exit code 0 after "
	    "0.250 s");
}

static void
of_long_output_the_end_is_shown_in_whole_characters(void **state)
{
	struct recovery_record rec = record(RECOVERY_REAPED_NONZERO);
	char output[1500], want[400];
	size_t i;

	(void)state;
	/* 500 characters of three bytes: 200 is no multiple of three. */
	for (i = 0; i < sizeof(output) - 3; i += 3)
		memcpy(output + i, "\xe2\x82\xac", 3);
	output[i] = '\0';
	rec.output = output;
	strcpy(want,
	    "recovery command for agent 42 ended with exit code 3 after "
	    "0.250 s, output ends: ");
	assert_true(lines_of_recovery(&rec, &line));
	assert_memory_equal(line.text, want, strlen(want));
	assert_memory_equal(line.text + strlen(want), "\xe2\x82\xac", 3);
	assert_true(strlen(line.text + strlen(want)) <= LINES_OUTPUT_MAX);
}

static void
cut_escapes_are_taken_as_they_stand(void **state)
{
	static const char *const outputs[][2] = {
		{ "a\\", "a\\" },
		{ "a\\x", "ax" },
		{ "a\\x1", "ax1" },
		{ "\\xFf\\xAb.", "\xff\xab." },
	};
	static const char head[] = "recovery command for agent 42 ended with "
				   "exit code 3 after 0.250 s, output: ";
	struct recovery_record rec = record(RECOVERY_REAPED_NONZERO);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(outputs); i++) {
		rec.output = outputs[i][0];
		assert_true(lines_of_recovery(&rec, &line));
		assert_string_equal(line.text + strlen(head), outputs[i][1]);
	}
}

static void
failures_carry_the_error(void **state)
{
	struct recovery_record rec = record(RECOVERY_SPAWN_FAILED);

	(void)state;
	rec.error = -ENOENT;
	rec.child_pid = 0;
	assert_recovery(
	    &rec, LOG_ERROR, 42, 0, "cannot start the recovery command");
	assert_string_equal(line.fields.error, "No such file or directory");
	rec = record(RECOVERY_REAP_FAILED);
	assert_recovery(
	    &rec, LOG_ERROR, 42, 4242, "cannot wait for the recovery command");
	assert_null(line.fields.error);
	rec = record(RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED);
	assert_recovery(&rec, LOG_ERROR, 42, 4242,
	    "recovery refused: cannot end the one before");
}

static void
refusals_warn_and_skipped_ones_inform(void **state)
{
	struct recovery_record rec;
	int outcome;

	(void)state;
	for (outcome = RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT;
	     outcome <= RECOVERY_REFUSED_OUTSTANDING_CAPACITY; outcome++) {
		rec = record((enum recovery_outcome)outcome);
		assert_true(lines_of_recovery(&rec, &line));
		assert_int_equal(line.level, LOG_WARN);
		assert_int_equal(line.fields.pid, 0);
		assert_non_null(
		    strstr(line.text, "recovery of agent 42 refused: "));
	}
	for (outcome = RECOVERY_SKIPPED_AGENT_RESUMED;
	     outcome < RECOVERY_OUTCOME_COUNT; outcome++) {
		rec = record((enum recovery_outcome)outcome);
		assert_true(lines_of_recovery(&rec, &line));
		assert_int_equal(line.level, LOG_INFO);
		assert_int_equal(line.fields.pid, 42);
		assert_non_null(strstr(line.text, "recovery skipped: "));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stall_says_who_how_long_and_why),
		cmocka_unit_test(a_lane_is_named_behind_its_agent),
		cmocka_unit_test(an_exit_says_the_code_or_the_signal),
		cmocka_unit_test(other_news_of_agents_have_their_levels),
		cmocka_unit_test(what_is_only_counted_has_no_line),
		cmocka_unit_test(a_long_name_is_cut_off),
		cmocka_unit_test(a_start_says_agent_child_and_program),
		cmocka_unit_test(a_failed_command_shows_its_last_output),
		cmocka_unit_test(a_good_command_shows_no_output),
		cmocka_unit_test(
		    of_long_output_the_end_is_shown_in_whole_characters),
		cmocka_unit_test(cut_escapes_are_taken_as_they_stand),
		cmocka_unit_test(failures_carry_the_error),
		cmocka_unit_test(refusals_warn_and_skipped_ones_inform),
	};

	return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
