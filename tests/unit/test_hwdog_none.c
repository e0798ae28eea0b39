#include "watch/host/hwdog.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"

static void
a_system_without_watchdogs_refuses_and_says_so(void **state)
{
	struct hwdog *dog = NULL;
	struct file_fault fault = { "" };

	(void)state;
	assert_int_equal(
	    hwdog_open("/dev/watchdog", NULL, 0, &dog, &fault), -EOPNOTSUPP);
	assert_null(dog);
	assert_string_equal(fault.text, "no hardware watchdogs on this system");
}

static void
what_is_not_there_asks_for_nothing(void **state)
{
	(void)state;
	assert_true(hwdog_kick(NULL, 0) == NS_NEVER);
	assert_int_equal(hwdog_timeout_s(NULL), 0);
	hwdog_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_system_without_watchdogs_refuses_and_says_so),
		cmocka_unit_test(what_is_not_there_asks_for_nothing),
	};

	return cmocka_run_group_tests_name("hwdog_none", tests, NULL, NULL);
}
