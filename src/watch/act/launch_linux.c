#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "watch/act/launch.h"

#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9, the same for all machines */
#endif

enum {
	N_STDIO = 3,
	UNSHARE = 1 << 1, /* CLOSE_RANGE_UNSHARE */
	/* What the child needs is a few hundred bytes; sanitizers need more. */
	STACK_BYTES = 32 * 1024
};

/*
 * The child begins with our table of descriptors, not a copy of it, and with
 * close_range(2) leaves it for one of its own that ends behind the last of
 * these. So they have small numbers, for good: stdio[0] is /dev/null, the
 * others are copies of it but while a child is made.
 */
struct launcher {
	int stdio[N_STDIO];
};

/* What parent and child tell each other: they have the same memory until the
 * child executes its program, and the parent sleeps until then. */
struct birth {
	const struct launcher *launcher;
	const char *program;
	char *const *argv;
	char *const *envp;
	int error; /* of the child */
};

static int
close_range_of(unsigned first, unsigned last, unsigned flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

/* Before Linux 5.9 a child can only leave out what is close-on-exec. All of
 * ours are; what we were started with need not be. */
static void
mark_inherited(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int fd;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		fd = (int)strtol(entry->d_name, NULL, 10);
		if (fd > STDERR_FILENO)
			(void)fd_set_cloexec(fd);
	}
	(void)closedir(dir);
}

int
launcher_new(struct launcher **ret)
{
	struct launcher *l = malloc(sizeof(*l));
	int i, null_fd, r = 0;

	if (l == NULL)
		return -ENOMEM;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		r = -errno;
	for (i = 0; i < N_STDIO; i++) {
		l->stdio[i] = -1;
		if (r < 0)
			continue;
		l->stdio[i] =
		    fcntl(null_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (l->stdio[i] < 0)
			r = -errno;
	}
	fd_close(&null_fd);
	if (r < 0) {
		launcher_free(l);
		return r;
	}
	if (close_range_of(~0U, ~0U, 0) < 0)
		mark_inherited();
	*ret = l;
	return 0;
}

void
launcher_free(struct launcher *l)
{
	int i;

	if (l == NULL)
		return;
	for (i = 0; i < N_STDIO; i++)
		fd_close(&l->stdio[i]);
	free(l);
}

/* ---- in the child: system calls only ---- */

static int
take_descriptors(const int stdio[N_STDIO])
{
	unsigned end = N_STDIO;
	int i;

	for (i = 0; i < N_STDIO; i++) {
		if ((unsigned)stdio[i] >= end)
			end = (unsigned)stdio[i] + 1;
	}
	if (close_range_of(end, ~0U, UNSHARE) < 0 && unshare(CLONE_FILES) < 0)
		return -1;
	for (i = 0; i < N_STDIO; i++) {
		if (dup2(stdio[i], i) < 0)
			return -1;
	}
	(void)close_range_of(N_STDIO, ~0U, 0);
	return 0;
}

/* Handlers are of our program, and ignored signals stay so in another. */
static void
reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;
	int i;

	/* Some cannot be set, and are not set to anything either. */
	for (i = 1; i <= SIGRTMAX; i++)
		(void)sigaction(i, &action, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int
become(void *arg)
{
	struct birth *b = arg;

	if (take_descriptors(b->launcher->stdio) == 0 && setpgid(0, 0) == 0) {
		reset_signals();
		(void)execve(b->program, b->argv, b->envp);
	}
	b->error = errno;
	_exit(127);
}

/* ---- in the parent ---- */

static int
give_birth(struct birth *b, pid_t *ret_pid)
{
	_Alignas(max_align_t) char stack[STACK_BYTES];
	sigset_t all, old;
	pid_t pid;
	int r;

	/* A handler of ours in the child would act on our memory. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	pid = clone(become, stack + sizeof(stack),
	    CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, b);
	r = pid < 0 ? -errno : -b->error;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid > 0 && r < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (r == 0)
		*ret_pid = pid;
	return r;
}

int
launcher_run(struct launcher *l, const char *program, char *const argv[],
    char *const envp[], const int output[2], pid_t *ret_pid)
{
	struct birth birth = {
		.launcher = l, .program = program, .argv = argv, .envp = envp
	};
	int i, r = 0;

	for (i = 1; i < N_STDIO && r == 0; i++) {
		if (dup3(output[i - 1], l->stdio[i], O_CLOEXEC) < 0)
			r = -errno;
	}
	if (r == 0)
		r = give_birth(&birth, ret_pid);
	/* Of the pipes nothing may stay open here: they would never end. */
	for (i = 1; i < N_STDIO; i++)
		(void)dup3(l->stdio[0], l->stdio[i], O_CLOEXEC);
	return r;
}
