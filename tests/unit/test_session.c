/*
 * IV sessions, and above all their ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "secure/session.h"

static const uint8_t salt[HKDF_SALT_BYTES] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	11, 12, 13, 14, 15, 16 };

/* Published for this salt, at indexes 0, 1 and 2^32-1. */
static const uint8_t first_prefix[] = { 0x5c, 0x06, 0x1b, 0x08, 0xc8, 0xa3,
	0x33, 0x58 };
static const uint8_t second_prefix[] = { 0x53, 0x2a, 0x00, 0xb9, 0x24, 0x13,
	0x44, 0xcf };
static const uint8_t last_prefix[] = { 0xf6, 0xba, 0xe8, 0x09, 0xd8, 0xf9, 0xc5,
	0x1b };

static int
start(void **state)
{
	(void)state;
	return sodium_init() < 0 ? -1 : 0;
}

static void
assert_iv(const struct session *s, const uint8_t prefix[8], uint32_t counter)
{
	assert_memory_equal(s->iv.random, prefix, SEAL_PREFIX_BYTES);
	assert_int_equal(s->iv.counter, counter);
}

static void
a_session_begins_with_the_first_prefix_and_counter_0(void **state)
{
	struct session s;

	(void)state;
	session_begin(&s, salt);
	assert_true(session_prepare(&s));
	assert_iv(&s, first_prefix, 0);
	assert_int_equal(s.prefix_index, 0);
}

static void
only_a_frame_that_was_sent_spends_an_iv(void **state)
{
	struct session s;

	(void)state;
	session_begin(&s, salt);
	assert_true(session_prepare(&s));
	assert_true(session_prepare(&s));
	assert_iv(&s, first_prefix, 0);
	session_commit(&s);
	assert_true(session_prepare(&s));
	assert_iv(&s, first_prefix, 1);
}

static void
the_highest_counter_is_never_used(void **state)
{
	struct session s;

	(void)state;
	session_begin(&s, salt);
	s.iv.counter = UINT32_MAX - 1;
	assert_true(session_prepare(&s));
	assert_iv(&s, first_prefix, UINT32_MAX - 1);
	session_commit(&s);
	assert_true(session_prepare(&s));
	assert_iv(&s, second_prefix, 0);
}

static void
a_send_that_fails_uses_up_no_prefix(void **state)
{
	struct session s;
	int i;

	(void)state;
	session_begin(&s, salt);
	s.iv.counter = UINT32_MAX;
	for (i = 0; i < 5; i++) {
		assert_true(session_prepare(&s));
		assert_iv(&s, second_prefix, 0);
		assert_int_equal(s.prefix_index, 1);
	}
	session_commit(&s);
	assert_true(session_prepare(&s));
	assert_iv(&s, second_prefix, 1);
}

static void
the_last_prefix_is_used_to_its_end_and_no_further(void **state)
{
	struct session s, before;

	(void)state;
	session_begin(&s, salt);
	s.prefix_index = UINT32_MAX - 1;
	s.iv.counter = UINT32_MAX;
	assert_true(session_prepare(&s));
	assert_iv(&s, last_prefix, 0);
	s.iv.counter = UINT32_MAX - 1;
	assert_true(session_prepare(&s));
	session_commit(&s);

	before = s;
	assert_false(session_prepare(&s));
	assert_false(session_prepare(&s));
	assert_memory_equal(&s, &before, sizeof(s));
}

static void
fresh_salt_makes_another_session(void **state)
{
	uint8_t other[HKDF_SALT_BYTES] = { 1 };
	struct session s;

	(void)state;
	session_begin(&s, salt);
	s.prefix_index = 7;
	s.iv.counter = 7;
	session_begin(&s, other);
	assert_memory_not_equal(s.iv.random, first_prefix, SEAL_PREFIX_BYTES);
	assert_int_equal(s.iv.counter, 0);
	assert_int_equal(s.prefix_index, 0);
	assert_memory_equal(s.salt, other, sizeof(other));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_session_begins_with_the_first_prefix_and_counter_0),
		cmocka_unit_test(only_a_frame_that_was_sent_spends_an_iv),
		cmocka_unit_test(the_highest_counter_is_never_used),
		cmocka_unit_test(a_send_that_fails_uses_up_no_prefix),
		cmocka_unit_test(
		    the_last_prefix_is_used_to_its_end_and_no_further),
		cmocka_unit_test(fresh_salt_makes_another_session),
	};

	return cmocka_run_group_tests_name("session", tests, start, NULL);
}
