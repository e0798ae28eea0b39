/*
 * Lanes and observers that come, go, and come back: who attaches when, what the
 * bell says, and that nothing of it waits.
 */
#include <errno.h>
#include <stdlib.h>

#include "support/lanes_fixture.h"

FAULT(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n),
    (fd, to, n))

/* Before, and after. */

static void
an_observer_that_is_there_gets_the_first_lane_at_once(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	assert_false(watcher_accept_now());
	(void)open_lane(f, "a");
	watcher_accept();
	assert_true(is_open(0));
	assert_int_equal(watcher_bells(), 0); /* the hello says it all */
	assert_int_equal(f->agent->attach_at_ns, NS_NEVER);
}

static void
lanes_are_opened_without_an_observer_and_attached_when_asked_for(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;

	assert_int_equal(varta_open(f->path, &f->agent), 0);
	assert_int_equal(varta_lanes_attach(f->agent), 0); /* there are none */
	a = open_lane(f, "a");
	varta_lane_beat(a);
	assert_int_equal(varta_lanes_attach(f->agent), -ENOENT);
	watcher_listen(f->path, 8);
	assert_int_equal(varta_lanes_attach(f->agent), 0);
	watcher_accept();
	assert_true(is_open(0));
	assert_int_equal(beats_of(0), 1);
	(void)open_lane(f, "b");
	assert_int_equal(watcher_bells(), 1);
	assert_string_equal(watcher_record(1)->name, "b");
}

static void
a_lane_more_finds_an_observer_that_came_late(void **state)
{
	struct fixture *f = *state;

	listen_and_open(f);
	(void)open_lane(f, "a");
	watcher_listen(f->path, 8);
	(void)open_lane(f, "b");
	watcher_accept();
	assert_true(is_open(0) && is_open(1));
}

static void
beats_look_for_it_with_pauses_that_double(void **state)
{
	static const uint64_t pauses_ms[] = { 20, 40, 80, 160, 320, 640, 640 };
	struct fixture *f = *state;
	size_t i;

	clock_still_ns = 5 * NS_PER_S;
	listen_and_open(f);
	(void)open_lane(f, "a");
	fault_off(&fault_connect);
	clock_ahead_ns += 10 * NS_PER_MS - 1;
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(fault_connect.calls, 0);

	for (i = 0; i < ARRAY_SIZE(pauses_ms); i++) {
		clock_ahead_ns++;
		assert_int_equal(beat(f), VARTA_SENT);
		assert_int_equal(fault_connect.calls, i + 1);
		clock_ahead_ns += pauses_ms[i] * NS_PER_MS - 1;
		assert_int_equal(beat(f), VARTA_SENT);
		assert_int_equal(fault_connect.calls, i + 1);
		(void)take_nonce_of(f, getpid());
		(void)take_nonce_of(f, getpid());
	}

	watcher_listen(f->path, 8);
	clock_ahead_ns += NS_PER_S;
	assert_int_equal(beat(f), VARTA_SENT);
	watcher_accept();
	assert_int_equal(f->agent->attach_at_ns, NS_NEVER);
	assert_int_equal(f->agent->lanes->retry_delay_ns, 0);
}

static void
a_beat_that_is_dropped_attaches_too(void **state)
{
	struct fixture *f = *state;

	listen_and_open(f);
	(void)open_lane(f, "a");
	while (beat(f) == VARTA_SENT)
		;
	watcher_listen(f->path, 8);
	clock_ahead_ns += NS_PER_S;
	assert_int_equal(beat(f), VARTA_DROPPED_QUEUE_FULL);
	watcher_accept();
}

/* Restarts. */

static void
a_restarted_observer_gets_the_lanes_with_the_next_beat(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;

	watch_and_open(f);
	a = open_lane(f, "a");
	watcher_accept();
	assert_int_equal(beat(f), VARTA_SENT);
	varta_lane_beat(a);
	watcher_close();
	listener_close(&f->listener);

	varta_lane_beat(a);
	listener_open(&f->listener, f->path);
	watcher_listen(f->path, 8);
	assert_int_equal(beat(f), VARTA_SENT);
	watcher_accept();
	assert_int_equal(beats_of(0), 2);
	varta_lane_beat(a);
	assert_int_equal(beats_of(0), 3);
	assert_int_equal(generation_of(0), 1);
}

static void
an_observer_that_comes_back_with_lanes_is_not_kept_waiting(void **state)
{
	struct fixture *f = *state;
	int i;

	/* One without lanes, until the pauses are long. */
	listen_and_open(f);
	(void)open_lane(f, "a");
	for (i = 0; i < 8; i++)
		assert_int_equal(varta_lanes_attach(f->agent), -ENOENT);
	assert_int_equal(f->agent->lanes->retry_delay_ns, 640 * NS_PER_MS);

	listener_close(&f->listener);
	listener_open(&f->listener, f->path);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(f->agent->lanes->retry_delay_ns, 10 * NS_PER_MS);

	listener_close(&f->listener);
	listener_open(&f->listener, f->path);
	watcher_listen(f->path, 8);
	assert_int_equal(beat(f), VARTA_SENT);
	watcher_accept();
}

static void
a_new_observer_gets_them_though_the_old_one_has_not_hung_up(void **state)
{
	struct fixture *f = *state;
	struct watcher old;
	struct listener old_listener;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	old = watcher;
	old_listener = f->listener;
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(unlink(watcher.addr.sun_path), 0);
	memset(&watcher, 0, sizeof(watcher));
	watcher.fd = watcher.memory_fd = -1;
	listener_open(&f->listener, f->path);
	watcher_listen(f->path, 8);

	assert_int_equal(varta_reconnect(f->agent), 0);
	watcher_accept();
	assert_int_equal(recv(old.fd, &(char){ 0 }, 1, MSG_DONTWAIT), 0);
	(void)close(old_listener.fd);
	(void)close(old.listen_fd);
	(void)close(old.fd);
	(void)close(old.memory_fd);
	(void)munmap((void *)(uintptr_t)old.memory, WATCHER_MEMORY_BYTES);
}

static void
a_reconnect_for_a_full_queue_leaves_the_lanes_attached(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	varta_set_reconnect_after(f->agent, 1);
	while (beat(f) == VARTA_SENT)
		;
	assert_true(counters(f).reconnects > 0);
	assert_false(watcher_is_left());
	assert_int_equal(f->agent->attach_at_ns, NS_NEVER);
}

static void
asking_finds_out_that_the_observer_has_hung_up(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	fault_off(&fault_connect);
	assert_int_equal(varta_lanes_attach(f->agent), 0);
	assert_int_equal(fault_connect.calls, 0);
	assert_false(watcher_is_left());

	watcher_hang_up();
	assert_int_equal(varta_lanes_attach(f->agent), 0);
	watcher_accept();
	assert_true(is_open(0));

	watcher_close();
	assert_int_equal(varta_lanes_attach(f->agent), -ENOENT);
	assert_int_equal(f->agent->lanes->connection_fd, -1);
}

static void
an_observer_that_never_accepted_has_hung_up_too(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_close();
	watcher_listen(f->path, 8);
	assert_int_equal(varta_lanes_attach(f->agent), 0);
	watcher_accept();
}

static void
an_observer_with_no_room_for_connections_is_asked_later(void **state)
{
	struct fixture *f = *state;
	struct varta_agent *other;
	struct varta_lane *lane;

	watcher_listen(f->path, 0);
	listen_and_open(f);
	assert_int_equal(varta_open(f->path, &other), 0);
	assert_int_equal(varta_lane_open(other, "a", 1000, &lane), 0);
	(void)open_lane(f, "a");
	assert_int_equal(varta_lanes_attach(f->agent), -EAGAIN);
	watcher_accept();
	clock_ahead_ns += NS_PER_S;
	assert_int_equal(beat(f), VARTA_SENT);
	watcher_accept();
	varta_close(other);
}

/* The bell. */

static void
the_bell_rings_when_a_lane_is_opened_or_closed(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *b;

	watch_and_open(f);
	varta_lane_beat(open_lane(f, "a"));
	watcher_accept();
	b = open_lane(f, "b");
	assert_int_equal(watcher_bells(), 1);
	varta_lane_beat(b);
	varta_lane_set_status(b, VARTA_DEGRADED);
	varta_lane_idle(b);
	assert_int_equal(watcher_bells(), 0);
	varta_lane_close(b);
	assert_int_equal(watcher_bells(), 1);
	assert_false(is_open(1));
}

static void
bells_that_nobody_hears_do_no_harm(void **state)
{
	struct fixture *f = *state;
	unsigned i;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	for (i = 0; i < 4000; i++)
		varta_lane_close(open_lane(f, "b"));
	assert_int_equal(generation_of(1), 8000);
	assert_in_range(watcher_bells(), 1, 7999);
	assert_false(watcher_is_left());
}

static void
a_bell_that_finds_nobody_makes_a_lane_look_for_the_new_observer(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	watcher_hang_up();
	(void)open_lane(f, "b");
	watcher_accept();
	assert_true(is_open(0) && is_open(1));
}

static void
a_bell_of_a_closed_lane_that_finds_nobody_leaves_it_to_the_next_beat(
    void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;

	watch_and_open(f);
	a = open_lane(f, "a");
	watcher_accept();
	watcher_hang_up();
	varta_lane_close(a);
	assert_false(watcher_accept_now());
	assert_int_equal(beat(f), VARTA_SENT);
	watcher_accept();
	assert_false(is_open(0));
}

/* Addresses and descriptors. */

static void
a_path_that_leaves_no_room_for_the_suffix_leaves_lanes_unwatched(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) - 5];

	/* One byte less, and ".lanes" would fit. */
	memset(path, 'x', sizeof(path));
	memcpy(path, f->dir.path, strlen(f->dir.path));
	path[strlen(f->dir.path)] = '/';
	path[sizeof(path) - 1] = '\0';
	listener_open(&f->listener, path);
	assert_int_equal(varta_open(path, &f->agent), 0);
	a = open_lane(f, "a");
	varta_lane_beat(a);
	assert_int_equal(varta_lanes_attach(f->agent), -ENAMETOOLONG);
	fault_off(&fault_connect);
	clock_ahead_ns += 10 * NS_PER_S;
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(fault_connect.calls, 0);
	assert_int_equal(f->agent->attach_at_ns, NS_NEVER);
	varta_close(f->agent);

	listener_close(&f->listener);
	path[sizeof(path) - 2] = '\0';
	watcher_listen(path, 8);
	listener_open(&f->listener, path);
	assert_int_equal(varta_open(path, &f->agent), 0);
	(void)open_lane(f, "a");
	watcher_accept();
}

static void
descriptors_of_lanes_are_above_the_standard_ones_and_close_on_exec(void **state)
{
	struct fixture *f = *state;
	int saved = dup(STDIN_FILENO);
	const struct varta__lanes *l;

	watch_and_open(f);
	(void)close(STDIN_FILENO);
	(void)open_lane(f, "a");
	assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	(void)close(saved);

	l = f->agent->lanes;
	assert_true(l->memory_fd > STDERR_FILENO);
	assert_true(l->connection_fd > STDERR_FILENO);
	assert_int_equal(fcntl(l->memory_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(l->connection_fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(l->connection_fd, F_GETFL) & O_NONBLOCK);
	watcher_accept();
}

static void
an_agent_without_lanes_never_looks_for_an_observer_of_lanes(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	assert_int_equal(f->agent->attach_at_ns, NS_NEVER);
	assert_int_equal(varta_reconnect(f->agent), 0);
	clock_ahead_ns += NS_PER_S;
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(varta_lanes_attach(f->agent), 0);
	assert_false(watcher_accept_now());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANES_TEST(
		    an_observer_that_is_there_gets_the_first_lane_at_once),
		LANES_TEST(
		    lanes_are_opened_without_an_observer_and_attached_when_asked_for),
		LANES_TEST(a_lane_more_finds_an_observer_that_came_late),
		LANES_TEST(beats_look_for_it_with_pauses_that_double),
		LANES_TEST(a_beat_that_is_dropped_attaches_too),
		LANES_TEST(
		    a_restarted_observer_gets_the_lanes_with_the_next_beat),
		LANES_TEST(
		    an_observer_that_comes_back_with_lanes_is_not_kept_waiting),
		LANES_TEST(
		    a_new_observer_gets_them_though_the_old_one_has_not_hung_up),
		LANES_TEST(
		    a_reconnect_for_a_full_queue_leaves_the_lanes_attached),
		LANES_TEST(asking_finds_out_that_the_observer_has_hung_up),
		LANES_TEST(an_observer_that_never_accepted_has_hung_up_too),
		LANES_TEST(
		    an_observer_with_no_room_for_connections_is_asked_later),
		LANES_TEST(the_bell_rings_when_a_lane_is_opened_or_closed),
		LANES_TEST(bells_that_nobody_hears_do_no_harm),
		LANES_TEST(
		    a_bell_that_finds_nobody_makes_a_lane_look_for_the_new_observer),
		LANES_TEST(
		    a_bell_of_a_closed_lane_that_finds_nobody_leaves_it_to_the_next_beat),
		LANES_TEST(
		    a_path_that_leaves_no_room_for_the_suffix_leaves_lanes_unwatched),
		LANES_TEST(
		    descriptors_of_lanes_are_above_the_standard_ones_and_close_on_exec),
		LANES_TEST(
		    an_agent_without_lanes_never_looks_for_an_observer_of_lanes),
	};

	return cmocka_run_group_tests_name("lanes_attach", tests, NULL, NULL);
}
