#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/guard.h"

static const uint8_t sample[9] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 0x88 };

static void
the_lowest_byte_comes_first(void **state)
{
	(void)state;
	assert_int_equal(load_le32(sample + 1), 0x04030201);
	assert_true(load_le64(sample + 1) == UINT64_C(0x8807060504030201));
}

static void
what_is_stored_is_loaded_at_any_alignment(void **state)
{
	uint8_t buf[24];
	size_t i;

	(void)state;
	for (i = 0; i < 16; i++) {
		store_le64(buf + i, UINT64_C(0x1122334455667788));
		assert_int_equal(buf[i], 0x88);
		assert_int_equal(buf[i + 7], 0x11);
		assert_true(load_le64(buf + i) == UINT64_C(0x1122334455667788));
		store_le32(buf + i, 0xdeadbeef);
		assert_int_equal(buf[i], 0xef);
		assert_true(load_le32(buf + i) == 0xdeadbeef);
	}
}

static void
nothing_behind_the_integer_is_touched(void **state)
{
	struct guard g;
	uint8_t *p;

	(void)state;
	guard_init(&g, 8);
	p = guard_end(&g, 8);
	store_le64(p, 5);
	assert_int_equal(load_le64(p), 5);
	store_le32(p + 4, 9);
	assert_int_equal(load_le32(p + 4), 9);
	guard_fini(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_lowest_byte_comes_first),
		cmocka_unit_test(what_is_stored_is_loaded_at_any_alignment),
		cmocka_unit_test(nothing_behind_the_integer_is_touched),
	};

	return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
