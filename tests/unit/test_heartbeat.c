#include "watch/host/heartbeat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(ssize_t, -1, write, (int fd, const void *bytes, size_t n), (fd, bytes, n))
FAULT(int, -1, rename, (const char *from, const char *to), (from, to))

/* A close that fails has closed all the same. */
int __real_close(int fd);
int __wrap_close(int fd);
static struct fault fault_close;

int
__wrap_close(int fd)
{
	int r = __real_close(fd);

	return fault_hits(&fault_close) ? -1 : r;
}

static struct stats stats;
static struct heartbeat *beat;
static const char *path;
static int stderr_before;

static int
setup(void **state)
{
	int null = open("/dev/null", O_WRONLY);

	assert_int_equal(tmpdir_setup(state), 0);
	/* What is logged would mix with the answers of the tests. */
	stderr_before = dup(STDERR_FILENO);
	assert_true(dup2(null, STDERR_FILENO) >= 0);
	fd_close(&null);
	memset(&stats, 0, sizeof(stats));
	path = tmpdir_path(*state, "heartbeat");
	assert_int_equal(heartbeat_open(path, &stats, &beat), 0);
	return 0;
}

static int
teardown(void **state)
{
	fault_off(&fault_malloc);
	fault_off(&fault_write);
	fault_off(&fault_rename);
	fault_off(&fault_close);
	heartbeat_close(beat);
	(void)dup2(stderr_before, STDERR_FILENO);
	fd_close(&stderr_before);
	return tmpdir_teardown(state);
}

static void
holds(const char *want)
{
	char got[64] = "";
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(fd_read_full(fd, got, sizeof(got) - 1) >= 0);
	assert_string_equal(got, want);
	fd_close(&fd);
}

static unsigned
files_in(const struct tmpdir *t)
{
	DIR *folder = opendir(t->path);
	unsigned n = 0;

	assert_non_null(folder);
	while (readdir(folder) != NULL)
		n++;
	(void)closedir(folder);
	return n - 2;
}

/* A beat at a time of its own, far from the one before. */
static void
beat_now(void)
{
	static uint64_t now_ns;

	now_ns += 10 * NS_PER_S;
	(void)heartbeat_beat(beat, now_ns);
}

static void
opening_makes_no_file(void **state)
{
	assert_int_equal(files_in(*state), 0);
}

static void
the_file_tells_passes_and_time(void **state)
{
	struct stat st;

	stats.passes = 7;
	(void)heartbeat_beat(beat, 123456789);
	holds("7 123456789\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(files_in(*state), 1);

	stats.passes = UINT64_MAX;
	(void)heartbeat_beat(beat, UINT64_MAX - 1);
	holds("18446744073709551615 18446744073709551614\n");
	assert_int_equal(files_in(*state), 1);
	assert_int_equal(stats.heartbeat_errors, 0);
}

static void
it_is_written_ten_times_a_second_at_most(void **state)
{
	const uint64_t ms = NS_PER_MS;

	(void)state;
	stats.passes = 1;
	assert_true(heartbeat_beat(beat, 0) == 900 * ms);
	stats.passes = 2;
	assert_true(heartbeat_beat(beat, 100 * ms - 1) == 900 * ms);
	holds("1 0\n");
	assert_true(heartbeat_beat(beat, 100 * ms) == 1000 * ms);
	holds("2 100000000\n");
}

static void
a_reader_sees_a_whole_file_at_any_time(void **state)
{
	char before[64] = "";
	int fd;

	(void)state;
	beat_now();
	fd = open(path, O_RDONLY);
	stats.passes = 99;
	beat_now();
	/* The one that was opened is still the old one. */
	assert_true(fd_read_full(fd, before, sizeof(before) - 1) > 0);
	assert_memory_equal(before, "0 ", 2);
	fd_close(&fd);
}

/* Occupy the temporary names from first on. */
static void
occupy(unsigned first, unsigned n)
{
	char name[256];

	for (unsigned i = first; i < first + n; i++) {
		int fd;

		(void)snprintf(name, sizeof(name), "%s.%ld.%u.tmp", path,
		    (long)getpid(), i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		fd_close(&fd);
	}
}

static void
names_that_are_taken_are_left_alone(void **state)
{
	occupy(0, HEARTBEAT_TRIES - 1);
	beat_now();
	assert_int_equal(stats.heartbeat_errors, 0);
	assert_int_equal(files_in(*state), HEARTBEAT_TRIES);
}

static void
too_many_names_taken_is_an_error_once(void **state)
{
	occupy(0, HEARTBEAT_TRIES);
	beat_now();
	assert_int_equal(stats.heartbeat_errors, 1);
	assert_int_equal(files_in(*state), HEARTBEAT_TRIES);
	beat_now();
	assert_int_equal(stats.heartbeat_errors, 1);
	assert_int_equal(files_in(*state), HEARTBEAT_TRIES + 1);
}

static void
a_link_in_its_place_is_replaced_not_followed(void **state)
{
	const char *target = tmpdir_path(*state, "target");
	struct stat st;

	assert_int_equal(symlink(target, path), 0);
	beat_now();
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(lstat(target, &st), -1);
}

/* One beat fails, and it counts; the file is as it was, nothing lies around. */
static void
fails_and_leaves_the_file(struct tmpdir *t)
{
	stats.passes = 2;
	beat_now();
	assert_int_equal(stats.heartbeat_errors, 1);
	assert_int_equal(files_in(t), 1);
	holds("1 0\n");
}

static void
a_write_that_fails_leaves_the_file(void **state)
{
	stats.passes = 1;
	(void)heartbeat_beat(beat, 0);
	fault_nth(&fault_write, 1, ENOSPC);
	fails_and_leaves_the_file(*state);
}

static void
a_close_that_fails_leaves_the_file(void **state)
{
	stats.passes = 1;
	(void)heartbeat_beat(beat, 0);
	fault_nth(&fault_close, 1, EIO);
	fails_and_leaves_the_file(*state);
}

static void
a_rename_that_fails_leaves_the_file(void **state)
{
	stats.passes = 1;
	(void)heartbeat_beat(beat, 0);
	fault_nth(&fault_rename, 1, EACCES);
	fails_and_leaves_the_file(*state);
}

static void
failures_are_tried_again_no_more_often_than_the_file_is_written(void **state)
{
	const uint64_t ms = NS_PER_MS;

	assert_int_equal(rmdir(((struct tmpdir *)*state)->path), 0);
	assert_true(heartbeat_beat(beat, 0) == 900 * ms);
	assert_true(heartbeat_beat(beat, 1) == 900 * ms);
	assert_int_equal(stats.heartbeat_errors, 1);
	/* The folder comes later. */
	assert_int_equal(mkdir(((struct tmpdir *)*state)->path, 0700), 0);
	(void)heartbeat_beat(beat, 900 * ms);
	assert_int_equal(stats.heartbeat_errors, 1);
	holds("0 900000000\n");
}

static void
nothing_is_allocated_after_opening(void **state)
{
	(void)state;
	fault_off(&fault_malloc);
	beat_now();
	assert_int_equal(fault_malloc.calls, 0);
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(heartbeat_open(path, &stats, &beat), -ENOMEM);
	heartbeat_close(NULL);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(opening_makes_no_file),
		EACH(the_file_tells_passes_and_time),
		EACH(it_is_written_ten_times_a_second_at_most),
		EACH(a_reader_sees_a_whole_file_at_any_time),
		EACH(names_that_are_taken_are_left_alone),
		EACH(too_many_names_taken_is_an_error_once),
		EACH(a_link_in_its_place_is_replaced_not_followed),
		EACH(a_write_that_fails_leaves_the_file),
		EACH(a_close_that_fails_leaves_the_file),
		EACH(a_rename_that_fails_leaves_the_file),
		EACH(
		    failures_are_tried_again_no_more_often_than_the_file_is_written),
		EACH(nothing_is_allocated_after_opening),
	};

	return cmocka_run_group_tests_name("heartbeat", tests, NULL, NULL);
}
