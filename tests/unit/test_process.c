#include "watch/host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/child.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(int, -1, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
FAULT(ssize_t, -1, read, (int fd, void *bytes, size_t n), (fd, bytes, n))
FAULT(int, -1, getrlimit64, (int what, struct rlimit *limit), (what, limit))

static struct fault fault_syscall, fault_open;

/* Called once, after the next pidfd_open(2). */
static void (*after_pidfd_open)(void);

/* From the nth open of a path that ends so on, this file is opened instead. */
static struct {
	const char *ending;
	const char *instead;
	unsigned from;
	unsigned seen;
} redirect;

/* What readlink(2) says, when not NULL. */
static const char *link_text;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
ssize_t __real_readlink(const char *path, char *ret, size_t size);
ssize_t __wrap_readlink(const char *path, char *ret, size_t size);

long
__wrap_syscall(long number, ...)
{
	void (*hook)(void) = after_pidfd_open;
	long a[4], r;
	va_list args;
	int i;

	if (fault_hits(&fault_syscall))
		return -1;
	va_start(args, number);
	for (i = 0; i < 4; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	r = __real_syscall(number, a[0], a[1], a[2], a[3]);
	if (number == SYS_pidfd_open && hook != NULL) {
		after_pidfd_open = NULL;
		hook();
	}
	return r;
}

static bool
ends_in(const char *text, const char *ending)
{
	size_t n = strlen(text), m = strlen(ending);

	return n >= m && strcmp(text + n - m, ending) == 0;
}

int
__wrap_open64(const char *path, int flags, ...)
{
	if (fault_hits(&fault_open))
		return -1;
	if (redirect.ending != NULL && ends_in(path, redirect.ending) &&
	    ++redirect.seen >= redirect.from)
		path = redirect.instead;
	return __real_open64(path, flags, 0600);
}

ssize_t
__wrap_readlink(const char *path, char *ret, size_t size)
{
	if (link_text == NULL)
		return __real_readlink(path, ret, size);
	assert_true(strlen(link_text) <= size);
	memcpy(ret, link_text, strlen(link_text));
	return (ssize_t)strlen(link_text);
}

static int
setup(void **state)
{
	fault_off(&fault_poll);
	fault_off(&fault_read);
	fault_off(&fault_getrlimit64);
	fault_off(&fault_syscall);
	fault_off(&fault_open);
	after_pidfd_open = NULL;
	redirect.ending = NULL;
	link_text = NULL;
	return tmpdir_setup(state);
}

static int
teardown(void **state)
{
	return tmpdir_teardown(state);
}

static struct identity
identify(pid_t pid)
{
	struct identity who;

	assert_int_equal(process_identify((uint32_t)pid, &who), 0);
	return who;
}

/* Start time by another way: the name is known, so no bracket is looked for. */
static uint64_t
start_of(pid_t pid, const char *name)
{
	char path[64], line[1024] = { 0 }, prefix[64];
	unsigned long long ticks;
	char *field;
	int i, fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	(void)snprintf(prefix, sizeof(prefix), "%d (%s) ", (int)pid, name);
	fd = __real_open64(path, O_RDONLY);
	assert_true(fd_read_full(fd, line, sizeof(line) - 1) > 0);
	fd_close(&fd);
	assert_memory_equal(line, prefix, strlen(prefix));
	field = line + strlen(prefix);
	for (i = 3; i < 22; i++)
		field = strchr(field, ' ') + 1;
	assert_int_equal(sscanf(field, "%llu", &ticks), 1);
	return ticks;
}

static void
a_living_process_is_known_by_start_and_namespace(void **state)
{
	struct identity who;
	struct child c;

	(void)state;
	child_needs_pidfds();
	c = child_start(NULL, 0);
	who = identify(c.pid);
	assert_true(who.pidfd >= 0);
	assert_int_equal(fcntl(who.pidfd, F_GETFD), FD_CLOEXEC);
	assert_false(who.gone);
	assert_true(who.start_ticks > 0);
	assert_true(who.start_ticks == process_start_ticks((uint32_t)c.pid));
	assert_true(who.pid_namespace != 0);
	assert_true(who.pid_namespace == process_pid_namespace(0));
	fd_close(&who.pidfd);
	child_end(&c);
	child_reap(&c);
}

static void
a_name_cannot_forge_the_start_time(void **state)
{
	static const char *const names[] = { "plain", "a b c", ") 1 2 3", "(((",
		") S 1 1 1 1 (", ")" };
	struct child c;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		c = child_start(names[i], 0);
		assert_true(process_start_ticks((uint32_t)c.pid) ==
			    start_of(c.pid, names[i]));
		child_end(&c);
		child_reap(&c);
	}
}

static void
a_zombie_is_not_gone(void **state)
{
	struct identity who;
	struct child c;
	uint64_t start;

	(void)state;
	child_needs_pidfds();
	c = child_start(NULL, 0);
	start = process_start_ticks((uint32_t)c.pid);
	child_end(&c);
	who = identify(c.pid);
	assert_true(who.pidfd >= 0);
	assert_false(who.gone);
	assert_true(who.start_ticks == start);
	fd_close(&who.pidfd);
	child_reap(&c);
}

static void
a_process_that_was_reaped_is_gone(void **state)
{
	struct child c = child_start(NULL, 0);
	struct identity who;

	(void)state;
	child_end(&c);
	child_reap(&c);
	who = identify(c.pid);
	assert_int_equal(who.pidfd, -1);
	assert_true(who.gone);
	assert_int_equal(who.start_ticks, 0);
	assert_int_equal(who.pid_namespace, 0);
	assert_int_equal(process_start_ticks((uint32_t)c.pid), 0);
	assert_int_equal(process_pid_namespace((uint32_t)c.pid), 0);
	assert_true(identify(-1).gone);
}

static void
pid_zero_is_unknown(void **state)
{
	struct identity who = identify(0);

	(void)state;
	assert_int_equal(who.pidfd, -1);
	assert_int_equal(who.start_ticks, 0);
	assert_false(who.gone);
}

static struct child victim;

static void
end_and_reap_the_victim(void)
{
	child_end(&victim);
	child_reap(&victim);
}

static void
what_may_be_of_another_process_is_not_believed(void **state)
{
	struct identity who;

	(void)state;
	child_needs_pidfds();
	/* The pid is taken over at the worst moment: /proc answers, but of
	 * another process. */
	victim = child_start(NULL, 7);
	after_pidfd_open = end_and_reap_the_victim;
	redirect.ending = "/stat";
	redirect.instead = "/proc/self/stat";
	redirect.from = 1;
	redirect.seen = 0;
	link_text = "pid:[5]";
	who = identify(victim.pid);
	assert_int_equal(redirect.seen, 1);
	assert_int_equal(who.start_ticks, 0);
	assert_int_equal(who.pid_namespace, 0);
	/* The pidfd is of the right one, and tells of its end. */
	assert_false(who.gone);
	assert_true(who.pidfd >= 0);
	if (process_exit_info_is_available())
		assert_int_equal(process_exit_info(who.pidfd).value, 7);
	fd_close(&who.pidfd);
}

static void
without_pidfds_the_start_time_is_still_known(void **state)
{
	static const int errors[] = { ENOSYS, EPERM, ENODEV, EINVAL };
	struct child c = child_start(NULL, 0);
	struct identity who;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fault_nth(&fault_syscall, 1, errors[i]);
		who = identify(c.pid);
		assert_int_equal(who.pidfd, -1);
		assert_false(who.gone);
		assert_true(
		    who.start_ticks == process_start_ticks((uint32_t)c.pid));
		assert_true(who.pid_namespace == process_pid_namespace(0));
	}
	child_end(&c);
	child_reap(&c);
	fault_nth(&fault_syscall, 1, ENOSYS);
	assert_true(identify(c.pid).gone);
}

static void
without_pidfds_two_start_times_must_agree(void **state)
{
	struct child c = child_start(NULL, 0);
	struct identity who;

	(void)state;
	fault_nth(&fault_syscall, 1, ENOSYS);
	redirect.ending = "/stat";
	redirect.instead = "/proc/1/stat";
	redirect.from = 2;
	redirect.seen = 0;
	who = identify(c.pid);
	assert_int_equal(who.start_ticks, 0);
	assert_int_equal(who.pid_namespace, 0);
	child_end(&c);
	child_reap(&c);
}

static void
running_short_of_pidfds_is_told(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOMEM };
	struct identity who;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fault_nth(&fault_syscall, 1, errors[i]);
		assert_int_equal(
		    process_identify((uint32_t)getpid(), &who), -errors[i]);
		assert_int_equal(who.pidfd, -1);
		assert_true(who.start_ticks > 0);
	}
}

static void
the_last_descriptors_are_left_to_others(void **state)
{
	enum { LIMIT = 80, SPARE = LIMIT / 4 };
	struct rlimit old, low;
	struct identity who;
	int fds[LIMIT], n = 0;

	(void)state;
	child_needs_pidfds();
	assert_int_equal(__real_getrlimit64(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = LIMIT;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n == 0 || fds[n - 1] < LIMIT - SPARE - 2)
		fds[n++] = dup(STDERR_FILENO);

	who = identify(getpid());
	assert_int_equal(who.pidfd, LIMIT - SPARE - 1);
	fds[n++] = who.pidfd;
	assert_int_equal(process_identify((uint32_t)getpid(), &who), -EMFILE);
	assert_int_equal(who.pidfd, -1);
	assert_true(who.start_ticks > 0);
	assert_true(who.pid_namespace > 0);

	/* A limit that cannot be known does not forbid anything. */
	fault_always(&fault_getrlimit64, EPERM);
	who = identify(getpid());
	assert_int_equal(who.pidfd, LIMIT - SPARE);
	fds[n++] = who.pidfd;
	while (n > 0)
		fd_close(&fds[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void
what_cannot_be_read_is_unknown(void **state)
{
	struct identity who;
	char name[32] = "x";

	(void)state;
	child_needs_pidfds();
	link_text = "net:[5]";
	fault_always(&fault_open, EACCES);
	who = identify(getpid());
	assert_true(who.pidfd >= 0);
	assert_false(who.gone);
	assert_int_equal(who.start_ticks, 0);
	assert_int_equal(who.pid_namespace, 0);
	fd_close(&who.pidfd);
	process_name((uint32_t)getpid(), name, sizeof(name));
	assert_string_equal(name, "");
	assert_int_equal(process_pid_max(), 4194304);
	fault_off(&fault_open);

	fault_always(&fault_read, EIO);
	assert_int_equal(process_start_ticks((uint32_t)getpid()), 0);
	assert_int_equal(process_pid_max(), 4194304);
	process_name((uint32_t)getpid(), name, sizeof(name));
	assert_string_equal(name, "");
	fault_off(&fault_read);

	/* An answer that poll(2) does not give is asked for otherwise. */
	fault_always(&fault_poll, ENOMEM);
	who = identify(getpid());
	assert_true(who.start_ticks > 0);
	fd_close(&who.pidfd);
}

static void
put_text(const char *path, const char *text)
{
	int fd = __real_open64(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	fd_close(&fd);
}

static void
a_malformed_stat_line_gives_no_start_time(void **state)
{
#define NUMBERS "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 "
	static const struct {
		const char *line;
		uint64_t ticks;
	} lines[] = {
		{ "", 0 },
		{ "1 (x", 0 },
		{ "1 (x)", 0 },
		{ "1 (x) ", 0 },
		{ "1 (x) S 2 3", 0 },
		{ "1 (x) " NUMBERS, 0 },
		{ "1 (x) " NUMBERS "12a 20", 0 },
		{ "1 (x) " NUMBERS "-12 20", 0 },
		{ "1 (x) " NUMBERS "18446744073709551616 20", 0 },
		{ "1 (x) " NUMBERS "4711", 4711 },
		{ "1 (x) " NUMBERS "4711 20\n", 4711 },
	};
	size_t i;

	redirect.ending = "/stat";
	redirect.instead = tmpdir_path(*state, "x");
	redirect.from = 1;
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		put_text(redirect.instead, lines[i].line);
		assert_true(process_start_ticks(1) == lines[i].ticks);
	}
}

static void
a_malformed_namespace_link_is_unknown(void **state)
{
	static const char *const bad[] = { "", "pid", "pid:[", "pid:[]",
		"pid:[12", "pid:[x]", "pid:[12x]", "net:[12]",
		"pid:[4294967296]", "pid:[1234567890123456789012345" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		link_text = bad[i];
		assert_int_equal(process_pid_namespace(1), 0);
	}
	link_text = "pid:[4026531836]";
	assert_true(process_pid_namespace(1) == 4026531836);
}

static void
the_highest_pid_is_what_the_system_says(void **state)
{
	assert_true(process_pid_max() >= (uint32_t)getpid());
	redirect.ending = "/pid_max";
	redirect.instead = tmpdir_path(*state, "x");
	redirect.from = 1;
	put_text(redirect.instead, "32768\n");
	assert_int_equal(process_pid_max(), 32768);
	put_text(redirect.instead, "many\n");
	assert_int_equal(process_pid_max(), 4194304);
}

static void
a_name_is_cut_to_the_room_that_there_is(void **state)
{
	struct child c = child_start("worker 7)", 0);
	char name[16];

	(void)state;
	process_name((uint32_t)c.pid, name, sizeof(name));
	assert_string_equal(name, "worker 7)");
	process_name((uint32_t)c.pid, name, 5);
	assert_string_equal(name, "work");
	process_name((uint32_t)c.pid, name, 1);
	assert_string_equal(name, "");
	child_end(&c);
	child_reap(&c);
	process_name((uint32_t)c.pid, name, sizeof(name));
	assert_string_equal(name, "");
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(a_living_process_is_known_by_start_and_namespace),
		EACH(a_name_cannot_forge_the_start_time),
		EACH(a_zombie_is_not_gone),
		EACH(a_process_that_was_reaped_is_gone),
		EACH(pid_zero_is_unknown),
		EACH(what_may_be_of_another_process_is_not_believed),
		EACH(without_pidfds_the_start_time_is_still_known),
		EACH(without_pidfds_two_start_times_must_agree),
		EACH(running_short_of_pidfds_is_told),
		EACH(the_last_descriptors_are_left_to_others),
		EACH(what_cannot_be_read_is_unknown),
		EACH(a_malformed_stat_line_gives_no_start_time),
		EACH(a_malformed_namespace_link_is_unknown),
		EACH(the_highest_pid_is_what_the_system_says),
		EACH(a_name_is_cut_to_the_room_that_there_is),
	};

	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
