#include "watch/intake/unix_in.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
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

/* What the socket holds, sorted by the intake for our own uid. */
static void
take_all(struct unix_in *u, struct stats *stats, struct intake_batch *ret)
{
	static struct intake in;
	const struct intake_policy policy = { .own_uid = geteuid(),
		.pid_max = 4194304,
		.refuse_pid_zero = true };
	struct intake_source source =
	    unix_in_source(u, &stats->injected_descriptors);

	intake_init(&in, &source, &policy, stats);
	intake_take(&in, ret);
}

static void
the_file_has_exactly_the_mode_asked_for(void **state)
{
	static const uint32_t modes[] = { 0600, 0660, 0666, 0777, 0 };
	struct unixroom *room = *state;
	mode_t before = umask(077);
	struct stat st;
	size_t i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(
		    unixroom_open_with(room, room->path, modes[i]), 0);
		assert_int_equal(lstat(room->path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, modes[i]);
		unixroom_close(room);
	}
	assert_int_equal(umask(before), 077);
}

static void
the_descriptor_is_nonblocking_and_closed_on_exec(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open(room), 0);
	assert_true((fcntl(unix_in_fd(room->u), F_GETFL) & O_NONBLOCK) != 0);
	assert_true((fcntl(unix_in_fd(room->u), F_GETFD) & FD_CLOEXEC) != 0);
}

static void
closing_removes_the_file(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open(room), 0);
	unixroom_close(room);
	assert_false(unixroom_exists(room->path));
}

static void
closing_nothing_is_allowed(void **state)
{
	(void)state;
	unix_in_close(NULL);
}

static void
the_facts_tell_what_the_system_granted(void **state)
{
	struct unixroom *room = *state;
	unsigned queue_len = 0;
	FILE *f = fopen("/proc/sys/net/unix/max_dgram_qlen", "re");

	assert_int_equal(unixroom_open(room), 0);
	assert_true(room->facts.rcvbuf_bytes >= 65536);
	assert_false(room->facts.dir_sync_failed);
	assert_false(room->facts.took_over_stale);
	if (f != NULL) {
		assert_int_equal(fscanf(f, "%u", &queue_len), 1);
		(void)fclose(f);
	}
	assert_int_equal(room->facts.queue_len, queue_len);
}

static void
without_a_wish_the_buffer_is_left_alone(void **state)
{
	struct unixroom *room = *state;
	const struct unix_in_options options = { .path = room->path };

	assert_int_equal(
	    unix_in_open(&options, &room->u, &room->facts, &room->fault), 0);
	assert_int_equal(room->facts.rcvbuf_bytes, 0);
}

static void
an_absurd_buffer_is_asked_for_as_the_largest(void **state)
{
	struct unixroom *room = *state;
	const struct unix_in_options options = { .path = room->path,
		.rcvbuf_bytes = UINT32_MAX };

	assert_int_equal(
	    unix_in_open(&options, &room->u, &room->facts, &room->fault), 0);
	assert_true(room->facts.rcvbuf_bytes > 0);
}

static void
a_live_observer_is_left_alone_and_sent_nothing(void **state)
{
	struct unixroom *room = *state;
	struct unix_in *other = NULL;
	struct unix_in_facts facts;
	const struct unix_in_options options = { .path = room->path };
	uint8_t byte;

	assert_int_equal(unixroom_open(room), 0);
	assert_int_equal(
	    unix_in_open(&options, &other, &facts, &room->fault), -EADDRINUSE);
	assert_null(other);
	unixroom_assert_fault(room, "another observer");
	unixroom_assert_fault(room, room->path);
	assert_true(unixroom_exists(room->path));
	assert_int_equal(recv(unix_in_fd(room->u), &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void
a_dead_observers_socket_is_taken_over(void **state)
{
	struct unixroom *room = *state;
	int fd;

	unixroom_leave_stale(room->path);
	assert_int_equal(unixroom_open(room), 0);
	assert_true(room->facts.took_over_stale);
	fd = dgram_connect(room->path);
	assert_true(fd >= 0);
	(void)close(fd);
}

static void
something_else_of_that_name_is_refused_and_kept(void **state)
{
	struct unixroom *room = *state;

	unixroom_make_file(room->path);
	assert_int_equal(unixroom_open(room), -EADDRINUSE);
	unixroom_assert_fault(room, "not a socket");
	assert_true(unixroom_exists(room->path));
	assert_int_equal(unlink(room->path), 0);
	assert_int_equal(mkdir(room->path, 0700), 0);
	assert_int_equal(unixroom_open(room), -EADDRINUSE);
	assert_int_equal(rmdir(room->path), 0);
	assert_int_equal(symlink("nowhere", room->path), 0);
	assert_int_equal(unixroom_open(room), -EADDRINUSE);
	assert_true(unixroom_exists(room->path));
}

static void
a_stream_socket_of_that_name_is_refused_and_kept(void **state)
{
	struct unixroom *room = *state;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, room->path, strlen(room->path) + 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(unixroom_open(room), -EPROTOTYPE);
	assert_true(unixroom_exists(room->path));
	(void)close(fd);
}

static void
another_file_of_that_name_survives_closing(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open(room), 0);
	assert_int_equal(unlink(room->path), 0);
	unixroom_leave_stale(room->path);
	unixroom_close(room);
	assert_true(unixroom_exists(room->path));

	assert_int_equal(unixroom_open(room), 0);
	assert_int_equal(unlink(room->path), 0);
	unixroom_make_file(room->path);
	unixroom_close(room);
	assert_true(unixroom_exists(room->path));
}

static void
a_missing_file_at_closing_is_ignored(void **state)
{
	struct unixroom *room = *state;

	assert_int_equal(unixroom_open(room), 0);
	assert_int_equal(unlink(room->path), 0);
	unixroom_close(room);
	assert_false(unixroom_exists(room->path));
}

static void *
wait_for_release(void *arg)
{
	(void)pthread_mutex_lock(arg);
	(void)pthread_mutex_unlock(arg);
	return NULL;
}

static void
a_process_with_other_threads_is_refused(void **state)
{
	struct unixroom *room = *state;
	pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;
	pthread_t thread;

	(void)pthread_mutex_lock(&hold);
	assert_int_equal(
	    pthread_create(&thread, NULL, wait_for_release, &hold), 0);
	assert_int_equal(unixroom_open(room), -EBUSY);
	unixroom_assert_fault(room, "threads");
	(void)pthread_mutex_unlock(&hold);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
frames_of_our_own_arrive_as_attested_beats(void **state)
{
	static struct intake_batch got;
	struct unixroom *room = *state;
	struct stats stats = { 0 };
	uint8_t frame[INTAKE_FRAME_BYTES];
	int fd;

	assert_int_equal(unixroom_open(room), 0);
	fd = dgram_connect(room->path);
	dgram_frame((uint32_t)getpid(), 1, frame);
	assert_int_equal(dgram_send(fd, frame, sizeof(frame), -1, 0), 32);
	take_all(room->u, &stats, &got);
	assert_int_equal(got.n_beats, 1);
	assert_int_equal(got.beats[0].pid, getpid());
	assert_int_equal(got.beats[0].uid, geteuid());
	assert_int_equal(got.beats[0].origin, ORIGIN_KERNEL_ATTESTED);
	(void)close(fd);
}

static void
datagrams_of_31_33_34_and_40_bytes_are_counted_only(void **state)
{
	static const size_t lens[] = { 31, 33, 34, 40 };
	static struct intake_batch got;
	struct unixroom *room = *state;
	struct stats stats = { 0 };
	uint8_t bytes[40] = { 0 };
	size_t i;
	int fd;

	assert_int_equal(unixroom_open(room), 0);
	fd = dgram_connect(room->path);
	dgram_frame((uint32_t)getpid(), 1, bytes);
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		assert_int_equal(
		    dgram_send(fd, bytes, lens[i], -1, 0), lens[i]);
	take_all(room->u, &stats, &got);
	assert_int_equal(got.n_taken, 4);
	assert_int_equal(got.n_beats, 0);
	assert_int_equal(got.n_faults, 0);
	assert_int_equal(stats.truncated_datagrams, 4);
	assert_int_equal(stats.ctrl_truncated, 0);
	(void)close(fd);
}

static void
descriptors_are_refused_at_their_sender_where_the_kernel_can(void **state)
{
	static struct intake_batch got;
	struct unixroom *room = *state;
	struct stats stats = { 0 };
	uint8_t frame[INTAKE_FRAME_BYTES];
	int fd, probe;

	assert_int_equal(unixroom_open(room), 0);
	probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (getsockopt(probe, SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &(int){ 0 },
		&(socklen_t){ sizeof(int) }) < 0) {
		(void)close(probe);
		skip();
	}
	fd = dgram_connect(room->path);
	dgram_frame((uint32_t)getpid(), 1, frame);
	assert_int_equal(dgram_send(fd, frame, sizeof(frame), fd, 1), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(dgram_send(fd, frame, sizeof(frame), fd, 0), 32);
	take_all(room->u, &stats, &got);
	assert_int_equal(got.n_beats, 1);
	assert_int_equal(stats.injected_descriptors, 0);
	(void)close(probe);
	(void)close(fd);
}

static void
a_frame_with_descriptors_is_a_beat_and_they_are_closed(void **state)
{
	static struct intake_batch got;
	struct unixroom *room = *state;
	struct stats stats = { 0 };
	uint8_t frame[INTAKE_FRAME_BYTES];
	int fd, before;

	assert_int_equal(unixroom_open(room), 0);
	(void)dgram_let_descriptors_in(unix_in_fd(room->u));
	fd = dgram_connect(room->path);
	dgram_frame((uint32_t)getpid(), 1, frame);
	before = dgram_count_fds();
	assert_int_equal(dgram_send(fd, frame, sizeof(frame), fd, 2), 32);
	assert_int_equal(
	    dgram_send(fd, frame, sizeof(frame), fd, DGRAM_FDS), 32);
	take_all(room->u, &stats, &got);
	assert_int_equal(got.n_beats, 1);
	assert_int_equal(got.n_faults, 1);
	assert_int_equal(got.faults[0].kind, EVENT_CTRUNC);
	assert_int_equal(stats.ctrl_truncated, 1);
	assert_in_range(stats.injected_descriptors, 3, DGRAM_FDS);
	assert_int_equal(dgram_count_fds(), before);
	(void)close(fd);
}

/* Send one frame of the sender's own from another uid and gid. */
static void
send_as(const char *path, uid_t uid, gid_t gid)
{
	uint8_t frame[INTAKE_FRAME_BYTES];
	pid_t pid = fork();
	int fd, status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(gid) < 0 ||
		    setuid(uid) < 0)
			_exit(1);
		fd = dgram_connect(path);
		dgram_frame((uint32_t)getpid(), 1, frame);
		_exit(
		    dgram_send(fd, frame, sizeof(frame), -1, 0) == 32 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
another_users_frames_are_refused(void **state)
{
	static struct intake_batch got;
	struct unixroom *room = *state;
	struct stats stats = { 0 };

	unixroom_needs_root();
	assert_int_equal(chmod(room->dir.path, 0711), 0);
	assert_int_equal(unixroom_open_with(room, room->path, 0666), 0);
	send_as(room->path, 65533, 65532);
	take_all(room->u, &stats, &got);
	assert_int_equal(got.n_beats, 0);
	assert_int_equal(got.n_faults, 1);
	assert_int_equal(got.faults[0].kind, EVENT_IO);
	assert_int_equal(got.faults[0].error, -EACCES);
	assert_int_equal(got.faults[0].uid, 65533);
	assert_int_equal(stats.uid_refused, 1);
}

static void
a_group_that_is_allowed_may_beat(void **state)
{
	static struct intake_batch got;
	static struct intake in;
	struct unixroom *room = *state;
	struct stats stats = { 0 };
	struct intake_policy policy = { .own_uid = geteuid(),
		.allowed_gids = { 65532 },
		.n_allowed_gids = 1,
		.pid_max = 4194304,
		.refuse_pid_zero = true };
	struct intake_source source;

	unixroom_needs_root();
	assert_int_equal(chmod(room->dir.path, 0711), 0);
	assert_int_equal(unixroom_open_with(room, room->path, 0666), 0);
	source = unix_in_source(room->u, &stats.injected_descriptors);
	intake_init(&in, &source, &policy, &stats);
	send_as(room->path, 65533, 65532);
	intake_take(&in, &got);
	assert_int_equal(got.n_beats, 1);
	assert_int_equal(got.beats[0].uid, 65533);
	assert_int_equal(got.beats[0].gid, 65532);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_file_has_exactly_the_mode_asked_for),
		CASE(the_descriptor_is_nonblocking_and_closed_on_exec),
		CASE(closing_removes_the_file),
		CASE(closing_nothing_is_allowed),
		CASE(the_facts_tell_what_the_system_granted),
		CASE(without_a_wish_the_buffer_is_left_alone),
		CASE(an_absurd_buffer_is_asked_for_as_the_largest),
		CASE(a_live_observer_is_left_alone_and_sent_nothing),
		CASE(a_dead_observers_socket_is_taken_over),
		CASE(something_else_of_that_name_is_refused_and_kept),
		CASE(a_stream_socket_of_that_name_is_refused_and_kept),
		CASE(another_file_of_that_name_survives_closing),
		CASE(a_missing_file_at_closing_is_ignored),
		CASE(a_process_with_other_threads_is_refused),
		CASE(frames_of_our_own_arrive_as_attested_beats),
		CASE(datagrams_of_31_33_34_and_40_bytes_are_counted_only),
		CASE(
		    descriptors_are_refused_at_their_sender_where_the_kernel_can),
		CASE(a_frame_with_descriptors_is_a_beat_and_they_are_closed),
		CASE(another_users_frames_are_refused),
		CASE(a_group_that_is_allowed_may_beat),
	};

	return cmocka_run_group_tests_name("unix_in", tests, NULL, NULL);
}
