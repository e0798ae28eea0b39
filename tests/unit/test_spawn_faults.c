/* Each call that a start makes, failing in turn. */
#include "watch/act/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/fault_fcntl.h"
#include "watch/act/launch.h"

enum { PATIENCE_MS = 20000 };

FAULT(int, -1, dup2, (int from, int to), (from, to))
FAULT(int, -1, dup3, (int from, int to, int flags), (from, to, flags))
FAULT(int, -1, execve,
    (const char *path, char *const argv[], char *const envp[]),
    (path, argv, envp))
FAULT(int, -1, open64, (const char *path, int flags), (path, flags))
FAULT(int, -1, pipe2, (int ends[2], int flags), (ends, flags))
FAULT(int, -1, setpgid, (pid_t pid, pid_t group), (pid, group))
FAULT(int, -1, unshare, (int flags), (flags))
FAULT(int, -1, waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
    (type, id, info, options))

static struct launcher *launcher;

/* These take any number of arguments. */
static struct fault fault_clone;
static struct fault fault_syscall;

int __real_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
int __wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long
__wrap_syscall(long number, ...)
{
	long arg[3] = { 0, 0, 0 };
	va_list args;
	int i, n = number == SYS_close_range ? 3 : 2;

	if (fault_hits(&fault_syscall))
		return -1;
	va_start(args, number);
	for (i = 0; i < n; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	return __real_syscall(number, arg[0], arg[1], arg[2]);
}

int
__wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	if (fault_hits(&fault_clone))
		return -1;
	return __real_clone(fn, stack, flags, arg);
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

	return spawn_real.start(launcher, argv, envp, ret);
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
	struct fault *const faults[] = { &fault_pipe2, &fault_fcntl,
		&fault_dup3, &fault_clone, &fault_dup2, &fault_setpgid,
		&fault_execve };
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
	fault_nth(&fault_dup3, 2, ENOMEM);
	assert_int_equal(start(&s), -ENOMEM);
	fault_off(&fault_dup3);
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
	/* The first two are the child's. */
	fault_nth(&fault_syscall, 3, EMFILE);
	assert_int_equal(start(&s), 0);
	fault_off(&fault_syscall);
	assert_int_equal(s.pidfd, -1);
	wait_for_end(&s);
}

/* As before Linux 5.9. */
static void
without_close_range_no_descriptor_is_passed_on_either(void **state)
{
	static char program[] = "/bin/ls", folder[] = "/proc/self/fd";
	char *const argv[] = { program, folder, NULL }, *const envp[] = {
		NULL
	};
	int leak = dup(STDERR_FILENO);
	struct launcher *old;
	struct spawned s;
	char text[64] = "";

	(void)state;
	fault_always(&fault_syscall, ENOSYS);
	assert_int_equal(launcher_new(&old), 0);
	assert_int_equal(spawn_real.start(old, argv, envp, &s), 0);
	fault_off(&fault_syscall);
	launcher_free(old);
	fd_close(&leak);
	(void)waitid(P_PID, (id_t)s.pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	assert_true(read(s.output[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "0\n1\n2\n3\n");
	wait_for_end(&s);
}

static void
without_a_table_of_its_own_there_is_no_child(void **state)
{
	struct spawned s;

	(void)state;
	fault_always(&fault_syscall, ENOSYS);
	fault_nth(&fault_unshare, 1, ENOMEM);
	assert_int_equal(start(&s), -ENOMEM);
	fault_off(&fault_unshare);
	fault_off(&fault_syscall);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void
a_launcher_without_descriptors_is_an_error(void **state)
{
	struct launcher *none = NULL;
	int before = open_descriptors();

	(void)state;
	fault_nth(&fault_open64, 1, EMFILE);
	assert_int_equal(launcher_new(&none), -EMFILE);
	fault_off(&fault_open64);
	fault_nth(&fault_fcntl, 2, EMFILE);
	assert_int_equal(launcher_new(&none), -EMFILE);
	fault_off(&fault_fcntl);
	assert_null(none);
	assert_int_equal(open_descriptors(), before);
}

static int
make_launcher(void **state)
{
	(void)state;
	return launcher_new(&launcher);
}

static int
free_launcher(void **state)
{
	(void)state;
	launcher_free(launcher);
	return 0;
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
		cmocka_unit_test(
		    without_close_range_no_descriptor_is_passed_on_either),
		cmocka_unit_test(without_a_table_of_its_own_there_is_no_child),
		cmocka_unit_test(a_launcher_without_descriptors_is_an_error),
		cmocka_unit_test(an_interrupted_wait_is_made_again),
	};

	return cmocka_run_group_tests_name(
	    "spawn_faults", tests, make_launcher, free_launcher);
}
