#include "watch/tell/auditfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "support/auditbook.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(int, -1, fdatasync, (int fd), (fd))
FAULT(int, -1, flock, (int fd, int operation), (fd, operation))
FAULT(int, -1, fstat64, (int fd, struct stat *st), (fd, st))
FAULT(int, -1, fsync, (int fd), (fd))
FAULT(int, -1, ftruncate64, (int fd, off_t n), (fd, n))
FAULT(int, -1, lstat64, (const char *path, struct stat *st), (path, st))
FAULT(
    ssize_t, -1, pread64, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
FAULT(int, -1, rename, (const char *from, const char *to), (from, to))
FAULT(int, -1, unlink, (const char *path), (path))

/* A disk with so many bytes left. */
static size_t disk_bytes;
static unsigned n_interrupts;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

ssize_t
__wrap_write(int fd, const void *bytes, size_t n)
{
	ssize_t r;

	if (n_interrupts > 0) {
		n_interrupts--;
		errno = EINTR;
		return -1;
	}
	if (disk_bytes == 0) {
		errno = ENOSPC;
		return -1;
	}
	r = __real_write(fd, bytes, n < disk_bytes ? n : disk_bytes);
	if (r > 0 && disk_bytes != SIZE_MAX)
		disk_bytes -= (size_t)r;
	return r;
}

static const char *path;
static struct auditfile *file;
static struct auditfile_found found;
static struct auditbook book;
static struct auditbook_verdict verdict;

static void
faults_off(void)
{
	struct fault *const all[] = { &fault_calloc, &fault_fdatasync,
		&fault_flock, &fault_fstat64, &fault_fsync, &fault_ftruncate64,
		&fault_lstat64, &fault_pread64, &fault_rename, &fault_unlink };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fault_off(all[i]);
	disk_bytes = SIZE_MAX;
	n_interrupts = 0;
}

static int
setup(void **state)
{
	int r = tmpdir_setup(state);

	faults_off();
	auditbook_init(&book);
	file = NULL;
	if (r == 0)
		path = tmpdir_path(*state, "audit");
	return r;
}

static int
teardown(void **state)
{
	faults_off();
	auditfile_close(file);
	return tmpdir_teardown(state);
}

static int
try_open(uint64_t max_bytes)
{
	const struct auditfile_options options = {
		.path = path, .max_bytes = max_bytes, .pid = 1234
	};
	struct file_fault fault = { "" };
	int r = auditfile_open(&options, 1700, &file, &found, &fault);

	assert_int_equal(r < 0, fault.text[0] != '\0');
	return r;
}

static void
open_file(uint64_t max_bytes)
{
	assert_int_equal(try_open(max_bytes), 0);
}

static void
close_file(void)
{
	auditfile_close(file);
	file = NULL;
}

static void
add(const char *reason, uint64_t n_lost)
{
	char row[128];

	(void)snprintf(row, sizeof(row), "1700\t5\trefused\t42\t%s", reason);
	assert_true(auditfile_has_room(file));
	auditfile_add(file, AUDITLINE_REFUSED, row, strlen(row), n_lost);
}

static void
read_file(const char *name, char got[static 8192])
{
	int fd = open(name, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = fd_read_full(fd, got, 8191);
	assert_true(n >= 0);
	got[n] = '\0';
	fd_close(&fd);
}

static void
assert_holds(const char *name, const char *want)
{
	char got[8192];

	read_file(name, got);
	assert_string_equal(got, want);
}

/* Good until the call after the next one. */
static const char *
generation(const char *suffix)
{
	static char names[2][PATH_MAX];
	static unsigned next;
	char *name = names[next++ % ARRAY_SIZE(names)];

	(void)snprintf(name, PATH_MAX, "%s%s", path, suffix);
	return name;
}

static bool
exists(const char *suffix)
{
	return access(generation(suffix), F_OK) == 0;
}

static void
put_file(const char *suffix, const char *text)
{
	int fd = open(
	    generation(suffix), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	fd_close(&fd);
}

static void
assert_good(uint64_t records)
{
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.v.sums.breaks, 0);
	assert_int_equal(verdict.v.sums.records, records);
}

static void
a_new_file_begins_with_header_and_start(void **state)
{
	struct stat st;

	(void)state;
	open_file(0);
	auditbook_header(&book);
	auditbook_boot(&book, AUDITLINE_FRESH, false);
	assert_holds(path, book.text);
	assert_int_equal(found.reason, AUDITLINE_FRESH);
	assert_int_equal(auditfile_unsynced(file), 0);
	assert_true(fault_fdatasync.calls > 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
records_are_numbered_chained_and_written_when_asked(void **state)
{
	char got[8192];

	(void)state;
	open_file(0);
	add("one", 0);
	add("two", 3);
	assert_int_equal(auditfile_seq(file), 6);
	assert_int_equal(auditfile_unsynced(file), 2);
	assert_int_equal(auditfile_unwritten(file), 2);
	assert_good(1);
	assert_int_equal(auditfile_write(file), 0);
	assert_int_equal(auditfile_unwritten(file), 0);
	assert_int_equal(auditfile_unsynced(file), 2);
	assert_good(3);
	assert_int_equal(verdict.v.sums.dropped, 3);
	assert_true(
	    auditline_link_equal(auditfile_head(file), &verdict.v.sums.head));
	assert_int_equal(auditfile_sync(file), 0);
	assert_int_equal(auditfile_unsynced(file), 0);
	read_file(path, got);
	assert_non_null(strstr(got, "\n2\t1700\t5\trefused\t42\tone\t"));
	assert_non_null(strstr(got, "\n6\t1700\t5\trefused\t42\ttwo\t"));
}

static void
a_good_file_is_continued(void **state)
{
	char got[8192];

	(void)state;
	open_file(0);
	add("one", 0);
	assert_int_equal(auditfile_sync(file), 0);
	close_file();
	open_file(0);
	assert_int_equal(found.reason, AUDITLINE_RESUME);
	assert_int_equal(auditfile_seq(file), 3);
	read_file(path, got);
	assert_non_null(strstr(got, "\tresume\t"));
	assert_good(3);
}

static void
a_long_file_is_continued_by_its_end(void **state)
{
	int i;

	(void)state;
	open_file(0);
	for (i = 0; i < 400; i++) {
		add("a reason that is not as short as it could be", 0);
		assert_int_equal(auditfile_write(file), 0);
	}
	close_file();
	fault_off(&fault_pread64);
	open_file(0);
	/* The header, and the window. */
	assert_int_equal(fault_pread64.calls, 1 + AUDITLINE_MAX / 4096);
	assert_good(402);
}

static void
where_the_end_has_no_record_the_whole_file_is_read(void **state)
{
	static char junk[AUDITLINE_MAX + 100];

	(void)state;
	open_file(0);
	add("one", 0);
	assert_int_equal(auditfile_sync(file), 0);
	close_file();
	read_file(path, book.text);
	book.n = strlen(book.text);
	memset(junk, 'x', sizeof(junk) - 2);
	junk[sizeof(junk) - 2] = '\n';
	auditbook_text(&book, junk);
	put_file("", book.text);
	open_file(0);
	assert_int_equal(found.reason, AUDITLINE_SCHEMA_DRIFT);
	assert_good(3);
}

static void
a_torn_record_is_cut_off_at_every_byte(void **state)
{
	char text[8192];
	size_t whole, n;

	(void)state;
	open_file(0);
	add("whole", 0);
	assert_int_equal(auditfile_sync(file), 0);
	read_file(path, text);
	whole = strlen(text);
	add("torn", 0);
	assert_int_equal(auditfile_sync(file), 0);
	close_file();
	read_file(path, text);

	for (n = strlen(text) - 1; n > whole; n--) {
		text[n] = '\0';
		put_file("", text);
		open_file(0);
		assert_int_equal(found.reason, AUDITLINE_CORRUPT_TAIL);
		assert_int_equal(found.cut_bytes, n - whole);
		assert_int_equal(auditfile_seq(file), 3);
		assert_good(3);
		close_file();
	}
}

static void
an_older_schema_is_kept(void **state)
{
	char got[8192];

	(void)state;
	put_file("", "# varta-watch recovery audit v1\n1700\tspawn");
	open_file(0);
	assert_int_equal(found.reason, AUDITLINE_LEGACY_V1);
	read_file(path, got);
	assert_non_null(
	    strstr(got, "audit v1\n1700\tspawn\n# varta-watch recovery "
			"audit v2\n1\t1700\t0\tboot\t1234\t-\tlegacy_v1\t"));
	assert_good(1);
	close_file();
	open_file(0);
	assert_int_equal(found.reason, AUDITLINE_RESUME);
	assert_good(2);
}

static void
one_file_has_one_observer(void **state)
{
	struct auditfile *first;

	(void)state;
	open_file(0);
	first = file;
	file = NULL;
	assert_int_equal(try_open(0), -EBUSY);
	assert_null(file);
	auditfile_close(first);
	open_file(0);
	assert_good(2);
}

static void
a_file_system_without_locks_will_do(void **state)
{
	(void)state;
	fault_always(&fault_flock, ENOLCK);
	open_file(0);
	assert_good(1);
}

static void
strangers_files_are_refused(void **state)
{
	(void)state;
	put_file(".other", "");
	assert_int_equal(symlink("audit.other", path), 0);
	assert_int_equal(try_open(0), -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(link(generation(".other"), path), 0);
	assert_int_equal(try_open(0), -EACCES);
	path = tmpdir_path(*state, "none/audit");
	assert_int_equal(try_open(0), -ENOENT);
	assert_null(file);
}

static void
a_path_that_is_too_long_is_refused(void **state)
{
	static char name[PATH_MAX + 10];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	path = name;
	assert_int_equal(try_open(0), -ENAMETOOLONG);
	/* PATH.next must fit as well. */
	name[PATH_MAX - 3] = '\0';
	assert_int_equal(try_open(0), -ENAMETOOLONG);
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
			put_file("", text);
			fault_nth(all[i], nth, EIO);
			if (try_open(0) == 0)
				break;
			assert_null(file);
			fault_off(all[i]);
		}
		assert_true(nth > 1);
		fault_off(all[i]);
		close_file();
	}
	put_file("", text);
	disk_bytes = 0;
	assert_int_equal(try_open(0), -ENOSPC);
	assert_null(file);
}

static void
an_interrupted_read_is_made_again(void **state)
{
	(void)state;
	open_file(0);
	close_file();
	fault_nth(&fault_pread64, 2, EINTR);
	open_file(0);
	assert_good(2);
}

static void
an_interrupted_write_or_sync_is_made_again(void **state)
{
	(void)state;
	open_file(0);
	add("one", 0);
	n_interrupts = 3;
	fault_nth(&fault_fdatasync, 1, EINTR);
	assert_int_equal(auditfile_sync(file), 0);
	assert_int_equal(auditfile_unsynced(file), 0);
	assert_good(2);
}

static void
a_record_written_in_part_is_completed_first(void **state)
{
	(void)state;
	open_file(0);
	add("one", 0);
	add("two", 0);
	disk_bytes = 50;
	assert_int_equal(auditfile_sync(file), -ENOSPC);
	assert_int_equal(auditfile_unsynced(file), 2);
	assert_int_equal(auditfile_unwritten(file), 2);
	add("three", 0);
	assert_int_equal(auditfile_write(file), -ENOSPC);
	disk_bytes = SIZE_MAX;
	assert_int_equal(auditfile_sync(file), 0);
	assert_good(4);
}

static void
what_is_not_synced_stays_so(void **state)
{
	(void)state;
	open_file(0);
	add("one", 0);
	fault_nth(&fault_fdatasync, 1, EIO);
	assert_int_equal(auditfile_sync(file), -EIO);
	assert_int_equal(auditfile_unsynced(file), 1);
	assert_int_equal(auditfile_unwritten(file), 0);
	assert_int_equal(auditfile_sync(file), 0);
	assert_int_equal(auditfile_unsynced(file), 0);
	fault_off(&fault_fdatasync);
	assert_int_equal(auditfile_sync(file), 0);
	assert_int_equal(fault_fdatasync.calls, 0);
}

static void
a_full_buffer_has_no_room(void **state)
{
	(void)state;
	open_file(0);
	while (auditfile_has_room(file))
		add("a record that nobody writes", 0);
	assert_int_equal(auditfile_sync(file), 0);
	assert_true(auditfile_has_room(file));
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.v.sums.breaks, 0);
}

/* Add records until a rotation is due, and rotate. */
static void
fill_and_rotate(void)
{
	while (!auditfile_rotation_is_due(file))
		add("one of many", 0);
	assert_false(auditfile_has_room(file));
	assert_int_equal(auditfile_rotate(file, 1701), 0);
	assert_true(auditfile_has_room(file));
}

static void
the_record_that_reaches_the_limit_rotates(void **state)
{
	char got[8192];

	(void)state;
	open_file(500);
	fill_and_rotate();
	assert_true(exists(".1"));
	assert_false(exists(".2"));
	assert_false(exists(".next"));
	read_file(path, got);
	assert_non_null(strstr(got, "audit v2\n"));
	assert_non_null(strstr(got, "\t1701\t0\tboot\t1234\t"));
	assert_non_null(strstr(got, "\trotation\t"));
	add("behind it", 0);
	assert_int_equal(auditfile_sync(file), 0);
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
	assert_int_equal(verdict.v.sums.last_seq, auditfile_seq(file));
}

static void
what_is_there_already_counts_towards_the_limit(void **state)
{
	(void)state;
	open_file(0);
	while (!exists(".1")) {
		add("an older record", 0);
		assert_int_equal(auditfile_sync(file), 0);
		close_file();
		open_file(700);
		if (auditfile_rotation_is_due(file))
			assert_int_equal(auditfile_rotate(file, 1701), 0);
	}
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
}

static void
five_generations_are_kept(void **state)
{
	int i;

	(void)state;
	open_file(500);
	for (i = 0; i < 8; i++)
		fill_and_rotate();
	assert_true(exists(".1") && exists(".5"));
	assert_false(exists(".6"));
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
	assert_int_not_equal(verdict.v.sums.first_seq, 1);
}

static void
a_gap_of_an_interrupted_rotation_is_filled_first(void **state)
{
	int i;

	(void)state;
	open_file(500);
	for (i = 0; i < 5; i++)
		fill_and_rotate();
	/* As a kill between two renames leaves it: .5 is dropped, .4 and .3
	 * have moved on. */
	assert_int_equal(rename(generation(".4"), generation(".5")), 0);
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
	i = (int)verdict.v.sums.first_seq;
	fill_and_rotate();
	assert_true(exists(".4") && exists(".1"));
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
	assert_int_equal(verdict.v.sums.first_seq, i);
}

static void
a_rotation_that_was_interrupted_before_its_last_step_is_completed(void **state)
{
	(void)state;
	open_file(500);
	fill_and_rotate();
	close_file();
	assert_int_equal(rename(path, generation(".next")), 0);
	open_file(500);
	assert_int_equal(found.reason, AUDITLINE_RESUME);
	assert_false(exists(".next"));
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
}

static void
a_next_file_that_is_of_no_use_is_removed(void **state)
{
	(void)state;
	open_file(0);
	close_file();
	put_file(".next", "left behind");
	open_file(0);
	assert_false(exists(".next"));
	assert_good(2);
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
	open_file(400);
	for (i = 0; i < 3; i++)
		fill_and_rotate();
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		bool failed = true;

		for (nth = 1; failed; nth++) {
			while (!auditfile_rotation_is_due(file))
				add("before", 0);
			fault_nth(all[i], nth, EACCES);
			failed = auditfile_rotate(file, 1701) < 0;
			fault_off(all[i]);
			add("behind", 0);
			assert_int_equal(auditfile_sync(file), 0);
			if (auditfile_rotation_is_due(file))
				assert_int_equal(
				    auditfile_rotate(file, 1702), 0);
			auditbook_verify_files(&verdict, path);
			assert_int_equal(verdict.n, 0);
			assert_int_equal(
			    verdict.v.sums.last_seq, auditfile_seq(file));
			assert_false(exists(".next"));
		}
		assert_true(nth > 2);
	}
}

static void
a_new_file_without_a_name_is_written_until_it_has_one(void **state)
{
	unsigned renames;

	(void)state;
	open_file(500);
	while (!auditfile_rotation_is_due(file))
		add("before", 0);
	/* live to .1, and then next to live. */
	fault_nth(&fault_rename, 2, EACCES);
	assert_int_equal(auditfile_rotate(file, 1701), -EACCES);
	assert_false(exists(""));
	assert_true(exists(".next"));
	assert_true(auditfile_rotation_is_due(file));
	fault_always(&fault_rename, EACCES);
	add("behind", 0);
	assert_int_equal(auditfile_sync(file), 0);
	assert_int_equal(auditfile_rotate(file, 1702), -EACCES);
	renames = fault_rename.calls;
	assert_int_equal(renames, 1);
	fault_off(&fault_rename);
	assert_int_equal(auditfile_rotate(file, 1703), 0);
	assert_false(exists(".next"));
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
	assert_int_equal(verdict.v.sums.last_seq, auditfile_seq(file));
}

static void
a_full_disk_delays_a_rotation(void **state)
{
	(void)state;
	open_file(500);
	while (!auditfile_rotation_is_due(file))
		add("before", 0);
	disk_bytes = 40;
	assert_int_equal(auditfile_rotate(file, 1701), -ENOSPC);
	disk_bytes = SIZE_MAX;
	assert_int_equal(auditfile_sync(file), 0);
	disk_bytes = 40; /* for the new file */
	assert_int_equal(auditfile_rotate(file, 1701), -ENOSPC);
	assert_false(exists(".next"));
	disk_bytes = SIZE_MAX;
	assert_int_equal(auditfile_rotate(file, 1701), 0);
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
}

static void
a_file_that_was_moved_away_does_not_stop_a_rotation(void **state)
{
	(void)state;
	open_file(500);
	while (!auditfile_rotation_is_due(file))
		add("before", 0);
	assert_int_equal(auditfile_sync(file), 0);
	assert_int_equal(rename(path, generation(".moved")), 0);
	assert_int_equal(auditfile_rotate(file, 1701), 0);
	assert_int_equal(rename(generation(".moved"), generation(".1")), 0);
	auditbook_verify_files(&verdict, path);
	assert_int_equal(verdict.n, 0);
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

	return cmocka_run_group_tests_name("auditfile", tests, NULL, NULL);
}
