#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "watch/ends.h"

static void
the_oldest_comes_first(void **state)
{
	static struct ends e;

	(void)state;
	assert_null(ends_oldest(&e));
	assert_true(ends_put(&e, 7, 100));
	assert_true(ends_put(&e, 8, 200));
	assert_int_equal(ends_oldest(&e)->token, 7);
	assert_int_equal(ends_oldest(&e)->give_up_ns, 100);
	ends_drop(&e);
	assert_int_equal(ends_oldest(&e)->token, 8);
	ends_drop(&e);
	assert_null(ends_oldest(&e));
}

static void
a_full_ring_takes_no_more_and_goes_round(void **state)
{
	static struct ends e;

	(void)state;
	for (uint64_t round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < ENDS_WAITING; i++)
			assert_true(ends_put(&e, i, i));
		assert_false(ends_put(&e, 1, 1));
		for (uint64_t i = 0; i < ENDS_WAITING; i++) {
			assert_int_equal(ends_oldest(&e)->token, i);
			ends_drop(&e);
		}
		/* Begin the next round somewhere else. */
		assert_true(ends_put(&e, 1, 1));
		ends_drop(&e);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oldest_comes_first),
		cmocka_unit_test(a_full_ring_takes_no_more_and_goes_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
