#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"

FAULT(int, -1, getentropy, (void *p, size_t n), (p, n))

/* A reader that takes nothing; how long it was waited for. */
static bool stuck;
static int waited_ms;

int __wrap_poll(struct pollfd *fds, nfds_t n, int wait_ms);

int
__wrap_poll(struct pollfd *fds, nfds_t n, int wait_ms)
{
	assert_int_equal(n, 1);
	assert_int_equal(fds[0].fd, STDERR_FILENO);
	assert_int_equal(fds[0].events, POLLOUT);
	waited_ms += stuck ? wait_ms : 0;
	return !stuck;
}

/* What was written to stderr by the module, and in how many calls. */
static char written[8192];
static size_t written_len;
static struct fault fault_write;

ssize_t __wrap_write(int fd, const void *bytes, size_t n);

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	if (fault_hits(&fault_write))
		return -1;
	assert_int_equal(fd, STDERR_FILENO);
	assert_true(n < sizeof(written) - written_len);
	memcpy(written + written_len, bytes, n);
	written_len += n;
	written[written_len] = '\0';
	return (ssize_t)n;
}

static void
forget(void)
{
	written[0] = '\0';
	written_len = 0;
	fault_off(&fault_write);
}

static int
setup(void **state)
{
	(void)state;
	fault_off(&fault_getentropy);
	log_init("varta-watch", LOG_PLAIN, LOG_INFO);
	forget();
	return 0;
}

/* The last line without the time, which differs each run. */
static const char *
without_time(void)
{
	unsigned long long ts;
	int n = 0;

	assert_int_equal(sscanf(written, "{\"ts_ns\":%llu%n", &ts, &n), 1);
	assert_true(ts > 1600000000ULL * NS_PER_S);
	return written + n;
}

/* The session id in the last line. */
static void
session(char ret[17])
{
	assert_int_equal(
	    sscanf(without_time(), ",\"session_id\":\"%16[0-9a-f]\",", ret), 1);
	assert_int_equal(strlen(ret), 16);
}

static void
lines_before_the_start_are_plain(void **state)
{
	(void)state;
	log_error("too early %d", 1);
	assert_string_equal(written, "varta-watch: too early 1\n");
	forget();
	log_debug("not wanted");
	assert_string_equal(written, "");
}

static void
a_plain_line_is_name_and_message_in_one_write(void **state)
{
	(void)state;
	log_init("varta", LOG_PLAIN, LOG_INFO);
	log_info("socket '%s' ready", "/run/x");
	assert_string_equal(written, "varta: socket '/run/x' ready\n");
	assert_int_equal(fault_write.calls, 1);
}

static void
fields_stand_behind_a_plain_message(void **state)
{
	(void)state;
	log_line(LOG_WARN,
	    &(struct log_fields){ .pid = 7, .child_pid = 8, .error = "no" },
	    "recovery failed");
	assert_string_equal(
	    written, "varta-watch: recovery failed pid=7 child_pid=8: no\n");
	forget();
	log_line(LOG_WARN, &(struct log_fields){ .error = "no" }, "recovery");
	assert_string_equal(written, "varta-watch: recovery: no\n");
}

static void
a_json_line_has_its_keys_in_order(void **state)
{
	char id[17], want[256];

	(void)state;
	log_init("varta-watch", LOG_JSON, LOG_DEBUG);
	log_line(LOG_ERROR,
	    &(struct log_fields){ .pid = 7, .child_pid = 8, .error = "a\"b" },
	    "say \"%s\"", "x\n");
	session(id);
	(void)snprintf(want, sizeof(want),
	    ",\"session_id\":\"%s\",\"level\":\"error\","
	    "\"msg\":\"say \\\"x\\u000a\\\"\",\"pid\":7,\"child_pid\":8,"
	    "\"error\":\"a\\\"b\"}\n",
	    id);
	assert_string_equal(without_time(), want);
	assert_int_equal(fault_write.calls, 1);
}

static void
a_json_line_names_its_level(void **state)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	char want[64];
	int level;

	(void)state;
	log_init("varta-watch", LOG_JSON, LOG_DEBUG);
	for (level = LOG_ERROR; level <= LOG_DEBUG; level++) {
		forget();
		log_line((enum log_level)level, NULL, "m");
		(void)snprintf(want, sizeof(want),
		    "\"level\":\"%s\",\"msg\":\"m\"}\n", names[level]);
		assert_non_null(strstr(written, want));
	}
}

static void
each_start_is_another_session(void **state)
{
	char first[17], second[17];

	(void)state;
	log_init("varta-watch", LOG_JSON, LOG_INFO);
	log_info("a");
	session(first);
	forget();
	log_info("b");
	session(second);
	assert_string_equal(first, second);
	forget();
	log_init("varta-watch", LOG_JSON, LOG_INFO);
	log_info("c");
	session(second);
	assert_string_not_equal(first, second);
}

static void
a_session_needs_no_entropy(void **state)
{
	char id[17];

	(void)state;
	fault_always(&fault_getentropy, ENOSYS);
	log_init("varta-watch", LOG_JSON, LOG_INFO);
	log_info("a");
	session(id);
	assert_string_not_equal(id, "0000000000000000");
}

static void
levels_above_the_chosen_one_are_not_written(void **state)
{
	(void)state;
	assert_true(log_wants(LOG_INFO));
	assert_false(log_wants(LOG_DEBUG));
	log_debug("no");
	assert_string_equal(written, "");
	log_set_level(LOG_ERROR);
	log_warn("no");
	log_limited(LOG_KIND_AUDIT_IO, 0, LOG_WARN, NULL, "no");
	assert_string_equal(written, "");
	assert_int_equal(log_suppressed(LOG_KIND_AUDIT_IO), 0);
	log_error("yes");
	assert_string_equal(written, "varta-watch: yes\n");
}

static void
text_from_outside_cannot_begin_a_line_of_its_own(void **state)
{
	(void)state;
	log_line(LOG_INFO, &(struct log_fields){ .error = "e\nvarta-watch: x" },
	    "name '%s'", "a\nvarta-watch: all is well\x1b[2J");
	assert_string_equal(written,
	    "varta-watch: name 'a\\nvarta-watch: all is well\\x1b[2J': "
	    "e\\nvarta-watch: x\n");
}

static void
long_text_is_cut_at_a_character(void **state)
{
	char text[512], *message;
	size_t i;

	(void)state;
	/* 319 bytes, then two-byte characters: the first does not fit. */
	memset(text, 'x', 319);
	for (i = 319; i + 1 < sizeof(text) - 1; i += 2)
		memcpy(text + i, "\xc3\xbc", 2);
	text[i] = '\0';
	log_line(LOG_INFO, &(struct log_fields){ .error = text + 319 - 127 },
	    "%s", text);
	message = written + strlen("varta-watch: ");
	assert_int_equal(strspn(message, "x"), 319);
	assert_memory_equal(message + 319, ": ", 2);
	assert_int_equal(strspn(message + 321, "x"), 127);
	assert_string_equal(message + 321 + 127, "\n");
}

static void
exactly_the_limit_is_not_cut(void **state)
{
	char text[321];

	(void)state;
	memset(text, 'x', 318);
	memcpy(text + 318, "\xc3\xbc", 3);
	log_info("%s", text);
	assert_int_equal(written_len, strlen("varta-watch: ") + 320 + 1);
	assert_string_equal(written + written_len - 3, "\xc3\xbc\n");
}

static void
the_longest_line_is_whole(void **state)
{
	char text[400];

	(void)state;
	/* Bytes that are no text at all: cut, and each one escaped. */
	memset(text, '\x80', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_line(LOG_INFO, &(struct log_fields){ UINT32_MAX, UINT32_MAX, text },
	    "%s", text);
	assert_int_equal(fault_write.calls, 1);
	assert_int_equal(written[written_len - 1], '\n');

	memset(text, '\x01', sizeof(text) - 1);
	log_init("varta-watch", LOG_JSON, LOG_INFO);
	forget();
	log_line(LOG_INFO, &(struct log_fields){ UINT32_MAX, UINT32_MAX, text },
	    "%s", text);
	assert_string_equal(written + written_len - 3, "\"}\n");
	assert_true(written_len < 4096);
}

static void
a_repeated_kind_is_written_once_a_second(void **state)
{
	const enum log_kind kind = LOG_KIND_PROM_SERVE;
	const uint64_t t0 = 5;

	(void)state;
	log_limited(kind, t0, LOG_ERROR, NULL, "one");
	log_limited(kind, t0, LOG_ERROR, NULL, "two");
	log_limited(kind, t0 + NS_PER_S - 1, LOG_ERROR, NULL, "three");
	assert_string_equal(written, "varta-watch: one\n");
	assert_int_equal(log_suppressed(kind), 2);
	forget();
	log_limited(kind, t0 + NS_PER_S, LOG_ERROR,
	    &(struct log_fields){ .error = "why" }, "four");
	assert_string_equal(
	    written, "varta-watch: four (2 more left out): why\n");
	forget();
	log_limited(kind, t0 + 2 * NS_PER_S, LOG_ERROR, NULL, "five");
	assert_string_equal(written, "varta-watch: five\n");
	assert_int_equal(log_suppressed(kind), 2);
}

static void
kinds_do_not_silence_each_other(void **state)
{
	(void)state;
	log_limited(LOG_KIND_HEARTBEAT_IO, 0, LOG_ERROR, NULL, "a");
	log_limited(LOG_KIND_AUDIT_RING_WARN, 0, LOG_ERROR, NULL, "b");
	assert_string_equal(written, "varta-watch: a\nvarta-watch: b\n");
}

static void
every_kind_has_its_label(void **state)
{
	static const char *const want[LOG_KIND_COUNT] = { "file_export_io",
		"audit_io", "prom_serve", "heartbeat_io", "audit_ring_warn",
		"audit_ring_critical" };
	int kind;

	(void)state;
	for (kind = 0; kind < LOG_KIND_COUNT; kind++)
		assert_string_equal(log_kind_names[kind], want[kind]);
}

static void
a_failed_write_is_ignored_and_errno_kept(void **state)
{
	(void)state;
	fault_nth(&fault_write, 1, EPIPE);
	errno = ENOTTY;
	log_info("a");
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fault_write.calls, 1);
	fault_nth(&fault_write, 1, EINTR);
	log_info("b");
	assert_int_equal(fault_write.calls, 2);
	assert_string_equal(written, "varta-watch: b\n");
}

static void
a_reader_that_is_stuck_is_waited_for_once_and_told_what_it_missed(void **state)
{
	(void)state;
	stuck = true;
	waited_ms = 0;
	errno = 7;
	log_error("one");
	assert_int_equal(errno, 7);
	assert_int_equal(waited_ms, LOG_WAIT_MS);
	log_error("two");
	log_error("three");
	assert_int_equal(waited_ms, LOG_WAIT_MS);
	assert_string_equal(written, "");

	stuck = false;
	log_error("four");
	assert_string_equal(
	    written, "varta-watch: four (3 lines lost before it)\n");
	forget();
	log_error("five");
	assert_string_equal(written, "varta-watch: five\n");
	/* And it is waited for again. */
	stuck = true;
	log_error("six");
	assert_int_equal(waited_ms, 2 * LOG_WAIT_MS);
	stuck = false;
	log_error("seven");
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup(test, setup)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_before_the_start_are_plain),
		EACH(a_plain_line_is_name_and_message_in_one_write),
		EACH(fields_stand_behind_a_plain_message),
		EACH(a_json_line_has_its_keys_in_order),
		EACH(a_json_line_names_its_level),
		EACH(each_start_is_another_session),
		EACH(a_session_needs_no_entropy),
		EACH(levels_above_the_chosen_one_are_not_written),
		EACH(text_from_outside_cannot_begin_a_line_of_its_own),
		EACH(long_text_is_cut_at_a_character),
		EACH(exactly_the_limit_is_not_cut),
		EACH(the_longest_line_is_whole),
		EACH(a_repeated_kind_is_written_once_a_second),
		EACH(kinds_do_not_silence_each_other),
		EACH(every_kind_has_its_label),
		EACH(a_failed_write_is_ignored_and_errno_kept),
		EACH(
		    a_reader_that_is_stuck_is_waited_for_once_and_told_what_it_missed),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
