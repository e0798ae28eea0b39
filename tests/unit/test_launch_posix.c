/* The launcher of systems other than Linux: each call failing in turn. That it
 * does what it is to do is said by test_spawn, built with it. */
#include "watch/act/launch.h"

#include <errno.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"

FAULT_ERROR(posix_spawn_file_actions_init,
    (posix_spawn_file_actions_t * actions), (actions))
FAULT_ERROR(posix_spawn_file_actions_addopen,
    (posix_spawn_file_actions_t *restrict actions, int fd,
	const char *restrict path, int flags, mode_t mode),
    (actions, fd, path, flags, mode))
FAULT_ERROR(posix_spawn_file_actions_adddup2,
    (posix_spawn_file_actions_t * actions, int from, int to),
    (actions, from, to))
FAULT_ERROR(posix_spawn_file_actions_addclosefrom_np,
    (posix_spawn_file_actions_t * actions, int from), (actions, from))
FAULT_ERROR(posix_spawnattr_init, (posix_spawnattr_t * attr), (attr))
FAULT_ERROR(posix_spawnattr_setflags, (posix_spawnattr_t * attr, short flags),
    (attr, flags))
FAULT_ERROR(posix_spawnattr_setpgroup, (posix_spawnattr_t * attr, pid_t group),
    (attr, group))
FAULT_ERROR(posix_spawnattr_setsigmask,
    (posix_spawnattr_t *restrict attr, const sigset_t *restrict mask),
    (attr, mask))
FAULT_ERROR(posix_spawnattr_setsigdefault,
    (posix_spawnattr_t *restrict attr, const sigset_t *restrict set),
    (attr, set))
FAULT_ERROR(posix_spawn,
    (pid_t *restrict pid, const char *restrict path,
	const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *restrict attr, char *const argv[],
	char *const envp[]),
    (pid, path, actions, attr, argv, envp))

static int
run(pid_t *ret)
{
	static char program[] = "/bin/true";
	char *const argv[] = { program, NULL }, *const envp[] = { NULL };
	const int output[2] = { 2, 2 };
	struct launcher *l;

	assert_int_equal(launcher_new(&l), 0);
	return launcher_run(l, program, argv, envp, output, ret);
}

static void
a_call_that_fails_is_an_error(void **state)
{
	struct fault *const faults[] = { &fault_posix_spawn_file_actions_init,
		&fault_posix_spawn_file_actions_addopen,
		&fault_posix_spawn_file_actions_adddup2,
		&fault_posix_spawn_file_actions_addclosefrom_np,
		&fault_posix_spawnattr_init, &fault_posix_spawnattr_setflags,
		&fault_posix_spawnattr_setpgroup,
		&fault_posix_spawnattr_setsigmask,
		&fault_posix_spawnattr_setsigdefault, &fault_posix_spawn };
	pid_t pid = -7;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		fault_nth(faults[i], 1, ENOMEM);
		assert_int_equal(run(&pid), -ENOMEM);
		fault_off(faults[i]);
	}
	fault_nth(&fault_posix_spawn_file_actions_adddup2, 2, ENOMEM);
	assert_int_equal(run(&pid), -ENOMEM);
	fault_off(&fault_posix_spawn_file_actions_adddup2);
	assert_int_equal(pid, -7);
	assert_int_equal(run(&pid), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_that_fails_is_an_error),
	};

	return cmocka_run_group_tests_name("launch_posix", tests, NULL, NULL);
}
