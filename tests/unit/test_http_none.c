#include "watch/tell/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
opening_says_that_there_is_no_http(void **state)
{
	const struct http_options options = { .has_token = false };
	const struct metrics_source source = { .stats = NULL };
	struct http *untouched = NULL;
	struct http_fault fault;

	(void)state;
	assert_false(http_is_available());
	assert_int_equal(
	    http_open(&options, &source, NULL, &untouched, &fault), -ENOSYS);
	assert_string_equal(fault.text, "this build has no HTTP");
	assert_null(untouched);
	http_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening_says_that_there_is_no_http),
	};

	return cmocka_run_group_tests_name("http_none", tests, NULL, NULL);
}
