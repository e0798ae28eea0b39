#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

#include "support/guard.h"

static void
pieces_are_put_one_behind_another(void **state)
{
	struct strbuf sb;
	char storage[64];

	(void)state;
	strbuf_init(&sb, storage, sizeof(storage));
	assert_string_equal(sb.text, "");
	strbuf_str(&sb, "a=");
	strbuf_u64(&sb, 17);
	strbuf_char(&sb, ' ');
	strbuf_i64(&sb, -5);
	strbuf_add(&sb, "|xyz", 2);
	strbuf_printf(&sb, "%03d", 7);
	assert_string_equal(sb.text, "a=17 -5|x007");
	assert_int_equal(sb.len, 12);
	assert_false(sb.overflowed);
}

static void
the_largest_and_smallest_numbers_are_written(void **state)
{
	struct strbuf sb;
	char storage[64];

	(void)state;
	strbuf_init(&sb, storage, sizeof(storage));
	strbuf_u64(&sb, UINT64_MAX);
	strbuf_char(&sb, ' ');
	strbuf_i64(&sb, INT64_MIN);
	strbuf_char(&sb, ' ');
	strbuf_i64(&sb, INT64_MAX);
	strbuf_char(&sb, ' ');
	strbuf_i64(&sb, 0);
	assert_string_equal(sb.text,
	    "18446744073709551615 -9223372036854775808 "
	    "9223372036854775807 0");
}

static void
what_does_not_fit_is_cut_off_and_remembered(void **state)
{
	struct strbuf sb;
	char storage[5];

	(void)state;
	strbuf_init(&sb, storage, sizeof(storage));
	strbuf_str(&sb, "abcd");
	assert_false(sb.overflowed);
	strbuf_char(&sb, 'e');
	assert_true(sb.overflowed);
	assert_string_equal(sb.text, "abcd");

	strbuf_clear(&sb);
	assert_false(sb.overflowed);
	strbuf_printf(&sb, "%s", "abcd");
	assert_false(sb.overflowed);
	strbuf_clear(&sb);
	strbuf_printf(&sb, "%s", "abcde");
	assert_true(sb.overflowed);
	assert_string_equal(sb.text, "abcd");
	assert_int_equal(sb.len, 4);
	strbuf_printf(&sb, "%d", 1);
	assert_string_equal(sb.text, "abcd");
}

static void
nothing_is_written_past_the_storage(void **state)
{
	struct strbuf sb;
	struct guard g;
	size_t size;

	(void)state;
	guard_init(&g, 64);
	for (size = 1; size <= 24; size++) {
		strbuf_init(&sb, (char *)guard_end(&g, size), size);
		strbuf_str(&sb, "0123456789");
		strbuf_printf(&sb, "%s", "0123456789");
		strbuf_u64(&sb, 12345);
		assert_int_equal(strlen(sb.text), size - 1);
		assert_int_equal(sb.len, size - 1);
	}
	guard_fini(&g);
}

static void
a_line_that_did_not_fit_is_taken_back(void **state)
{
	struct strbuf sb;
	char storage[12];
	size_t mark;

	(void)state;
	strbuf_init(&sb, storage, sizeof(storage));
	strbuf_str(&sb, "first\n");
	mark = sb.len;
	strbuf_str(&sb, "second\n");
	assert_true(sb.overflowed);
	strbuf_truncate(&sb, mark);
	assert_string_equal(sb.text, "first\n");
	assert_false(sb.overflowed);
}

static void
text_that_printf_refuses_counts_as_cut_off(void **state)
{
	struct strbuf sb;
	char storage[32];

	(void)state;
	strbuf_init(&sb, storage, sizeof(storage));
	strbuf_str(&sb, "x");
	/* No such character in the C locale: vsnprintf() fails. */
	strbuf_printf(&sb, "%lc", (wint_t)0x20ac);
	assert_true(sb.overflowed);
	assert_string_equal(sb.text, "x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_put_one_behind_another),
		cmocka_unit_test(the_largest_and_smallest_numbers_are_written),
		cmocka_unit_test(what_does_not_fit_is_cut_off_and_remembered),
		cmocka_unit_test(nothing_is_written_past_the_storage),
		cmocka_unit_test(a_line_that_did_not_fit_is_taken_back),
		cmocka_unit_test(text_that_printf_refuses_counts_as_cut_off),
	};

	return cmocka_run_group_tests_name("strbuf", tests, NULL, NULL);
}
