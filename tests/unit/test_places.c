#include "watch/tell/places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/util.h"

static struct places places;

static struct ratelimit_key
address(uint64_t host)
{
	return (struct ratelimit_key){ .host = host };
}

/* As many as there is room for, of addresses of their own; by number. */
static void
fill(int first, int n)
{
	int i;

	for (i = first; i < first + n; i++)
		assert_non_null(
		    places_take(&places, i, address(100 + (uint64_t)i), 1000));
}

static void
there_are_as_many_as_told(void **state)
{
	(void)state;
	places_init(&places, true);
	fill(0, PLACES);
	assert_null(places_take(&places, PLACES, address(1), 1000));
	places_free(places_of(&places, 7));
	assert_null(places_of(&places, 7));
	assert_non_null(places_take(&places, PLACES, address(1), 1000));
	assert_null(places_take(&places, PLACES + 1, address(1), 1000));
}

static void
an_address_has_its_share(void **state)
{
	int i;

	(void)state;
	places_init(&places, true);
	for (i = 0; i < PLACES_PER_ADDRESS; i++)
		assert_non_null(places_take(&places, i, address(1), 1000));
	assert_null(places_take(&places, 50, address(1), 1000));
	assert_non_null(places_take(&places, 51, address(2), 1000));
	places_free(places_of(&places, 3));
	assert_non_null(places_take(&places, 52, address(1), 1000));
}

static void
without_shares_one_address_may_have_all(void **state)
{
	int i;

	(void)state;
	places_init(&places, false);
	for (i = 0; i < PLACES; i++)
		assert_non_null(places_take(&places, i, address(1), 1000));
	assert_null(places_take(&places, i, address(1), 1000));
	assert_int_equal(places_silent(&places, address(1))->fd, 0);
}

static void
the_longest_silent_one_goes(void **state)
{
	(void)state;
	places_init(&places, true);
	fill(0, PLACES);
	/* Its number stays lower than that of one that came later. */
	places_free(places_of(&places, 0));
	assert_non_null(places_take(&places, 200, address(7), 1000));
	assert_int_equal(places_silent(&places, address(1))->fd, 1);
	places_of(&places, 1)->asked = true;
	assert_int_equal(places_silent(&places, address(1))->fd, 2);
	places_of(&places, 2)->cut = true;
	assert_int_equal(places_silent(&places, address(1))->fd, 3);
}

static void
an_address_whose_share_is_taken_has_to_give_itself(void **state)
{
	int i;

	(void)state;
	places_init(&places, true);
	fill(0, 4);
	for (i = 0; i < PLACES_PER_ADDRESS; i++)
		assert_non_null(places_take(&places, 10 + i, address(1), 1000));
	assert_int_equal(places_silent(&places, address(1))->fd, 10);
	assert_int_equal(places_silent(&places, address(2))->fd, 0);
	for (i = 0; i < PLACES_PER_ADDRESS; i++)
		places_of(&places, 10 + i)->asked = true;
	assert_null(places_silent(&places, address(1)));
}

static void
time_is_over_for_each_at_its_own(void **state)
{
	(void)state;
	places_init(&places, true);
	assert_true(places_next_ns(&places) == NS_NEVER);
	assert_null(places_overdue(&places, UINT64_MAX - 1));
	assert_non_null(places_take(&places, 1, address(1), 30));
	assert_non_null(places_take(&places, 2, address(1), 20));
	assert_int_equal(places_next_ns(&places), 20);
	assert_null(places_overdue(&places, 19));
	assert_int_equal(places_overdue(&places, 20)->fd, 2);
	places_of(&places, 2)->cut = true;
	assert_null(places_overdue(&places, 20));
	assert_int_equal(places_next_ns(&places), 30);
	assert_int_equal(places_overdue(&places, 30)->fd, 1);
	places_free(places_of(&places, 1));
	assert_true(places_next_ns(&places) == NS_NEVER);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_are_as_many_as_told),
		cmocka_unit_test(an_address_has_its_share),
		cmocka_unit_test(without_shares_one_address_may_have_all),
		cmocka_unit_test(the_longest_silent_one_goes),
		cmocka_unit_test(
		    an_address_whose_share_is_taken_has_to_give_itself),
		cmocka_unit_test(time_is_over_for_each_at_its_own),
	};

	return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
