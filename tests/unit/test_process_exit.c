#include "watch/host/process.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/child.h"
#include "support/fault.h"

static struct fault fault_syscall, fault_ioctl, fault_vfork;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
pid_t __wrap_vfork(void);

long
__wrap_syscall(long number, ...)
{
	va_list args;
	long a[4];
	int i;

	if (fault_hits(&fault_syscall))
		return -1;
	va_start(args, number);
	for (i = 0; i < 4; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	return __real_syscall(number, a[0], a[1], a[2], a[3]);
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	if (fault_hits(&fault_ioctl))
		return -1;
	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	return __real_ioctl(fd, request, arg);
}

pid_t
__wrap_vfork(void)
{
	/* A function that calls vfork() must not return in the child. */
	return fault_hits(&fault_vfork) ? -1 : fork();
}

static int
setup(void **state)
{
	(void)state;
	fault_off(&fault_syscall);
	fault_off(&fault_ioctl);
	fault_off(&fault_vfork);
	return 0;
}

static void
the_end_is_explained_once_reaped(void **state)
{
	static const struct {
		int how;
		struct exit_info want;
	} ends[] = {
		{ 0, { EXIT_HOW_CODE, 0 } },
		{ 7, { EXIT_HOW_CODE, 7 } },
		{ 255, { EXIT_HOW_CODE, 255 } },
		{ -SIGKILL, { EXIT_HOW_SIGNAL, SIGKILL } },
		{ -SIGSEGV, { EXIT_HOW_SIGNAL, SIGSEGV } },
	};
	struct exit_info info;
	struct identity who;
	struct child c;
	size_t i;

	(void)state;
	if (!process_exit_info_is_available())
		skip();
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		c = child_start(NULL, ends[i].how);
		assert_int_equal(process_identify((uint32_t)c.pid, &who), 0);
		assert_int_equal(
		    process_exit_info(who.pidfd).how, EXIT_HOW_UNKNOWN);
		child_end(&c);
		assert_int_equal(
		    process_exit_info(who.pidfd).how, EXIT_HOW_UNKNOWN);
		child_reap(&c);
		info = process_exit_info(who.pidfd);
		assert_int_equal(info.how, ends[i].want.how);
		assert_int_equal(info.value, ends[i].want.value);
		fd_close(&who.pidfd);
	}
}

static void
older_kernels_do_not_explain_the_end(void **state)
{
	(void)state;
	fault_always(&fault_ioctl, ENOTTY);
	assert_false(process_exit_info_is_available());
	assert_int_equal(process_exit_info(0).how, EXIT_HOW_UNKNOWN);
	fault_off(&fault_ioctl);
	fault_always(&fault_syscall, ENOSYS);
	assert_false(process_exit_info_is_available());
	fault_off(&fault_syscall);
	fault_always(&fault_vfork, EAGAIN);
	assert_false(process_exit_info_is_available());
	/* No descriptor of a process at all. */
	assert_int_equal(process_exit_info(-1).how, EXIT_HOW_UNKNOWN);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup(test, setup)
	const struct CMUnitTest tests[] = {
		EACH(the_end_is_explained_once_reaped),
		EACH(older_kernels_do_not_explain_the_end),
	};

	return cmocka_run_group_tests_name("process exit", tests, NULL, NULL);
}
