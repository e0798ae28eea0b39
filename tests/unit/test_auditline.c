#include "audit/auditline.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/guard.h"

#define HEX_1 "ea3737cc98db3db7f5be0f369c21b100c0eae318b0b050d67bb2ac80553435e8"

/* A trail as published: each record follows the one above, the first one
 * nothing. */
static const struct {
	enum auditline_kind kind;
	const char *body;
	const char *link;
} published[] = {
	{ AUDITLINE_BOOT, "1\t1700000000000\t0\tboot\t1234\t-\tfresh", HEX_1 },
	{ AUDITLINE_SPAWN,
	    "2\t1700000000500\t500000000\tspawn\t42\t4242\texec\t/bin/true\t"
	    "inline\t12",
	    "3cd0488850e89a9b27c4b81f35df0ae266903db8730c00194b47f4a0e84dd14"
	    "b" },
	{ AUDITLINE_COMPLETE,
	    "3\t1700000000600\t600000000\tcomplete\t42\t4242\treaped\t0\t-\t"
	    "100000000\t0\t0\tfalse",
	    "77242930636723990eba06817f41a464944a916db97da0c8363db61d98c4478"
	    "9" },
	{ AUDITLINE_REFUSED,
	    "4\t1700000000700\t700000000\trefused\t43\t"
	    "unauthenticated_transport",
	    "b362801c1ad32292d754a4260e0243b694dcf9ac8d29717f641e4e869f7002e"
	    "a" },
};

static struct guard guard;

static int
setup(void **state)
{
	(void)state;
	guard_init(&guard, AUDITLINE_MAX);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	guard_fini(&guard);
	return 0;
}

/* Parse text where reading one byte too far crashes. */
static int
parse(const char *text, struct auditline *ret)
{
	const char *line = (const char *)guard_copy(&guard, text, strlen(text));

	return auditline_parse(line, strlen(text), ret);
}

static void
published_links_are_reproduced(void **state)
{
	struct auditline_link link = { { 0 } };
	char hex[AUDITLINE_LINK_HEX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(published); i++) {
		const char *word = auditline_kind_word(published[i].kind);

		auditline_step(&link, word, strlen(word), published[i].body,
		    strlen(published[i].body), &link);
		auditline_link_format(&link, hex);
		assert_string_equal(hex, published[i].link);
	}
}

static void
a_finished_line_has_its_link_and_is_read_back(void **state)
{
	struct auditline_link link = { { 0 } };
	char line[512], want[512];
	struct auditline l;
	size_t i, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(published); i++) {
		n = strlen(published[i].body);
		memcpy(line, published[i].body, n);
		n = auditline_finish(line, n, published[i].kind, &link);
		line[n] = '\0';
		(void)snprintf(want, sizeof(want), "%s\t%s\n",
		    published[i].body, published[i].link);
		assert_string_equal(line, want);
		assert_int_equal(
		    n, strlen(published[i].body) + AUDITLINE_END_BYTES);

		assert_int_equal(auditline_parse(line, n - 1, &l), 0);
		assert_int_equal(l.seq, i + 1);
		assert_int_equal(l.body_len, strlen(published[i].body));
		assert_true(l.linked);
		assert_true(auditline_link_equal(&l.link, &link));
		assert_memory_equal(
		    l.kind, auditline_kind_word(published[i].kind), l.kind_len);
		assert_int_equal(
		    auditline_is_boot(&l), published[i].kind == AUDITLINE_BOOT);
	}
}

static void
a_record_may_have_no_link(void **state)
{
	struct auditline l;

	(void)state;
	assert_int_equal(parse("7\t1\t2\trefused\t43\tdebounced\t-", &l), 0);
	assert_int_equal(l.seq, 7);
	assert_false(l.linked);
	assert_int_equal(l.kind_len, strlen("refused"));
	/* Two columns are enough for a number and a link. */
	assert_int_equal(parse("7\t-", &l), 0);
	assert_int_equal(l.kind_len, 0);
	assert_false(auditline_is_boot(&l));
}

static void
what_is_no_record_is_refused_and_leaves_the_result_alone(void **state)
{
	static const char *const bad[] = {
		"",
		"\t",
		"-",
		"7",
		"\t-",
		"7\t",
		"+7\t-",
		"7 \t-",
		"x\t-",
		"18446744073709551616\t-",
		"000000000000000000007\t-",
		"7\t--",
		"7\t" HEX_1 "0",
		"7\tEA3737CC98DB3DB7F5BE0F369C21B100C0EAE318B0B050D67BB2AC80"
		"553435E8",
		"7\tga3737cc98db3db7f5be0f369c21b100c0eae318b0b050d67bb2ac80"
		"553435e8",
	};
	struct auditline l = { .seq = 99 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], &l), -EINVAL);
	assert_int_equal(auditline_parse("7\0\t-", 4, &l), -EINVAL);
	assert_int_equal(l.seq, 99);
	assert_int_equal(parse("18446744073709551615\t-", &l), 0);
	assert_true(l.seq == UINT64_MAX);
}

static void
no_part_of_a_record_is_read_past_its_end(void **state)
{
	char line[512];
	struct auditline_boot_columns boot;
	struct auditline l;
	size_t n;

	(void)state;
	(void)snprintf(
	    line, sizeof(line), "%s\t%s", published[0].body, published[0].link);
	for (n = strlen(line); n > 0; n--) {
		const char *p = (const char *)guard_copy(&guard, line, n);

		if (auditline_parse(p, n, &l) == 0)
			(void)auditline_parse_boot(p, &l, &boot);
		(void)auditline_parse_seq(p, n, &l.seq);
	}
}

static int
parse_boot(const char *text, struct auditline_boot_columns *ret)
{
	const char *line = (const char *)guard_copy(&guard, text, strlen(text));
	struct auditline l;

	assert_int_equal(auditline_parse(line, strlen(text), &l), 0);
	assert_true(auditline_is_boot(&l));
	return auditline_parse_boot(line, &l, ret);
}

static void
boot_records_say_why_and_what_they_follow(void **state)
{
	struct auditline_boot_columns boot;
	char hex[AUDITLINE_LINK_HEX + 1], line[256];
	int i;

	(void)state;
	for (i = 0; i < AUDITLINE_BOOT_COUNT; i++) {
		(void)snprintf(line, sizeof(line), "1\t2\t0\tboot\t5\t-\t%s\t-",
		    auditline_boot_word((enum auditline_boot)i));
		assert_int_equal(parse_boot(line, &boot), 0);
		assert_int_equal(boot.reason, i);
		assert_false(boot.has_prev);
	}
	assert_int_equal(
	    parse_boot("9\t2\t0\tboot\t5\t" HEX_1 "\tresume\t" HEX_1, &boot),
	    0);
	assert_int_equal(boot.reason, AUDITLINE_RESUME);
	assert_true(boot.has_prev);
	auditline_link_format(&boot.prev, hex);
	assert_string_equal(hex, HEX_1);
}

static void
boot_records_with_other_columns_are_refused(void **state)
{
	struct auditline_boot_columns boot;

	(void)state;
	assert_int_equal(parse_boot("1\t2\t0\tboot\t-", &boot), -EINVAL);
	assert_int_equal(
	    parse_boot("1\t2\t0\tboot\t5\t-\tbecause\t-", &boot), -EINVAL);
	assert_int_equal(
	    parse_boot("1\t2\t0\tboot\t5\tabc\tfresh\t-", &boot), -EINVAL);
	assert_int_equal(
	    parse_boot("1\t2\t0\tboot\t5\t-\tfresh\tmore\t-", &boot), -EINVAL);
}

static void
the_number_of_a_bad_line_is_read_where_it_has_one(void **state)
{
	uint64_t seq = 99;

	(void)state;
	assert_int_equal(auditline_parse_seq("12\tfoo", 6, &seq), 0);
	assert_int_equal(seq, 12);
	assert_int_equal(auditline_parse_seq("13", 2, &seq), 0);
	assert_int_equal(seq, 13);
	assert_int_equal(auditline_parse_seq("foo", 3, &seq), -EINVAL);
	assert_int_equal(auditline_parse_seq("", 0, &seq), -EINVAL);
	/* No line may use up all numbers. */
	assert_int_equal(
	    auditline_parse_seq("9223372036854775808\t", 20, &seq), -EINVAL);
	assert_int_equal(seq, 13);
}

static void
the_header_is_one_line_exactly(void **state)
{
	(void)state;
	assert_string_equal(
	    auditline_header, "# varta-watch recovery audit v2");
	assert_true(
	    auditline_is_header(auditline_header, strlen(auditline_header)));
	assert_false(auditline_is_header(
	    auditline_header, strlen(auditline_header) - 1));
	assert_false(auditline_is_header(
	    auditline_header_v1, strlen(auditline_header_v1)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_links_are_reproduced),
		cmocka_unit_test(a_finished_line_has_its_link_and_is_read_back),
		cmocka_unit_test(a_record_may_have_no_link),
		cmocka_unit_test(
		    what_is_no_record_is_refused_and_leaves_the_result_alone),
		cmocka_unit_test(no_part_of_a_record_is_read_past_its_end),
		cmocka_unit_test(boot_records_say_why_and_what_they_follow),
		cmocka_unit_test(boot_records_with_other_columns_are_refused),
		cmocka_unit_test(
		    the_number_of_a_bad_line_is_read_where_it_has_one),
		cmocka_unit_test(the_header_is_one_line_exactly),
	};

	return cmocka_run_group_tests_name("auditline", tests, setup, teardown);
}
