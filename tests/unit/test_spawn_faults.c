/* Each call that a start makes, failing in turn. */
#include "watch/act/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/fault.h"

enum { PATIENCE_MS = 20000 };

FAULT(int, -1, pipe2, (int ends[2], int flags), (ends, flags))
FAULT(int, -1, waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
    (type, id, info, options))

/* Those that return their error. */
#define FAULT_SPAWN(name, params, args)                                        \
	FAULT(int, fault_##name.error, name, params, args)

FAULT_SPAWN(posix_spawn_file_actions_init,
    (posix_spawn_file_actions_t * actions), (actions))
FAULT_SPAWN(posix_spawn_file_actions_addopen,
    (posix_spawn_file_actions_t *restrict actions, int fd,
	const char *restrict path, int flags, mode_t mode),
    (actions, fd, path, flags, mode))
FAULT_SPAWN(posix_spawn_file_actions_adddup2,
    (posix_spawn_file_actions_t * actions, int from, int to),
    (actions, from, to))
FAULT_SPAWN(posix_spawn_file_actions_addclosefrom_np,
    (posix_spawn_file_actions_t * actions, int from), (actions, from))
FAULT_SPAWN(posix_spawnattr_init, (posix_spawnattr_t * attr), (attr))
FAULT_SPAWN(posix_spawnattr_setflags, (posix_spawnattr_t * attr, short flags),
    (attr, flags))
FAULT_SPAWN(posix_spawnattr_setpgroup, (posix_spawnattr_t * attr, pid_t group),
    (attr, group))
FAULT_SPAWN(posix_spawnattr_setsigmask,
    (posix_spawnattr_t *restrict attr, const sigset_t *restrict mask),
    (attr, mask))
FAULT_SPAWN(posix_spawnattr_setsigdefault,
    (posix_spawnattr_t *restrict attr, const sigset_t *restrict set),
    (attr, set))
FAULT_SPAWN(posix_spawn,
    (pid_t *restrict pid, const char *restrict path,
	const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *restrict attr, char *const argv[],
	char *const envp[]),
    (pid, path, actions, attr, argv, envp))

/* These take any number of arguments: ours have one and two. */
static struct fault fault_fcntl;
static struct fault fault_syscall;

int __real_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

int
__wrap_fcntl64(int fd, int what, ...)
{
	va_list args;
	int value;

	if (fault_hits(&fault_fcntl))
		return -1;
	va_start(args, what);
	value = va_arg(args, int);
	va_end(args);
	return __real_fcntl64(fd, what, value);
}

long
__wrap_syscall(long number, ...)
{
	va_list args;
	long first, second;

	if (fault_hits(&fault_syscall))
		return -1;
	va_start(args, number);
	first = va_arg(args, long);
	second = va_arg(args, long);
	va_end(args);
	return __real_syscall(number, first, second);
}

static int
open_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++) {
		if (__real_fcntl64(fd, F_GETFD) >= 0)
			n++;
	}
	return n;
}

static int
start(struct spawned *ret)
{
	static char program[] = "/bin/true";
	char *const argv[] = { program, NULL }, *const envp[] = { NULL };

	return spawn_real.start(NULL, argv, envp, ret);
}

static void
wait_for_end(struct spawned *s)
{
	struct pollfd pollfd = { .fd = s->output[0] };
	struct exit_info exit;
	int r = 0;

	/* Only that the stream is over, not the process, can be waited for. */
	assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
	while (r == 0)
		r = spawn_real.reap(NULL, s->pid, &exit);
	assert_int_equal(r, 1);
	fd_close(&s->pidfd);
	fd_close(&s->output[0]);
	fd_close(&s->output[1]);
}

static void
a_call_that_fails_is_an_error_and_leaves_nothing_open(void **state)
{
	struct fault *const faults[] = { &fault_pipe2,
		&fault_posix_spawn_file_actions_init,
		&fault_posix_spawn_file_actions_addopen,
		&fault_posix_spawn_file_actions_adddup2,
		&fault_posix_spawn_file_actions_addclosefrom_np,
		&fault_posix_spawnattr_init, &fault_posix_spawnattr_setflags,
		&fault_posix_spawnattr_setpgroup,
		&fault_posix_spawnattr_setsigmask,
		&fault_posix_spawnattr_setsigdefault, &fault_posix_spawn,
		&fault_fcntl };
	struct spawned s = { .pid = -7 };
	int before = open_descriptors();
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		fault_nth(faults[i], 1, ENOMEM);
		assert_int_equal(start(&s), -ENOMEM);
		fault_off(faults[i]);
	}
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(s.pid, -7);
}

static void
a_second_call_that_fails_leaves_nothing_open_either(void **state)
{
	struct spawned s = { .pid = -7 };
	int before = open_descriptors();

	(void)state;
	fault_nth(&fault_pipe2, 2, EMFILE);
	assert_int_equal(start(&s), -EMFILE);
	fault_off(&fault_pipe2);
	fault_nth(&fault_posix_spawn_file_actions_adddup2, 2, ENOMEM);
	assert_int_equal(start(&s), -ENOMEM);
	fault_off(&fault_posix_spawn_file_actions_adddup2);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(s.pid, -7);
}

static void
a_pipe_that_cannot_be_moved_up_is_an_error(void **state)
{
	int saved = __real_fcntl64(STDIN_FILENO, F_DUPFD_CLOEXEC, 100);
	struct spawned s;
	int r;

	(void)state;
	assert_true(saved >= 0);
	(void)close(STDIN_FILENO);
	fault_nth(&fault_fcntl, 1, EMFILE);
	r = start(&s);
	fault_off(&fault_fcntl);
	(void)dup2(saved, STDIN_FILENO);
	fd_close(&saved);
	assert_int_equal(r, -EMFILE);
}

static void
without_a_pidfd_a_child_runs_all_the_same(void **state)
{
	struct spawned s;

	(void)state;
	fault_nth(&fault_syscall, 1, EMFILE);
	assert_int_equal(start(&s), 0);
	fault_off(&fault_syscall);
	assert_int_equal(s.pidfd, -1);
	wait_for_end(&s);
}

static void
an_interrupted_wait_is_made_again(void **state)
{
	struct exit_info exit;

	(void)state;
	fault_nth(&fault_waitid, 1, EINTR);
	assert_int_equal(spawn_real.reap(NULL, getppid(), &exit), -ECHILD);
	assert_int_equal(fault_waitid.calls, 2);
	fault_off(&fault_waitid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_call_that_fails_is_an_error_and_leaves_nothing_open),
		cmocka_unit_test(
		    a_second_call_that_fails_leaves_nothing_open_either),
		cmocka_unit_test(a_pipe_that_cannot_be_moved_up_is_an_error),
		cmocka_unit_test(without_a_pidfd_a_child_runs_all_the_same),
		cmocka_unit_test(an_interrupted_wait_is_made_again),
	};

	return cmocka_run_group_tests_name("spawn_faults", tests, NULL, NULL);
}
