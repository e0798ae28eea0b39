/*
 * Agents over real sockets: addresses, observers that come and go, and every
 * system call failing in turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "support/agent_fixture.h"
#include "support/fault_fcntl.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n),
    (fd, to, n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

/* Addresses. */

static void
assert_path(const char *address, const char *path)
{
	struct varta__endpoint e;

	assert_int_equal(varta__endpoint_parse(address, &e), 0);
	assert_string_equal(e.addr.un.sun_path, path);
	assert_int_equal(e.addr.un.sun_family, AF_UNIX);
	assert_int_equal(
	    e.len, offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static void
addresses_name_paths(void **state)
{
	(void)state;
	assert_path("/run/x", "/run/x");
	assert_path("unix:/run/x", "/run/x");

	assert_int_equal(unsetenv("VARTA_SOCKET"), 0);
	assert_path(NULL, "/run/varta/varta.sock");
	assert_int_equal(setenv("VARTA_SOCKET", "", 1), 0);
	assert_path(NULL, "/run/varta/varta.sock");
	assert_int_equal(setenv("VARTA_SOCKET", "unix:/run/y", 1), 0);
	assert_path(NULL, "/run/y");
	assert_path("/run/x", "/run/x");
	assert_int_equal(unsetenv("VARTA_SOCKET"), 0);
}

static void
other_addresses_are_refused_by_name(void **state)
{
	static const struct {
		const char *address;
		int error;
	} cases[] = {
		{ "", VARTA_ERR_ADDRESS },
		{ "unix:", VARTA_ERR_ADDRESS },
		{ "unix:x", VARTA_ERR_ADDRESS },
		{ "varta.sock", VARTA_ERR_ADDRESS },
		{ "tcp:host:1", VARTA_ERR_ADDRESS },
		{ "udp:localhost", VARTA_ERR_ADDRESS },
	};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
		    varta_open(cases[i].address, &f->agent), cases[i].error);
		assert_null(f->agent);
	}
}

static void
a_path_that_is_too_long_is_not_cut(void **state)
{
	struct fixture *f = *state;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(varta_open(path, &f->agent), -ENAMETOOLONG);
	assert_null(f->agent);
	path[sizeof(path) - 2] = '\0';
	assert_path(path, path);
}

/* Opening. */

static void
a_beat_is_one_datagram_from_this_process(void **state)
{
	struct fixture *f = *state;
	struct varta_frame frame;
	uint64_t i;

	listen_and_open(f);
	assert_true(listener_is_empty(&f->listener));
	assert_int_equal(
	    varta_beat(f->agent, VARTA_DEGRADED, 0xfeedf00d), VARTA_SENT);
	assert_true(listener_take(&f->listener, 0, &frame));
	assert_int_equal(frame.pid, getpid());
	assert_int_equal(frame.nonce, 1);
	assert_int_equal(frame.status, VARTA_DEGRADED);
	assert_int_equal(frame.payload, 0xfeedf00d);
	for (i = 2; i <= 5; i++) {
		assert_int_equal(beat(f), VARTA_SENT);
		assert_int_equal(take_nonce_of(f, getpid()), i);
	}
	assert_true(listener_is_empty(&f->listener));
}

static void
an_agent_opens_before_its_observer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(varta_open(f->path, &f->agent), 0);
	assert_int_equal(beat(f), VARTA_DROPPED_NO_OBSERVER);
	listener_open(&f->listener, f->path);
	assert_int_equal(beat(f), VARTA_DROPPED_NO_OBSERVER); /* a pause */
	clock_ahead_ns += 10 * NS_PER_MS;
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(counters(f).reconnects, 1);
}

static void
an_observer_that_comes_before_the_first_beat_gets_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(varta_open(f->path, &f->agent), 0);
	listener_open(&f->listener, f->path);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
}

static void
an_agent_opens_on_the_file_of_a_dead_observer(void **state)
{
	struct fixture *f = *state;

	listener_open(&f->listener, f->path);
	(void)close(f->listener.fd);
	f->listener.fd = -1;
	assert_int_equal(varta_open(f->path, &f->agent), 0);
	assert_int_equal(beat(f), VARTA_DROPPED_NO_OBSERVER);
}

static void
a_socket_of_another_kind_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(addr.sun_path, f->path, strlen(f->path));
	assert_int_equal(
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(varta_open(f->path, &f->agent), -EPROTOTYPE);
	assert_null(f->agent);
	(void)close(fd);
}

static void
opening_fails_as_its_system_calls_fail(void **state)
{
	struct fixture *f = *state;

	listener_open(&f->listener, f->path);
	fault_nth(&fault_socket, 1, EMFILE);
	assert_int_equal(varta_open(f->path, &f->agent), -EMFILE);
	fault_nth(&fault_connect, 1, EACCES);
	assert_int_equal(varta_open(f->path, &f->agent), -EACCES);
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(varta_open(f->path, &f->agent), -ENOMEM);
	assert_null(f->agent);
}

static void
a_clock_that_cannot_be_read_stands_still(void **state)
{
	struct fixture *f = *state;
	struct varta_frame frame;

	fault_always(&fault_clock, EINVAL);
	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	fault_off(&fault_clock);
	assert_true(listener_take(&f->listener, 0, &frame));
	assert_int_equal(frame.timestamp, 0);
}

static void
standard_descriptors_never_become_the_socket(void **state)
{
	struct fixture *f = *state;
	int saved = dup(STDIN_FILENO);

	listener_open(&f->listener, f->path);
	(void)close(STDIN_FILENO);
	assert_int_equal(varta_open(f->path, &f->agent), 0);
	assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
	assert_int_equal(beat(f), VARTA_SENT);
	varta_close(f->agent);
	f->agent = NULL;

	fault_nth(&fault_fcntl, 1, EMFILE);
	assert_int_equal(varta_open(f->path, &f->agent), -EMFILE);
	assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	(void)close(saved);
}

/* Observers that come and go. */

static void
a_full_queue_drops_and_does_not_block(void **state)
{
	struct fixture *f = *state;
	uint64_t sent = 0;
	int r;

	listen_and_open(f);
	while ((r = beat(f)) == VARTA_SENT)
		sent++;
	assert_int_equal(r, VARTA_DROPPED_QUEUE_FULL);
	assert_int_equal(beat(f), VARTA_DROPPED_QUEUE_FULL);
	assert_true(sent > 0);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_true(counters(f).sent == sent + 1);
	assert_int_equal(counters(f).dropped_queue_full, 2);
}

static void
a_restarted_observer_gets_the_next_beat(void **state)
{
	struct fixture *f = *state;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	listener_close(&f->listener);
	listener_open(&f->listener, f->path);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
	assert_int_equal(counters(f).reconnects, 1);
}

static void
an_observer_that_is_away_for_a_while_is_found_again(void **state)
{
	struct fixture *f = *state;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	listener_close(&f->listener);
	assert_int_equal(beat(f), VARTA_DROPPED_NO_OBSERVER);
	assert_int_equal(beat(f), VARTA_DROPPED_PEER_GONE);
	listener_open(&f->listener, f->path);
	assert_int_equal(beat(f), VARTA_DROPPED_PEER_GONE);
	clock_ahead_ns += 10 * NS_PER_MS;
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
}

static void
a_failed_reconnect_leaves_the_old_connection(void **state)
{
	struct fixture *f = *state;

	listen_and_open(f);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(varta_reconnect(f->agent), -ENOENT);
	assert_int_equal(beat(f), VARTA_SENT);
	fault_nth(&fault_socket, 1, ENFILE);
	assert_int_equal(varta_reconnect(f->agent), -ENFILE);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
}

static void
reconnecting_goes_to_a_new_observer(void **state)
{
	struct fixture *f = *state;
	struct listener old;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	old = f->listener;
	assert_int_equal(unlink(f->path), 0);
	listener_open(&f->listener, f->path);
	assert_int_equal(varta_reconnect(f->agent), 0);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
	(void)close(old.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_name_paths),
		TEST(other_addresses_are_refused_by_name),
		TEST(a_path_that_is_too_long_is_not_cut),
		TEST(a_beat_is_one_datagram_from_this_process),
		TEST(an_agent_opens_before_its_observer),
		TEST(an_observer_that_comes_before_the_first_beat_gets_it),
		TEST(an_agent_opens_on_the_file_of_a_dead_observer),
		TEST(a_socket_of_another_kind_is_an_error),
		TEST(opening_fails_as_its_system_calls_fail),
		TEST(a_clock_that_cannot_be_read_stands_still),
		TEST(standard_descriptors_never_become_the_socket),
		TEST(a_full_queue_drops_and_does_not_block),
		TEST(a_restarted_observer_gets_the_next_beat),
		TEST(an_observer_that_is_away_for_a_while_is_found_again),
		TEST(a_failed_reconnect_leaves_the_old_connection),
		TEST(reconnecting_goes_to_a_new_observer),
	};

	return cmocka_run_group_tests_name("agent_unix", tests, NULL, NULL);
}
