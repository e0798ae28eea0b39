#include "watch/tell/auditresume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/auditbook.h"

static struct auditbook book;
static struct auditline_link zeros, last;
static struct auditresume resume;
static struct auditresume_plan plan;

static int
setup(void **state)
{
	(void)state;
	auditbook_init(&book);
	memset(&plan, 0, sizeof(plan));
	return 0;
}

static void
take_pieces(const char *bytes, size_t n, size_t piece)
{
	size_t done, now;

	for (done = 0; done < n; done += now) {
		now = n - done < piece ? n - done : piece;
		auditresume_take(&resume, bytes + done, now);
	}
}

/* The plan for the whole book; the same in pieces of any size. */
static void
make_plan(void)
{
	struct auditresume_plan again;
	size_t piece;

	auditresume_init(&resume);
	take_pieces(book.text, book.n, book.n);
	assert_true(auditresume_finish(&resume, &plan));
	for (piece = 1; piece < 40; piece++) {
		auditresume_init(&resume);
		take_pieces(book.text, book.n, piece);
		assert_true(auditresume_finish(&resume, &again));
		assert_int_equal(again.reason, plan.reason);
		assert_int_equal(again.keep_bytes, plan.keep_bytes);
		assert_int_equal(again.seq, plan.seq);
		assert_int_equal(again.name_prev, plan.name_prev);
		assert_true(auditline_link_equal(&again.link, &plan.link));
	}
}

static void
assert_plan(enum auditline_boot reason, uint64_t keep_bytes, uint64_t seq,
    const struct auditline_link *link)
{
	make_plan();
	assert_string_equal(
	    auditline_boot_word(plan.reason), auditline_boot_word(reason));
	assert_int_equal(plan.keep_bytes, keep_bytes);
	assert_int_equal(plan.seq, seq);
	assert_true(auditline_link_equal(&plan.link, link));
	assert_int_equal(plan.name_prev, reason == AUDITLINE_RESUME);
}

static void
make_usual(void)
{
	auditbook_header(&book);
	auditbook_boot(&book, AUDITLINE_FRESH, false);
	auditbook_refused(&book, "one");
	auditbook_refused(&book, "two");
	last = book.link;
}

static void
an_empty_file_is_begun_with_a_header(void **state)
{
	(void)state;
	assert_plan(AUDITLINE_FRESH, 0, 0, &zeros);
	assert_true(plan.add_header);
	assert_false(plan.add_line_end);
}

static void
a_header_alone_is_begun_behind_it(void **state)
{
	(void)state;
	auditbook_header(&book);
	assert_plan(AUDITLINE_FRESH, book.n, 0, &zeros);
	assert_false(plan.add_header);
}

static void
a_good_file_is_continued(void **state)
{
	(void)state;
	make_usual();
	assert_plan(AUDITLINE_RESUME, book.n, 3, &last);
	assert_false(plan.add_header);
	assert_false(plan.add_line_end);
}

static void
a_record_without_a_link_is_not_named(void **state)
{
	(void)state;
	make_usual();
	auditbook_line(&book, "9\t1\t2\trefused\t42\tdebounced\t-");
	make_plan();
	assert_int_equal(plan.reason, AUDITLINE_RESUME);
	assert_int_equal(plan.seq, 9);
	assert_false(plan.name_prev);
	assert_true(auditline_link_equal(&plan.link, &zeros));
}

static void
a_torn_line_is_cut_off_wherever_it_is_torn(void **state)
{
	size_t whole, i;

	(void)state;
	make_usual();
	whole = book.n;
	auditbook_refused(&book, "torn");
	for (i = book.n - 1; i > whole; i--) {
		book.n = i;
		assert_plan(AUDITLINE_CORRUPT_TAIL, whole, 3, &last);
	}
}

static void
a_torn_first_record_is_cut_off_behind_the_header(void **state)
{
	size_t header;

	(void)state;
	auditbook_header(&book);
	header = book.n;
	auditbook_text(&book, "1\t17");
	assert_plan(AUDITLINE_CORRUPT_TAIL, header, 0, &zeros);
	assert_false(plan.add_header);
}

static void
a_torn_header_is_written_anew(void **state)
{
	size_t i;

	(void)state;
	for (i = 1; i <= strlen(auditline_header); i++) {
		auditbook_init(&book);
		auditbook_text(&book, auditline_header);
		book.n = i;
		assert_plan(AUDITLINE_CORRUPT_TAIL, 0, 0, &zeros);
		assert_true(plan.add_header);
		assert_false(plan.add_line_end);
	}
}

static void
a_line_that_is_not_understood_stays_and_uses_up_its_number(void **state)
{
	(void)state;
	make_usual();
	auditbook_line(&book, "9\tin a form to come");
	assert_plan(AUDITLINE_SCHEMA_DRIFT, book.n, 9, &last);
	auditbook_line(&book, "5\tanother one");
	assert_plan(AUDITLINE_SCHEMA_DRIFT, book.n, 9, &last);
	auditbook_line(&book, "no number");
	assert_plan(AUDITLINE_SCHEMA_DRIFT, book.n, 9, &last);
	/* A number that would leave none for later is not one. */
	auditbook_line(&book, "18446744073709551615\tbad");
	assert_plan(AUDITLINE_SCHEMA_DRIFT, book.n, 9, &last);
}

static void
what_is_torn_behind_such_a_line_is_cut_off(void **state)
{
	size_t whole;

	(void)state;
	make_usual();
	auditbook_line(&book, "9\tin a form to come");
	whole = book.n;
	auditbook_text(&book, "torn");
	assert_plan(AUDITLINE_CORRUPT_TAIL, whole, 9, &last);
}

static void
a_good_record_after_bad_lines_is_continued(void **state)
{
	(void)state;
	make_usual();
	auditbook_line(&book, "99\tbad");
	auditbook_refused(&book, "good");
	last = book.link;
	assert_plan(AUDITLINE_RESUME, book.n, 4, &last);
}

static void
an_older_schema_is_kept_and_continued_behind_a_header(void **state)
{
	(void)state;
	auditbook_line(&book, auditline_header_v1);
	auditbook_line(&book, "1700\t5\tspawn\t42");
	assert_plan(AUDITLINE_LEGACY_V1, book.n, 0, &zeros);
	assert_true(plan.add_header);
	assert_false(plan.add_line_end);

	auditbook_text(&book, "1700\t5\tspa");
	assert_plan(AUDITLINE_LEGACY_V1, book.n, 0, &zeros);
	assert_true(plan.add_line_end);

	auditbook_init(&book);
	auditbook_text(&book, "# varta-watch recovery audit v1 (old)");
	assert_plan(AUDITLINE_LEGACY_V1, book.n, 0, &zeros);
	assert_true(plan.add_line_end);
}

static void
any_other_file_is_kept_as_well(void **state)
{
	(void)state;
	auditbook_line(&book, "a note of the operator");
	assert_plan(AUDITLINE_SCHEMA_DRIFT, book.n, 0, &zeros);
	assert_true(plan.add_header);
}

static void
behind_something_else_the_last_header_counts(void **state)
{
	(void)state;
	auditbook_line(&book, auditline_header_v1);
	auditbook_line(&book, "1700\t5\tspawn\t42");
	auditbook_header(&book);
	assert_plan(AUDITLINE_LEGACY_V1, book.n, 0, &zeros);
	assert_false(plan.add_header);
	auditbook_boot(&book, AUDITLINE_LEGACY_V1, false);
	last = book.link;
	assert_plan(AUDITLINE_RESUME, book.n, 1, &last);

	auditbook_refused(&book, "lost");
	auditbook_header(&book);
	assert_plan(AUDITLINE_LEGACY_V1, book.n, 0, &zeros);
}

static void
a_header_within_a_trail_is_no_record(void **state)
{
	(void)state;
	make_usual();
	auditbook_header(&book);
	assert_plan(AUDITLINE_SCHEMA_DRIFT, book.n, 3, &last);
}

static void
the_end_of_a_file_is_enough_where_it_holds_a_record(void **state)
{
	struct auditresume_plan whole;
	size_t from;

	(void)state;
	make_usual();
	auditbook_line(&book, "bad");
	auditbook_text(&book, "torn");
	make_plan();
	whole = plan;
	for (from = strlen(auditline_header) + 1; from < book.n; from++) {
		auditresume_init_window(&resume, from);
		take_pieces(book.text + from, book.n - from, 5);
		if (!auditresume_finish(&resume, &plan))
			break;
		assert_int_equal(plan.reason, whole.reason);
		assert_int_equal(plan.keep_bytes, whole.keep_bytes);
		assert_int_equal(plan.seq, whole.seq);
		assert_true(auditline_link_equal(&plan.link, &whole.link));
	}
	/* A line that begins with the window may have begun before it. */
	assert_int_equal(book.text[from - 1], '\n');
	for (; from < book.n; from++) {
		auditresume_init_window(&resume, from);
		take_pieces(book.text + from, book.n - from, 5);
		assert_false(auditresume_finish(&resume, &plan));
	}
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_file_is_begun_with_a_header),
		TEST(a_header_alone_is_begun_behind_it),
		TEST(a_good_file_is_continued),
		TEST(a_record_without_a_link_is_not_named),
		TEST(a_torn_line_is_cut_off_wherever_it_is_torn),
		TEST(a_torn_first_record_is_cut_off_behind_the_header),
		TEST(a_torn_header_is_written_anew),
		TEST(
		    a_line_that_is_not_understood_stays_and_uses_up_its_number),
		TEST(what_is_torn_behind_such_a_line_is_cut_off),
		TEST(a_good_record_after_bad_lines_is_continued),
		TEST(an_older_schema_is_kept_and_continued_behind_a_header),
		TEST(any_other_file_is_kept_as_well),
		TEST(behind_something_else_the_last_header_counts),
		TEST(a_header_within_a_trail_is_no_record),
		TEST(the_end_of_a_file_is_enough_where_it_holds_a_record),
	};

	return cmocka_run_group_tests_name("auditresume", tests, NULL, NULL);
}
