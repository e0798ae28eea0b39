/*
 * Children that die, and an observer that should hear of it. Works as setup
 * and teardown of a cmocka test.
 */
#ifndef SUPPORT_CRASH_FIXTURE_H
#define SUPPORT_CRASH_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/util.h"
#include "lib/lib.h"
#include "support/dgram.h"
#include "support/listener.h"
#include "support/tmpdir.h"

enum { EARLIER_EXIT = 42, OWN_EXIT = 7 };

struct fixture {
	struct tmpdir dir;
	char path[128];
	char other_path[128];
	struct listener listener;
	int fds;
};

static inline int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	tmpdir_init(&f.dir);
	(void)snprintf(f.path, sizeof(f.path), "%s/varta.sock", f.dir.path);
	(void)snprintf(
	    f.other_path, sizeof(f.other_path), "%s/other.sock", f.dir.path);
	f.fds = dgram_count_fds();
	listener_open(&f.listener, f.path);
	*state = &f;
	return 0;
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	listener_close(&f->listener);
	tmpdir_fini(&f->dir);
	return f->fds == dgram_count_fds() ? 0 : -1;
}

/*
 * A child as a fresh program would be: default signals, although the test
 * runner and sanitizers set some, and no core.
 */
static inline pid_t
start(void (*body)(const struct fixture *f), const struct fixture *f)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
		SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	const struct rlimit none = { 0, 0 };
	pid_t child;
	size_t i;

	child = fork();
	if (child != 0)
		return child;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_DFL);
	(void)setrlimit(RLIMIT_CORE, &none);
	body(f);
	_exit(OWN_EXIT);
}

static inline int
end_of(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static inline void
assert_killed_by(pid_t child, int sig)
{
	int status = end_of(child);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}

static inline void
assert_exits_with(pid_t child, int code)
{
	int status = end_of(child);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), code);
}

static inline void
assert_last_word(const struct listener *l, pid_t child, uint32_t payload)
{
	struct varta_frame f;

	assert_true(listener_take(l, 0, &f));
	assert_int_equal(f.pid, child);
	assert_int_equal(f.status, VARTA_CRITICAL);
	assert_true(f.nonce == VARTA_NONCE_TERMINAL);
	assert_true(f.timestamp >= 1);
	assert_int_equal(f.payload, payload);
	assert_true(listener_is_empty(l));
}

/* For children: asserts of the runner are not for them. */
static inline void
must(bool holds)
{
	if (!holds)
		_exit(1);
}

static inline void
install(const struct fixture *f)
{
	must(varta_crash_handler_install(f->path) == 0);
}

static inline void
install_all(const struct fixture *f)
{
	must(varta_crash_handler_install_signals(
		 f->path, VARTA_CRASH_FAULTS | VARTA_CRASH_TERMINATION) == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
