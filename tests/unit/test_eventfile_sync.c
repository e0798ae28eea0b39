/*
 * The event file on a disk that hangs or fails: the caller goes on, and what it
 * wrote is synced.
 */
#include "watch/tell/eventfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/syncer.h"
#include "base/util.h"
#include "support/disk.h"
#include "support/fault.h"
#include "support/logged.h"
#include "support/tmpdir.h"

FAULT_ERROR(pthread_create,
    (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *),
	void *ctx),
    (thread, attr, run, ctx))

static struct stats stats;
static struct eventfile *file;
static const char *path;

static int
setup(void **state)
{
	memset(&stats, 0, sizeof(stats));
	n_logged = 0;
	logged[0] = '\0';
	fault_off(&fault_pthread_create);
	disk_reset();
	return tmpdir_setup(state);
}

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
	eventfile_close(file, NS_NEVER, 0);
	file = NULL;
}

static void
add(const char *row)
{
	eventfile_add(file, row, strlen(row), 0);
}

static struct stat
stat_of(unsigned generation)
{
	char name[256];
	struct stat st = { 0 };

	(void)snprintf(name, sizeof(name), generation == 0 ? "%s" : "%s.%u",
	    path, generation);
	(void)stat(name, &st);
	return st;
}

/* How often this file was synced when it was as long as it is. */
static unsigned
n_syncs_of(struct stat st)
{
	unsigned n = 0;

	for (unsigned i = 0; i < disk_begun(); i++)
		n += disk.synced[i].st_ino == st.st_ino &&
		     disk.synced[i].st_size == st.st_size;
	return n;
}

static unsigned
n_folder_syncs(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < disk_begun(); i++)
		n += S_ISDIR(disk.synced[i].st_mode);
	return n;
}

static void
every_so_many_rows_and_the_last_ones_are_synced(void **state)
{
	open_file(*state, 0, 2);
	add("1\n");
	eventfile_flush(file, 0);
	add("2\n");
	assert_true(disk_wait(disk_done, 1));
	assert_int_equal(disk.synced[0].st_size, 4);
	add("3\n");
	add("4\n");
	assert_true(disk_wait(disk_done, 2));
	add("5\n");
	close_file();
	assert_int_equal(disk_done(), 3);
	assert_int_equal(disk.synced[2].st_size, 10);
}

static void
without_the_option_nothing_is_synced(void **state)
{
	open_file(*state, 4, 0);
	fault_always(&fault_pthread_create, EAGAIN);
	add("one\n");
	add("two\n");
	close_file();
	assert_int_equal(disk_begun(), 0);
}

static void
the_caller_goes_on_while_the_disk_hangs(void **state)
{
	open_file(*state, 0, 1);
	disk_hold(true);
	add("1\n");
	assert_true(disk_wait(disk_begun, 1));
	for (int i = 0; i < 1000; i++)
		add("2\n");
	eventfile_flush(file, 0);
	assert_int_equal(stat_of(0).st_size, 2002);
	assert_int_equal(disk_begun(), 1);

	disk_hold(false);
	close_file();
	assert_true(n_syncs_of(stat_of(0)) >= 1);
	/* The one that hung, one for all that was asked for meanwhile unless
	 * the end came first, and that at the end. */
	assert_true(disk_done() <= 3);
	assert_int_equal(stats.export_errors, 0);
}

static void
the_last_rows_of_a_file_that_was_rotated_away_are_synced(void **state)
{
	open_file(*state, 12, 3);
	disk_hold(true);
	add("one\n");
	add("two\n");
	add("three\n");
	assert_true(disk_wait(disk_begun, 1));
	add("four\n");
	add("five five five\n");
	add("six\n");
	eventfile_flush(file, 0);
	assert_int_equal(stat_of(0).st_size, 4);
	assert_int_equal(stat_of(1).st_size, 20);

	disk_hold(false);
	close_file();
	assert_true(n_syncs_of(stat_of(2)) >= 1);
	assert_true(n_syncs_of(stat_of(1)) >= 1);
	assert_true(n_syncs_of(stat_of(0)) >= 1);
	assert_int_equal(n_folder_syncs(), 2);
}

static void
the_last_rows_of_a_file_that_was_moved_away_are_synced(void **state)
{
	char moved[256];

	open_file(*state, 0, 3);
	add("one\n");
	eventfile_flush(file, 0);
	(void)snprintf(moved, sizeof(moved), "%s.1", path);
	assert_int_equal(rename(path, moved), 0);
	eventfile_follow(file, 0);
	add("two\n");
	close_file();
	assert_true(n_syncs_of(stat_of(1)) >= 1);
	assert_true(n_syncs_of(stat_of(0)) >= 1);
	assert_int_equal(n_folder_syncs(), 1);
}

static void
a_disk_that_hangs_puts_rotations_off_and_loses_nothing(void **state)
{
	unsigned i, n_waiting = SYNCER_WAITING / 2;

	open_file(*state, 4, 1);
	disk_hold(true);
	add("one\n");
	assert_true(disk_wait(disk_begun, 1));
	for (i = 0; i < n_waiting + 100; i++) {
		add("two\n");
		eventfile_flush(file, 0);
	}
	assert_true(stat_of(0).st_size >= 4 * 99);
	assert_int_equal(disk_begun(), 1);

	disk_hold(false);
	for (i = 0; i < DISK_NAPS_MAX && stat_of(0).st_size > 0; i++) {
		eventfile_flush(file, 0);
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(stat_of(0).st_size, 0);
	assert_true(stat_of(1).st_size >= 4 * 99);
	close_file();
	assert_true(n_syncs_of(stat_of(1)) >= 1);
	assert_int_equal(stats.export_rows_lost, 0);
	assert_int_equal(stats.export_errors, 0);
}

static void
a_failed_sync_is_told_in_the_next_pass_and_not_repeated(void **state)
{
	open_file(*state, 0, 1);
	disk_fail(EIO);
	add("1\n");
	assert_true(disk_wait(disk_done, 1));
	for (int i = 0; i < DISK_NAPS_MAX && stats.export_errors == 0; i++) {
		eventfile_flush(file, 0);
		(void)poll(NULL, 0, 1);
	}
	eventfile_flush(file, 0);
	assert_int_equal(stats.export_errors, 1);
	assert_non_null(strstr(logged, "': cannot sync: "));
	assert_int_equal(disk_done(), 1);
	close_file();
	assert_int_equal(stats.export_errors, 2);
}

static void
the_end_waits_no_longer_than_it_may(void **state)
{
	open_file(*state, 0, 1);
	disk_hold(true);
	add("1\n");
	assert_true(disk_wait(disk_begun, 1));
	eventfile_close(file, NS_PER_MS, 0);
	assert_non_null(
	    strstr(logged, "the event file's disk does not answer"));
	assert_int_equal(stat_of(0).st_size, 2);
	disk_hold(false);
	assert_true(disk_wait(disk_done, 1));
}

static void
what_was_synced_at_the_end_is_not_waited_for_again(void **state)
{
	open_file(*state, 0, 1);
	add("1\n");
	eventfile_end(file, 0);
	eventfile_end(file, 0);
	close_file();
	assert_int_equal(n_syncs_of(stat_of(0)), disk_done());
}

static void
without_its_thread_it_does_not_start(void **state)
{
	struct eventfile_options options = {
		.path = tmpdir_path(*state, "events"), .sync_every = 1
	};
	struct file_fault fault;

	fault_nth(&fault_pthread_create, 1, EAGAIN);
	assert_int_equal(
	    eventfile_open(&options, &stats, &file, &fault), -EAGAIN);
	assert_non_null(strstr(fault.text, "cannot start the thread"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_so_many_rows_and_the_last_ones_are_synced),
		TEST(without_the_option_nothing_is_synced),
		TEST(the_caller_goes_on_while_the_disk_hangs),
		TEST(the_last_rows_of_a_file_that_was_rotated_away_are_synced),
		TEST(the_last_rows_of_a_file_that_was_moved_away_are_synced),
		TEST(a_disk_that_hangs_puts_rotations_off_and_loses_nothing),
		TEST(a_failed_sync_is_told_in_the_next_pass_and_not_repeated),
		TEST(the_end_waits_no_longer_than_it_may),
		TEST(what_was_synced_at_the_end_is_not_waited_for_again),
		TEST(without_its_thread_it_does_not_start),
	};

	return cmocka_run_group_tests_name("eventfile_sync", tests, NULL, NULL);
}
