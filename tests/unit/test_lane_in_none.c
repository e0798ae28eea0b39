/* Where nobody can be named there are no lanes, and that is said. */
#include "watch/intake/lane_in.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
opening_is_refused_and_says_why(void **state)
{
	const struct lane_in_options options = {
		.path = "/nowhere/varta.sock",
		.mode = 0600,
		.places = 1,
	};
	char fault[UNIX_PATH_FAULT_BYTES] = "";
	struct stats stats = { 0 };
	struct lane_in *in = NULL;

	(void)state;
	assert_int_equal(
	    lane_in_open(&options, &stats, &in, fault), -EOPNOTSUPP);
	assert_null(in);
	assert_non_null(strstr(fault, "/nowhere/varta.sock"));
	assert_non_null(strstr(fault, "not possible"));
}

static void
what_is_not_open_has_no_descriptor_and_no_news(void **state)
{
	(void)state;
	assert_int_equal(lane_in_fd(NULL), -1);
	assert_true(lane_in_source(NULL).take == NULL);
	lane_in_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening_is_refused_and_says_why),
		cmocka_unit_test(
		    what_is_not_open_has_no_descriptor_and_no_news),
	};

	return cmocka_run_group_tests_name("lane_in_none", tests, NULL, NULL);
}
