#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fault.h"
#include "watch/host/priority.h"

FAULT(int, -1, setpriority, (__priority_which_t which, id_t who, int nice),
    (which, who, nice))
FAULT(int, -1, sched_setscheduler,
    (pid_t pid, int policy, const struct sched_param *param),
    (pid, policy, param))

/* Run f in a child, which may change its own priority. */
static int
in_child(int (*f)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(f());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
child_of_the_first(void)
{
	pid_t pid;
	int status;

	if (priority_go_first() != -20)
		return 77; /* we may not */
	pid = fork();
	if (pid == 0)
		_exit(getpriority(PRIO_PROCESS, 0) == 0 ? 0 : 1);
	(void)waitpid(pid, &status, 0);
	return status == 0 ? 0 : 1;
}

static void
children_begin_with_the_ordinary_priority(void **state)
{
	int r = in_child(child_of_the_first);

	(void)state;
	if (r == 77)
		skip();
	assert_int_equal(r, 0);
}

static int
already_nice(void)
{
	return setpriority(PRIO_PROCESS, 0, 5) == 0 && priority_go_first() == 5
		   ? 0
		   : 1;
}

static void
a_priority_that_somebody_chose_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(in_child(already_nice), 0);
}

static int
not_permitted(void)
{
	const int before = getpriority(PRIO_PROCESS, 0);

	fault_always(&fault_setpriority, EACCES);
	return priority_go_first() == before ? 0 : 1;
}

static int
no_such_policy(void)
{
	const int before = getpriority(PRIO_PROCESS, 0);

	fault_always(&fault_sched_setscheduler, EINVAL);
	return priority_go_first() == before ? 0 : 1;
}

static void
without_permission_all_stays_as_it_is(void **state)
{
	(void)state;
	assert_int_equal(in_child(not_permitted), 0);
	assert_int_equal(in_child(no_such_policy), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(children_begin_with_the_ordinary_priority),
		cmocka_unit_test(a_priority_that_somebody_chose_is_left_alone),
		cmocka_unit_test(without_permission_all_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
