#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(int, -1, fsync, (int fd), (fd))
FAULT(int, -1, fstat64, (int fd, struct stat *st), (fd, st))
FAULT(ssize_t, -1, read, (int fd, void *bytes, size_t n), (fd, bytes, n))
FAULT(
    int, -1, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
FAULT(int, -1, renameat,
    (int from_fd, const char *from, int to_fd, const char *to),
    (from_fd, from, to_fd, to))

/* One uid for "us" that owns nothing, when it is not 0. */
static uid_t pretended_uid;

uid_t __real_geteuid(void);
uid_t __wrap_geteuid(void);

uid_t
__wrap_geteuid(void)
{
	return pretended_uid != 0 ? pretended_uid : __real_geteuid();
}

static struct file_fault fault;

static void
put_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	fd_close(&fd);
}

static void
assert_file(const char *path, const char *want)
{
	char got[64] = { 0 };
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(fd_read_full(fd, got, sizeof(got) - 1) >= 0);
	fd_close(&fd);
	assert_string_equal(got, want);
}

static unsigned
open_descriptors(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Each test ends with as many descriptors as it began. */
static unsigned descriptors_before;

static int
setup(void **state)
{
	fault_off(&fault_fsync);
	fault_off(&fault_fstat64);
	fault_off(&fault_read);
	fault_off(&fault_unlinkat);
	fault_off(&fault_renameat);
	pretended_uid = 0;
	fault.text[0] = '\0';
	descriptors_before = open_descriptors();
	return tmpdir_setup(state);
}

static int
teardown(void **state)
{
	int r = open_descriptors() == descriptors_before ? 0 : -1;

	return tmpdir_teardown(state) | r;
}

static void
a_secret_is_read_whole(void **state)
{
	const char *path = tmpdir_path(*state, "key");
	char buf[8];

	put_file(path, "secret\n", 0600);
	assert_int_equal(file_read_secret(path, buf, sizeof(buf), &fault), 7);
	assert_string_equal(buf, "secret\n");
	put_file(path, "", 0400);
	assert_int_equal(file_read_secret(path, buf, sizeof(buf), &fault), 0);
	assert_string_equal(buf, "");
}

static void
a_secret_that_others_may_touch_is_refused(void **state)
{
	static const mode_t bad[] = { 0644, 0640, 0620, 0610, 0604, 0602,
		0601 };
	const char *path = tmpdir_path(*state, "key");
	char buf[32] = "untouched";
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_file(path, "secret", bad[i]);
		assert_int_equal(
		    file_read_secret(path, buf, sizeof(buf), &fault), -EACCES);
		assert_string_equal(buf, "untouched");
	}
	put_file(path, "secret", 0644);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EACCES);
	assert_string_equal(fault.text, "mode 0644, need 0600");
}

static void
a_secret_of_another_user_is_refused(void **state)
{
	const char *path = tmpdir_path(*state, "key");
	char buf[32], want[64];

	put_file(path, "secret", 0600);
	pretended_uid = 4711;
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EACCES);
	(void)snprintf(want, sizeof(want), "owned by uid %u, need uid 4711",
	    (unsigned)__real_geteuid());
	assert_string_equal(fault.text, want);
}

static void
a_link_to_a_secret_is_not_followed(void **state)
{
	const char *path = tmpdir_path(*state, "key");
	const char *link = tmpdir_path(*state, "link");
	char buf[32];
	int fd = -7;

	put_file(path, "secret", 0600);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(
	    file_read_secret(link, buf, sizeof(buf), &fault), -ELOOP);
	assert_string_equal(fault.text, "symbolic link, not followed");
	assert_int_equal(file_open_append(link, &fd, &fault), -ELOOP);
	assert_int_equal(fd, -7);
}

static void
what_is_not_a_regular_file_is_refused_without_blocking(void **state)
{
	const char *path = tmpdir_path(*state, "thing");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char buf[32];
	int fd = -7, sock;

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EINVAL);
	assert_string_equal(fault.text, "not a regular file");
	assert_int_equal(file_open_append(path, &fd, &fault), -EINVAL);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EINVAL);
	assert_int_equal(file_open_append(path, &fd, &fault), -EINVAL);
	assert_int_equal(rmdir(path), 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	sock = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EINVAL);
	assert_int_equal(file_open_append(path, &fd, &fault), -EINVAL);
	assert_string_equal(fault.text, "not a regular file");
	fd_close(&sock);
	assert_int_equal(fd, -7);
}

static void
a_secret_that_is_too_large_is_refused_and_wiped(void **state)
{
	static const char zeros[8];
	const char *path = tmpdir_path(*state, "key");
	char buf[8];

	put_file(path, "12345678", 0600);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EINVAL);
	assert_string_equal(fault.text, "larger than 7 bytes");
	assert_memory_equal(buf, zeros, sizeof(buf));
}

static void
a_missing_secret_is_named_so(void **state)
{
	char buf[8];

	assert_int_equal(file_read_secret(tmpdir_path(*state, "none"), buf,
			     sizeof(buf), &fault),
	    -ENOENT);
	assert_string_equal(
	    fault.text, "cannot open: No such file or directory");
}

static void
a_secret_that_cannot_be_read_is_an_error(void **state)
{
	const char *path = tmpdir_path(*state, "key");
	char buf[8];

	put_file(path, "secret", 0600);
	fault_nth(&fault_fstat64, 1, EIO);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EIO);
	assert_string_equal(
	    fault.text, "cannot look at it: Input/output error");
	fault_nth(&fault_read, 1, EIO);
	assert_int_equal(
	    file_read_secret(path, buf, sizeof(buf), &fault), -EIO);
	assert_string_equal(fault.text, "cannot read: Input/output error");
}

static void
a_new_file_is_ours_alone_and_its_folder_synced(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	mode_t old = umask(0);
	struct stat st;
	int fd = -1;

	assert_int_equal(file_open_append(path, &fd, &fault), 0);
	(void)umask(old);
	assert_int_equal(fault_fsync.calls, 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd_close(&fd);
}

static void
what_is_there_is_appended_to(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	int fd = -1;

	put_file(path, "one\n", 0640);
	assert_int_equal(file_open_append(path, &fd, &fault), 0);
	assert_int_equal(fault_fsync.calls, 0);
	assert_int_equal(fd_write_all(fd, "two\n", 4), 0);
	fd_close(&fd);
	assert_file(path, "one\ntwo\n");
}

static void
a_file_with_a_second_name_is_refused(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	const char *other = tmpdir_path(*state, "other");
	int fd = -7;

	put_file(path, "", 0600);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(file_open_append(path, &fd, &fault), -EACCES);
	assert_string_equal(fault.text, "2 hard links, need 1");
	assert_int_equal(unlink(other), 0);
	pretended_uid = 4711;
	assert_int_equal(file_open_append(path, &fd, &fault), -EACCES);
	assert_int_equal(fd, -7);
}

static void
a_link_to_nowhere_creates_nothing(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	const char *target = tmpdir_path(*state, "target");
	int fd = -7;

	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(file_open_append(path, &fd, &fault), -ELOOP);
	assert_int_equal(access(target, F_OK), -1);
	assert_int_equal(fd, -7);
}

static void
a_file_that_cannot_be_made_safe_is_an_error(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	int fd = -7;

	assert_int_equal(
	    file_open_append(tmpdir_path(*state, "no/such"), &fd, &fault),
	    -ENOENT);
	fault_nth(&fault_fsync, 1, EIO);
	assert_int_equal(file_open_append(path, &fd, &fault), -EIO);
	assert_string_equal(
	    fault.text, "cannot sync its folder: Input/output error");
	fault_nth(&fault_fstat64, 1, EIO);
	assert_int_equal(file_open_append(path, &fd, &fault), -EIO);
	assert_int_equal(fd, -7);
}

static void
the_folder_of_a_path_is_synced(void **state)
{
	char cwd[PATH_MAX], longer[PATH_MAX + 8];

	assert_int_equal(file_sync_parent(tmpdir_path(*state, "x")), 0);
	assert_int_equal(file_sync_parent("/x"), 0);
	assert_int_equal(
	    file_sync_parent(tmpdir_path(*state, "no/such")), -ENOENT);
	assert_int_equal(file_sync_parent(tmpdir_path(*state, "")), -EINVAL);
	assert_int_equal(file_sync_parent(""), -EINVAL);
	memset(longer, '/', sizeof(longer) - 2);
	longer[sizeof(longer) - 2] = 'x';
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(file_sync_parent(longer), -ENAMETOOLONG);

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(tmpdir_path(*state, ".")), 0);
	assert_int_equal(file_sync_parent("x"), 0);
	assert_int_equal(chdir(cwd), 0);
}

static void
a_failed_sync_is_told_unless_folders_are_never_synced(void **state)
{
	const char *path = tmpdir_path(*state, "x");

	fault_nth(&fault_fsync, 1, EIO);
	assert_int_equal(file_sync_parent(path), -EIO);
	fault_nth(&fault_fsync, 1, EINTR);
	assert_int_equal(file_sync_parent(path), 0);
	fault_nth(&fault_fsync, 1, EINVAL);
	assert_int_equal(file_sync_parent(path), 0);
}

static void
generations_move_up_and_the_oldest_goes(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	const char *first = tmpdir_path(*state, "log.1");
	const char *second = tmpdir_path(*state, "log.2");
	const char *third = tmpdir_path(*state, "log.3");

	put_file(path, "now", 0600);
	put_file(first, "before", 0600);
	put_file(second, "long ago", 0600);
	assert_int_equal(file_rotate(path, 2), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_file(first, "now");
	assert_file(second, "before");
	assert_int_equal(access(third, F_OK), -1);
}

static void
missing_generations_are_skipped(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	const char *third = tmpdir_path(*state, "log.3");
	const char *fourth = tmpdir_path(*state, "log.4");

	assert_int_equal(file_rotate(path, 5), 0);
	put_file(third, "three", 0600);
	assert_int_equal(file_rotate(path, 5), 0);
	assert_file(fourth, "three");
	put_file(path, "zero", 0600);
	assert_int_equal(file_rotate(path, 1), 0);
	assert_file(tmpdir_path(*state, "log.1"), "zero");
}

static void
a_failed_rotation_writes_over_nothing(void **state)
{
	const char *path = tmpdir_path(*state, "log");
	const char *first = tmpdir_path(*state, "log.1");

	put_file(path, "now", 0600);
	put_file(first, "before", 0600);
	/* The move of log.1 to log.2 fails: log must not replace log.1. */
	fault_nth(&fault_renameat, 1, ENOSPC);
	assert_int_equal(file_rotate(path, 2), -ENOSPC);
	assert_file(path, "now");
	assert_file(first, "before");
	fault_nth(&fault_unlinkat, 1, EROFS);
	assert_int_equal(file_rotate(path, 2), -EROFS);
	assert_file(path, "now");
}

static void
a_rotation_that_makes_no_sense_is_refused(void **state)
{
	char name[NAME_MAX + 1];

	assert_int_equal(file_rotate(tmpdir_path(*state, "log"), 0), -EINVAL);
	assert_int_equal(file_rotate(tmpdir_path(*state, ""), 2), -EINVAL);
	assert_int_equal(
	    file_rotate(tmpdir_path(*state, "no/such"), 2), -ENOENT);
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	assert_int_equal(file_rotate(name, 2), -ENAMETOOLONG);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(a_secret_is_read_whole),
		EACH(a_secret_that_others_may_touch_is_refused),
		EACH(a_secret_of_another_user_is_refused),
		EACH(a_link_to_a_secret_is_not_followed),
		EACH(what_is_not_a_regular_file_is_refused_without_blocking),
		EACH(a_secret_that_is_too_large_is_refused_and_wiped),
		EACH(a_missing_secret_is_named_so),
		EACH(a_secret_that_cannot_be_read_is_an_error),
		EACH(a_new_file_is_ours_alone_and_its_folder_synced),
		EACH(what_is_there_is_appended_to),
		EACH(a_file_with_a_second_name_is_refused),
		EACH(a_link_to_nowhere_creates_nothing),
		EACH(a_file_that_cannot_be_made_safe_is_an_error),
		EACH(the_folder_of_a_path_is_synced),
		EACH(a_failed_sync_is_told_unless_folders_are_never_synced),
		EACH(generations_move_up_and_the_oldest_goes),
		EACH(missing_generations_are_skipped),
		EACH(a_failed_rotation_writes_over_nothing),
		EACH(a_rotation_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
