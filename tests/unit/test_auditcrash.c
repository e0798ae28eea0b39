/*
 * The writer of the audit trail is killed before each system call that it
 * makes, and in the middle of each write, in turn. Then another one goes on:
 * the trail must be whole, with every record that was synced.
 */
#include "watch/tell/auditfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/auditbook.h"
#include "support/tmpdir.h"

enum {
	RECORDS = 20,    /* in a run: several rotations */
	MAX_BYTES = 400, /* of a file: three records */
	KILLED = 77      /* exit code */
};

static unsigned countdown; /* calls until the end; 0 off */
static bool tearing;       /* writes are done by half before the end */

static bool
hits(void)
{
	return countdown > 0 && --countdown == 0;
}

#define POINT(type, name, params, args)                                        \
	type __real_##name params;                                             \
	type __wrap_##name params;                                             \
	type __wrap_##name params                                              \
	{                                                                      \
		if (hits())                                                    \
			_exit(KILLED);                                         \
		return __real_##name args;                                     \
	}

POINT(int, flock, (int fd, int operation), (fd, operation))
POINT(int, ftruncate64, (int fd, off_t n), (fd, n))
POINT(int, lstat64, (const char *path, struct stat *st), (path, st))
POINT(int, rename, (const char *from, const char *to), (from, to))
POINT(int, unlink, (const char *path), (path))

/* A process that ends leaves all that it has written, synced or not: there is
 * no need to wait for the disk. */
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);

int
__wrap_fdatasync(int fd)
{
	(void)fd;
	if (hits())
		_exit(KILLED);
	return 0;
}

int
__wrap_fsync(int fd)
{
	return __wrap_fdatasync(fd);
}

int __real_open64(const char *path, int flags, unsigned mode);
int __wrap_open64(const char *path, int flags, unsigned mode);
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

int
__wrap_open64(const char *path, int flags, unsigned mode)
{
	if (hits())
		_exit(KILLED);
	return __real_open64(path, flags, mode);
}

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	if (hits()) {
		if (tearing)
			(void)__real_write(fd, bytes, n / 2);
		_exit(KILLED);
	}
	return __real_write(fd, bytes, n);
}

static const char *path;
static uint64_t *synced; /* the last number known to be; shared */

static int
setup(void **state)
{
	int r = tmpdir_setup(state);

	path = tmpdir_path(*state, "audit");
	countdown = 0;
	synced = mmap(NULL, sizeof(*synced), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return r < 0 || synced == MAP_FAILED ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)munmap(synced, sizeof(*synced));
	return tmpdir_teardown(state);
}

/* What the writer does. 0 when all went well. */
static int
write_records(unsigned records)
{
	static const char row[] = "1700\t5\trefused\t42\tdebounced";
	const struct auditfile_options options = {
		.path = path, .max_bytes = MAX_BYTES, .pid = 1234
	};
	struct auditfile_found found;
	struct file_fault fault;
	struct auditfile *f;

	if (auditfile_open(&options, 1700, &f, &found, &fault) < 0)
		return 1;
	*synced = auditfile_seq(f);
	for (; records > 0; records--) {
		auditfile_add(f, AUDITLINE_REFUSED, row, strlen(row), 0);
		if (auditfile_sync(f) < 0)
			return 2;
		*synced = auditfile_seq(f);
		if (auditfile_rotation_is_due(f) &&
		    auditfile_rotate(f, 1700) < 0)
			return 3;
	}
	auditfile_close(f);
	return 0;
}

/* Run the writer in a process of its own that ends at call n. True when it
 * did. */
static bool
write_and_die(unsigned records, unsigned n)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		countdown = n;
		_exit(write_records(records));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == KILLED || WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == KILLED;
}

static void
assert_whole(void)
{
	static struct auditbook_verdict verdict;
	size_t i;

	auditbook_verify_files(&verdict, path);
	for (i = 0; i < verdict.n; i++)
		assert_string_equal(
		    auditverify_word(verdict.findings[i].what), "cut");
	assert_int_equal(verdict.v.sums.dropped, 0);
	assert_true(verdict.v.sums.last_seq >= *synced);
}

static void
remove_all(void)
{
	static const char *const suffixes[] = { "", ".next", ".1", ".2", ".3",
		".4", ".5" };
	char name[256];
	size_t i;

	for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		(void)__real_unlink(name);
	}
	*synced = 0;
}

/* Killed at each call of a whole life, from no file to a full set. */
static void
die_everywhere(void)
{
	unsigned n;

	for (n = 1; write_and_die(RECORDS, n); n++) {
		assert_int_equal(write_records(1), 0);
		assert_whole();
		remove_all();
	}
	assert_true(n > 100);
}

static void
killed_before_any_call_it_loses_nothing(void **state)
{
	(void)state;
	tearing = false;
	die_everywhere();
}

static void
killed_within_any_write_it_loses_nothing(void **state)
{
	(void)state;
	tearing = true;
	die_everywhere();
}

/* Killed again and again, never living for longer than the time before. */
static void
killed_again_while_it_recovers_it_loses_nothing(void **state)
{
	unsigned n, m;

	(void)state;
	tearing = true;
	for (n = 1; write_and_die(RECORDS, n); n += 7) {
		uint64_t before = *synced;

		for (m = 1; write_and_die(1, m) && m < 60; m++) {
			assert_true(*synced >= before);
			before = *synced;
		}
		assert_int_equal(write_records(1), 0);
		assert_whole();
		remove_all();
	}
}

/* With a full set of files to begin with, one life after the other. */
static void
many_short_lives_make_one_trail(void **state)
{
	unsigned n;

	(void)state;
	tearing = true;
	assert_int_equal(write_records(RECORDS), 0);
	for (n = 1; n < 120; n++) {
		(void)write_and_die(RECORDS, n);
		assert_int_equal(write_records(0), 0);
		assert_whole();
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(killed_before_any_call_it_loses_nothing),
		TEST(killed_within_any_write_it_loses_nothing),
		TEST(killed_again_while_it_recovers_it_loses_nothing),
		TEST(many_short_lives_make_one_trail),
	};

	return cmocka_run_group_tests_name("auditcrash", tests, NULL, NULL);
}
