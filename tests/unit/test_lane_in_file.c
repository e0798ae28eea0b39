/* The socket for lanes: its file, from opening to closing, with system calls
 * that fail on the way, and later. */
#include "watch/intake/lane_in.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "support/fault.h"
#include "support/laneroom.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(int, -1, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
FAULT(int, -1, epoll_create1, (int flags), (flags))
FAULT(int, -1, epoll_ctl, (int fd, int op, int what, struct epoll_event *event),
    (fd, op, what, event))
FAULT(
    int, -1, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
FAULT(int, -1, listen, (int fd, int backlog), (fd, backlog))
FAULT(int, -1, open64, (const char *path, int flags, ...), (path, flags))
FAULT(int, -1, lstat64, (const char *path, struct stat64 *st), (path, st))
FAULT(int, -1, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags),
    (fd, a, n, flags))
FAULT(
    ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
FAULT(int, -1, getsockopt,
    (int fd, int level, int name, void *value, socklen_t *n),
    (fd, level, name, value, n))

static void
faults_off(void)
{
	fault_off(&fault_calloc);
	fault_off(&fault_socket);
	fault_off(&fault_epoll_create1);
	fault_off(&fault_epoll_ctl);
	fault_off(&fault_bind);
	fault_off(&fault_listen);
	fault_off(&fault_open64);
	fault_off(&fault_lstat64);
	fault_off(&fault_accept4);
	fault_off(&fault_recvmsg);
	fault_off(&fault_getsockopt);
}

static int
setup_closed(void **state)
{
	faults_off();
	return laneroom_setup_closed(state);
}

static int
setup(void **state)
{
	faults_off();
	return laneroom_setup(state);
}

static int
teardown(void **state)
{
	faults_off();
	return laneroom_teardown(state);
}

/* The nth call from now on fails: opening fails with error, says why, and
 * leaves nothing. */
static void
assert_clean_failure(
    struct laneroom *room, struct fault *f, unsigned nth, int error)
{
	int fds = dgram_count_fds();

	room->fault[0] = '\0';
	fault_nth(f, nth, error);
	assert_int_equal(laneroom_open(room), -error);
	assert_int_equal(f->countdown, 0);
	faults_off();
	assert_null(room->in);
	assert_non_null(strstr(room->fault, room->beats));
	assert_int_equal(dgram_count_fds(), fds);
	assert_false(laneroom_exists(room));
}

static void
a_failure_while_opening_leaves_nothing(void **state)
{
	struct laneroom *room = *state;

	assert_clean_failure(room, &fault_calloc, 1, ENOMEM);
	assert_clean_failure(room, &fault_calloc, 2, ENOMEM);
	assert_clean_failure(room, &fault_lstat64, 1, EACCES);
	assert_clean_failure(room, &fault_socket, 1, EMFILE);
	assert_clean_failure(room, &fault_epoll_create1, 1, EMFILE);
	assert_clean_failure(room, &fault_open64, 1, EMFILE);
	assert_clean_failure(room, &fault_bind, 1, EROFS);
	/* Bound by now: the file has to go again. */
	assert_clean_failure(room, &fault_lstat64, 2, EIO);
	assert_clean_failure(room, &fault_listen, 1, EADDRINUSE);
	assert_clean_failure(room, &fault_epoll_ctl, 1, ENOSPC);
	assert_int_equal(laneroom_open(room), 0);
}

static void
the_file_has_the_mode_asked_for_and_goes_at_the_end(void **state)
{
	static const uint32_t modes[] = { 0600, 0660, 0666, 0 };
	struct laneroom *room = *state;
	mode_t before = umask(077);
	struct stat st;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(laneroom_open_with(room, modes[i], 1), 0);
		assert_int_equal(lstat(room->path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, modes[i]);
		laneroom_close(room);
		assert_false(laneroom_exists(room));
	}
	assert_int_equal(umask(before), 077);
	lane_in_close(NULL);
}

static void
a_socket_that_nobody_listens_at_is_taken_over(void **state)
{
	struct laneroom *room = *state;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), agent;
	uint32_t place;

	memcpy(at.sun_path, room->path, strlen(room->path) + 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	(void)close(fd);
	assert_int_equal(laneroom_open(room), 0);
	agent = laneroom_attach(room, &place);
	(void)close(agent);
}

static void
one_that_a_live_observer_has_is_refused(void **state)
{
	struct laneroom *room = *state;
	struct lane_in *first;
	uint32_t place;
	int agent;

	assert_int_equal(laneroom_open(room), 0);
	first = room->in;
	assert_int_equal(laneroom_open(room), -EADDRINUSE);
	assert_non_null(strstr(room->fault, room->path));
	assert_ptr_equal(room->in, first);
	assert_true(laneroom_exists(room));
	/* Who asked whether it lives was a connection without a word. */
	assert_int_equal(laneroom_take(room), 0);
	agent = laneroom_attach(room, &place);
	(void)close(agent);
}

static void
what_is_no_socket_is_refused_and_kept(void **state)
{
	struct laneroom *room = *state;
	int fd = open(room->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(laneroom_open(room), -EADDRINUSE);
	assert_true(laneroom_exists(room));
}

static void
a_path_that_the_suffix_makes_too_long_is_refused(void **state)
{
	struct laneroom *room = *state;
	struct sockaddr_un address;
	size_t n = strlen(room->dir.path);
	char path[sizeof(address.sun_path)];
	const struct lane_in_options options = {
		.path = path,
		.mode = 0600,
		.places = 1,
	};

	/* Long enough for the socket of the beats. */
	memset(path, 'x', sizeof(path));
	memcpy(path, room->dir.path, n);
	path[n] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(
	    lane_in_open(&options, &room->stats, &room->in, room->fault),
	    -ENAMETOOLONG);
	assert_null(room->in);
}

static void
a_file_that_is_not_ours_any_more_is_kept(void **state)
{
	struct laneroom *room = *state;
	int fd;

	assert_int_equal(unlink(room->path), 0);
	fd = open(room->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
	laneroom_close(room);
	assert_true(laneroom_exists(room));
}

static void
descriptors_are_closed_on_exec(void **state)
{
	struct laneroom *room = *state;
	bool was_open[64];
	uint32_t place;
	int agent;

	for (int fd = 0; fd < 64; fd++)
		was_open[fd] = fcntl(fd, F_GETFD) >= 0;
	assert_int_equal(laneroom_open(room), 0);
	agent = laneroom_attach(room, &place);
	for (int fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFD);

		assert_true(
		    was_open[fd] || flags < 0 || (flags & FD_CLOEXEC) != 0);
	}
	(void)close(agent);
}

static void
closing_hangs_up_on_all(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int attached = laneroom_attach(room, &place),
	    stranger = laneroom_connect(room);

	assert_int_equal(laneroom_take(room), 0);
	laneroom_close(room);
	assert_true(laneroom_is_dropped(attached));
	assert_true(laneroom_is_dropped(stranger));
	(void)close(attached);
	(void)close(stranger);
}

/* ---- later ---- */

static void
a_connection_that_cannot_be_waited_for_is_refused(void **state)
{
	struct laneroom *room = *state;
	int fd = laneroom_connect(room);

	fault_nth(&fault_epoll_ctl, 1, ENOSPC);
	assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(room->stats.lane_refused[STATS_LANE_ROOM], 1);
	assert_true(laneroom_is_dropped(fd));
	(void)close(fd);
}

static void
an_accept_that_fails_is_tried_again_with_the_next_pass(void **state)
{
	struct laneroom *room = *state;
	int fd = laneroom_connect(room);

	laneroom_hello(room, fd);
	fault_nth(&fault_accept4, 1, ECONNABORTED);
	assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(laneroom_take(room), 1);
	(void)close(fd);
}

static void
a_spare_that_was_lost_is_looked_for_again(void **state)
{
	struct laneroom *room = *state;
	int fds[2] = { laneroom_connect(room), laneroom_connect(room) };

	/* Full, and the spare goes to somebody else. */
	fault_nth(&fault_accept4, 1, ENFILE);
	fault_nth(&fault_open64, 1, ENFILE);
	assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(room->stats.lane_refused[STATS_LANE_ROOM], 1);
	assert_true(laneroom_is_dropped(fds[0]));
	assert_false(laneroom_is_dropped(fds[1]));
	laneroom_hello(room, fds[1]);
	assert_int_equal(laneroom_take(room), 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void
a_signal_does_not_end_a_hello(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int fd;

	fault_nth(&fault_recvmsg, 1, EINTR);
	fd = laneroom_attach(room, &place);
	(void)close(fd);
}

static void
a_connection_that_cannot_be_read_is_over(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int stranger = laneroom_connect(room), fd;

	fault_nth(&fault_recvmsg, 1, EIO);
	assert_int_equal(laneroom_take(room), 0);
	assert_true(laneroom_is_dropped(stranger));
	fd = laneroom_attach(room, &place);
	laneroom_bell(fd);
	fault_nth(&fault_recvmsg, 1, ECONNRESET);
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].kind, LANE_DETACHED);
	(void)close(stranger);
	(void)close(fd);
}

static void
whom_the_kernel_does_not_name_is_refused(void **state)
{
	struct laneroom *room = *state;
	int fd = laneroom_connect(room);

	laneroom_hello(room, fd);
	fault_nth(&fault_getsockopt, 1, EINVAL);
	assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(room->stats.lane_refused[STATS_LANE_MEMORY], 1);
	(void)close(fd);
}

static void
who_has_ended_is_not_taken_for_one_of_whom_nothing_is_told(void **state)
{
	static const int ended[] = { ESRCH, ENODATA, EINVAL },
			 unknown[] = { ENOPROTOOPT, EMFILE, ENFILE };
	struct laneroom *room = *state;
	uint32_t place;
	int fd = laneroom_attach(room, &place);

	for (int i = 0; i < 3; i++) {
		fault_nth(&fault_getsockopt, 1, ended[i]);
		assert_false(room->source.is_there(room->source.ctx, place));
		fault_nth(&fault_getsockopt, 1, unknown[i]);
		assert_true(room->source.is_there(room->source.ctx, place));
	}
	(void)close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CLOSED(name)                                                           \
	cmocka_unit_test_setup_teardown(name, setup_closed, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CLOSED(a_failure_while_opening_leaves_nothing),
		CLOSED(the_file_has_the_mode_asked_for_and_goes_at_the_end),
		CLOSED(a_socket_that_nobody_listens_at_is_taken_over),
		CLOSED(one_that_a_live_observer_has_is_refused),
		CLOSED(what_is_no_socket_is_refused_and_kept),
		CLOSED(a_path_that_the_suffix_makes_too_long_is_refused),
		CASE(a_file_that_is_not_ours_any_more_is_kept),
		CLOSED(descriptors_are_closed_on_exec),
		CASE(closing_hangs_up_on_all),
		CASE(a_connection_that_cannot_be_waited_for_is_refused),
		CASE(an_accept_that_fails_is_tried_again_with_the_next_pass),
		CASE(a_spare_that_was_lost_is_looked_for_again),
		CASE(a_signal_does_not_end_a_hello),
		CASE(a_connection_that_cannot_be_read_is_over),
		CASE(whom_the_kernel_does_not_name_is_refused),
		CASE(
		    who_has_ended_is_not_taken_for_one_of_whom_nothing_is_told),
	};

	return cmocka_run_group_tests_name("lane_in_file", tests, NULL, NULL);
}
