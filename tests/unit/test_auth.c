#include "watch/tell/auth.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/guard.h"

#define HEX64 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static uint8_t token[AUTH_TOKEN_BYTES];

static int
setup(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(token); i++)
		token[i] = (uint8_t)i;
	return 0;
}

/* The text stands directly before an unreadable page. */
static bool
is_allowed(const char *text)
{
	struct guard g;
	const char *p;
	bool r;

	guard_init(&g, strlen(text));
	p = (const char *)guard_copy(&g, text, strlen(text));
	r = auth_is_allowed(p, strlen(text), token);
	guard_fini(&g);
	return r;
}

static void
the_token_is_let_in(void **state)
{
	(void)state;
	assert_true(is_allowed("Bearer " HEX64));
}

static void
case_and_blanks_do_not_matter(void **state)
{
	(void)state;
	assert_true(is_allowed("bEARER " HEX64));
	assert_true(is_allowed("Bearer 000102030405060708090A0B0C0D0E0F"
			       "101112131415161718191A1B1C1D1E1F"));
	assert_true(is_allowed(" \tBearer \t " HEX64 " \t"));
}

static void
another_token_is_not_let_in(void **state)
{
	char text[] = "Bearer " HEX64;
	size_t i;

	(void)state;
	for (i = strlen("Bearer "); text[i] != '\0'; i++) {
		char kept = text[i];

		text[i] = kept == 'f' ? 'e' : 'f';
		assert_false(is_allowed(text));
		text[i] = kept;
	}
}

static void
any_shorter_text_is_not_let_in(void **state)
{
	static const char text[] = "Bearer " HEX64;
	struct guard g;
	size_t n;

	(void)state;
	guard_init(&g, sizeof(text));
	for (n = 0; n < strlen(text); n++)
		assert_false(auth_is_allowed(
		    (const char *)guard_copy(&g, text, n), n, token));
	guard_fini(&g);
}

static void
other_forms_are_not_let_in(void **state)
{
	(void)state;
	assert_false(is_allowed("Bearer " HEX64 "0"));
	assert_false(is_allowed("Bearer " HEX64 " x"));
	assert_false(is_allowed("Bearer" HEX64));
	assert_false(is_allowed("Bearers " HEX64));
	assert_false(is_allowed("Basic " HEX64));
	assert_false(is_allowed(HEX64));
	assert_false(is_allowed("Bearer"));
	assert_false(is_allowed("Bearer        "));
	assert_false(is_allowed("   "));
}

static void
a_text_that_cannot_be_read_leaves_the_result_alone(void **state)
{
	static const char bad[] =
	    "Bearer "
	    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g";
	uint8_t got[AUTH_TOKEN_BYTES];
	uint8_t want[AUTH_TOKEN_BYTES];

	(void)state;
	memset(got, 0x55, sizeof(got));
	memcpy(want, got, sizeof(want));
	assert_int_equal(auth_parse(bad, strlen(bad), got), -EINVAL);
	assert_int_equal(auth_parse("Bearer 00", 9, got), -EINVAL);
	assert_memory_equal(got, want, sizeof(got));

	assert_int_equal(
	    auth_parse("Bearer " HEX64, strlen("Bearer " HEX64), got), 0);
	assert_memory_equal(got, token, sizeof(got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_token_is_let_in),
		cmocka_unit_test(case_and_blanks_do_not_matter),
		cmocka_unit_test(another_token_is_not_let_in),
		cmocka_unit_test(any_shorter_text_is_not_let_in),
		cmocka_unit_test(other_forms_are_not_let_in),
		cmocka_unit_test(
		    a_text_that_cannot_be_read_leaves_the_result_alone),
	};

	return cmocka_run_group_tests_name("auth", tests, setup, NULL);
}
