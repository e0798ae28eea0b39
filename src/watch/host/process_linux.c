#include "watch/host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/util.h"

enum {
	/* A stat line up to its 22nd field: 7 digits of pid, a name of 64
	 * bytes, 19 numbers of at most 20 digits. */
	STAT_BYTES = 512,
	PATH_BYTES = 32, /* "/proc/4294967295/ns/pid" */

	/* Descriptors that pidfds leave to files, connections, children. */
	SPARE_DESCRIPTORS = 64,

	PID_MAX_DEFAULT = 4194304, /* the highest that Linux can be set to */
	TAKE_BATCH = 64
};

/*
 * struct pidfd_info of linux/pidfd.h in its first, 64-byte form. By hand: the
 * headers of the systems that we build on are older than the kernels that we
 * run on. Larger ones may come; the size is part of the request's number.
 */
struct pidfd_info_v1 {
	uint64_t mask;
	uint64_t cgroup_id;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code; /* a wait(2) status; valid with INFO_EXIT */
};

_Static_assert(sizeof(struct pidfd_info_v1) == 64, "as in the kernel");

#define GET_INFO _IOWR(0xff, 11, struct pidfd_info_v1) /* since 6.13 */
#define INFO_EXIT (UINT64_C(1) << 3)                   /* since 6.15 */

/* The text of a file, NUL-ended; at most size - 1 bytes of it. 0 or -errno. */
static int
read_lines(const char *path, char *ret, size_t size)
{
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = fd_read_full(fd, ret, size - 1);
	fd_close(&fd);
	if (n < 0)
		return (int)n;
	ret[n] = '\0';
	return 0;
}

/* The same, the first line without its newline. */
static int
read_text(const char *path, char *ret, size_t size)
{
	int r = read_lines(path, ret, size);

	if (r == 0)
		ret[strcspn(ret, "\n")] = '\0';
	return r;
}

/* "/proc/PID/leaf" in storage; pid 0 is this process. */
static const char *
proc_path(uint32_t pid, const char *leaf, char storage[static PATH_BYTES])
{
	struct strbuf path;

	strbuf_init(&path, storage, PATH_BYTES);
	if (pid == 0)
		strbuf_printf(&path, "/proc/self/%s", leaf);
	else
		strbuf_printf(&path, "/proc/%u/%s", pid, leaf);
	return storage;
}

/*
 * Field 22 of a stat line. Field 2 is the process's own choice and may hold
 * blanks and brackets, so counting begins behind the last ')'.
 */
static uint64_t
parse_start_ticks(char *line)
{
	char *field = strrchr(line, ')');
	uint64_t ticks = 0;
	int i;

	for (i = 2; i < 22 && field != NULL; i++) {
		field = strchr(field, ' ');
		if (field != NULL)
			field++;
	}
	if (field == NULL)
		return 0;
	field[strcspn(field, " ")] = '\0';
	(void)text_to_u64(field, UINT64_MAX, &ticks);
	return ticks;
}

uint64_t
process_start_ticks(uint32_t pid)
{
	char path[PATH_BYTES], line[STAT_BYTES];

	if (read_text(proc_path(pid, "stat", path), line, sizeof(line)) < 0)
		return 0;
	return parse_start_ticks(line);
}

uint32_t
process_pid_namespace(uint32_t pid)
{
	static const char prefix[] = "pid:[";
	char path[PATH_BYTES], link[32];
	uint32_t inode = 0;
	char *number, *end;
	ssize_t n;

	n = readlink(proc_path(pid, "ns/pid", path), link, sizeof(link) - 1);
	if (n < 0)
		return 0;
	link[n] = '\0';

	end = strchr(link, ']');
	if (strncmp(link, prefix, strlen(prefix)) != 0 || end == NULL)
		return 0;
	*end = '\0';
	number = link + strlen(prefix);
	(void)text_to_u32(number, UINT32_MAX, &inode);
	return inode;
}

void
process_name(uint32_t pid, char *ret, size_t size)
{
	char path[PATH_BYTES], name[64];
	struct strbuf out;

	strbuf_init(&out, ret, size);
	if (read_text(proc_path(pid, "comm", path), name, sizeof(name)) == 0)
		strbuf_str(&out, name);
}

void
process_exe(uint32_t pid, char *ret, size_t size)
{
	char path[PATH_BYTES];
	ssize_t n = readlink(proc_path(pid, "exe", path), ret, size);

	/* A full buffer may hold a part of the path only. */
	ret[n < 0 || (size_t)n >= size ? 0 : n] = '\0';
}

/* The path in a line "ID:CONTROLLERS:PATH" that begins so, into ret. */
static bool
find_cgroup(const char *lines, const char *begin, char *ret, size_t size)
{
	const char *line = strstr(lines, begin);
	size_t n;

	if (line == NULL || (line != lines && line[-1] != '\n'))
		return false;
	line += strlen(begin);
	n = strcspn(line, "\n");
	if (n <= 1 || n >= size)
		return false;
	memcpy(ret, line, n);
	ret[n] = '\0';
	return true;
}

void
process_cgroup(uint32_t pid, char *ret, size_t size)
{
	char path[PATH_BYTES], lines[4096];

	ret[0] = '\0';
	if (read_lines(proc_path(pid, "cgroup", path), lines, sizeof(lines)) <
	    0)
		return;
	/* The unified hierarchy, or systemd's own where that is not used. */
	if (!find_cgroup(lines, "0::", ret, size))
		(void)find_cgroup(lines, "1:name=systemd:", ret, size);
}

uint32_t
process_pid_max(void)
{
	uint32_t max = PID_MAX_DEFAULT;
	char text[16];

	if (read_text("/proc/sys/kernel/pid_max", text, sizeof(text)) == 0)
		(void)text_to_u32(text, UINT32_MAX, &max);
	return max;
}

/*
 * True when so many descriptors are in use that this one, the lowest that was
 * free, belongs to the last few: without them no start time can be read and
 * no scrape be served.
 */
static bool
is_spare(int fd)
{
	struct rlimit limit;
	rlim_t spare;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	spare = limit.rlim_cur / 4;
	if (spare > SPARE_DESCRIPTORS)
		spare = SPARE_DESCRIPTORS;
	return (rlim_t)fd >= limit.rlim_cur - spare;
}

/* A pidfd, or -errno. Close-on-exec as all of them are. */
static int
open_pidfd(uint32_t pid)
{
	int fd;

	if (pid > INT_MAX)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0)
		return -errno;
	if (is_spare(fd)) {
		fd_close(&fd);
		return -EMFILE;
	}
	return fd;
}

/*
 * True when the process has been reaped, so that its number may be another's
 * by now. A zombie still holds its number.
 */
static bool
is_reaped(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (poll(&p, 1, 0) == 0)
		return false;
	/* POLLHUP would tell, too, but only since 6.9. */
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 &&
	       errno == ESRCH;
}

static void
read_identity(uint32_t pid, struct identity *who)
{
	who->start_ticks = process_start_ticks(pid);
	who->pid_namespace = process_pid_namespace(pid);
}

int
process_identify(uint32_t pid, struct identity *ret)
{
	struct identity who = { .pidfd = -1 };
	int r = 0;

	*ret = who;
	if (pid == 0)
		return 0;

	who.pidfd = open_pidfd(pid);
	if (who.pidfd >= 0) {
		read_identity(pid, &who);
		/* The number was this process's for as long as it was not
		 * reaped, and so was all that /proc said up to now. */
		if (is_reaped(who.pidfd)) {
			who.start_ticks = 0;
			who.pid_namespace = 0;
		}
		*ret = who;
		return 0;
	}

	if (who.pidfd == -EMFILE || who.pidfd == -ENFILE ||
	    who.pidfd == -ENOMEM)
		r = who.pidfd;
	who.gone =
	    who.pidfd == -ESRCH || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
	who.pidfd = -1;
	if (!who.gone) {
		read_identity(pid, &who);
		/* Equal before and after: the same process in between. */
		if (process_start_ticks(pid) != who.start_ticks) {
			who.start_ticks = 0;
			who.pid_namespace = 0;
		}
	}
	*ret = who;
	return r;
}

struct exit_info
process_exit_info(int pidfd)
{
	struct pidfd_info_v1 info = { .mask = INFO_EXIT };
	struct exit_info ret = { .how = EXIT_HOW_UNKNOWN };

	/* Without the bit in the answer the field is another, or unset. */
	if (ioctl(pidfd, GET_INFO, &info) < 0 || (info.mask & INFO_EXIT) == 0)
		return ret;
	if (WIFEXITED(info.exit_code)) {
		ret.how = EXIT_HOW_CODE;
		ret.value = WEXITSTATUS(info.exit_code);
	} else if (WIFSIGNALED(info.exit_code)) {
		ret.how = EXIT_HOW_SIGNAL;
		ret.value = WTERMSIG(info.exit_code);
	}
	return ret;
}

bool
process_exit_info_is_available(void)
{
	enum { CODE = 7 };
	struct exit_info info;
	int pidfd, status;
	pid_t child;

	/*
	 * A living process answers the same on all kernels that know the
	 * request; only a reaped one shows whether they tell its end. It
	 * lives in our memory for one system call: nothing is copied.
	 */
	child = vfork();
	if (child == 0)
		_exit(CODE);
	if (child < 0)
		return false;

	pidfd = open_pidfd((uint32_t)child);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (pidfd < 0)
		return false;
	info = process_exit_info(pidfd);
	fd_close(&pidfd);
	return info.how == EXIT_HOW_CODE && info.value == CODE;
}

struct process_set {
	int epoll_fd;
};

int
process_set_open(struct process_set **ret)
{
	struct process_set *s;
	int r;

	s = malloc(sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0) {
		r = -errno;
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void
process_set_close(struct process_set *s)
{
	if (s == NULL)
		return;
	fd_close(&s->epoll_fd);
	free(s);
}

int
process_set_fd(const struct process_set *s)
{
	return s->epoll_fd;
}

int
process_set_add(struct process_set *s, int pidfd, uint64_t token)
{
	struct epoll_event event = {
		/* By edges: a zombie would be news again in every pass. */
		.events = EPOLLIN | EPOLLET,
		.data.u64 = token,
	};

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, pidfd, &event) < 0 ? -errno
									: 0;
}

void
process_set_remove(struct process_set *s, int pidfd)
{
	/* Fails only when it is not in the set, which is what is wanted. */
	(void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, pidfd, NULL);
}

size_t
process_set_take(struct process_set *s, struct process_told *ret, size_t max)
{
	struct epoll_event events[TAKE_BATCH];
	size_t taken = 0, i, want;
	int n;

	while (taken < max) {
		want = max - taken < TAKE_BATCH ? max - taken : TAKE_BATCH;
		n = epoll_wait(s->epoll_fd, events, (int)want, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (i = 0; i < (size_t)n; i++)
			ret[taken++] = (struct process_told){
				.token = events[i].data.u64,
				.news = (events[i].events & EPOLLHUP) != 0
					    ? PROCESS_REAPED
					    : PROCESS_ENDED,
			};
		if ((size_t)n < want)
			break;
	}
	return taken;
}
