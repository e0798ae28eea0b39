#include "watch/tell/auditrow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char row[AUDITROW_BYTES];

static void
assert_row(const struct recovery_record *record, const char *want)
{
	size_t n = auditrow_format(record, 1700000000500, row);

	assert_string_equal(row, want);
	assert_int_equal(n, strlen(want));
}

static void
a_start_names_program_and_source_and_not_the_arguments(void **state)
{
	const struct recovery_record record = { .outcome = RECOVERY_SPAWNED,
		.at_ns = 500000000,
		.agent_pid = 42,
		.child_pid = 4242,
		.program = "/bin/true",
		.source = "inline",
		.template_bytes = 12 };

	(void)state;
	assert_row(&record, "1700000000500\t500000000\tspawn\t42\t4242\texec\t"
			    "/bin/true\tinline\t12");
}

static void
an_end_has_a_code_or_a_signal(void **state)
{
	struct recovery_record record = { .outcome = RECOVERY_REAPED_ZERO,
		.at_ns = 600,
		.agent_pid = 42,
		.child_pid = 43,
		.exit = { EXIT_HOW_CODE, 0 },
		.duration_ns = 100,
		.stdout_bytes = 7,
		.stderr_bytes = 8 };

	(void)state;
	assert_row(&record, "1700000000500\t600\tcomplete\t42\t43\treaped\t0\t"
			    "-\t100\t7\t8\tfalse");
	record.outcome = RECOVERY_REAPED_NONZERO;
	record.exit = (struct exit_info){ EXIT_HOW_CODE, 3 };
	record.output_truncated = true;
	assert_row(&record, "1700000000500\t600\tcomplete\t42\t43\treaped\t3\t"
			    "-\t100\t7\t8\ttrue");
	record.outcome = RECOVERY_KILLED;
	record.exit = (struct exit_info){ EXIT_HOW_SIGNAL, 9 };
	assert_row(&record, "1700000000500\t600\tcomplete\t42\t43\tkilled\t-\t"
			    "9\t100\t7\t8\ttrue");
	record.outcome = RECOVERY_REAP_FAILED;
	record.exit = (struct exit_info){ EXIT_HOW_UNKNOWN, 0 };
	assert_row(&record, "1700000000500\t600\tcomplete\t42\t43\treap_failed"
			    "\t-\t-\t100\t7\t8\ttrue");
}

static void
all_other_outcomes_are_refusals_with_a_reason(void **state)
{
	struct recovery_record record = {
		.at_ns = 7, .agent_pid = 42, .detail = "outstanding_in_flight"
	};
	int i, n = 0;

	(void)state;
	for (i = 0; i < RECOVERY_OUTCOME_COUNT; i++) {
		record.outcome = (enum recovery_outcome)i;
		if (auditrow_kind(record.outcome) != AUDITLINE_REFUSED)
			continue;
		n++;
		assert_row(&record, "1700000000500\t7\trefused\t42\t"
				    "outstanding_in_flight");
	}
	assert_int_equal(n, RECOVERY_OUTCOME_COUNT - 5);
	record.outcome = RECOVERY_DEBOUNCED;
	record.detail = NULL;
	assert_row(&record, "1700000000500\t7\trefused\t42\t-");
}

static void
text_cannot_make_columns_or_lines(void **state)
{
	struct recovery_record record = { .outcome = RECOVERY_SPAWNED,
		.program = "/bin/a\tb\nc\rd",
		.source = "/etc/\xc3\xa4\t" };

	(void)state;
	assert_row(&record, "1700000000500\t0\tspawn\t0\t0\texec\t/bin/a b c d"
			    "\t/etc/\xc3\xa4 \t0");
	record.program = "";
	record.source = NULL;
	assert_row(&record, "1700000000500\t0\tspawn\t0\t0\texec\t-\t-\t0");
}

static void
the_longest_texts_and_numbers_fit(void **state)
{
	static char text[AUDITROW_TEXT_MAX + 100];
	struct recovery_record record = { .outcome = RECOVERY_SPAWNED,
		.at_ns = UINT64_MAX,
		.agent_pid = UINT32_MAX,
		.child_pid = UINT32_MAX,
		.program = text,
		.source = text,
		.template_bytes = UINT32_MAX,
		.exit = { EXIT_HOW_CODE, -2147483647 - 1 },
		.duration_ns = UINT64_MAX,
		.stdout_bytes = UINT64_MAX,
		.stderr_bytes = UINT64_MAX };
	size_t n;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	n = auditrow_format(&record, UINT64_MAX, row);
	assert_int_equal(n, strlen(row));
	assert_true(n > (size_t)2 * AUDITROW_TEXT_MAX && n < sizeof(row));
	assert_string_equal(row + n - strlen("x\t4294967295"), "x\t4294967295");
	record.outcome = RECOVERY_REAPED_NONZERO;
	n = auditrow_format(&record, UINT64_MAX, row);
	assert_int_equal(n, strlen(row));
}

static void
a_start_of_the_observer_says_why_and_what_it_follows(void **state)
{
	struct auditline_link link;
	size_t n;

	(void)state;
	memset(&link, 0xab, sizeof(link));
	n = auditrow_format_boot(
	    AUDITLINE_FRESH, 1234, NULL, 1700000000000, row);
	assert_string_equal(row, "1700000000000\t0\tboot\t1234\t-\tfresh");
	assert_int_equal(n, strlen(row));
	(void)auditrow_format_boot(
	    AUDITLINE_ROTATION, 1234, &link, 1700000000000, row);
	assert_string_equal(row,
	    "1700000000000\t0\tboot\t1234\t"
	    "abababababababababababababababababababababababababababababababab"
	    "\trotation");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_start_names_program_and_source_and_not_the_arguments),
		cmocka_unit_test(an_end_has_a_code_or_a_signal),
		cmocka_unit_test(all_other_outcomes_are_refusals_with_a_reason),
		cmocka_unit_test(text_cannot_make_columns_or_lines),
		cmocka_unit_test(the_longest_texts_and_numbers_fit),
		cmocka_unit_test(
		    a_start_of_the_observer_says_why_and_what_it_follows),
	};

	return cmocka_run_group_tests_name("auditrow", tests, NULL, NULL);
}
