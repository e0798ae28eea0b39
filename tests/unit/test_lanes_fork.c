/*
 * Lanes in processes that fork: what is the parent's stays the parent's.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "support/lanes_fixture.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))

/* In a child, where no assertion may fail: NULL instead. */
static struct varta_lane *
childs_lane(struct fixture *f, const char *name)
{
	struct varta_lane *lane = NULL;

	(void)varta_lane_open(f->agent, name, 1000, &lane);
	return lane;
}

static void
beats_of_a_child_do_not_show_in_the_lanes_of_its_parent(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;
	pid_t child;

	watch_and_open(f);
	a = open_lane(f, "a");
	watcher_accept();
	varta_lane_beat(a);
	varta_lane_set_status(a, VARTA_DEGRADED);
	child = fork();
	if (child == 0) {
		varta_lane_beat(a);
		varta_lane_idle(a);
		varta_lane_set_status(a, VARTA_CRITICAL);
		/* Nor once the agent has become the child's. */
		(void)beat(f);
		varta_lane_beat(a);
		varta_lane_idle(a);
		varta_lane_set_status(a, VARTA_CRITICAL);
		varta_lane_close(a);
		_exit(0);
	}
	assert_int_equal(status_of(child), 0);
	assert_int_equal(beats_of(0), 1);
	assert_true(beat_ns_of(0) > 0);
	assert_int_equal(
	    atomic_load(&watcher_record(0)->status), VARTA_DEGRADED);
	assert_int_equal(generation_of(0), 1);
	varta_lane_beat(a);
	assert_int_equal(beats_of(0), 2);
	assert_int_equal(watcher_bells(), 0);
}

static void
a_fork_past_the_c_library_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;
	pid_t child;

	watch_and_open(f);
	a = open_lane(f, "a");
	watcher_accept();
	child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		varta_lane_beat(a);
		_exit(0);
	}
	assert_int_equal(status_of(child), 0);
	assert_int_equal(beats_of(0), 0);
}

/* Two lanes of the child, one with the name of its parent's; then wait. */
static void
be_a_child_with_lanes(struct fixture *f, int ready, int end)
{
	struct varta_lane *lanes[2];

	if (varta_lane_open(f->agent, "other", 500, &lanes[0]) != 0 ||
	    varta_lane_open(f->agent, "a", 500, &lanes[1]) != 0)
		_exit(1);
	varta_lane_close(lanes[0]);
	if (varta_lane_open(f->agent, "other", 500, &lanes[0]) != 0)
		_exit(2);
	varta_lane_beat(lanes[1]);
	varta_lane_beat(lanes[1]);
	(void)!write(ready, "", 1);
	(void)!read(end, &(char){ 0 }, 1);
	varta_close(f->agent);
	_exit(0);
}

static void
a_child_opens_lanes_of_its_own(void **state)
{
	struct fixture *f = *state;
	int ready[2], end[2];
	struct ucred who;
	socklen_t n = sizeof(who);
	struct varta_lane *a;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	watch_and_open(f);
	a = open_lane(f, "a");
	varta_lane_beat(a);
	watcher_accept();
	child = fork();
	if (child == 0)
		be_a_child_with_lanes(f, ready[1], end[0]);
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &(char){ 0 }, 1), 1);

	/* The parent's are as they were. */
	assert_int_equal(atomic_load(&watcher_head()->lanes), 1);
	assert_int_equal(beats_of(0), 1);
	assert_false(watcher_is_left());

	watcher_accept();
	assert_int_equal(
	    getsockopt(watcher.fd, SOL_SOCKET, SO_PEERCRED, &who, &n), 0);
	assert_int_equal(who.pid, child);
	assert_string_equal(watcher_record(0)->name, "other");
	assert_string_equal(watcher_record(1)->name, "a");
	assert_int_equal(beats_of(0), 0);
	assert_int_equal(beats_of(1), 2);
	varta_lane_beat(a);
	assert_int_equal(beats_of(0), 0);

	assert_int_equal(write(end[1], "", 1), 1);
	assert_int_equal(status_of(child), 0);
	assert_true(watcher_is_left());
	assert_false(is_open(0) || is_open(1));
	(void)close(ready[0]);
	(void)close(end[0]);
	(void)close(end[1]);
}

/* What a child does that makes it let go of what is its parent's. */

static bool
by_a_beat(struct fixture *f)
{
	return beat(f) == VARTA_SENT;
}

static bool
by_a_beat_that_fails(struct fixture *f)
{
	fault_nth(&fault_socket, 1, EMFILE);
	return beat(f) == -EMFILE;
}

static bool
by_opening_a_lane(struct fixture *f)
{
	return childs_lane(f, "a") != NULL;
}

static bool
by_attaching(struct fixture *f)
{
	return varta_lanes_attach(f->agent) == 0;
}

static bool
by_reconnecting(struct fixture *f)
{
	return varta_reconnect(f->agent) == 0;
}

static bool
by_closing(struct fixture *f)
{
	varta_close(f->agent);
	return true;
}

/* A process with lanes, that ends while its child lives on. */
static void
be_a_parent(
    struct fixture *f, bool (*let_go)(struct fixture *f), int *ready, int end)
{
	if (varta_open(f->path, &f->agent) < 0)
		_exit(1);
	varta_lane_beat(childs_lane(f, "a"));
	if (fork() == 0) {
		if (!let_go(f))
			_exit(1);
		(void)!write(ready[1], "", 1);
		(void)!read(end, &(char){ 0 }, 1);
		_exit(0);
	}
	(void)close(ready[1]);
	_exit(read(ready[0], &(char){ 0 }, 1) == 1 ? 0 : 1);
}

static void
check_end_of_parent(struct fixture *f, bool (*let_go)(struct fixture *f))
{
	int ready[2], end[2];
	pid_t parent;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	watcher_listen(f->path, 8);
	listener_open(&f->listener, f->path);
	parent = fork();
	if (parent == 0)
		be_a_parent(f, let_go, ready, end[0]);
	assert_int_equal(status_of(parent), 0);
	watcher_accept();
	assert_true(watcher_is_left());
	assert_true(is_open(0)); /* not in order: the process has ended */
	assert_int_equal(beats_of(0), 1);
	assert_int_equal(write(end[1], "", 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	(void)close(end[0]);
	(void)close(end[1]);
	watcher_close();
	listener_close(&f->listener);
}

static void
the_end_of_a_parent_is_seen_though_a_child_that_beats_lives_on(void **state)
{
	check_end_of_parent(*state, by_a_beat);
	check_end_of_parent(*state, by_a_beat_that_fails);
}

static void
the_end_of_a_parent_is_seen_though_a_child_with_lanes_lives_on(void **state)
{
	check_end_of_parent(*state, by_opening_a_lane);
	check_end_of_parent(*state, by_attaching);
}

static void
the_end_of_a_parent_is_seen_though_a_child_that_connects_lives_on(void **state)
{
	check_end_of_parent(*state, by_reconnecting);
	check_end_of_parent(*state, by_closing);
}

static unsigned
maps_of_lanes(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	if (maps == NULL)
		return 99;
	while (fgets(line, sizeof(line), maps) != NULL)
		n += strstr(line, "varta-lanes") != NULL;
	(void)fclose(maps);
	return n;
}

/* Nothing of its parent's, but for the memory that the test itself has. */
static int
check_a_child_that_lets_go(struct fixture *f, struct varta_lane *a, int fds)
{
	/* One datagram socket for another, and two less. */
	if (dgram_count_fds() != fds + 3 || beat(f) != VARTA_SENT ||
	    dgram_count_fds() != fds + 1 || maps_of_lanes() != 1)
		return 1;
	varta_lane_close(a);
	(void)childs_lane(f, "a");
	if (dgram_count_fds() != fds + 3 || maps_of_lanes() != 2)
		return 2;
	(void)childs_lane(f, "b");
	varta_close(f->agent); /* the lane "b" of the parent is left to it */
	return dgram_count_fds() == fds && maps_of_lanes() == 1 ? 0 : 3;
}

static void
a_child_keeps_nothing_of_its_parents(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;
	pid_t child;
	int fds;

	watcher_listen(f->path, 8);
	listener_open(&f->listener, f->path);
	fds = dgram_count_fds();
	assert_int_equal(varta_open(f->path, &f->agent), 0);
	a = open_lane(f, "a");
	(void)open_lane(f, "b");
	watcher_accept();
	fds += 2; /* those of the observer */
	child = fork();
	if (child == 0)
		_exit(check_a_child_that_lets_go(f, a, fds));
	assert_int_equal(status_of(child), 0);
	assert_true(is_open(0) && is_open(1));
	assert_false(watcher_is_left());
}

static void
a_child_hands_over_nothing_of_its_parents(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	child = fork();
	if (child == 0)
		_exit(varta_reconnect(f->agent) == 0 &&
			      varta_lanes_attach(f->agent) == 0 &&
			      beat(f) == VARTA_SENT
			  ? 0
			  : 1);
	assert_int_equal(status_of(child), 0);
	assert_false(watcher_is_left());
	assert_false(watcher_accept_now());
}

static void
a_grandchild_has_lanes_though_its_parent_never_touched_them(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;
	pid_t child;

	watch_and_open(f);
	a = open_lane(f, "a");
	watcher_accept();
	child = fork();
	if (child == 0) {
		pid_t grandchild = fork();
		int status;

		if (grandchild == 0) {
			varta_lane_beat(a);
			varta_lane_beat(childs_lane(f, "a"));
			varta_lane_beat(a);
			_exit(0);
		}
		varta_lane_beat(a);
		_exit(
		    waitpid(grandchild, &status, 0) == grandchild && status == 0
			? 0
			: 1);
	}
	assert_int_equal(status_of(child), 0);
	assert_int_equal(beats_of(0), 0);
	watcher_accept();
	assert_int_equal(beats_of(0), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANES_TEST(
		    beats_of_a_child_do_not_show_in_the_lanes_of_its_parent),
		LANES_TEST(a_fork_past_the_c_library_is_noticed),
		LANES_TEST(a_child_opens_lanes_of_its_own),
		LANES_TEST(
		    the_end_of_a_parent_is_seen_though_a_child_that_beats_lives_on),
		LANES_TEST(
		    the_end_of_a_parent_is_seen_though_a_child_with_lanes_lives_on),
		LANES_TEST(
		    the_end_of_a_parent_is_seen_though_a_child_that_connects_lives_on),
		LANES_TEST(a_child_keeps_nothing_of_its_parents),
		LANES_TEST(a_child_hands_over_nothing_of_its_parents),
		LANES_TEST(
		    a_grandchild_has_lanes_though_its_parent_never_touched_them),
	};

	return cmocka_run_group_tests_name("lanes_fork", tests, NULL, NULL);
}
