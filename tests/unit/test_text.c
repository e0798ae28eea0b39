#include "base/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/guard.h"

static void
decimal_numbers_are_read_whole(void **state)
{
	uint64_t x = 7;

	(void)state;
	assert_int_equal(text_to_u64("0", UINT64_MAX, &x), 0);
	assert_int_equal(x, 0);
	assert_int_equal(text_to_u64("+42", UINT64_MAX, &x), 0);
	assert_int_equal(x, 42);
	assert_int_equal(text_to_u64("000042", 42, &x), 0);
	assert_int_equal(x, 42);
	assert_int_equal(
	    text_to_u64("18446744073709551615", UINT64_MAX, &x), 0);
	assert_true(x == UINT64_MAX);
}

static void
what_is_no_number_is_refused(void **state)
{
	static const char *const bad[] = { "", "+", "-1", "++1", "+-1", " 1",
		"1 ", "1x", "0x10", "1.5", "1e3", "\xd9\xa1", "-",
		"99999999999999999999x" };
	uint64_t x = 7;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_to_u64(bad[i], UINT64_MAX, &x), -EINVAL);
	assert_int_equal(x, 7);
}

static void
a_number_outside_the_range_is_refused(void **state)
{
	uint64_t x = 7;

	(void)state;
	assert_int_equal(text_to_u64("101", 100, &x), -ERANGE);
	assert_int_equal(
	    text_to_u64("18446744073709551616", UINT64_MAX, &x), -ERANGE);
	assert_int_equal(
	    text_to_u64("99999999999999999999999", UINT64_MAX, &x), -ERANGE);
	assert_int_equal(x, 7);
}

static void
leaves_the_result_alone_on_error(void **state)
{
	uint32_t n = 7;

	(void)state;
	assert_int_equal(text_to_u32("4294967296", UINT32_MAX, &n), -ERANGE);
	assert_int_equal(text_to_u32("-1", UINT32_MAX, &n), -EINVAL);
	assert_int_equal(text_to_u32("", UINT32_MAX, &n), -EINVAL);
	assert_int_equal(n, 7);
	assert_int_equal(text_to_u32("4294967295", UINT32_MAX, &n), 0);
	assert_true(n == UINT32_MAX);
}

static void
modes_are_octal_with_any_of_the_prefixes(void **state)
{
	uint32_t mode = 0;

	(void)state;
	assert_int_equal(text_to_mode("600", &mode), 0);
	assert_int_equal(mode, 0600);
	assert_int_equal(text_to_mode("0660", &mode), 0);
	assert_int_equal(mode, 0660);
	assert_int_equal(text_to_mode("0o640", &mode), 0);
	assert_int_equal(mode, 0640);
	assert_int_equal(text_to_mode("0O777", &mode), 0);
	assert_int_equal(mode, 0777);
	assert_int_equal(text_to_mode("0000000000000000600", &mode), 0);
	assert_int_equal(mode, 0600);
	assert_int_equal(text_to_mode("0", &mode), 0);
	assert_int_equal(mode, 0);
}

static void
odd_modes_are_refused(void **state)
{
	static const char *const bad[] = { "", "0o", "o600", "8", "0x1ff",
		"600 ", "+600", "-1", "rw-", "7777777777777777778" };
	uint32_t mode = 7;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(text_to_mode(bad[i], &mode), -EINVAL);
	assert_int_equal(text_to_mode("1777", &mode), -ERANGE);
	assert_int_equal(text_to_mode("1000", &mode), -ERANGE);
	/* 2^32 and more: must not come round to a small mode. */
	assert_int_equal(text_to_mode("40000000600", &mode), -ERANGE);
	assert_int_equal(mode, 7);
}

static void
durations_carry_a_unit(void **state)
{
	uint64_t ns = 0;

	(void)state;
	assert_int_equal(text_to_duration_ns("250us", NS_NEVER, &ns), 0);
	assert_true(ns == 250 * NS_PER_US);
	assert_int_equal(text_to_duration_ns("500ms", NS_NEVER, &ns), 0);
	assert_true(ns == 500 * NS_PER_MS);
	assert_int_equal(text_to_duration_ns("2s", NS_NEVER, &ns), 0);
	assert_true(ns == 2 * NS_PER_S);
	assert_int_equal(text_to_duration_ns("1m", NS_NEVER, &ns), 0);
	assert_true(ns == 60 * NS_PER_S);
	assert_int_equal(text_to_duration_ns("1h", NS_NEVER, &ns), 0);
	assert_true(ns == 3600 * NS_PER_S);
	assert_int_equal(text_to_duration_ns("0s", NS_NEVER, &ns), 0);
	assert_int_equal(ns, 0);
}

static void
a_duration_without_a_known_unit_is_refused(void **state)
{
	static const char *const bad[] = { "", "500", "s", "ms", "5 s", "5S",
		"5sec", "+5s", "-5s", "5ms ", "1.5s", "5d", "5s5s" };
	uint64_t ns = 7;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
		    text_to_duration_ns(bad[i], NS_NEVER, &ns), -EINVAL);
	assert_int_equal(ns, 7);
}

static void
a_duration_over_the_limit_is_refused(void **state)
{
	uint64_t ns = 7;

	(void)state;
	assert_int_equal(text_to_duration_ns("10s", 10 * NS_PER_S, &ns), 0);
	assert_int_equal(
	    text_to_duration_ns("10001ms", 10 * NS_PER_S, &ns), -ERANGE);
	assert_int_equal(
	    text_to_duration_ns("11s", 11 * NS_PER_S - 1, &ns), -ERANGE);
	assert_int_equal(
	    text_to_duration_ns("18446744073709551615h", NS_NEVER, &ns),
	    -ERANGE);
	assert_true(ns == 10 * NS_PER_S);
}

static void
hexadecimal_digits_of_any_case_are_read(void **state)
{
	static const uint8_t want[] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
		0xcd, 0xef, 0xAB, 0xCD, 0xEF };
	uint8_t bytes[sizeof(want)];

	(void)state;
	assert_int_equal(text_hex_to_bytes("0123456789abcdefABCDEF", 22, bytes,
			     sizeof(bytes)),
	    0);
	assert_memory_equal(bytes, want, sizeof(want));
	assert_int_equal(text_hex_to_bytes("", 0, bytes, 0), 0);
}

static void
every_byte_that_is_no_digit_is_refused(void **state)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	uint8_t byte = 7;
	char text[2];
	int c, at;

	(void)state;
	for (c = 0; c < 256; c++) {
		for (at = 0; at < 2; at++) {
			text[at] = (char)c;
			text[1 - at] = '0';
			if (c != 0 && strchr(digits, c) != NULL)
				continue;
			assert_int_equal(
			    text_hex_to_bytes(text, 2, &byte, 1), -EINVAL);
		}
	}
	assert_int_equal(byte, 7);
}

static void
hexadecimal_text_of_another_length_is_refused(void **state)
{
	uint8_t bytes[2] = { 7, 8 };
	struct guard g;
	char *text;

	(void)state;
	guard_init(&g, 4);
	text = (char *)guard_copy(&g, "abc", 3);
	assert_int_equal(text_hex_to_bytes(text, 3, bytes, 2), -EINVAL);
	assert_int_equal(text_hex_to_bytes(text, 3, bytes, 1), -EINVAL);
	assert_int_equal(text_hex_to_bytes("", 0, bytes, 2), -EINVAL);
	assert_int_equal(
	    text_hex_to_bytes("", 0, bytes, SIZE_MAX / 2 + 1), -EINVAL);
	/* A bad last digit leaves the earlier bytes alone as well. */
	assert_int_equal(text_hex_to_bytes("abcg", 4, bytes, 2), -EINVAL);
	assert_int_equal(bytes[0], 7);
	assert_int_equal(bytes[1], 8);
	guard_fini(&g);
}

static void
bytes_become_lower_case_digits(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x9f, 0xff };
	char out[7];

	(void)state;
	text_bytes_to_hex(bytes, 3, out);
	assert_string_equal(out, "009fff");
	text_bytes_to_hex(bytes, 0, out);
	assert_string_equal(out, "");
}

static void
numbers_are_written_without_a_nul(void **state)
{
	char out[21];

	(void)state;
	memset(out, 'x', sizeof(out));
	assert_int_equal(text_format_u64(0, out), 1);
	assert_memory_equal(out, "0x", 2);
	assert_int_equal(text_format_u64(UINT64_MAX, out), 20);
	assert_memory_equal(out, "18446744073709551615x", 21);
	assert_int_equal(text_format_u64(1000, out), 4);
	assert_memory_equal(out, "1000", 4);
}

struct escape_case {
	const char *text;
	size_t n;
	const char *plain;
	const char *json;
};

#define CASE(text, plain, json)                                                \
	{                                                                      \
		text, sizeof(text) - 1, plain, json                            \
	}

static const struct escape_case escapes[] = {
	CASE("worker 7", "worker 7", "worker 7"),
	CASE("", "", ""),
	CASE("a\tb\nc\rd", "a\\tb\\nc\\rd", "a\\u0009b\\u000ac\\u000dd"),
	CASE("a\\b\"c", "a\\\\b\"c", "a\\\\b\\\"c"),
	CASE("\0\x1b[2J\x7f", "\\x00\\x1b[2J\\x7f", "\\u0000\\u001b[2J\\u007f"),
	CASE("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"),
	CASE("\xe2\x82\xac", "\xe2\x82\xac", "\xe2\x82\xac"),
	CASE("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"),
	/* Highest character; one above it. */
	CASE("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"),
	CASE("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80",
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
	/* Not the shortest form, a surrogate, a lone and a missing tail. */
	CASE("\xc0\xaf", "\\xc0\\xaf", "\xef\xbf\xbd\xef\xbf\xbd"),
	CASE("\xe0\x80\x80", "\\xe0\\x80\\x80",
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
	CASE("\xf0\x80\x80\x80", "\\xf0\\x80\\x80\\x80",
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
	CASE("\xed\xa0\x80", "\\xed\\xa0\\x80",
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
	CASE("\x80z", "\\x80z", "\xef\xbf\xbdz"),
	CASE("\xc3z", "\\xc3z", "\xef\xbf\xbdz"),
	CASE("z\xe2\x82", "z\\xe2\\x82", "z\xef\xbf\xbd\xef\xbf\xbd"),
	CASE("\xff\xfe", "\\xff\\xfe", "\xef\xbf\xbd\xef\xbf\xbd"),
	/* Well-formed, but a control, an end of line, a change of direction. */
	CASE("\xc2\x9b", "\\xc2\\x9b", "\\u009b"),
	CASE("\xe2\x80\xa8", "\\xe2\\x80\\xa8", "\\u2028"),
	CASE("\xe2\x80\xae", "\\xe2\\x80\\xae", "\\u202e"),
	CASE("\xe2\x81\xa6", "\\xe2\\x81\\xa6", "\\u2066"),
	CASE("\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xaa",
	    "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xaa",
	    "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xaa"),
};

static void
text_from_outside_is_written_in_one_line(void **state)
{
	const struct escape_case *c;
	char out[128];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(escapes); i++) {
		c = &escapes[i];
		assert_int_equal(text_escape(c->text, c->n, out, sizeof(out)),
		    strlen(c->plain));
		assert_string_equal(out, c->plain);
		assert_int_equal(
		    text_escape_json(c->text, c->n, out, sizeof(out)),
		    strlen(c->json));
		assert_string_equal(out, c->json);
	}
}

typedef size_t (*escape_fn)(const char *, size_t, char *, size_t);

/* Escape into every size up to enough: what is written is always whole. */
static void
check_every_size(
    escape_fn escape, const struct escape_case *c, const char *want)
{
	struct guard in, out;
	const char *text;
	size_t size, len;
	char *to;

	guard_init(&in, 128);
	guard_init(&out, 128);
	text = (const char *)guard_copy(&in, c->text, c->n);
	for (size = 1; size <= strlen(want) + 1; size++) {
		to = (char *)guard_end(&out, size);
		len = escape(text, c->n, to, size);
		assert_true(len < size);
		assert_int_equal(to[len], '\0');
		assert_memory_equal(to, want, len);
		/* Never inside a character, never inside an escape. */
		assert_true(((uint8_t)want[len] & 0xc0) != 0x80);
		if (len > 0 && to[len - 1] == '\\')
			assert_true(len > 1 && to[len - 2] == '\\');
		if (size == strlen(want) + 1)
			assert_int_equal(len, strlen(want));
	}
	guard_fini(&in);
	guard_fini(&out);
}

static void
nothing_is_cut_in_the_middle_or_read_too_far(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(escapes); i++) {
		check_every_size(text_escape, &escapes[i], escapes[i].plain);
		check_every_size(
		    text_escape_json, &escapes[i], escapes[i].json);
	}
}

static void
a_label_keeps_its_text_and_is_always_utf_8(void **state)
{
	static const struct escape_case labels[] = {
		{ "worker", 6, "worker", NULL },
		{ "a\\b\"c\nd", 7, "a\\\\b\\\"c\\nd", NULL },
		{ "\xc3\xa4\xe2\x82\xac", 5, "\xc3\xa4\xe2\x82\xac", NULL },
		{ "x\xffy\xc3", 4, "x\xef\xbf\xbdy\xef\xbf\xbd", NULL },
		{ "\x01\t\x7f", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
		    NULL },
		{ "\xe2\x80\xae", 3, "\xef\xbf\xbd", NULL },
		{ "a\0b", 3,
		    "a\xef\xbf\xbd"
		    "b",
		    NULL },
		{ "", 0, "", NULL },
	};
	const struct escape_case *c;
	char out[128];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(labels); i++) {
		c = &labels[i];
		assert_int_equal(
		    text_escape_label(c->text, c->n, out, sizeof(out)),
		    strlen(c->plain));
		assert_string_equal(out, c->plain);
		check_every_size(text_escape_label, c, c->plain);
	}
}

static void
no_room_at_all_writes_nothing(void **state)
{
	char out = 'x';

	(void)state;
	assert_int_equal(text_escape("abc", 3, &out, 0), 0);
	assert_int_equal(text_escape_json("abc", 3, &out, 0), 0);
	assert_int_equal(text_escape_label("abc", 3, &out, 0), 0);
	assert_int_equal(out, 'x');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decimal_numbers_are_read_whole),
		cmocka_unit_test(what_is_no_number_is_refused),
		cmocka_unit_test(a_number_outside_the_range_is_refused),
		cmocka_unit_test(leaves_the_result_alone_on_error),
		cmocka_unit_test(modes_are_octal_with_any_of_the_prefixes),
		cmocka_unit_test(odd_modes_are_refused),
		cmocka_unit_test(durations_carry_a_unit),
		cmocka_unit_test(a_duration_without_a_known_unit_is_refused),
		cmocka_unit_test(a_duration_over_the_limit_is_refused),
		cmocka_unit_test(hexadecimal_digits_of_any_case_are_read),
		cmocka_unit_test(every_byte_that_is_no_digit_is_refused),
		cmocka_unit_test(hexadecimal_text_of_another_length_is_refused),
		cmocka_unit_test(bytes_become_lower_case_digits),
		cmocka_unit_test(numbers_are_written_without_a_nul),
		cmocka_unit_test(text_from_outside_is_written_in_one_line),
		cmocka_unit_test(nothing_is_cut_in_the_middle_or_read_too_far),
		cmocka_unit_test(a_label_keeps_its_text_and_is_always_utf_8),
		cmocka_unit_test(no_room_at_all_writes_nothing),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
