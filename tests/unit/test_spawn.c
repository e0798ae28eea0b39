/*
 * Real processes. Each wait has a deadline far above what is needed, and ends
 * with the event that it waits for.
 */
#include "watch/act/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "support/tmpdir.h"
#include "watch/act/launch.h"

enum { PATIENCE_MS = 20000, ARGS = 8, MANY = 3000 };

static struct launcher *launcher;

/* Arguments in storage of their own: argv is not const. */
struct arguments {
	char text[ARGS][512];
	char *argv[ARGS + 1];
};

static void
set(struct arguments *a, const char *const words[])
{
	size_t i;

	for (i = 0; words[i] != NULL; i++) {
		(void)snprintf(a->text[i], sizeof(a->text[i]), "%s", words[i]);
		a->argv[i] = a->text[i];
	}
	a->argv[i] = NULL;
}

#define WORDS(...)                                                             \
	(const char *const[])                                                  \
	{                                                                      \
		__VA_ARGS__, NULL                                              \
	}

static int
start_with(const char *const words[], const char *path, struct spawned *ret)
{
	struct arguments argv, envp;

	set(&argv, words);
	set(&envp, path == NULL ? WORDS("A=b") : WORDS("A=b", path));
	return spawn_real.start(launcher, argv.argv, envp.argv, ret);
}

static int
open_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			n++;
	}
	return n;
}

/* All that comes until the end of the stream. */
static size_t
read_all(int fd, char *text, size_t size)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	for (;;) {
		assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
		n = read(fd, text + len, size - 1 - len);
		assert_true(n >= 0);
		if (n == 0)
			break;
		len += (size_t)n;
		assert_true(len < size - 1);
	}
	text[len] = '\0';
	return len;
}

static struct exit_info
wait_for_end(struct spawned *s)
{
	struct exit_info exit = { EXIT_HOW_UNKNOWN, 0 };
	siginfo_t info;

	/* Not by the pidfd, which there may be none of. The alarm ends the
	 * test. */
	(void)alarm(PATIENCE_MS / 1000);
	assert_int_equal(
	    waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOWAIT), 0);
	(void)alarm(0);
	assert_int_equal(spawn_real.reap(NULL, s->pid, &exit), 1);
	fd_close(&s->pidfd);
	fd_close(&s->output[0]);
	fd_close(&s->output[1]);
	return exit;
}

/* The first line is there. */
static void
wait_for_up(const struct spawned *s)
{
	struct pollfd pollfd = { .fd = s->output[0], .events = POLLIN };
	char line[64];

	assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
	assert_int_equal(read(s->output[0], line, sizeof(line)), 3);
	assert_memory_equal(line, "up\n", 3);
}

/* What a shell script writes to stdout, and that it ends well. */
static const char *
output_of(const char *script)
{
	static char text[8192];
	struct spawned s;

	assert_int_equal(
	    start_with(WORDS("/bin/sh", "-c", script), NULL, &s), 0);
	(void)read_all(s.output[0], text, sizeof(text));
	assert_int_equal(wait_for_end(&s).value, 0);
	return text;
}

static void
tells_how_a_child_ended(void **state)
{
	struct exit_info exit;
	struct spawned s;

	(void)state;
	assert_int_equal(
	    start_with(WORDS("/bin/sh", "-c", "exit 7"), NULL, &s), 0);
	exit = wait_for_end(&s);
	assert_int_equal(exit.how, EXIT_HOW_CODE);
	assert_int_equal(exit.value, 7);
	assert_int_equal(
	    start_with(WORDS("/bin/sh", "-c", "kill -TERM $$"), NULL, &s), 0);
	exit = wait_for_end(&s);
	assert_int_equal(exit.how, EXIT_HOW_SIGNAL);
	assert_int_equal(exit.value, SIGTERM);
}

static void
does_not_wait_for_a_child_that_runs(void **state)
{
	struct exit_info exit;
	struct spawned s;

	(void)state;
	assert_int_equal(start_with(WORDS("/bin/sleep", "1000"), NULL, &s), 0);
	assert_int_equal(spawn_real.reap(NULL, s.pid, &exit), 0);
	assert_int_equal(spawn_real.kill_group(NULL, s.pid, SIGKILL), 0);
	exit = wait_for_end(&s);
	assert_int_equal(exit.how, EXIT_HOW_SIGNAL);
	assert_int_equal(exit.value, SIGKILL);
}

static void
reaping_what_is_not_ours_is_an_error(void **state)
{
	struct exit_info exit;

	(void)state;
	assert_int_equal(spawn_real.reap(NULL, getppid(), &exit), -ECHILD);
	/* Above any limit of the kernel. */
	assert_int_equal(
	    spawn_real.kill_group(NULL, 0x7fffff00, SIGKILL), -ESRCH);
}

static void
a_kill_reaches_what_a_script_has_started(void **state)
{
	struct spawned s;
	char line[64];

	(void)state;
	assert_int_equal(
	    start_with(
		WORDS("/bin/sh", "-c", "sleep 1000 & echo up; wait"), NULL, &s),
	    0);
	wait_for_up(&s);
	assert_int_equal(spawn_real.kill_group(NULL, s.pid, SIGKILL), 0);
	/* The pipe ends when the last that holds it, the grandchild, does. */
	assert_int_equal(read_all(s.output[0], line, sizeof(line)), 0);
	assert_int_equal(wait_for_end(&s).value, SIGKILL);
}

static void
a_kill_reaches_a_child_that_left_its_group(void **state)
{
	static const char script[] = "import os, sys, time\n"
				     "os.setpgid(0, int(sys.argv[1]))\n"
				     "print('up', flush=True)\n"
				     "time.sleep(1000)\n";
	struct spawned s;
	char group[16];

	(void)state;
	(void)snprintf(group, sizeof(group), "%d", getpgrp());
	assert_int_equal(
	    start_with(
		WORDS("/usr/bin/python3", "-c", script, group), NULL, &s),
	    0);
	wait_for_up(&s);
	assert_int_equal(spawn_real.kill_group(NULL, s.pid, SIGKILL), 0);
	assert_int_equal(wait_for_end(&s).value, SIGKILL);
}

static void
stdin_is_empty(void **state)
{
	(void)state;
	assert_string_equal(
	    output_of("readlink /proc/self/fd/0; cat"), "/dev/null\n");
}

static void
no_other_descriptor_is_passed_on(void **state)
{
	int leak = open("/dev/null", O_RDONLY), high;

	(void)state;
	assert_true(leak >= 0);
	high = fcntl(leak, F_DUPFD, 200);
	/* The fourth is that of the folder itself, as ls reads it. */
	assert_string_equal(output_of("exec ls /proc/self/fd"), "0\n1\n2\n3\n");
	fd_close(&leak);
	fd_close(&high);
}

static void
our_own_descriptors_are_close_on_exec_and_do_not_block(void **state)
{
	struct spawned s;
	int i;

	(void)state;
	assert_int_equal(start_with(WORDS("/bin/sleep", "1000"), NULL, &s), 0);
	for (i = 0; i < 2; i++) {
		assert_true(fcntl(s.output[i], F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(s.output[i], F_GETFL) & O_NONBLOCK);
	}
	if (s.pidfd >= 0)
		assert_true(fcntl(s.pidfd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(spawn_real.kill_group(NULL, s.pid, SIGKILL), 0);
	(void)wait_for_end(&s);
}

static uint64_t
hex_behind(const char *text, const char *what)
{
	const char *found = strstr(text, what);

	assert_non_null(found);
	return strtoull(found + strlen(what), NULL, 16);
}

static void
signals_are_as_in_a_fresh_process(void **state)
{
	/* Signals 32 and 33 are the C library's own: it ignores them in what
	 * it spawns, and no program can use them. */
	const uint64_t reserved = UINT64_C(3) << 31;
	const char *text;
	sigset_t mask, old;

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);
	(void)sigfillset(&mask);
	(void)sigprocmask(SIG_SETMASK, &mask, &old);
	text = output_of("exec cat /proc/self/status");
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	(void)signal(SIGUSR1, SIG_DFL);
	(void)signal(SIGPIPE, SIG_DFL);
	assert_int_equal(hex_behind(text, "SigBlk:"), 0);
	assert_int_equal(hex_behind(text, "SigIgn:") & ~reserved, 0);
}

static void
a_child_leads_a_group_of_its_own(void **state)
{
	struct spawned s;

	(void)state;
	assert_int_equal(start_with(WORDS("/bin/sleep", "1000"), NULL, &s), 0);
	assert_int_equal(getpgid(s.pid), s.pid);
	assert_int_equal(spawn_real.kill_group(NULL, s.pid, SIGKILL), 0);
	(void)wait_for_end(&s);
}

static void
stdout_and_stderr_come_apart(void **state)
{
	struct spawned s;
	char text[64];

	(void)state;
	assert_int_equal(
	    start_with(
		WORDS("/bin/sh", "-c", "echo one; echo two >&2"), NULL, &s),
	    0);
	(void)read_all(s.output[0], text, sizeof(text));
	assert_string_equal(text, "one\n");
	(void)read_all(s.output[1], text, sizeof(text));
	assert_string_equal(text, "two\n");
	(void)wait_for_end(&s);
}

static void
write_file(struct tmpdir *t, const char *name, mode_t mode)
{
	static const char script[] = "#!/bin/sh\necho \"$A\"\n";
	const char *path = tmpdir_path(t, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, script, sizeof(script) - 1), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	fd_close(&fd);
}

static void
a_program_is_looked_up_in_the_path_of_the_child(void **state)
{
	struct tmpdir *t = *state;
	char path[512], text[64];
	struct spawned s;

	write_file(t, "varta-test-program", 0700);
	assert_int_equal(
	    start_with(WORDS("varta-test-program"), "PATH=/bin", &s), -ENOENT);
	(void)snprintf(
	    path, sizeof(path), "PATH=/nowhere:/dev/null:%s", t->path);
	assert_int_equal(start_with(WORDS("varta-test-program"), path, &s), 0);
	(void)read_all(s.output[0], text, sizeof(text));
	/* It has our environment, too. */
	assert_string_equal(text, "b\n");
	assert_int_equal(wait_for_end(&s).value, 0);
}

static void
without_a_path_the_usual_folders_are_searched(void **state)
{
	struct spawned s;

	(void)state;
	assert_int_equal(start_with(WORDS("true"), NULL, &s), 0);
	assert_int_equal(wait_for_end(&s).value, 0);
}

static void
an_empty_part_of_the_path_is_the_current_folder(void **state)
{
	struct tmpdir *t = *state;
	struct spawned s;
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(here >= 0);
	write_file(t, "in-here", 0700);
	assert_int_equal(chdir(t->path), 0);
	assert_int_equal(start_with(WORDS("in-here"), "PATH=/bin::/x", &s), 0);
	assert_int_equal(wait_for_end(&s).value, 0);
	assert_int_equal(start_with(WORDS("in-here"), "PATH=", &s), 0);
	assert_int_equal(wait_for_end(&s).value, 0);
	assert_int_equal(fchdir(here), 0);
	fd_close(&here);
}

static void
a_program_that_cannot_run_is_an_error_of_the_start(void **state)
{
	struct tmpdir *t = *state;
	char path[512], longest[5000];
	struct spawned s;
	int before = open_descriptors();

	write_file(t, "not-executable", 0600);
	(void)mkdir(tmpdir_path(t, "folder"), 0700);
	(void)snprintf(path, sizeof(path), "PATH=%s", t->path);
	assert_int_equal(
	    start_with(WORDS("not-executable"), path, &s), -EACCES);
	assert_int_equal(
	    start_with(WORDS(tmpdir_path(t, "not-executable")), NULL, &s),
	    -EACCES);
	assert_int_equal(start_with(WORDS("folder"), path, &s), -EACCES);
	assert_int_equal(start_with(WORDS("no-such"), path, &s), -ENOENT);
	assert_int_equal(
	    start_with(WORDS("/no/such/program"), NULL, &s), -ENOENT);
	assert_int_equal(start_with(WORDS(""), NULL, &s), -ENOENT);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(spawn_real.start(launcher, (char *[]){ longest, NULL },
			     (char *[]){ NULL }, &s),
	    -ENAMETOOLONG);
	longest[0] = '/';
	assert_int_equal(spawn_real.start(launcher, (char *[]){ longest, NULL },
			     (char *[]){ NULL }, &s),
	    -ENAMETOOLONG);
	assert_int_equal(open_descriptors(), before);
}

static void
a_file_that_is_no_program_is_not_given_to_a_shell(void **state)
{
	struct tmpdir *t = *state;
	const char *path = tmpdir_path(t, "plain");
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	struct spawned s;

	assert_int_equal(fd_write_all(fd, "exit 0\n", 7), 0);
	fd_close(&fd);
	assert_int_equal(start_with(WORDS(path), NULL, &s), -ENOEXEC);
}

static void
closed_standard_descriptors_do_not_mix_up_the_child(void **state)
{
	struct spawned s;
	char text[64];
	int saved[3], i, r;

	(void)state;
	for (i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
		(void)close(i);
	}
	r = start_with(
	    WORDS("/bin/sh", "-c", "echo one; echo two >&2"), NULL, &s);
	for (i = 0; i < 3; i++) {
		(void)dup2(saved[i], i);
		fd_close(&saved[i]);
	}
	assert_int_equal(r, 0);
	assert_true(s.output[0] > 2 && s.output[1] > 2);
	(void)read_all(s.output[0], text, sizeof(text));
	assert_string_equal(text, "one\n");
	(void)read_all(s.output[1], text, sizeof(text));
	assert_string_equal(text, "two\n");
	/* The pidfd took the place of one of them, and is closed. */
	s.pidfd = -1;
	assert_int_equal(wait_for_end(&s).value, 0);
}

static void
each_gets_all_of_its_own_with_many_descriptors_in_use(void **state)
{
	struct rlimit limit, raised;
	int fds[MANY], i;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	raised = limit;
	raised.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &raised), 0);
	for (i = 0; i < MANY; i++) {
		fds[i] = open("/dev/null", O_RDONLY);
		assert_true(fds[i] >= 0);
	}
	assert_string_equal(output_of("exec ls /proc/self/fd"), "0\n1\n2\n3\n");
	/* And it took none of ours away. */
	for (i = 0; i < MANY; i++)
		assert_int_equal(close(fds[i]), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int
make_launcher(void **state)
{
	(void)state;
	return launcher_new(&launcher);
}

static int
free_launcher(void **state)
{
	(void)state;
	launcher_free(launcher);
	return 0;
}

int
main(void)
{
#define IN_FOLDER(test)                                                        \
	cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_how_a_child_ended),
		cmocka_unit_test(does_not_wait_for_a_child_that_runs),
		cmocka_unit_test(reaping_what_is_not_ours_is_an_error),
		cmocka_unit_test(a_kill_reaches_what_a_script_has_started),
		cmocka_unit_test(a_kill_reaches_a_child_that_left_its_group),
		cmocka_unit_test(stdin_is_empty),
		cmocka_unit_test(no_other_descriptor_is_passed_on),
		cmocka_unit_test(
		    each_gets_all_of_its_own_with_many_descriptors_in_use),
		cmocka_unit_test(
		    our_own_descriptors_are_close_on_exec_and_do_not_block),
		cmocka_unit_test(signals_are_as_in_a_fresh_process),
		cmocka_unit_test(a_child_leads_a_group_of_its_own),
		cmocka_unit_test(stdout_and_stderr_come_apart),
		IN_FOLDER(a_program_is_looked_up_in_the_path_of_the_child),
		cmocka_unit_test(without_a_path_the_usual_folders_are_searched),
		IN_FOLDER(an_empty_part_of_the_path_is_the_current_folder),
		IN_FOLDER(a_program_that_cannot_run_is_an_error_of_the_start),
		IN_FOLDER(a_file_that_is_no_program_is_not_given_to_a_shell),
		cmocka_unit_test(
		    closed_standard_descriptors_do_not_mix_up_the_child),
	};

	return cmocka_run_group_tests_name(
	    "spawn", tests, make_launcher, free_launcher);
}
