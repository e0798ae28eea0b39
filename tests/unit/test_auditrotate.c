#include "watch/tell/auditrotate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"
#include "support/tmpdir.h"
#include "unit/audit_world.h"

FAULT(int, -1, fdatasync, (int fd), (fd))
FAULT(int, -1, fsync, (int fd), (fd))
FAULT(int, -1, lstat64, (const char *path, struct stat *st), (path, st))
FAULT(int, -1, rename, (const char *from, const char *to), (from, to))
FAULT(int, -1, unlink, (const char *path), (path))

static void
faults_off(void)
{
	struct fault *const all[] = { &fault_fdatasync, &fault_fsync,
		&fault_lstat64, &fault_rename, &fault_unlink };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fault_off(all[i]);
}

static int
setup(void **state)
{
	faults_off();
	return world_setup(state);
}

static int
teardown(void **state)
{
	faults_off();
	return world_teardown(state);
}

/* Add records until a rotation is due, and rotate. */
static void
fill_and_rotate(void)
{
	while (!auditfile_rotation_is_due(world_file))
		world_add("one of many", 0);
	assert_false(auditfile_has_room(world_file));
	assert_int_equal(auditfile_rotate(world_file, 1701), 0);
	assert_true(auditfile_has_room(world_file));
}

static void
the_record_that_reaches_the_limit_rotates(void **state)
{
	char got[8192];

	(void)state;
	world_open(500);
	fill_and_rotate();
	assert_true(world_exists(".1"));
	assert_false(world_exists(".2"));
	assert_false(world_exists(".next"));
	world_read("", got);
	assert_non_null(strstr(got, "audit v2\n"));
	assert_non_null(strstr(got, "\t1701\t0\tboot\t1234\t"));
	assert_non_null(strstr(got, "\trotation\t"));
	world_add("behind it", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	world_verify();
	assert_int_equal(world_verdict.n, 0);
	assert_int_equal(
	    world_verdict.v.sums.last_seq, auditfile_seq(world_file));
}

static void
what_is_there_already_counts_towards_the_limit(void **state)
{
	(void)state;
	world_open(0);
	while (!world_exists(".1")) {
		world_add("an older record", 0);
		assert_int_equal(auditfile_sync(world_file), 0);
		world_close();
		world_open(700);
		if (auditfile_rotation_is_due(world_file))
			assert_int_equal(auditfile_rotate(world_file, 1701), 0);
	}
	world_verify();
	assert_int_equal(world_verdict.n, 0);
}

static void
five_generations_are_kept(void **state)
{
	int i;

	(void)state;
	world_open(500);
	for (i = 0; i < 8; i++)
		fill_and_rotate();
	assert_true(world_exists(".1") && world_exists(".5"));
	assert_false(world_exists(".6"));
	world_verify();
	assert_int_equal(world_verdict.n, 0);
	assert_int_not_equal(world_verdict.v.sums.first_seq, 1);
}

static void
a_gap_of_an_interrupted_rotation_is_filled_first(void **state)
{
	int i;

	(void)state;
	world_open(500);
	for (i = 0; i < 5; i++)
		fill_and_rotate();
	/* As a kill between two renames leaves it: .5 is dropped, .4 and .3
	 * have moved on. */
	assert_int_equal(rename(world_name(".4"), world_name(".5")), 0);
	world_verify();
	assert_int_equal(world_verdict.n, 0);
	i = (int)world_verdict.v.sums.first_seq;
	fill_and_rotate();
	assert_true(world_exists(".4") && world_exists(".1"));
	world_verify();
	assert_int_equal(world_verdict.n, 0);
	assert_int_equal(world_verdict.v.sums.first_seq, i);
}

static void
a_rotation_that_was_interrupted_before_its_last_step_is_completed(void **state)
{
	(void)state;
	world_open(500);
	fill_and_rotate();
	world_close();
	assert_int_equal(rename(world_path, world_name(".next")), 0);
	world_open(500);
	assert_int_equal(world_found.reason, AUDITLINE_RESUME);
	assert_false(world_exists(".next"));
	world_verify();
	assert_int_equal(world_verdict.n, 0);
}

static void
a_next_file_that_is_of_no_use_is_removed(void **state)
{
	(void)state;
	world_open(0);
	world_close();
	world_put(".next", "left behind");
	world_open(0);
	assert_false(world_exists(".next"));
	world_assert_good(2);
}

/* Each call that a rotation makes fails once. The trail goes on, and a later
 * rotation succeeds. */
static void
a_rotation_that_fails_anywhere_loses_nothing(void **state)
{
	struct fault *const all[] = { &fault_fdatasync, &fault_fsync,
		&fault_lstat64, &fault_rename, &fault_unlink };
	size_t i;
	unsigned nth;

	(void)state;
	world_open(400);
	for (i = 0; i < 3; i++)
		fill_and_rotate();
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		bool failed = true;

		for (nth = 1; failed; nth++) {
			while (!auditfile_rotation_is_due(world_file))
				world_add("before", 0);
			fault_nth(all[i], nth, EACCES);
			failed = auditfile_rotate(world_file, 1701) < 0;
			fault_off(all[i]);
			world_add("behind", 0);
			assert_int_equal(auditfile_sync(world_file), 0);
			if (auditfile_rotation_is_due(world_file))
				assert_int_equal(
				    auditfile_rotate(world_file, 1702), 0);
			world_verify();
			assert_int_equal(world_verdict.n, 0);
			assert_int_equal(world_verdict.v.sums.last_seq,
			    auditfile_seq(world_file));
			assert_false(world_exists(".next"));
		}
		assert_true(nth > 2);
	}
}

static void
a_new_file_without_a_name_is_written_until_it_has_one(void **state)
{
	unsigned renames;

	(void)state;
	world_open(500);
	while (!auditfile_rotation_is_due(world_file))
		world_add("before", 0);
	/* live to .1, and then next to live. */
	fault_nth(&fault_rename, 2, EACCES);
	assert_int_equal(auditfile_rotate(world_file, 1701), -EACCES);
	assert_false(world_exists(""));
	assert_true(world_exists(".next"));
	assert_true(auditfile_rotation_is_due(world_file));
	fault_always(&fault_rename, EACCES);
	world_add("behind", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_int_equal(auditfile_rotate(world_file, 1702), -EACCES);
	renames = fault_rename.calls;
	assert_int_equal(renames, 1);
	fault_off(&fault_rename);
	assert_int_equal(auditfile_rotate(world_file, 1703), 0);
	assert_false(world_exists(".next"));
	world_verify();
	assert_int_equal(world_verdict.n, 0);
	assert_int_equal(
	    world_verdict.v.sums.last_seq, auditfile_seq(world_file));
}

static void
a_full_disk_delays_a_rotation(void **state)
{
	(void)state;
	world_open(500);
	while (!auditfile_rotation_is_due(world_file))
		world_add("before", 0);
	world_disk_bytes = 40;
	assert_int_equal(auditfile_rotate(world_file, 1701), -ENOSPC);
	world_disk_bytes = SIZE_MAX;
	assert_int_equal(auditfile_sync(world_file), 0);
	world_disk_bytes = 40; /* for the new world_file */
	assert_int_equal(auditfile_rotate(world_file, 1701), -ENOSPC);
	assert_false(world_exists(".next"));
	world_disk_bytes = SIZE_MAX;
	assert_int_equal(auditfile_rotate(world_file, 1701), 0);
	world_verify();
	assert_int_equal(world_verdict.n, 0);
}

static void
a_file_that_was_moved_away_does_not_stop_a_rotation(void **state)
{
	(void)state;
	world_open(500);
	while (!auditfile_rotation_is_due(world_file))
		world_add("before", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_int_equal(rename(world_path, world_name(".moved")), 0);
	assert_int_equal(auditfile_rotate(world_file, 1701), 0);
	assert_int_equal(rename(world_name(".moved"), world_name(".1")), 0);
	world_verify();
	assert_int_equal(world_verdict.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_record_that_reaches_the_limit_rotates),
		TEST(what_is_there_already_counts_towards_the_limit),
		TEST(five_generations_are_kept),
		TEST(a_gap_of_an_interrupted_rotation_is_filled_first),
		TEST(
		    a_rotation_that_was_interrupted_before_its_last_step_is_completed),
		TEST(a_next_file_that_is_of_no_use_is_removed),
		TEST(a_rotation_that_fails_anywhere_loses_nothing),
		TEST(a_new_file_without_a_name_is_written_until_it_has_one),
		TEST(a_full_disk_delays_a_rotation),
		TEST(a_file_that_was_moved_away_does_not_stop_a_rotation),
	};

	return cmocka_run_group_tests_name("auditrotate", tests, NULL, NULL);
}
