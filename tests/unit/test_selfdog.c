#include "watch/host/selfdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/fault.h"

enum { DEADLINE_MS = 20000 }; /* generous; only a failing test waits for it */

FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(int, -1, pipe2, (int fds[2], int flags), (fds, flags))
FAULT(int, EAGAIN, pthread_create,
    (pthread_t * t, const pthread_attr_t *attr, void *(*f)(void *), void *ctx),
    (t, attr, f, ctx))
FAULT(int, EINVAL, pthread_sigmask,
    (int how, const sigset_t *set, sigset_t *old), (how, set, old))

/* The thread polls before each look, with a time-out; so looks can be waited
 * for. */
static _Atomic unsigned n_polls;

int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

int
__wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (timeout_ms > 0)
		atomic_fetch_add(&n_polls, 1);
	return __real_poll(fds, n, timeout_ms);
}

static struct pulse pulse;
static struct sdnotify notify;
static int manager = -1; /* the other end of notify */
static struct selfdog *dog;
static struct selfdog_options options;

static int
setup(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
	notify.fd = pair[0];
	manager = pair[1];
	pulse_init(&pulse);
	options = (struct selfdog_options){
		.pulse = &pulse,
		.notify = &notify,
		.input_fd = -1,
		.deadline_ns = 1000 * NS_PER_S,
		.manager_ns = 100 * NS_PER_MS,
	};
	dog = NULL;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fault_off(&fault_malloc);
	fault_off(&fault_pipe2);
	fault_off(&fault_pthread_create);
	fault_off(&fault_pthread_sigmask);
	selfdog_close(dog);
	fd_close(&notify.fd);
	fd_close(&manager);
	return 0;
}

static void
start(void)
{
	assert_int_equal(selfdog_open(&options, &dog), 0);
}

/* Until the thread has looked n times from now on. */
static void
let_it_look(unsigned n)
{
	unsigned before = atomic_load(&n_polls);

	for (int ms = 0; ms < DEADLINE_MS; ms++) {
		/* One that was under way does not count. */
		if (atomic_load(&n_polls) - before > n)
			return;
		(void)__real_poll(NULL, 0, 1);
	}
	fail_msg("%s", "the thread does not look");
}

static void
is_told_watchdog(void)
{
	struct pollfd asked = { .fd = manager, .events = POLLIN };
	char text[64];
	ssize_t n;

	assert_int_equal(__real_poll(&asked, 1, DEADLINE_MS), 1);
	n = recv(manager, text, sizeof(text), 0);
	assert_int_equal(n, strlen("WATCHDOG=1\n"));
	assert_memory_equal(text, "WATCHDOG=1\n", (size_t)n);
}

static bool
is_told_nothing(void)
{
	char text[64];

	return recv(manager, text, sizeof(text), 0) < 0 && errno == EAGAIN;
}

static void
it_looks_four_times_in_a_managers_interval(void **state)
{
	(void)state;
	assert_true(selfdog_interval_ns(0) == 500 * NS_PER_MS);
	assert_true(selfdog_interval_ns(1) == 25 * NS_PER_MS);
	assert_true(selfdog_interval_ns(100 * NS_PER_MS) == 25 * NS_PER_MS);
	assert_true(selfdog_interval_ns(NS_PER_S) == 250 * NS_PER_MS);
	assert_true(selfdog_interval_ns(2 * NS_PER_S) == 500 * NS_PER_MS);
	assert_true(selfdog_interval_ns(UINT64_MAX) == 500 * NS_PER_MS);
}

static void
the_manager_is_told_once_a_pass_is_completed(void **state)
{
	(void)state;
	start();
	let_it_look(3);
	pulse_enter(&pulse, STATS_STAGE_POLL);
	let_it_look(3);
	assert_true(is_told_nothing());

	pulse_wait(&pulse, NS_NEVER);
	is_told_watchdog();
	/* From then on, whether or not the loop has anything to do. */
	is_told_watchdog();
	is_told_watchdog();
}

static void
a_manager_that_waits_for_nothing_is_told_nothing(void **state)
{
	(void)state;
	options.manager_ns = 0;
	pulse_wait(&pulse, NS_NEVER);
	start();
	let_it_look(2);
	assert_true(is_told_nothing());
}

static void
a_manager_that_has_gone_does_not_matter(void **state)
{
	(void)state;
	pulse_wait(&pulse, NS_NEVER);
	start();
	is_told_watchdog();
	fd_close(&manager);
	let_it_look(5);
}

static void
nothing_is_told_after_closing(void **state)
{
	(void)state;
	pulse_wait(&pulse, NS_NEVER);
	start();
	is_told_watchdog();
	selfdog_close(dog);
	dog = NULL;
	while (!is_told_nothing())
		;
	assert_true(is_told_nothing());
	selfdog_close(NULL);
}

static void
no_signal_goes_to_the_thread(void **state)
{
	sigset_t one, before, pending;
	int got;

	(void)state;
	(void)sigemptyset(&one);
	(void)sigaddset(&one, SIGUSR1);
	start();
	assert_int_equal(__real_pthread_sigmask(SIG_BLOCK, &one, &before), 0);
	/* Nobody is left to take it, so it waits and kills nobody. */
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	let_it_look(2);
	assert_int_equal(sigpending(&pending), 0);
	assert_int_equal(sigismember(&pending, SIGUSR1), 1);
	assert_int_equal(sigwait(&one, &got), 0);
	assert_int_equal(__real_pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static void
the_callers_signals_are_as_before(void **state)
{
	sigset_t mask;

	(void)state;
	start();
	assert_int_equal(__real_pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void
what_fails_at_the_start_leaves_nothing_behind(void **state)
{
	int fd_before = dup(STDIN_FILENO), fd_after;
	sigset_t mask;

	(void)state;
	fd_close(&fd_before);
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(selfdog_open(&options, &dog), -ENOMEM);
	fault_nth(&fault_pipe2, 1, EMFILE);
	assert_int_equal(selfdog_open(&options, &dog), -EMFILE);
	fault_nth(&fault_pthread_sigmask, 1, EINVAL);
	assert_int_equal(selfdog_open(&options, &dog), -EINVAL);
	fault_nth(&fault_pthread_create, 1, EAGAIN);
	assert_int_equal(selfdog_open(&options, &dog), -EAGAIN);
	assert_null(dog);

	assert_int_equal(__real_pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	assert_int_equal(sigismember(&mask, SIGTERM), 0);
	/* The lowest free descriptor is the one of before. */
	fd_after = dup(STDIN_FILENO);
	fd_before = dup(fd_after);
	assert_int_equal(fd_before, fd_after + 1);
	fd_close(&fd_before);
	fd_close(&fd_after);
}

/* ---- the shot: in a child, which is to die of it --------------------------
 */

/* A process under a watchdog, with standard error as given. Returns its
 * status. */
static int
status_of_a_child_with(int stderr_fd)
{
	const struct rlimit no_core = { 0, 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(DEADLINE_MS / 1000);
		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)dup2(stderr_fd, STDERR_FILENO);
		if (selfdog_open(&options, &dog) < 0)
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
is_shot(int stderr_fd)
{
	int status = status_of_a_child_with(stderr_fd);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void
is_shot_saying(const char *words)
{
	char line[256];
	ssize_t n;
	int fds[2];

	assert_int_equal(__real_pipe2(fds, O_CLOEXEC), 0);
	is_shot(fds[1]);
	fd_close(&fds[1]);
	n = fd_read_full(fds[0], line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
	fd_close(&fds[0]);
	assert_ptr_equal(strstr(line, "varta-watch: the loop hangs: "), line);
	if (strstr(line, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, line);
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
}

static void
a_pass_without_end_is_shot(void **state)
{
	(void)state;
	options.deadline_ns = NS_PER_MS;
	pulse_enter(&pulse, STATS_STAGE_POLL);
	is_shot_saying("a pass takes ");
}

static void
a_stage_without_end_is_shot(void **state)
{
	(void)state;
	pulse_enter(&pulse, STATS_STAGE_MAINTENANCE);
	is_shot_saying("stage maintenance takes ");
}

static void
a_loop_that_oversleeps_is_shot(void **state)
{
	(void)state;
	options.deadline_ns = NS_PER_MS;
	pulse_wait(&pulse, NS_PER_MS);
	is_shot_saying("it waits for ");
}

static void
a_loop_that_is_deaf_is_shot(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(__real_pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	options.deadline_ns = NS_PER_MS;
	options.input_fd = fds[0];
	is_shot_saying("beats have been waiting for ");
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void
a_standard_error_that_takes_nothing_saves_nobody(void **state)
{
	char page[4096] = { 0 };
	int fds[2];

	(void)state;
	options.deadline_ns = NS_PER_MS;
	pulse_enter(&pulse, STATS_STAGE_POLL);
	assert_int_equal(__real_pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(fds[1], page, sizeof(page)) > 0)
		;
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
	is_shot(fds[1]);
	/* Nor one that nobody will ever read. */
	fd_close(&fds[0]);
	is_shot(fds[1]);
	fd_close(&fds[1]);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(it_looks_four_times_in_a_managers_interval),
		EACH(the_manager_is_told_once_a_pass_is_completed),
		EACH(a_manager_that_waits_for_nothing_is_told_nothing),
		EACH(a_manager_that_has_gone_does_not_matter),
		EACH(nothing_is_told_after_closing),
		EACH(no_signal_goes_to_the_thread),
		EACH(the_callers_signals_are_as_before),
		EACH(what_fails_at_the_start_leaves_nothing_behind),
		EACH(a_pass_without_end_is_shot),
		EACH(a_stage_without_end_is_shot),
		EACH(a_loop_that_oversleeps_is_shot),
		EACH(a_loop_that_is_deaf_is_shot),
		EACH(a_standard_error_that_takes_nothing_saves_nobody),
	};

	return cmocka_run_group_tests_name("selfdog", tests, NULL, NULL);
}
