/* Where a socket may lie, and what its path may be. */
#include "watch/intake/unix_in.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/dgram.h"
#include "support/tmpdir.h"
#include "support/unixroom.h"

static int
setup(void **state)
{
	static struct unixroom room;

	unixroom_init(&room);
	*state = &room;
	return 0;
}

static int
teardown(void **state)
{
	return unixroom_fini(*state);
}

static void
a_relative_path_lies_in_the_current_folder(void **state)
{
	struct unixroom *room = *state;
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(chdir(room->dir.path), 0);
	assert_int_equal(unixroom_open_with(room, "sock", 0600), 0);
	assert_true(unixroom_exists(room->path));
	unixroom_close(room);
	assert_int_equal(fchdir(here), 0);
	(void)close(here);
}

static void
a_path_that_names_no_file_is_refused(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open_with(room, "", 0600), -EINVAL);
	assert_int_equal(unixroom_open_with(room, "/", 0600), -EINVAL);
	assert_int_equal(
	    unixroom_open_with(room, room->dir.path, 0600), -EADDRINUSE);
	assert_int_equal(unixroom_open_with(room, "/tmp/", 0600), -EINVAL);
	unixroom_assert_fault(room, "'/tmp/'");
}

static void
a_path_longer_than_an_address_is_refused_with_both_lengths(void **state)
{
	struct unixroom *room = *state;
	char path[400];
	size_t dir_len = strlen(room->dir.path);

	memset(path, 'x', sizeof(path));
	memcpy(path, room->dir.path, dir_len);
	path[dir_len] = '/';
	path[108] = '\0';
	assert_int_equal(unixroom_open_with(room, path, 0600), -ENAMETOOLONG);
	unixroom_assert_fault(room, "108 bytes long, at most 107");
	path[108] = 'x';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(unixroom_open_with(room, path, 0600), -ENAMETOOLONG);
	unixroom_assert_fault(room, "399 bytes long, at most 107");

	path[107] = '\0';
	assert_int_equal(unixroom_open_with(room, path, 0600), 0);
	assert_true(unixroom_exists(path));
}

static void
a_missing_folder_is_refused(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open_with(
			     room, tmpdir_path(&room->dir, "none/sock"), 0600),
	    -ENOENT);
	unixroom_assert_fault(room, "folder");
}

static void
a_file_in_place_of_the_folder_is_refused(void **state)
{
	struct unixroom *room = *state;

	unixroom_make_file(tmpdir_path(&room->dir, "file"));
	assert_int_equal(unixroom_open_with(
			     room, tmpdir_path(&room->dir, "file/sock"), 0600),
	    -EINVAL);
}

static void
a_symbolic_link_in_place_of_the_folder_is_refused(void **state)
{
	struct unixroom *room = *state;
	const char *link = tmpdir_path(&room->dir, "link");

	assert_int_equal(symlink(room->dir.path, link), 0);
	assert_int_equal(unixroom_open_with(
			     room, tmpdir_path(&room->dir, "link/sock"), 0600),
	    -EINVAL);
	unixroom_assert_fault(room, "symbolic link");
	/* More slashes would have lstat(2) follow it. */
	assert_int_equal(unixroom_open_with(
			     room, tmpdir_path(&room->dir, "link//sock"), 0600),
	    -EINVAL);
	assert_false(unixroom_exists(room->path));
}

static void
a_folder_that_others_may_write_to_is_refused_unless_sticky(void **state)
{
	static const mode_t bad[] = { 0777, 0770, 0702, 0720 };
	static const mode_t good[] = { 01777, 0700, 0755, 01770 };
	struct unixroom *room = *state;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(chmod(room->dir.path, bad[i]), 0);
		assert_int_equal(unixroom_open(room), -EACCES);
		unixroom_assert_fault(room, "sticky");
		assert_false(unixroom_exists(room->path));
	}
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(chmod(room->dir.path, good[i]), 0);
		assert_int_equal(unixroom_open(room), 0);
		unixroom_close(room);
	}
}

static void
a_strangers_folder_is_refused(void **state)
{
	struct unixroom *room = *state;

	unixroom_needs_root();
	assert_int_equal(chown(room->dir.path, 65534, 65534), 0);
	assert_int_equal(unixroom_open(room), -EACCES);
	unixroom_assert_fault(room, "uid 65534");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_relative_path_lies_in_the_current_folder),
		CASE(a_path_that_names_no_file_is_refused),
		CASE(
		    a_path_longer_than_an_address_is_refused_with_both_lengths),
		CASE(a_missing_folder_is_refused),
		CASE(a_file_in_place_of_the_folder_is_refused),
		CASE(a_symbolic_link_in_place_of_the_folder_is_refused),
		CASE(
		    a_folder_that_others_may_write_to_is_refused_unless_sticky),
		CASE(a_strangers_folder_is_refused),
	};

	return cmocka_run_group_tests_name("unix_path", tests, NULL, NULL);
}
