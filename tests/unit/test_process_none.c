#include "watch/host/process.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static void
nobody_is_known_and_nobody_gone(void **state)
{
	struct identity who = { .start_ticks = 7, .pidfd = 7, .gone = true };
	char name[8] = "x";

	(void)state;
	assert_int_equal(process_identify((uint32_t)getpid(), &who), 0);
	assert_int_equal(who.start_ticks, 0);
	assert_int_equal(who.pid_namespace, 0);
	assert_int_equal(who.pidfd, -1);
	assert_false(who.gone);
	assert_int_equal(process_start_ticks((uint32_t)getpid()), 0);
	assert_int_equal(process_pid_namespace(0), 0);
	process_name((uint32_t)getpid(), name, sizeof(name));
	assert_string_equal(name, "");
}

static void
every_pid_is_possible(void **state)
{
	(void)state;
	assert_true(process_pid_max() == UINT32_MAX);
}

static void
no_end_is_explained(void **state)
{
	(void)state;
	assert_false(process_exit_info_is_available());
	assert_int_equal(process_exit_info(0).how, EXIT_HOW_UNKNOWN);
}

static void
the_set_is_there_and_never_tells(void **state)
{
	struct process_set *s = NULL;
	struct process_told told;

	(void)state;
	assert_int_equal(process_set_open(&s), 0);
	assert_non_null(s);
	assert_int_equal(process_set_fd(s), -1);
	assert_int_equal(process_set_add(s, 0, 1), -ENOTSUP);
	assert_int_equal(process_set_take(s, &told, 1), 0);
	process_set_remove(s, 0);
	process_set_close(s);
	process_set_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_known_and_nobody_gone),
		cmocka_unit_test(every_pid_is_possible),
		cmocka_unit_test(no_end_is_explained),
		cmocka_unit_test(the_set_is_there_and_never_tells),
	};

	return cmocka_run_group_tests_name("process none", tests, NULL, NULL);
}
