#include "support.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <linux/futex.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "base/util.h"
#include "sample.h"

enum { LIFETIME_S = 120 };

static char folder[64];

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static void
remove_folder(void)
{
	if (folder[0] != '\0')
		(void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	folder[0] = '\0';
}

void
support_die(const char *format, ...)
{
	va_list ap;

	(void)fprintf(stderr, "bench: ");
	va_start(ap, format);
	(void)vfprintf(stderr, format, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	remove_folder();
	/* Not exit(3): a child must not write what its parent has buffered. */
	_exit(1);
}

void
support_check(int r, const char *what)
{
	if (r < 0)
		support_die("%s: %s", what, strerror(-r));
}

static void
find_processors(struct support_options *options)
{
	cpu_set_t set;
	size_t cpu;
	int found = 0;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		support_die("sched_getaffinity: %s", strerror(errno));
	for (cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (found++ == 0)
			options->cpu_sender = (int)cpu;
		options->cpu_reader = (int)cpu;
	}
}

void
support_start(
    int argc, char **argv, unsigned rounds, struct support_options *ret)
{
	static const struct option known[] = {
		{ "daemon", required_argument, NULL, 'd' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "quick", no_argument, NULL, 'q' },
		{ NULL, 0, NULL, 0 },
	};
	uint32_t n = 0;
	int c;

	*ret =
	    (struct support_options){ .daemon = "build/src/watch/varta-watch",
		    .rounds = rounds };
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'd')
			ret->daemon = optarg;
		else if (c == 'q')
			ret->quick = true;
		else if (c != 'r' ||
			 text_to_u32(optarg, SUPPORT_ROUNDS_MAX, &n) < 0 ||
			 n == 0)
			support_die("usage: %s [--daemon PATH] [--rounds 1-%d] "
				    "[--quick]",
			    argv[0], SUPPORT_ROUNDS_MAX);
		else
			ret->rounds = n;
	}
	find_processors(ret);
	/* Children of our children come to us, to be reaped. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)alarm(LIFETIME_S);
	(void)fd_raise_limit();
}

bool
support_lacks_processors(
    const struct support_options *options, const char *const *keys)
{
	if (options->cpu_sender != options->cpu_reader)
		return false;
	sample_skip(keys, "needs two processors");
	return true;
}

void
support_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		support_die("processor %d: %s", cpu, strerror(errno));
}

pid_t
support_fork(int cpu)
{
	pid_t parent = getpid(), pid;

	pid = fork();
	if (pid < 0)
		support_die("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	/* The folder is the parent's to remove. */
	folder[0] = '\0';
	if (cpu >= 0)
		support_pin(cpu);
	return 0;
}

void
support_kill(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Kill children and reap those that have ended; false when there is none. */
static bool
end_children(void)
{
	char path[64], text[4096], *at = text, *end;
	ssize_t n = 0;
	long pid;
	int fd;

	(void)snprintf(
	    path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = fd_read_full(fd, text, sizeof(text) - 1);
		(void)close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	/* The last number may be cut off: the next round sees it whole. */
	while ((pid = strtol(at, &end, 10)) > 0 && *end == ' ') {
		(void)kill((pid_t)pid, SIGKILL);
		at = end;
	}
	if (at == text)
		return false;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return true;
}

int
support_end(void)
{
	while (end_children())
		support_sleep_ms(1);
	remove_folder();
	return 0;
}

static int
write_text(const char *path, const char *text)
{
	int fd, r;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, text, strlen(text));
	(void)close(fd);
	return r;
}

/* Without privilege, a namespace needs a user namespace around it, in which
 * our own ids keep their numbers. */
static int
enter_namespace(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[32];
	int r;

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	(void)snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
	r = write_text("/proc/self/uid_map", map);
	if (r < 0)
		return r;
	(void)write_text("/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
	return write_text("/proc/self/gid_map", map);
}

static int
loopback_up(void)
{
	struct ifreq request = { .ifr_flags = IFF_UP };
	int fd, r = 0;

	memcpy(request.ifr_name, "lo", sizeof("lo"));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		r = -errno;
	(void)close(fd);
	return r;
}

int
support_long_queue(unsigned len)
{
	char text[16];
	int r;

	r = enter_namespace();
	if (r < 0)
		return r;
	r = loopback_up();
	if (r < 0)
		return r;
	(void)snprintf(text, sizeof(text), "%u\n", len);
	return write_text("/proc/sys/net/unix/max_dgram_qlen", text);
}

const char *
support_folder(void)
{
	const char *parent = getenv("TMPDIR");
	int n;

	if (folder[0] != '\0')
		return folder;
	n = snprintf(folder, sizeof(folder), "%s/varta.XXXXXX",
	    parent != NULL ? parent : "/tmp");
	if (n < 0 || (size_t)n >= sizeof(folder) || mkdtemp(folder) == NULL)
		support_die("no folder for sockets in TMPDIR or /tmp");
	return folder;
}

void
support_address(const char *name, struct sockaddr_un *ret)
{
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s",
	    support_folder(), name);
	if (n < 0 || (size_t)n >= sizeof(ret->sun_path))
		support_die("path too long: %s", name);
}

void *
support_shared(size_t bytes)
{
	void *mem;

	mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (mem == MAP_FAILED)
		support_die("mmap: %s", strerror(errno));
	return mem;
}

void
support_wait(uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
		(void)syscall(
		    SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void
support_wake(uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

uint64_t
support_cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 ||
	    clock_gettime(clock, &ts) < 0)
		support_die("processor time of %d cannot be read", (int)pid);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* The number behind "NAME:" in a status file. */
static uint64_t
status_line(const char *path, const char *name)
{
	char text[4096], *at;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		support_die("%s: %s", path, strerror(errno));
	n = fd_read_full(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n < 0)
		support_die("%s: %s", path, strerror((int)-n));
	text[n] = '\0';

	/* A longer name may end in this one: look at whole lines. */
	at = text;
	while ((at = strstr(at, name)) != NULL) {
		if (at[strlen(name)] == ':' && (at == text || at[-1] == '\n'))
			return strtoull(at + strlen(name) + 1, NULL, 10);
		at++;
	}
	support_die("%s has no '%s'", path, name);
}

uint64_t
support_status(pid_t pid, const char *line)
{
	char path[320];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		support_die("%s: %s", path, strerror(errno));
	while ((e = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/status",
		    (int)pid, e->d_name);
		sum += status_line(path, line);
	}
	(void)closedir(dir);
	return sum;
}

uint64_t
support_status_kib(pid_t pid, const char *line)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	return status_line(path, line);
}

uint64_t
support_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void
support_sleep_until(uint64_t at_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(at_ns / NS_PER_S),
		.tv_nsec = (long)(at_ns % NS_PER_S),
	};

	while (
	    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

void
support_sleep_ms(unsigned ms)
{
	support_sleep_until(support_now_ns() + ms * NS_PER_MS);
}
