#include "watch/tell/rows.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <varta/error.h>

static void
assert_row(const struct event *ev, const char *want)
{
	char row[ROWS_BYTES];
	size_t n;

	n = rows_format(ev, row);
	assert_string_equal(row, want);
	assert_int_equal(n, strlen(want));
}

static struct event
event(enum event_kind kind)
{
	return (struct event){ .kind = kind,
		.at_ns = 5000000001,
		.pid = 42,
		.nonce = 7,
		.status = AGENT_DEGRADED,
		.payload = 4000000000,
		.silence_ns = 99,
		.name = "worker" };
}

static void
an_agent_has_pid_nonce_status_and_payload(void **state)
{
	struct event ev = event(EVENT_BEAT);

	(void)state;
	assert_row(&ev, "5000000001\tbeat\t42\t7\tdegraded\t4000000000\n");
	ev.status = AGENT_OK;
	assert_row(&ev, "5000000001\tbeat\t42\t7\tok\t4000000000\n");
	ev.status = AGENT_CRITICAL;
	ev.nonce = UINT64_MAX;
	assert_row(&ev, "5000000001\tbeat\t42\t18446744073709551615\tcritical\t"
			"4000000000\n");
	ev = event(EVENT_JOIN);
	assert_row(&ev, "5000000001\tjoin\t42\t7\tdegraded\t4000000000\n");
	ev = event(EVENT_RESUME);
	assert_row(&ev, "5000000001\tresume\t42\t7\tdegraded\t4000000000\n");
}

static void
a_stall_has_the_status_stall_and_no_payload(void **state)
{
	struct event ev = event(EVENT_STALL);

	(void)state;
	assert_row(&ev, "5000000001\tstall\t42\t7\tstall\t-\n");
}

static void
a_decode_error_has_its_name_in_the_last_column(void **state)
{
	struct event ev = event(EVENT_DECODE);

	(void)state;
	ev.error = VARTA_ERR_BAD_MAGIC;
	assert_row(&ev, "5000000001\tdecode\t-\t-\t-\tBadMagic\n");
	ev.error = VARTA_ERR_STALL_ON_WIRE;
	assert_row(&ev, "5000000001\tdecode\t-\t-\t-\tStallOnWire\n");
}

static void
an_error_of_receiving_has_its_text_in_the_last_column(void **state)
{
	struct event ev = event(EVENT_IO);

	(void)state;
	ev.error = -ENOMEM;
	assert_row(&ev, "5000000001\tio\t-\t-\t-\tCannot allocate memory\n");
	ev = event(EVENT_CTRUNC);
	ev.error = -EMSGSIZE;
	assert_row(&ev, "5000000001\tctrunc\t-\t-\t-\tMessage too long\n");
	ev.error = 0;
	assert_row(&ev, "5000000001\tctrunc\t-\t-\t-\tunknown\n");
}

static void
a_mismatch_has_the_claimed_pid_and_the_reason(void **state)
{
	struct event ev = event(EVENT_MISMATCH);

	(void)state;
	ev.why.mismatch = MISMATCH_AUTH_FAILURE;
	assert_row(&ev, "5000000001\tmismatch\t42\t-\t-\tauth_failure\n");
	ev.why.mismatch = MISMATCH_ORIGIN_CONFLICT;
	assert_row(&ev, "5000000001\tmismatch\t42\t-\t-\torigin_conflict\n");
	ev.why.mismatch = MISMATCH_NAMESPACE_CONFLICT;
	assert_row(&ev, "5000000001\tmismatch\t42\t-\t-\tnamespace_conflict\n");
}

static void
an_eviction_has_a_pid_only(void **state)
{
	struct event ev = event(EVENT_EVICTION);

	(void)state;
	assert_row(&ev, "5000000001\teviction\t42\t-\t-\t-\n");
}

static void
an_exit_has_its_kind_and_its_number(void **state)
{
	struct event ev = event(EVENT_EXIT);

	(void)state;
	ev.why.exit = (struct exit_info){ EXIT_HOW_CODE, 3 };
	assert_row(&ev, "5000000001\texit\t42\t7\tcode\t3\n");
	ev.why.exit = (struct exit_info){ EXIT_HOW_SIGNAL, 9 };
	assert_row(&ev, "5000000001\texit\t42\t7\tsignal\t9\n");
	ev.why.exit = (struct exit_info){ EXIT_HOW_UNKNOWN, 0 };
	assert_row(&ev, "5000000001\texit\t42\t7\tunknown\t-\n");
	ev = event(EVENT_LEAVE);
	assert_row(&ev, "5000000001\tleave\t42\t7\t-\t-\n");
}

static void
a_late_observer_has_no_pid_and_the_gap(void **state)
{
	struct event ev = event(EVENT_LATE);

	(void)state;
	assert_row(&ev, "5000000001\tlate\t-\t-\t-\t99\n");
}

static void
a_lane_is_named_in_the_last_column(void **state)
{
	struct event ev = event(EVENT_JOIN);

	(void)state;
	ev.lane = "db writer";
	assert_row(&ev, "5000000001\tjoin\t42\t7\tdegraded\tlane=db writer\n");
	ev.kind = EVENT_RESUME;
	assert_row(
	    &ev, "5000000001\tresume\t42\t7\tdegraded\tlane=db writer\n");
	ev.kind = EVENT_STALL;
	assert_row(&ev, "5000000001\tstall\t42\t7\tstall\tlane=db writer\n");
	ev.kind = EVENT_LEAVE;
	assert_row(&ev, "5000000001\tleave\t42\t7\t-\tlane=db writer\n");
}

static void
a_lane_whose_name_is_made_of_separators_has_six_columns(void **state)
{
	char row[ROWS_BYTES], name[32];
	struct event ev = event(EVENT_STALL);
	size_t n, tabs = 0;

	(void)state;
	ev.lane = "a\tb\nc\\";
	assert_row(
	    &ev, "5000000001\tstall\t42\t7\tstall\tlane=a\\tb\\nc\\\\\n");
	/* Its longest, of bytes that take the most room. */
	memset(name, 1, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ev = event(EVENT_JOIN);
	ev.at_ns = ev.nonce = UINT64_MAX;
	ev.pid = UINT32_MAX;
	ev.lane = name;
	n = rows_format(&ev, row);
	for (size_t i = 0; i < n; i++)
		tabs += row[i] == '\t';
	assert_int_equal(tabs, 5);
	assert_int_equal(row[n - 1], '\n');
	assert_int_equal(n, strlen(row));
	assert_non_null(strstr(row, "lane=\\x01\\x01"));
	/* One that lacks its end is cut. */
	memset(name, 'x', sizeof(name));
	n = rows_format(&ev, row);
	assert_int_equal(row[n - 1], '\n');
}

static void
every_kind_gives_six_columns_whatever_its_values(void **state)
{
	char row[ROWS_BYTES];
	struct event ev;
	size_t n, tabs, i;
	int kind;

	(void)state;
	for (kind = 0; kind < EVENT_KIND_COUNT; kind++) {
		memset(&ev, 0xff, sizeof(ev));
		ev.kind = (enum event_kind)kind;
		ev.lane = NULL;
		n = rows_format(&ev, row);
		for (i = 0, tabs = 0; i < n; i++)
			tabs += row[i] == '\t';
		assert_int_equal(tabs, 5);
		assert_int_equal(row[n - 1], '\n');
		assert_int_equal(row[n], '\0');
	}
}

static void
the_reference_has_seven_kinds(void **state)
{
	int kind, n = 0;

	(void)state;
	for (kind = 0; kind < EVENT_KIND_COUNT; kind++)
		n += rows_is_reference_kind((enum event_kind)kind);
	assert_int_equal(n, 7);
	assert_false(rows_is_reference_kind(EVENT_JOIN));
	assert_false(rows_is_reference_kind(EVENT_LATE));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_has_pid_nonce_status_and_payload),
		cmocka_unit_test(a_stall_has_the_status_stall_and_no_payload),
		cmocka_unit_test(
		    a_decode_error_has_its_name_in_the_last_column),
		cmocka_unit_test(
		    an_error_of_receiving_has_its_text_in_the_last_column),
		cmocka_unit_test(a_mismatch_has_the_claimed_pid_and_the_reason),
		cmocka_unit_test(an_eviction_has_a_pid_only),
		cmocka_unit_test(an_exit_has_its_kind_and_its_number),
		cmocka_unit_test(a_late_observer_has_no_pid_and_the_gap),
		cmocka_unit_test(a_lane_is_named_in_the_last_column),
		cmocka_unit_test(
		    a_lane_whose_name_is_made_of_separators_has_six_columns),
		cmocka_unit_test(
		    every_kind_gives_six_columns_whatever_its_values),
		cmocka_unit_test(the_reference_has_seven_kinds),
	};

	return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
