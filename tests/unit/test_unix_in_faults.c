/* Opening and closing the socket while system calls fail, or while somebody
 * changes the file between two of them. */
#include "watch/intake/unix_in.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/fault.h"
#include "support/unixroom.h"

FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(int, -1, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
/* Called between two steps, to change what the second one finds. */
static void (*after_bind)(const char *path);
static void (*after_connect)(const char *path);
static const char *meddle_path;

int __real_bind(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_bind(int fd, const struct sockaddr *a, socklen_t n);
static struct fault fault_bind;

int
__wrap_bind(int fd, const struct sockaddr *a, socklen_t n)
{
	int r;

	if (fault_hits(&fault_bind))
		return -1;
	r = __real_bind(fd, a, n);
	if (r == 0 && after_bind != NULL)
		after_bind(meddle_path);
	return r;
}

int __real_connect(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n);
static struct fault fault_connect;

int
__wrap_connect(int fd, const struct sockaddr *a, socklen_t n)
{
	int saved, r;

	if (fault_hits(&fault_connect))
		return -1;
	r = __real_connect(fd, a, n);
	saved = errno;
	if (after_connect != NULL)
		after_connect(meddle_path);
	errno = saved;
	return r;
}

/* A call that "fails" is left out: umask(2) itself cannot fail. */
FAULT(mode_t, 022, umask, (mode_t mask), (mask))
FAULT(int, -1, setsockopt,
    (int fd, int level, int name, const void *value, socklen_t n),
    (fd, level, name, value, n))
FAULT(int, -1, getsockopt,
    (int fd, int level, int name, void *value, socklen_t *n),
    (fd, level, name, value, n))
FAULT(int, -1, lstat64, (const char *path, struct stat64 *st), (path, st))
FAULT(int, -1, unlink, (const char *path), (path))
FAULT(int, -1, open64, (const char *path, int flags, ...), (path, flags))
FAULT(ssize_t, -1, read, (int fd, void *bytes, size_t n), (fd, bytes, n))
FAULT(int, -1, fsync, (int fd), (fd))
FAULT(DIR *, NULL, opendir, (const char *path), (path))

static void
faults_off(void)
{
	fault_off(&fault_malloc);
	fault_off(&fault_socket);
	fault_off(&fault_bind);
	fault_off(&fault_connect);
	fault_off(&fault_setsockopt);
	fault_off(&fault_getsockopt);
	fault_off(&fault_lstat64);
	fault_off(&fault_unlink);
	fault_off(&fault_open64);
	fault_off(&fault_read);
	fault_off(&fault_fsync);
	fault_off(&fault_opendir);
	fault_off(&fault_umask);
	after_bind = NULL;
	after_connect = NULL;
}

static int
setup(void **state)
{
	static struct unixroom room;

	faults_off();
	unixroom_init(&room);
	meddle_path = room.path;
	*state = &room;
	return 0;
}

static int
teardown(void **state)
{
	faults_off();
	return unixroom_fini(*state);
}

/* The nth call from now fails: opening fails with error, leaves no file and no
 * descriptor, and touches no result. */
static void
assert_clean_failure(
    struct unixroom *room, struct fault *f, unsigned nth, int error)
{
	mode_t before = umask(022);

	room->facts.queue_len = 12345;
	room->fault.text[0] = '\0';
	fault_nth(f, nth, error);
	assert_int_equal(unixroom_open(room), -error);
	assert_int_equal(f->countdown, 0);
	faults_off();
	assert_null(room->u);
	assert_int_equal(room->facts.queue_len, 12345);
	assert_string_not_equal(room->fault.text, "");
	assert_int_equal(dgram_count_fds(), room->fds_before);
	assert_int_equal(umask(before), 022);
}

static void
a_failure_on_the_straight_way_leaves_nothing(void **state)
{
	struct unixroom *room = *state;

	assert_clean_failure(room, &fault_malloc, 1, ENOMEM);
	assert_clean_failure(room, &fault_lstat64, 1, EACCES);
	assert_clean_failure(room, &fault_socket, 1, EMFILE);
	assert_clean_failure(room, &fault_setsockopt, 1, ENOPROTOOPT);
	assert_clean_failure(room, &fault_bind, 1, EROFS);
	assert_false(unixroom_exists(room->path));
	/* Bound by now: the file has to go again. */
	assert_clean_failure(room, &fault_lstat64, 2, EIO);
	assert_false(unixroom_exists(room->path));
}

static void
a_failure_while_taking_over_leaves_the_old_file(void **state)
{
	struct unixroom *room = *state;

	unixroom_leave_stale(room->path);
	assert_clean_failure(room, &fault_socket, 2, ENFILE);
	assert_clean_failure(room, &fault_connect, 1, EACCES);
	assert_clean_failure(room, &fault_lstat64, 3, EIO);
	assert_clean_failure(room, &fault_unlink, 1, EPERM);
	assert_true(unixroom_exists(room->path));
	/* The old file is gone by now, and no new one is there. */
	assert_clean_failure(room, &fault_bind, 2, ENOSPC);
	assert_false(unixroom_exists(room->path));
}

static void
a_file_that_cannot_be_seen_is_in_use(void **state)
{
	struct unixroom *room = *state;

	unixroom_leave_stale(room->path);
	fault_nth(&fault_lstat64, 2, EACCES);
	assert_int_equal(unixroom_open(room), -EADDRINUSE);
	assert_true(unixroom_exists(room->path));
}

static void
replace_by_a_file(const char *path)
{
	assert_int_equal(__real_unlink(path), 0);
	unixroom_make_file(path);
}

static void
replace_by_a_socket(const char *path)
{
	/* Both exist for a moment, so their inode numbers differ. */
	assert_int_equal(rename(path, "dead"), 0);
	unixroom_leave_stale(path);
}

static void
remove_it(const char *path)
{
	assert_int_equal(__real_unlink(path), 0);
}

static void
a_file_made_with_another_mode_is_removed_again(void **state)
{
	struct unixroom *room = *state;
	mode_t before = __real_umask(022);

	fault_always(&fault_umask, 0);
	assert_int_equal(unixroom_open(room), -EACCES);
	unixroom_assert_fault(room, "mode 0755, need 0600");
	assert_false(unixroom_exists(room->path));
	assert_int_equal(dgram_count_fds(), room->fds_before);
	(void)__real_umask(before);
}

static void
what_replaced_our_file_at_once_is_kept(void **state)
{
	struct unixroom *room = *state;

	after_bind = replace_by_a_file;
	assert_int_equal(unixroom_open(room), -EADDRINUSE);
	assert_true(unixroom_exists(room->path));
	assert_int_equal(dgram_count_fds(), room->fds_before);
}

static void
a_socket_that_another_observer_has_just_made_is_kept(void **state)
{
	struct unixroom *room = *state;
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(chdir(room->dir.path), 0);
	unixroom_leave_stale(room->path);
	after_connect = replace_by_a_socket;
	assert_int_equal(unixroom_open(room), -EADDRINUSE);
	unixroom_assert_fault(room, "just taken");
	assert_true(unixroom_exists(room->path));
	assert_int_equal(fchdir(here), 0);
	(void)close(here);
	assert_int_equal(dgram_count_fds(), room->fds_before);
}

static void
a_dead_socket_that_goes_while_we_look_is_no_obstacle(void **state)
{
	struct unixroom *room = *state;

	unixroom_leave_stale(room->path);
	after_connect = remove_it;
	assert_int_equal(unixroom_open(room), 0);
	assert_true(room->facts.took_over_stale);
}

static void
what_is_only_nice_to_have_may_fail(void **state)
{
	struct unixroom *room = *state;

	fault_nth(&fault_fsync, 1, EIO);
	fault_nth(&fault_setsockopt, 3, ENOBUFS);
	fault_nth(&fault_opendir, 1, ENOENT);
	fault_nth(&fault_open64, 1, ENOENT);
	assert_int_equal(unixroom_open(room), 0);
	assert_true(room->facts.dir_sync_failed);
	assert_int_equal(room->facts.rcvbuf_bytes, 0);
	assert_int_equal(room->facts.queue_len, 0);
	unixroom_close(room);

	/* A kernel that cannot refuse descriptors. */
	fault_nth(&fault_setsockopt, 2, ENOPROTOOPT);
	fault_nth(&fault_getsockopt, 1, EINVAL);
	fault_nth(&fault_read, 1, EIO);
	assert_int_equal(unixroom_open(room), 0);
	assert_int_equal(room->facts.rcvbuf_bytes, 0);
	assert_int_equal(room->facts.queue_len, 0);
}

static void
a_file_that_cannot_be_removed_at_closing_is_left(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open(room), 0);
	fault_nth(&fault_unlink, 1, EROFS);
	unixroom_close(room);
	assert_true(unixroom_exists(room->path));
	assert_int_equal(unixroom_open(room), 0);
	fault_nth(&fault_lstat64, 1, EIO);
	unixroom_close(room);
	assert_true(unixroom_exists(room->path));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_failure_on_the_straight_way_leaves_nothing),
		CASE(a_failure_while_taking_over_leaves_the_old_file),
		CASE(a_file_that_cannot_be_seen_is_in_use),
		CASE(a_file_made_with_another_mode_is_removed_again),
		CASE(what_replaced_our_file_at_once_is_kept),
		CASE(a_socket_that_another_observer_has_just_made_is_kept),
		CASE(a_dead_socket_that_goes_while_we_look_is_no_obstacle),
		CASE(what_is_only_nice_to_have_may_fail),
		CASE(a_file_that_cannot_be_removed_at_closing_is_left),
	};

	return cmocka_run_group_tests_name("unix_in_faults", tests, NULL, NULL);
}
