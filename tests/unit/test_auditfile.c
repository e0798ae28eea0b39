#include "watch/tell/auditfile.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"
#include "support/tmpdir.h"
#include "unit/audit_world.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(int, -1, fdatasync, (int fd), (fd))
FAULT(int, -1, flock, (int fd, int operation), (fd, operation))
FAULT(int, -1, fstat64, (int fd, struct stat *st), (fd, st))
FAULT(int, -1, ftruncate64, (int fd, off_t n), (fd, n))
FAULT(int, -1, lstat64, (const char *path, struct stat *st), (path, st))
FAULT(
    ssize_t, -1, pread64, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
FAULT(int, -1, unlink, (const char *path), (path))

static void
faults_off(void)
{
	struct fault *const all[] = { &fault_calloc, &fault_fdatasync,
		&fault_flock, &fault_fstat64, &fault_ftruncate64,
		&fault_lstat64, &fault_pread64, &fault_unlink };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fault_off(all[i]);
}

static struct auditbook book;

static int
setup(void **state)
{
	faults_off();
	auditbook_init(&book);
	return world_setup(state);
}

static int
teardown(void **state)
{
	faults_off();
	return world_teardown(state);
}

static void
a_new_file_begins_with_header_and_start(void **state)
{
	char got[8192];
	struct stat st;

	(void)state;
	world_open(0);
	auditbook_header(&book);
	auditbook_boot(&book, AUDITLINE_FRESH, false);
	world_read("", got);
	assert_string_equal(got, book.text);
	assert_int_equal(world_found.reason, AUDITLINE_FRESH);
	assert_int_equal(auditfile_unsynced(world_file), 0);
	assert_true(fault_fdatasync.calls > 0);
	assert_int_equal(stat(world_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
records_are_numbered_chained_and_written_when_asked(void **state)
{
	char got[8192];

	(void)state;
	world_open(0);
	world_add("one", 0);
	world_add("two", 3);
	assert_int_equal(auditfile_seq(world_file), 6);
	assert_int_equal(auditfile_unsynced(world_file), 2);
	assert_int_equal(auditfile_unwritten(world_file), 2);
	world_assert_good(1);
	assert_int_equal(auditfile_write(world_file), 0);
	assert_int_equal(auditfile_unwritten(world_file), 0);
	assert_int_equal(auditfile_unsynced(world_file), 2);
	world_assert_good(3);
	assert_int_equal(world_verdict.v.sums.dropped, 3);
	assert_true(auditline_link_equal(
	    auditfile_head(world_file), &world_verdict.v.sums.head));
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_int_equal(auditfile_unsynced(world_file), 0);
	world_read("", got);
	assert_non_null(strstr(got, "\n2\t1700\t5\trefused\t42\tone\t"));
	assert_non_null(strstr(got, "\n6\t1700\t5\trefused\t42\ttwo\t"));
}

static void
a_good_file_is_continued(void **state)
{
	char got[8192];

	(void)state;
	world_open(0);
	world_add("one", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	world_close();
	world_open(0);
	assert_int_equal(world_found.reason, AUDITLINE_RESUME);
	assert_int_equal(auditfile_seq(world_file), 3);
	world_read("", got);
	assert_non_null(strstr(got, "\tresume\t"));
	world_assert_good(3);
}

static void
a_long_file_is_continued_by_its_end(void **state)
{
	int i;

	(void)state;
	world_open(0);
	for (i = 0; i < 400; i++) {
		world_add("a reason that is not as short as it could be", 0);
		assert_int_equal(auditfile_write(world_file), 0);
	}
	world_close();
	fault_off(&fault_pread64);
	world_open(0);
	/* The header, and the window. */
	assert_int_equal(fault_pread64.calls, 1 + AUDITLINE_MAX / 4096);
	world_assert_good(402);
}

static void
where_the_end_has_no_record_the_whole_file_is_read(void **state)
{
	static char junk[AUDITLINE_MAX + 100];
	char got[8192];

	(void)state;
	world_open(0);
	world_add("one", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	world_close();
	world_read("", got);
	auditbook_text(&book, got);
	memset(junk, 'x', sizeof(junk) - 2);
	junk[sizeof(junk) - 2] = '\n';
	auditbook_text(&book, junk);
	world_put("", book.text);
	world_open(0);
	assert_int_equal(world_found.reason, AUDITLINE_SCHEMA_DRIFT);
	world_assert_good(3);
}

static void
a_torn_record_is_cut_off_at_every_byte(void **state)
{
	char text[8192];
	size_t whole, n;

	(void)state;
	world_open(0);
	world_add("whole", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	world_read("", text);
	whole = strlen(text);
	world_add("torn", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	world_close();
	world_read("", text);

	for (n = strlen(text) - 1; n > whole; n--) {
		text[n] = '\0';
		world_put("", text);
		world_open(0);
		assert_int_equal(world_found.reason, AUDITLINE_CORRUPT_TAIL);
		assert_int_equal(world_found.cut_bytes, n - whole);
		assert_int_equal(auditfile_seq(world_file), 3);
		world_assert_good(3);
		world_close();
	}
}

static void
an_older_schema_is_kept(void **state)
{
	char got[8192];

	(void)state;
	world_put("", "# varta-watch recovery audit v1\n1700\tspawn");
	world_open(0);
	assert_int_equal(world_found.reason, AUDITLINE_LEGACY_V1);
	world_read("", got);
	assert_non_null(
	    strstr(got, "audit v1\n1700\tspawn\n# varta-watch recovery "
			"audit v2\n1\t1700\t0\tboot\t1234\t-\tlegacy_v1\t"));
	world_assert_good(1);
	world_close();
	world_open(0);
	assert_int_equal(world_found.reason, AUDITLINE_RESUME);
	world_assert_good(2);
}

static void
one_file_has_one_observer(void **state)
{
	struct auditfile *first;

	(void)state;
	world_open(0);
	first = world_file;
	world_file = NULL;
	assert_int_equal(world_try_open(0), -EBUSY);
	assert_null(world_file);
	auditfile_close(first);
	world_open(0);
	world_assert_good(2);
}

static void
a_file_system_without_locks_will_do(void **state)
{
	(void)state;
	fault_always(&fault_flock, ENOLCK);
	world_open(0);
	world_assert_good(1);
}

static void
strangers_files_are_refused(void **state)
{
	(void)state;
	world_put(".other", "");
	assert_int_equal(symlink("audit.other", world_path), 0);
	assert_int_equal(world_try_open(0), -ELOOP);
	assert_int_equal(unlink(world_path), 0);
	assert_int_equal(link(world_name(".other"), world_path), 0);
	assert_int_equal(world_try_open(0), -EACCES);
	world_path = tmpdir_path(*state, "none/audit");
	assert_int_equal(world_try_open(0), -ENOENT);
	assert_null(world_file);
}

static void
a_path_that_is_too_long_is_refused(void **state)
{
	static char name[PATH_MAX + 10];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	world_path = name;
	assert_int_equal(world_try_open(0), -ENAMETOOLONG);
	/* PATH.next must fit as well. */
	name[PATH_MAX - 3] = '\0';
	assert_int_equal(world_try_open(0), -ENAMETOOLONG);
}

/* Each call that opening makes fails once; what was there stays. */
static void
opening_fails_without_a_trace(void **state)
{
	struct fault *const all[] = { &fault_calloc, &fault_fdatasync,
		&fault_fstat64, &fault_ftruncate64, &fault_lstat64,
		&fault_pread64, &fault_unlink };
	static const char text[] = "# varta-watch recovery audit v2\n"
				   "1\t1700\tbad\n2\t17";
	size_t i;
	unsigned nth;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		for (nth = 1;; nth++) {
			world_put("", text);
			fault_nth(all[i], nth, EIO);
			if (world_try_open(0) == 0)
				break;
			assert_null(world_file);
			fault_off(all[i]);
		}
		assert_true(nth > 1);
		fault_off(all[i]);
		world_close();
	}
	world_put("", text);
	world_disk_bytes = 0;
	assert_int_equal(world_try_open(0), -ENOSPC);
	assert_null(world_file);
}

static void
an_interrupted_read_is_made_again(void **state)
{
	(void)state;
	world_open(0);
	world_close();
	fault_nth(&fault_pread64, 2, EINTR);
	world_open(0);
	world_assert_good(2);
}

static void
an_interrupted_write_or_sync_is_made_again(void **state)
{
	(void)state;
	world_open(0);
	world_add("one", 0);
	world_interrupts = 3;
	fault_nth(&fault_fdatasync, 1, EINTR);
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_int_equal(auditfile_unsynced(world_file), 0);
	world_assert_good(2);
}

static void
a_record_written_in_part_is_completed_first(void **state)
{
	(void)state;
	world_open(0);
	world_add("one", 0);
	world_add("two", 0);
	world_disk_bytes = 50;
	assert_int_equal(auditfile_sync(world_file), -ENOSPC);
	assert_int_equal(auditfile_unsynced(world_file), 2);
	assert_int_equal(auditfile_unwritten(world_file), 2);
	world_add("three", 0);
	assert_int_equal(auditfile_write(world_file), -ENOSPC);
	world_disk_bytes = SIZE_MAX;
	assert_int_equal(auditfile_sync(world_file), 0);
	world_assert_good(4);
}

static void
what_is_not_synced_stays_so(void **state)
{
	(void)state;
	world_open(0);
	world_add("one", 0);
	fault_nth(&fault_fdatasync, 1, EIO);
	assert_int_equal(auditfile_sync(world_file), -EIO);
	assert_int_equal(auditfile_unsynced(world_file), 1);
	assert_int_equal(auditfile_unwritten(world_file), 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_int_equal(auditfile_unsynced(world_file), 0);
	fault_off(&fault_fdatasync);
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_int_equal(fault_fdatasync.calls, 0);
}

static void
a_full_buffer_has_no_room(void **state)
{
	(void)state;
	world_open(0);
	while (auditfile_has_room(world_file))
		world_add("a record that nobody writes", 0);
	assert_int_equal(auditfile_sync(world_file), 0);
	assert_true(auditfile_has_room(world_file));
	world_verify();
	assert_int_equal(world_verdict.v.sums.breaks, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_file_begins_with_header_and_start),
		TEST(records_are_numbered_chained_and_written_when_asked),
		TEST(a_good_file_is_continued),
		TEST(a_long_file_is_continued_by_its_end),
		TEST(where_the_end_has_no_record_the_whole_file_is_read),
		TEST(a_torn_record_is_cut_off_at_every_byte),
		TEST(an_older_schema_is_kept),
		TEST(one_file_has_one_observer),
		TEST(a_file_system_without_locks_will_do),
		TEST(strangers_files_are_refused),
		TEST(a_path_that_is_too_long_is_refused),
		TEST(opening_fails_without_a_trace),
		TEST(an_interrupted_read_is_made_again),
		TEST(an_interrupted_write_or_sync_is_made_again),
		TEST(a_record_written_in_part_is_completed_first),
		TEST(what_is_not_synced_stays_so),
		TEST(a_full_buffer_has_no_room),
	};

	return cmocka_run_group_tests_name("auditfile", tests, NULL, NULL);
}
