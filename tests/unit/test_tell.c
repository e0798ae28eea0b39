#include "watch/tell/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/logged.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct stats stats;
static struct tell_fault fault;

static int
setup(void **state)
{
	memset(&stats, 0, sizeof(stats));
	fault_off(&fault_calloc);
	n_logged = 0;
	logged[0] = '\0';
	return tmpdir_setup(state);
}

static struct tell *
open_tell(const char *path, bool reference_only)
{
	const struct tell_options options = { .export_path = path,
		.export_reference_only = reference_only };
	struct tell *t = NULL;

	assert_int_equal(tell_open(&options, &stats, &t, &fault), 0);
	assert_non_null(t);
	return t;
}

static void
tell_one(struct tell *t, enum event_kind kind)
{
	const struct event ev = { .kind = kind, .at_ns = 5, .pid = 42 };

	tell_event(t, &ev);
}

static void
assert_file(const char *path, const char *want)
{
	char got[512] = { 0 };
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(fd_read_full(fd, got, sizeof(got) - 1) >= 0);
	fd_close(&fd);
	assert_string_equal(got, want);
}

static void
events_go_to_the_file_and_some_to_the_log(void **state)
{
	const char *path = tmpdir_path(*state, "events");
	struct tell *t = open_tell(path, false);

	assert_true(tell_wants_beats(t));
	tell_one(t, EVENT_JOIN);
	tell_one(t, EVENT_BEAT);
	tell_one(t, EVENT_LEAVE);
	assert_file(path, "");
	tell_flush(t, 6);
	assert_file(path, "5\tjoin\t42\t0\tok\t0\n"
			  "5\tbeat\t42\t0\tok\t0\n"
			  "5\tleave\t42\t0\t-\t-\n");
	assert_string_equal(
	    logged, "test: agent 42 ended with exit code 0 pid=42\n");
	tell_close(t);
}

static void
kinds_of_our_own_are_left_out_when_asked(void **state)
{
	const char *path = tmpdir_path(*state, "events");
	struct tell *t = open_tell(path, true);

	tell_one(t, EVENT_JOIN);
	tell_one(t, EVENT_BEAT);
	tell_one(t, EVENT_EXIT);
	tell_close(t);
	assert_file(path, "5\tbeat\t42\t0\tok\t0\n");
	/* The log has it all the same. */
	assert_non_null(strstr(logged, "agent 42 has ended"));
}

static void
without_a_file_there_is_the_log_only(void **state)
{
	struct tell *t = open_tell(NULL, false);

	(void)state;
	assert_false(tell_wants_beats(t));
	tell_one(t, EVENT_BEAT);
	assert_string_equal(logged, "");
	tell_one(t, EVENT_STALL);
	assert_non_null(strstr(logged, "agent 42 stalled"));
	tell_flush(t, 6);
	tell_close(t);
	tell_close(NULL);
}

static void
a_hostile_name_is_one_harmless_line(void **state)
{
	struct tell *t = open_tell(NULL, false);
	const struct event ev = { .kind = EVENT_LEAVE,
		.pid = 7,
		.name = "evil\n\x1b[2Jvarta-watch: %s%n" };

	(void)state;
	tell_event(t, &ev);
	assert_string_equal(logged,
	    "test: agent 7 (evil\\n\\x1b[2Jvarta-watch: %s%n) ended with exit "
	    "code 0 pid=7\n");
	tell_close(t);
}

static void
recovery_goes_to_the_log(void **state)
{
	struct tell *t = open_tell(NULL, false);
	struct recovery_record record = { .outcome = RECOVERY_SPAWNED,
		.agent_pid = 42,
		.child_pid = 43,
		.program = "/bin/true" };

	(void)state;
	tell_recovery(t, &record);
	assert_string_equal(
	    logged, "test: recovery started: /bin/true pid=42 child_pid=43\n");
	n_logged = 0;
	logged[0] = '\0';
	record.outcome = RECOVERY_DEBOUNCED;
	tell_recovery(t, &record);
	assert_string_equal(logged, "");
	tell_close(t);
}

static void
recovery_goes_to_the_audit_file_as_well(void **state)
{
	const struct tell_options options = {
		.audit = { .path = tmpdir_path(*state, "audit"),
		    .grace_ns = 20 * NS_PER_S },
	};
	const struct recovery_record record = { .outcome = RECOVERY_DEBOUNCED,
		.at_ns = 5,
		.agent_pid = 42,
		.detail = "debounced" };
	struct tell *t = NULL;
	char text[1024] = { 0 };
	int fd;

	assert_int_equal(tell_open(&options, &stats, &t, &fault), 0);
	assert_false(tell_wants_beats(t));
	tell_recovery(t, &record);
	tell_flush(t, 6);
	tell_end(t);
	tell_recovery(t, &record);
	tell_close(t);
	tell_end(NULL);

	fd = open(options.audit.path, O_RDONLY);
	assert_true(fd >= 0);
	assert_true(fd_read_full(fd, text, sizeof(text) - 1) > 0);
	fd_close(&fd);
	assert_non_null(strstr(text, "\t5\trefused\t42\tdebounced\t"));
	assert_non_null(strstr(text, "\n3\t"));
}

static void
the_option_of_the_file_that_cannot_be_opened_is_named(void **state)
{
	struct tell_options options = {
		.export_path = tmpdir_path(*state, "events"),
		.audit = { .path = tmpdir_path(*state, "none/audit") },
	};
	struct tell *t = NULL;

	assert_int_equal(tell_open(&options, &stats, &t, &fault), -ENOENT);
	assert_null(t);
	assert_string_equal(fault.option, "recovery-audit-file");
	assert_non_null(strstr(fault.text, "audit file '"));
	assert_non_null(strstr(fault.text, "No such file"));

	options.export_path = tmpdir_path(*state, "none/events");
	assert_int_equal(tell_open(&options, &stats, &t, &fault), -ENOENT);
	assert_string_equal(fault.option, "export-file");
}

static void
opening_fails_without_a_trace(void **state)
{
	struct tell_options options = { .export_path =
					    tmpdir_path(*state, "events") };
	struct tell *t = NULL;
	char want[256];

	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(tell_open(&options, &stats, &t, &fault), -ENOMEM);
	fault_nth(&fault_calloc, 2, ENOMEM);
	assert_int_equal(tell_open(&options, &stats, &t, &fault), -ENOMEM);
	assert_non_null(strstr(fault.text, "Cannot allocate memory"));
	fault_off(&fault_calloc);

	options.export_path = tmpdir_path(*state, "link");
	assert_int_equal(symlink("events", options.export_path), 0);
	assert_int_equal(tell_open(&options, &stats, &t, &fault), -ELOOP);
	(void)snprintf(want, sizeof(want),
	    "event file '%s': symbolic link, not followed",
	    options.export_path);
	assert_string_equal(fault.text, want);
	assert_null(t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_go_to_the_file_and_some_to_the_log),
		TEST(kinds_of_our_own_are_left_out_when_asked),
		TEST(without_a_file_there_is_the_log_only),
		TEST(a_hostile_name_is_one_harmless_line),
		TEST(recovery_goes_to_the_log),
		TEST(recovery_goes_to_the_audit_file_as_well),
		TEST(the_option_of_the_file_that_cannot_be_opened_is_named),
		TEST(opening_fails_without_a_trace),
	};

	log_init("test", LOG_PLAIN, LOG_INFO);
	return cmocka_run_group_tests_name("tell", tests, NULL, NULL);
}
