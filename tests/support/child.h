/*
 * Processes whose life and end a test decides: a child that ends and is
 * reaped when told to, and a stranger, the child of a child. All of them end
 * with the test program. To be included after cmocka.h.
 */
#ifndef SUPPORT_CHILD_H
#define SUPPORT_CHILD_H

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

/* Skip the test where there are no pidfds: an old kernel, valgrind. */
static inline void
child_needs_pidfds(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		skip();
	fd_close(&fd);
}

/* A child that lives until it is let go, by a byte: the pipe's end is open in
 * other children, too. */
struct child {
	pid_t pid;
	int hold;
};

static inline void
child_finish(int how)
{
	if (how < 0) {
		(void)signal(-how, SIG_DFL);
		(void)raise(-how);
	}
	_exit(how);
}

/* how: exit code, or a signal number as a negative value. */
static inline struct child
child_start(const char *name, int how)
{
	struct child c;
	int hold[2], ready[2];
	char byte;

	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (name != NULL)
			(void)prctl(PR_SET_NAME, name);
		(void)fd_write_all(ready[1], "r", 1);
		(void)fd_read_full(hold[0], &byte, 1);
		child_finish(how);
	}
	(void)close(hold[0]);
	(void)close(ready[1]);
	assert_int_equal(fd_read_full(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	c.hold = hold[1];
	return c;
}

static inline void
child_let_go(int *fd)
{
	assert_int_equal(fd_write_all(*fd, "x", 1), 0);
	fd_close(fd);
}

/* Let it end; it is a zombie when this returns. */
static inline void
child_end(struct child *c)
{
	siginfo_t info;

	child_let_go(&c->hold);
	assert_int_equal(
	    waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT), 0);
}

static inline void
child_reap(struct child *c)
{
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
}

/*
 * A process that is not ours: the child of a child, which reaps it only when
 * told to.
 */
struct stranger {
	pid_t parent, pid;
	int hold; /* let go: it ends */
	int reap; /* let go: its parent reaps it, and ends too */
};

static inline void
stranger_parent(int hold[2], int reap[2], int tell)
{
	siginfo_t info;
	pid_t pid;
	char byte;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)fd_read_full(hold[0], &byte, 1);
		_exit(9);
	}
	(void)fd_write_all(tell, &pid, sizeof(pid));
	(void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	(void)fd_read_full(reap[0], &byte, 1);
	(void)waitpid(pid, NULL, 0);
	_exit(0);
}

static inline struct stranger
stranger_start(void)
{
	int hold[2], reap[2], tell[2];
	struct stranger s;

	assert_int_equal(pipe(hold), 0);
	assert_int_equal(pipe(reap), 0);
	assert_int_equal(pipe(tell), 0);
	s.parent = fork();
	assert_true(s.parent >= 0);
	if (s.parent == 0)
		stranger_parent(hold, reap, tell[1]);
	(void)close(hold[0]);
	(void)close(reap[0]);
	(void)close(tell[1]);
	assert_int_equal(
	    fd_read_full(tell[0], &s.pid, sizeof(s.pid)), sizeof(s.pid));
	(void)close(tell[0]);
	s.hold = hold[1];
	s.reap = reap[1];
	return s;
}

#endif
