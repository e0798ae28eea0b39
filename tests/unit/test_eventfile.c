#include "watch/tell/eventfile.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(int, -1, fstat64, (int fd, struct stat *st), (fd, st))
FAULT(
    ssize_t, -1, pread64, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
FAULT(int, -1, renameat,
    (int from_fd, const char *from, int to_fd, const char *to),
    (from_fd, from, to_fd, to))

/* A disk with so many bytes left; writes to stderr go nowhere. */
static size_t disk_bytes = SIZE_MAX;
static unsigned n_writes, n_interrupts;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	ssize_t r;

	if (fd == STDERR_FILENO)
		return (ssize_t)n;
	n_writes++;
	if (n_interrupts > 0) {
		n_interrupts--;
		errno = EINTR;
		return -1;
	}
	if (disk_bytes == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (disk_bytes == SIZE_MAX)
		return __real_write(fd, bytes, n);
	r = __real_write(fd, bytes, n < disk_bytes ? n : disk_bytes);
	if (r > 0)
		disk_bytes -= (size_t)r;
	return r;
}

static struct stats stats;
static struct eventfile *file;
static const char *path;

static void
open_file(struct tmpdir *t, uint64_t max_bytes, uint32_t sync_every)
{
	struct eventfile_options options = { .max_bytes = max_bytes,
		.sync_every = sync_every };
	struct file_fault fault;

	path = options.path = tmpdir_path(t, "events");
	assert_int_equal(eventfile_open(&options, &stats, &file, &fault), 0);
}

static void
close_file(void)
{
	eventfile_close(file, 0, 0);
	file = NULL;
}

static void
add(const char *row)
{
	eventfile_add(file, row, strlen(row), 0);
}

static void
assert_holds(const char *name, const char *want)
{
	char got[512] = { 0 };
	int fd = open(name, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(fd_read_full(fd, got, sizeof(got) - 1) >= 0);
	fd_close(&fd);
	assert_string_equal(got, want);
}

static const char *
generation(unsigned number)
{
	static char name[256];

	(void)snprintf(name, sizeof(name), "%s.%u", path, number);
	return name;
}

static int
setup(void **state)
{
	memset(&stats, 0, sizeof(stats));
	disk_bytes = SIZE_MAX;
	n_writes = n_interrupts = 0;
	fault_off(&fault_calloc);
	fault_off(&fault_fstat64);
	fault_off(&fault_pread64);
	fault_off(&fault_renameat);
	return tmpdir_setup(state);
}

static void
rows_are_written_by_one_call_at_the_flush(void **state)
{
	struct stat st;

	open_file(*state, 0, 0);
	add("one\n");
	add("two\n");
	assert_int_equal(n_writes, 0);
	eventfile_flush(file, 0);
	assert_int_equal(n_writes, 1);
	assert_holds(path, "one\ntwo\n");
	eventfile_flush(file, 0);
	assert_int_equal(n_writes, 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close_file();
}

static void
closing_writes_what_is_left(void **state)
{
	open_file(*state, 0, 0);
	add("one\n");
	close_file();
	assert_holds(path, "one\n");
	assert_int_equal(stats.export_rows_lost, 0);
	eventfile_close(NULL, 0, 0);
}

static void
an_existing_file_is_continued(void **state)
{
	open_file(*state, 0, 0);
	add("one\n");
	close_file();
	open_file(*state, 0, 0);
	add("two\n");
	close_file();
	assert_holds(path, "one\ntwo\n");
}

static void
a_torn_row_of_an_earlier_run_gets_its_end(void **state)
{
	open_file(*state, 0, 0);
	add("torn");
	close_file();
	open_file(*state, 0, 0);
	add("two\n");
	close_file();
	assert_holds(path, "torn\ntwo\n");

	/* A file that cannot be read is taken to be whole. */
	fault_always(&fault_pread64, EIO);
	open_file(*state, 0, 0);
	close_file();
	assert_holds(path, "torn\ntwo\n");
}

static void
a_full_buffer_is_written_before_the_flush(void **state)
{
	char row[1000];
	size_t i;

	memset(row, 'r', sizeof(row));
	row[sizeof(row) - 1] = '\n';
	open_file(*state, 0, 0);
	for (i = 0; i < EVENTFILE_BUFFER_BYTES / sizeof(row); i++)
		eventfile_add(file, row, sizeof(row), 0);
	assert_int_equal(n_writes, 0);
	eventfile_add(file, row, sizeof(row), 0);
	assert_int_equal(n_writes, 1);
	close_file();
	assert_int_equal(n_writes, 2);
	assert_int_equal(stats.export_rows_lost, 0);
}

static void
an_interrupted_write_is_made_again(void **state)
{
	open_file(*state, 0, 0);
	add("one\n");
	n_interrupts = 3;
	eventfile_flush(file, 0);
	assert_holds(path, "one\n");
	assert_int_equal(stats.export_errors, 0);
	close_file();
}

static void
a_row_written_in_part_is_completed_first(void **state)
{
	open_file(*state, 0, 0);
	add("first row\n");
	add("second row\n");
	disk_bytes = 13;
	eventfile_flush(file, 0);
	assert_holds(path, "first row\nsec");
	assert_int_equal(stats.export_errors, 1);

	add("third row\n");
	eventfile_flush(file, 0);
	assert_int_equal(stats.export_errors, 2);
	disk_bytes = SIZE_MAX;
	eventfile_flush(file, 0);
	assert_holds(path, "first row\nsecond row\nthird row\n");
	assert_int_equal(stats.export_rows_lost, 0);
	close_file();
}

static void
on_a_full_disk_new_rows_are_left_out_whole_and_counted(void **state)
{
	char row[1001];
	struct stat st;
	size_t i, n = EVENTFILE_BUFFER_BYTES / 1000;

	memset(row, 'r', sizeof(row));
	row[999] = '\n';
	row[1000] = '\0';
	open_file(*state, 0, 0);
	disk_bytes = 0;
	for (i = 0; i < n + 7; i++)
		add(row);
	eventfile_flush(file, 0);
	assert_int_equal(stats.export_rows_lost, 7);
	assert_int_equal(stats.export_errors, 8);

	disk_bytes = SIZE_MAX;
	close_file();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, n * 1000);
}

static void
rows_that_remain_at_the_close_are_counted_as_lost(void **state)
{
	open_file(*state, 0, 0);
	add("one\n");
	add("two\n");
	disk_bytes = 0;
	close_file();
	assert_int_equal(stats.export_rows_lost, 2);
}

static void
the_row_that_reaches_the_limit_rotates(void **state)
{
	open_file(*state, 12, 0);
	add("one\n");
	add("two\n");
	assert_int_equal(n_writes, 0);
	add("three\n");
	assert_holds(generation(1), "one\ntwo\nthree\n");
	assert_holds(path, "");
	add("four\n");
	close_file();
	assert_holds(path, "four\n");
}

static void
what_is_there_already_counts_towards_the_limit(void **state)
{
	open_file(*state, 0, 0);
	add("old row\n");
	close_file();
	open_file(*state, 12, 0);
	add("one\n");
	assert_holds(generation(1), "old row\none\n");
	close_file();
}

static void
five_generations_are_kept(void **state)
{
	char row[] = "row 0\n";
	int i;

	open_file(*state, 6, 0);
	for (i = 0; i < 7; i++) {
		row[4] = (char)('0' + i);
		add(row);
	}
	close_file();
	assert_holds(path, "");
	assert_holds(generation(1), "row 6\n");
	assert_holds(generation(5), "row 2\n");
	assert_int_not_equal(access(generation(6), F_OK), 0);
}

static void
a_file_that_was_moved_away_is_followed_by_a_new_one(void **state)
{
	open_file(*state, 0, 0);
	add("one\n");
	/* Nothing to do: it is where it was. */
	eventfile_follow(file, 0);
	assert_int_equal(rename(path, generation(1)), 0);
	add("two\n");
	eventfile_flush(file, 0);
	assert_holds(generation(1), "one\ntwo\n");
	add("three\n");
	eventfile_follow(file, 0);
	assert_holds(generation(1), "one\ntwo\nthree\n");
	add("four\n");
	/* Or removed. */
	eventfile_flush(file, 0);
	assert_holds(path, "four\n");
	assert_int_equal(unlink(path), 0);
	eventfile_follow(file, 0);
	add("five\n");
	close_file();
	assert_holds(path, "five\n");
	assert_int_equal(stats.export_errors, 0);
}

static void
the_old_file_is_used_on_where_no_new_one_can_be_made(void **state)
{
	open_file(*state, 0, 0);
	assert_int_equal(rename(path, generation(1)), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	eventfile_follow(file, 0);
	assert_int_equal(stats.export_errors, 1);
	add("one\n");
	close_file();
	assert_holds(generation(1), "one\n");
}

static void
a_failed_rotation_is_tried_again_in_the_next_pass(void **state)
{
	open_file(*state, 4, 0);
	fault_always(&fault_renameat, EACCES);
	add("one\n");
	add("two\n");
	assert_int_equal(fault_renameat.calls, 1);
	assert_int_equal(stats.export_errors, 1);
	eventfile_flush(file, 0);
	assert_int_equal(stats.export_errors, 2);
	assert_holds(path, "one\ntwo\n");

	fault_off(&fault_renameat);
	eventfile_flush(file, 0);
	assert_holds(generation(1), "one\ntwo\n");
	assert_holds(path, "");
	close_file();
}

static void
after_a_rotation_the_new_file_is_tried_again_until_it_is_there(void **state)
{
	open_file(*state, 4, 0);
	/* The new file is there, but cannot be used. */
	fault_always(&fault_fstat64, EIO);
	add("one\n");
	assert_holds(generation(1), "one\n");
	assert_int_equal(stats.export_errors, 1);
	add("two\n");
	assert_int_equal(stats.export_errors, 2);

	fault_off(&fault_fstat64);
	eventfile_flush(file, 0);
	assert_holds(generation(1), "two\n");
	assert_holds(generation(2), "one\n");
	close_file();
	assert_int_equal(stats.export_rows_lost, 0);
}

static void
a_file_is_never_rotated_within_a_row(void **state)
{
	open_file(*state, 6, 0);
	disk_bytes = 7;
	add("one\n");
	add("two\n");
	assert_int_not_equal(access(generation(1), F_OK), 0);
	disk_bytes = SIZE_MAX;
	eventfile_flush(file, 0);
	assert_holds(generation(1), "one\ntwo\n");
	close_file();
}

static void
opening_fails_without_a_trace(void **state)
{
	struct eventfile_options options = { .path = tmpdir_path(
						 *state, "events") };
	struct eventfile *untouched = NULL;
	struct file_fault fault;

	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(
	    eventfile_open(&options, &stats, &untouched, &fault), -ENOMEM);
	fault_off(&fault_calloc);
	fault_nth(&fault_fstat64, 1, EIO);
	assert_int_equal(
	    eventfile_open(&options, &stats, &untouched, &fault), -EIO);
	fault_off(&fault_fstat64);

	options.path = tmpdir_path(*state, "link");
	assert_int_equal(symlink("events", options.path), 0);
	assert_int_equal(
	    eventfile_open(&options, &stats, &untouched, &fault), -ELOOP);
	assert_string_not_equal(fault.text, "");
	options.path = tmpdir_path(*state, "none/events");
	assert_int_equal(
	    eventfile_open(&options, &stats, &untouched, &fault), -ENOENT);
	assert_null(untouched);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_are_written_by_one_call_at_the_flush),
		TEST(closing_writes_what_is_left),
		TEST(an_existing_file_is_continued),
		TEST(a_torn_row_of_an_earlier_run_gets_its_end),
		TEST(a_full_buffer_is_written_before_the_flush),
		TEST(an_interrupted_write_is_made_again),
		TEST(a_row_written_in_part_is_completed_first),
		TEST(on_a_full_disk_new_rows_are_left_out_whole_and_counted),
		TEST(rows_that_remain_at_the_close_are_counted_as_lost),
		TEST(the_row_that_reaches_the_limit_rotates),
		TEST(what_is_there_already_counts_towards_the_limit),
		TEST(five_generations_are_kept),
		TEST(a_file_that_was_moved_away_is_followed_by_a_new_one),
		TEST(the_old_file_is_used_on_where_no_new_one_can_be_made),
		TEST(a_failed_rotation_is_tried_again_in_the_next_pass),
		TEST(
		    after_a_rotation_the_new_file_is_tried_again_until_it_is_there),
		TEST(a_file_is_never_rotated_within_a_row),
		TEST(opening_fails_without_a_trace),
	};

	return cmocka_run_group_tests_name("eventfile", tests, NULL, NULL);
}
