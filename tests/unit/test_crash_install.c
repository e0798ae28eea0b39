/*
 * Installing the crash handler: what was there before is kept, and what fails
 * leaves no trace.
 */
#include <sys/mman.h>

#include "support/crash_fixture.h"
#include "support/fault.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, sigaction,
    (int sig, const struct sigaction *a, struct sigaction *b), (sig, a, b))
FAULT(int, -1, sigaltstack, (const stack_t *a, stack_t *b), (a, b))
FAULT(int, -1, mprotect, (void *p, size_t n, int prot), (p, n, prot))
FAULT(void *, MAP_FAILED, mmap64,
    (void *at, size_t n, int prot, int flags, int fd, off_t from),
    (at, n, prot, flags, fd, from))
FAULT(ssize_t, -1, sendto,
    (int fd, const void *p, size_t n, int flags, const struct sockaddr *to,
	socklen_t len),
    (fd, p, n, flags, to, len))

/* Earlier handlers. */

static volatile sig_atomic_t earlier_calls;

static void
earlier_exit(int sig)
{
	(void)sig;
	_exit(EARLIER_EXIT);
}

static void
earlier_exit_with_info(int sig, siginfo_t *info, void *context)
{
	_exit(info->si_signo == sig && context != NULL ? EARLIER_EXIT : 1);
}

static void
earlier_count(int sig)
{
	(void)sig;
	earlier_calls++;
}

static void
set_earlier(int sig, int flags, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	(void)sigemptyset(&action.sa_mask);
	must(sigaction(sig, &action, NULL) == 0);
}

static void
die_with_an_earlier_handler(const struct fixture *f)
{
	set_earlier(SIGSEGV, 0, earlier_exit);
	install(f);
	(void)raise(SIGSEGV);
}

static void
die_with_an_earlier_handler_that_wants_to_know(const struct fixture *f)
{
	struct sigaction action = { .sa_sigaction = earlier_exit_with_info,
		.sa_flags = SA_SIGINFO };

	must(sigaction(SIGSEGV, &action, NULL) == 0);
	install(f);
	(void)raise(SIGSEGV);
}

static void
an_earlier_handler_runs_after_the_last_word(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	child = start(die_with_an_earlier_handler, f);
	assert_exits_with(child, EARLIER_EXIT);
	assert_last_word(&f->listener, child, SIGSEGV);
	child = start(die_with_an_earlier_handler_that_wants_to_know, f);
	assert_exits_with(child, EARLIER_EXIT);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
survive_by_an_earlier_handler(const struct fixture *f)
{
	set_earlier(SIGTERM, 0, earlier_count);
	install_all(f);
	(void)raise(SIGTERM);
	(void)raise(SIGTERM);
	must(earlier_calls == 2);
}

static void
a_handler_that_goes_on_goes_on(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(survive_by_an_earlier_handler, f);
	struct varta_frame first, second;

	assert_exits_with(child, OWN_EXIT);
	assert_true(listener_take(&f->listener, 0, &first));
	assert_true(listener_take(&f->listener, 0, &second));
	assert_true(second.timestamp > first.timestamp);
}

static void
die_at_the_second_signal(const struct fixture *f)
{
	set_earlier(SIGTERM, (int)SA_RESETHAND, earlier_count);
	install_all(f);
	(void)raise(SIGTERM);
	must(earlier_calls == 1);
	(void)raise(SIGTERM);
}

static void
a_handler_for_one_time_runs_one_time(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(die_at_the_second_signal, f);

	assert_killed_by(child, SIGTERM);
	assert_last_word(&f->listener, child, SIGTERM);
}

static void
ignore_a_signal(const struct fixture *f)
{
	set_earlier(SIGHUP, 0, SIG_IGN);
	install_all(f);
	(void)raise(SIGHUP);
}

static void
an_ignored_signal_stays_ignored(void **state)
{
	struct fixture *f = *state;

	assert_exits_with(start(ignore_a_signal, f), OWN_EXIT);
	assert_true(listener_is_empty(&f->listener));
}

static void
install_under_another_handler(const struct fixture *f)
{
	install(f);
	set_earlier(SIGSEGV, 0, earlier_exit);
	install(f);
	install_all(f);
	(void)raise(SIGSEGV);
}

static void
a_handler_set_over_ours_stays_in_front(void **state)
{
	struct fixture *f = *state;

	assert_exits_with(
	    start(install_under_another_handler, f), EARLIER_EXIT);
	assert_true(listener_is_empty(&f->listener));
}

static void
check_own_stack_is_kept(const struct fixture *f)
{
	static char own[65536];
	stack_t stack = { .ss_sp = own, .ss_size = sizeof(own) };

	must(sigaltstack(&stack, NULL) == 0);
	install(f);
	must(sigaltstack(NULL, &stack) == 0);
	must(stack.ss_sp == own && stack.ss_size == sizeof(own));
}

static void
a_signal_stack_of_the_program_is_kept(void **state)
{
	assert_exits_with(start(check_own_stack_is_kept, *state), OWN_EXIT);
}

/* What cannot be installed. */

/* Is all as in a program that never called us? */
static bool
nothing_is_installed(const struct fixture *f, int fds)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
		SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct sigaction action;
	stack_t stack;
	size_t i;

	(void)f;
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &action) < 0 ||
		    action.sa_handler != SIG_DFL)
			return false;
	return sigaltstack(NULL, &stack) == 0 &&
	       (stack.ss_flags & SS_DISABLE) != 0 && dgram_count_fds() == fds &&
	       varta_crash_frame_send(0) == VARTA_ERR_NO_CRASH_HANDLER;
}

static void
without_signal_stack(void)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	must(sigaltstack(&none, NULL) == 0);
}

static void
install_at_bad_addresses(const struct fixture *f)
{
	char path[200];
	int fds = dgram_count_fds();

	without_signal_stack();
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	must(varta_crash_handler_install("x") == VARTA_ERR_ADDRESS);
	must(varta_crash_handler_install("udp:h") == VARTA_ERR_ADDRESS);
	must(varta_crash_handler_install(path) == -ENAMETOOLONG);
	must(varta_crash_handler_install_signals(f->path, 0) == -EINVAL);
	must(varta_crash_handler_install_signals(f->path, 4) == -EINVAL);
	must(nothing_is_installed(f, fds));
}

static void
bad_arguments_install_nothing(void **state)
{
	assert_exits_with(start(install_at_bad_addresses, *state), OWN_EXIT);
}

static int
try_install(const struct fixture *f)
{
	return varta_crash_handler_install_signals(
	    f->path, VARTA_CRASH_FAULTS | VARTA_CRASH_TERMINATION);
}

static void
install_while_calls_fail(const struct fixture *f)
{
	int fds = dgram_count_fds();
	unsigned i;

	without_signal_stack();
	fault_nth(&fault_socket, 1, EMFILE);
	must(try_install(f) == -EMFILE && nothing_is_installed(f, fds));
	fault_nth(&fault_mmap64, 1, ENOMEM);
	must(try_install(f) == -ENOMEM && nothing_is_installed(f, fds));
	fault_nth(&fault_mprotect, 1, EACCES);
	must(try_install(f) == -EACCES && nothing_is_installed(f, fds));
	for (i = 1; i <= 2; i++) {
		fault_nth(&fault_sigaltstack, i, EPERM);
		must(try_install(f) == -EPERM && nothing_is_installed(f, fds));
	}
	for (i = 1; i <= 18; i++) { /* nine are read and set */
		fault_nth(&fault_sigaction, i, EINVAL);
		must(try_install(f) == -EINVAL && nothing_is_installed(f, fds));
	}
	must(try_install(f) == 0);
}

static void
an_install_that_fails_changes_nothing(void **state)
{
	assert_exits_with(start(install_while_calls_fail, *state), OWN_EXIT);
}

static void
fail_a_second_install(const struct fixture *f)
{
	install(f);
	fault_nth(&fault_sigaction, 2, EINVAL);
	must(varta_crash_handler_install_signals(
		 f->other_path, VARTA_CRASH_TERMINATION) == -EINVAL);
	must(varta_crash_handler_install("x") == VARTA_ERR_ADDRESS);
	(void)raise(SIGSEGV);
}

static void
a_second_install_that_fails_leaves_the_first(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(fail_a_second_install, f);

	assert_killed_by(child, SIGSEGV);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
send_while_calls_fail(const struct fixture *f)
{
	install(f);
	fault_nth(&fault_sendto, 1, EPERM);
	must(varta_crash_frame_send(1) == -EPERM);
	fault_nth(&fault_sendto, 1, EBADF);
	fault_nth(&fault_socket, 1, EMFILE);
	must(varta_crash_frame_send(2) == -EBADF);
	fault_nth(&fault_sendto, 1, EBADF);
	must(varta_crash_frame_send(3) == VARTA_SENT);
}

static void
a_last_word_that_cannot_be_sent_says_why(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(send_while_calls_fail, f);

	assert_exits_with(child, OWN_EXIT);
	assert_last_word(&f->listener, child, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_earlier_handler_runs_after_the_last_word),
		TEST(a_handler_that_goes_on_goes_on),
		TEST(a_handler_for_one_time_runs_one_time),
		TEST(an_ignored_signal_stays_ignored),
		TEST(a_handler_set_over_ours_stays_in_front),
		TEST(a_signal_stack_of_the_program_is_kept),
		TEST(bad_arguments_install_nothing),
		TEST(an_install_that_fails_changes_nothing),
		TEST(a_second_install_that_fails_leaves_the_first),
		TEST(a_last_word_that_cannot_be_sent_says_why),
	};

	return cmocka_run_group_tests_name("crash_install", tests, NULL, NULL);
}
