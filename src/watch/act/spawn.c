#include "watch/act/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "watch/act/launch.h"

/* Where execvp(3) looks when there is no PATH, in our order. */
static const char default_path[] = "/usr/bin:/bin";

static const char *
path_of(char *const envp[])
{
	size_t i;

	for (i = 0; envp[i] != NULL; i++) {
		if (strncmp(envp[i], "PATH=", 5) == 0)
			return envp[i] + 5;
	}
	return default_path;
}

/* 0 when path is a file that may be executed. */
static int
check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return -errno;
	return 0;
}

/*
 * The rules of execvp(3): a name with a slash is a path; others are tried in
 * each folder; what may not be executed is passed over, but remembered, so
 * that the error is not "no such file".
 */
static int
find_program(const char *name, const char *path, char ret[static PATH_MAX])
{
	size_t name_len = strlen(name), len;
	const char *p, *end;
	int r, result = -ENOENT;

	if (name_len == 0)
		return -ENOENT;
	if (name_len >= NAME_MAX && strchr(name, '/') == NULL)
		return -ENAMETOOLONG;
	if (strchr(name, '/') != NULL) {
		if (name_len >= PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(ret, name, name_len + 1);
		return check_program(ret);
	}
	for (p = path;; p = end + 1) {
		end = strchrnul(p, ':');
		len = (size_t)(end - p);
		/* An empty folder is the current one. */
		if (len == 0) {
			p = ".";
			len = 1;
		}
		if (len + 1 + name_len < PATH_MAX) {
			memcpy(ret, p, len);
			ret[len] = '/';
			memcpy(ret + len + 1, name, name_len + 1);
			r = check_program(ret);
			if (r == 0)
				return 0;
			if (r == -EACCES)
				result = -EACCES;
		}
		if (*end == '\0')
			return result;
	}
}

/* A descriptor below 3 would be overwritten while the child's are set up; we
 * have one only where the daemon was started without stdin and the like. */
static int
move_above_stdio(int *fd)
{
	int moved;

	if (*fd > STDERR_FILENO)
		return 0;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (moved < 0)
		return -errno;
	fd_close(fd);
	*fd = moved;
	return 0;
}

static int
open_pipe(int *ret_read, int *ret_write)
{
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	r = move_above_stdio(&ends[0]);
	if (r == 0)
		r = move_above_stdio(&ends[1]);
	/* Our end only: a program may not expect its output to be so. */
	if (r == 0)
		r = fd_set_nonblocking(ends[0]);
	if (r < 0) {
		fd_close(&ends[0]);
		fd_close(&ends[1]);
		return r;
	}
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

/* The child is ours and not reaped, so its number cannot be another's yet. */
static int
open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
	/* Not in every C library that we build with. Close-on-exec by itself.
	 */
	return (int)syscall(SYS_pidfd_open, pid, 0);
#else
	(void)pid;
	return -1;
#endif
}

static int
start(void *ctx, char *const argv[], char *const envp[], struct spawned *ret)
{
	int read_ends[2] = { -1, -1 }, write_ends[2] = { -1, -1 };
	char program[PATH_MAX];
	pid_t pid;
	int r;

	r = find_program(argv[0], path_of(envp), program);
	if (r == 0)
		r = open_pipe(&read_ends[0], &write_ends[0]);
	if (r == 0)
		r = open_pipe(&read_ends[1], &write_ends[1]);
	if (r == 0)
		r = launcher_run(ctx, program, argv, envp, write_ends, &pid);
	fd_close(&write_ends[0]);
	fd_close(&write_ends[1]);
	if (r < 0) {
		fd_close(&read_ends[0]);
		fd_close(&read_ends[1]);
		return r;
	}
	ret->pid = pid;
	ret->pidfd = open_pidfd(pid);
	ret->output[0] = read_ends[0];
	ret->output[1] = read_ends[1];
	return 0;
}

static int
kill_group(void *ctx, pid_t pid, int signal)
{
	(void)ctx;
	if (kill(-pid, signal) == 0)
		return 0;
	if (errno == ESRCH && kill(pid, signal) == 0)
		return 0;
	return -errno;
}

static int
reap(void *ctx, pid_t pid, struct exit_info *ret)
{
	siginfo_t info;
	int r;

	(void)ctx;
	info.si_pid = 0;
	do {
		r = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (info.si_pid == 0)
		return 0;
	ret->how = info.si_code == CLD_EXITED ? EXIT_HOW_CODE : EXIT_HOW_SIGNAL;
	ret->value = info.si_status;
	return 1;
}

const struct spawn_ops spawn_real = {
	.start = start,
	.kill_group = kill_group,
	.reap = reap,
};
