#include "audit/auditverify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/auditbook.h"

static struct auditbook book;
static struct auditbook_verdict verdict;
static struct auditline_link zeros;

static int
setup(void **state)
{
	(void)state;
	auditbook_init(&book);
	auditbook_begin_verdict(&verdict);
	return 0;
}

static void
verify_one(void)
{
	auditbook_begin_verdict(&verdict);
	auditbook_verify(&verdict, 0, book.text, book.n, book.n);
}

static const struct auditverify_sums *
sums(void)
{
	return &verdict.v.sums;
}

/* The only finding. */
static void
assert_found(enum auditverify_what what, uint64_t line, uint64_t n)
{
	assert_int_equal(verdict.n, 1);
	assert_string_equal(
	    auditverify_word(verdict.findings[0].what), auditverify_word(what));
	assert_int_equal(verdict.findings[0].line, line);
	assert_int_equal(verdict.findings[0].n, n);
	assert_int_equal(sums()->breaks, auditverify_is_break(what));
}

/* A file as it usually is: three runs of the observer. */
static void
make_usual(void)
{
	auditbook_header(&book);
	auditbook_boot(&book, AUDITLINE_FRESH, false);
	auditbook_refused(&book, "debounced");
	auditbook_boot(&book, AUDITLINE_RESUME, true);
	auditbook_refused(&book, "one");
	auditbook_refused(&book, "two");
	auditbook_boot(&book, AUDITLINE_RESUME, true);
}

static void
a_good_trail_is_good_in_pieces_of_any_size(void **state)
{
	size_t piece;

	(void)state;
	make_usual();
	for (piece = 1; piece <= book.n; piece++) {
		auditbook_begin_verdict(&verdict);
		auditbook_verify(&verdict, 0, book.text, book.n, piece);
		assert_int_equal(verdict.n, 0);
		assert_int_equal(sums()->records, 6);
		assert_int_equal(sums()->boots, 3);
		assert_int_equal(sums()->first_seq, 1);
		assert_int_equal(sums()->last_seq, 6);
		assert_true(auditline_link_equal(&sums()->head, &book.link));
	}
}

static void
every_changed_byte_is_noticed(void **state)
{
	size_t i;

	(void)state;
	make_usual();
	for (i = 0; i < book.n; i++) {
		book.text[i] ^= 1;
		verify_one();
		assert_int_not_equal(sums()->breaks, 0);
		book.text[i] ^= 1;
	}
}

static void
every_cut_within_a_line_is_noticed(void **state)
{
	size_t i;

	(void)state;
	make_usual();
	for (i = 1; i < book.n; i++) {
		auditbook_begin_verdict(&verdict);
		auditbook_verify(&verdict, 0, book.text, i, i);
		if (book.text[i - 1] != '\n')
			assert_int_not_equal(sums()->breaks, 0);
		else if (sums()->records > 0)
			assert_int_equal(sums()->breaks, 0);
	}
}

/* The start of line i, counted from 1. */
static char *
line_at(unsigned i)
{
	char *line = book.text;

	while (--i > 0)
		line = strchr(line, '\n') + 1;
	return line;
}

static void
a_removed_record_breaks_where_it_was(void **state)
{
	char *line, *next;

	(void)state;
	make_usual();
	line = line_at(5);
	next = line_at(6);
	memmove(line, next, strlen(next) + 1);
	book.n = strlen(book.text);
	verify_one();
	assert_found(AUDITVERIFY_LINK, 5, 0);
	assert_int_equal(sums()->dropped, 0);
}

static void
a_record_put_in_breaks(void **state)
{
	struct auditline_link link;

	(void)state;
	make_usual();
	link = book.link;
	auditbook_refused(&book, "put in");
	book.link = link;
	auditbook_refused(&book, "real");
	verify_one();
	assert_found(AUDITVERIFY_LINK, 9, 0);
}

static void
records_that_changed_places_break(void **state)
{
	char kept[512], *line;
	size_t n;

	(void)state;
	make_usual();
	line = line_at(5);
	n = (size_t)(line_at(6) - line);
	memcpy(kept, line, n);
	memmove(line, line + n, (size_t)(line_at(7) - line) - n);
	memcpy(line_at(6), kept, n);
	verify_one();
	assert_int_not_equal(sums()->breaks, 0);
}

static void
missing_numbers_in_a_whole_chain_were_dropped(void **state)
{
	(void)state;
	make_usual();
	book.seq += 3;
	auditbook_refused(&book, "after three");
	book.seq++;
	auditbook_refused(&book, "after one");
	verify_one();
	assert_int_equal(verdict.n, 2);
	assert_int_equal(verdict.findings[0].what, AUDITVERIFY_DROPPED);
	assert_int_equal(verdict.findings[0].line, 8);
	assert_int_equal(verdict.findings[0].n, 3);
	assert_int_equal(verdict.findings[1].n, 1);
	assert_int_equal(sums()->gaps, 2);
	assert_int_equal(sums()->dropped, 4);
	assert_int_equal(sums()->breaks, 0);
}

static void
numbers_that_go_back_break(void **state)
{
	(void)state;
	make_usual();
	book.seq = 2;
	auditbook_refused(&book, "again");
	verify_one();
	assert_found(AUDITVERIFY_ORDER, 8, 0);
}

static void
a_trail_goes_on_through_rotated_files(void **state)
{
	static struct auditbook files[3];
	size_t i;

	(void)state;
	make_usual();
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		files[i] = book;
		auditbook_next(&book);
		auditbook_header(&book);
		auditbook_boot(&book, AUDITLINE_ROTATION, true);
		auditbook_refused(&book, "in a new file");
	}
	for (i = 0; i < ARRAY_SIZE(files); i++)
		auditbook_verify(&verdict, i, files[i].text, files[i].n, 7);
	assert_int_equal(verdict.n, 0);
	assert_int_equal(sums()->records, 10);

	/* The oldest one may be gone, one between may not. */
	auditbook_begin_verdict(&verdict);
	auditbook_verify(&verdict, 1, files[1].text, files[1].n, 7);
	auditbook_verify(&verdict, 2, files[2].text, files[2].n, 7);
	assert_int_equal(verdict.n, 0);
	auditbook_begin_verdict(&verdict);
	auditbook_verify(&verdict, 0, files[0].text, files[0].n, 7);
	auditbook_verify(&verdict, 2, files[2].text, files[2].n, 7);
	assert_found(AUDITVERIFY_PREV, 2, 0);
	assert_int_equal(verdict.findings[0].file, 2);
}

static void
a_file_that_begins_anew_breaks_the_trail(void **state)
{
	static struct auditbook other;

	(void)state;
	make_usual();
	auditbook_init(&other);
	auditbook_header(&other);
	auditbook_boot(&other, AUDITLINE_FRESH, false);
	other.seq = 99;
	auditbook_refused(&other, "elsewhere");
	auditbook_verify(&verdict, 0, book.text, book.n, 64);
	auditbook_verify(&verdict, 1, other.text, other.n, 64);
	assert_int_equal(verdict.findings[0].what, AUDITVERIFY_STARTS_OVER);
	assert_int_equal(verdict.findings[0].line, 2);

	/* Within a file as well. */
	auditbook_boot(&book, AUDITLINE_ROTATION, true);
	verify_one();
	assert_found(AUDITVERIFY_STARTS_OVER, 8, 0);
}

static void
a_file_whose_beginning_was_removed_breaks(void **state)
{
	char *rest;

	(void)state;
	make_usual();
	/* From the second start of the observer on. */
	rest = line_at(4);
	memmove(line_at(2), rest, strlen(rest) + 1);
	book.n = strlen(book.text);
	verify_one();
	assert_found(AUDITVERIFY_NO_START, 2, 0);

	/* From the middle of a run on. */
	rest = line_at(3);
	memmove(line_at(2), rest, strlen(rest) + 1);
	book.n = strlen(book.text);
	verify_one();
	assert_found(AUDITVERIFY_NO_START, 2, 0);
}

static void
lines_that_are_no_records_break(void **state)
{
	(void)state;
	make_usual();
	auditbook_line(&book, "what is this");
	auditbook_line(&book, "");
	auditbook_refused(&book, "after it");
	verify_one();
	assert_found(AUDITVERIFY_NO_RECORD, 8, 2);

	auditbook_line(&book, "and at the end");
	verify_one();
	assert_int_equal(verdict.n, 2);
	assert_int_equal(verdict.findings[1].what, AUDITVERIFY_NO_RECORD);
	assert_int_equal(verdict.findings[1].line, 11);
}

static void
a_line_longer_than_any_record_is_none(void **state)
{
	size_t i;

	(void)state;
	make_usual();
	for (i = 0; i < AUDITLINE_MAX; i++)
		auditbook_text(&book, "x");
	auditbook_line(&book, "");
	auditbook_refused(&book, "after it");
	verify_one();
	assert_found(AUDITVERIFY_NO_RECORD, 8, 1);
}

static void
a_line_that_the_observer_has_noted_does_not_break(void **state)
{
	(void)state;
	make_usual();
	auditbook_line(&book, "77\tof a version to come");
	book.seq = 77;
	auditbook_boot(&book, AUDITLINE_SCHEMA_DRIFT, false);
	verify_one();
	assert_found(AUDITVERIFY_DRIFT, 8, 1);

	/* The reference looks back one line only and begins at nothing. */
	auditbook_line(&book, "one");
	auditbook_line(&book, "two");
	book.link = zeros;
	auditbook_boot(&book, AUDITLINE_SCHEMA_DRIFT, false);
	verify_one();
	assert_int_equal(verdict.n, 2);
	assert_int_equal(sums()->breaks, 0);

	/* That must not hide what was changed. */
	auditbook_line(&book, "one");
	book.link = zeros;
	auditbook_boot(&book, AUDITLINE_SCHEMA_DRIFT, false);
	verify_one();
	assert_int_equal(sums()->breaks, 1);
}

static void
a_torn_tail_that_was_cut_off_is_noted(void **state)
{
	(void)state;
	make_usual();
	auditbook_boot(&book, AUDITLINE_CORRUPT_TAIL, false);
	verify_one();
	assert_found(AUDITVERIFY_CUT, 8, 0);

	/* It may have been the first one. */
	auditbook_init(&book);
	auditbook_header(&book);
	auditbook_boot(&book, AUDITLINE_CORRUPT_TAIL, false);
	verify_one();
	assert_found(AUDITVERIFY_CUT, 2, 0);
}

static void
a_torn_tail_that_is_still_there_breaks(void **state)
{
	(void)state;
	make_usual();
	auditbook_text(&book, "7\t1700\t0\tref");
	verify_one();
	assert_found(AUDITVERIFY_TORN, 8, 0);
}

static void
what_stands_before_the_header_is_counted_and_not_verified(void **state)
{
	(void)state;
	auditbook_line(&book, auditline_header_v1);
	auditbook_line(&book, "1700\t5\tspawn\t42");
	auditbook_header(&book);
	auditbook_boot(&book, AUDITLINE_LEGACY_V1, false);
	auditbook_refused(&book, "new");
	verify_one();
	assert_found(AUDITVERIFY_LEGACY, 1, 2);
	assert_int_equal(sums()->legacy_lines, 2);
	assert_int_equal(sums()->records, 2);
}

static void
another_file_is_no_trail(void **state)
{
	(void)state;
	auditbook_line(&book, "root:x:0:0:root:/root:/bin/bash");
	auditbook_text(&book, "no line end");
	verify_one();
	assert_found(AUDITVERIFY_NO_HEADER, 1, 0);
}

static void
a_file_without_records_is_no_trail_either(void **state)
{
	(void)state;
	verify_one();
	assert_found(AUDITVERIFY_EMPTY, 1, 0);
	auditbook_header(&book);
	verify_one();
	assert_found(AUDITVERIFY_EMPTY, 1, 0);
}

/* A run of an observer that writes no links. */
static void
add_unlinked(uint64_t seq)
{
	char line[128];

	(void)snprintf(line, sizeof(line),
	    "%llu\t1700\t0\tboot\t1234\t-\tresume\t-", (unsigned long long)seq);
	auditbook_line(&book, line);
	(void)snprintf(line, sizeof(line),
	    "%llu\t1700\t5\trefused\t42\tdebounced\t-",
	    (unsigned long long)seq + 1);
	auditbook_line(&book, line);
	book.seq = seq + 1;
	book.link = zeros;
}

static void
records_without_links_are_noted_and_counted(void **state)
{
	(void)state;
	make_usual();
	add_unlinked(7);
	verify_one();
	assert_found(AUDITVERIFY_UNLINKED, 8, 0);
	assert_int_equal(sums()->unlinked, 2);
	assert_true(auditline_link_equal(&sums()->head, &zeros));

	/* One with links may go on behind it. */
	auditbook_boot(&book, AUDITLINE_RESUME, false);
	auditbook_refused(&book, "linked again");
	verify_one();
	assert_found(AUDITVERIFY_UNLINKED, 8, 0);
	assert_int_equal(sums()->records, 10);
}

static void
a_link_that_was_taken_away_breaks(void **state)
{
	(void)state;
	make_usual();
	auditbook_line(&book, "7\t1700\t5\trefused\t42\tforged\t-");
	verify_one();
	assert_int_equal(sums()->breaks, 1);
	assert_int_equal(verdict.findings[1].what, AUDITVERIFY_NO_LINK);
}

static void
a_resumption_that_names_another_record_breaks(void **state)
{
	struct auditline_link link;

	(void)state;
	make_usual();
	link = book.link;
	book.link.bytes[0] ^= 1;
	auditbook_boot(&book, AUDITLINE_RESUME, true);
	verify_one();
	assert_found(AUDITVERIFY_PREV, 8, 0);

	auditbook_init(&book);
	make_usual();
	book.link = link;
	auditbook_boot(&book, AUDITLINE_RESUME, false);
	verify_one();
	assert_found(AUDITVERIFY_PREV, 8, 0);
}

static void
a_start_of_an_unknown_reason_must_follow_as_well(void **state)
{
	(void)state;
	make_usual();
	auditbook_record(
	    &book, AUDITLINE_BOOT, "1700\t0\tboot\t1234\t-\tin_the_future");
	auditbook_refused(&book, "after it");
	verify_one();
	assert_int_equal(verdict.n, 0);
	assert_int_equal(sums()->records, 8);
}

static void
nobody_need_listen(void **state)
{
	struct auditverify *v = &verdict.v;

	(void)state;
	auditverify_init(v, NULL, NULL);
	auditverify_begin(v, 0);
	auditverify_take(v, "x", 1);
	auditverify_end(v);
	assert_int_equal(v->sums.breaks, 1);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_trail_is_good_in_pieces_of_any_size),
		TEST(every_changed_byte_is_noticed),
		TEST(every_cut_within_a_line_is_noticed),
		TEST(a_removed_record_breaks_where_it_was),
		TEST(a_record_put_in_breaks),
		TEST(records_that_changed_places_break),
		TEST(missing_numbers_in_a_whole_chain_were_dropped),
		TEST(numbers_that_go_back_break),
		TEST(a_trail_goes_on_through_rotated_files),
		TEST(a_file_that_begins_anew_breaks_the_trail),
		TEST(a_file_whose_beginning_was_removed_breaks),
		TEST(lines_that_are_no_records_break),
		TEST(a_line_longer_than_any_record_is_none),
		TEST(a_line_that_the_observer_has_noted_does_not_break),
		TEST(a_torn_tail_that_was_cut_off_is_noted),
		TEST(a_torn_tail_that_is_still_there_breaks),
		TEST(what_stands_before_the_header_is_counted_and_not_verified),
		TEST(another_file_is_no_trail),
		TEST(a_file_without_records_is_no_trail_either),
		TEST(records_without_links_are_noted_and_counted),
		TEST(a_link_that_was_taken_away_breaks),
		TEST(a_resumption_that_names_another_record_breaks),
		TEST(a_start_of_an_unknown_reason_must_follow_as_well),
		TEST(nobody_need_listen),
	};

	return cmocka_run_group_tests_name("auditverify", tests, NULL, NULL);
}
