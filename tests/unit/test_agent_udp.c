/*
 * Agents over UDP: addresses, hosts that answer and hosts that do not, networks
 * that come late, and every call failing in turn.
 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>

#include "support/agent_fixture.h"
#include "support/udp.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n),
    (fd, to, n))
FAULT(ssize_t, -1, send, (int fd, const void *p, size_t n, int flags),
    (fd, p, n, flags))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(void *, NULL, malloc, (size_t size), (size))

/* A look-up that gives an error, or two addresses of which the test says which
 * can be reached. */
static int lookup_result;
static bool lookup_gives_two;
int __real_getaddrinfo(const char *host, const char *port,
    const struct addrinfo *hints, struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *port,
    const struct addrinfo *hints, struct addrinfo **ret);

int
__wrap_getaddrinfo(const char *host, const char *port,
    const struct addrinfo *hints, struct addrinfo **ret)
{
	int r;

	if (lookup_result != 0)
		return lookup_result;
	if (!lookup_gives_two)
		return __real_getaddrinfo(host, port, hints, ret);
	r = __real_getaddrinfo("127.0.0.2", port, hints, ret);
	if (r == 0)
		r = __real_getaddrinfo(
		    "127.0.0.1", port, hints, &(*ret)->ai_next);
	return r;
}

struct scene {
	struct udp observer;
	struct varta_agent *agent;
	int fds;
};

static int
open_scene(void **state)
{
	static struct scene s;

	memset(&s, 0, sizeof(s));
	lookup_result = 0;
	lookup_gives_two = false;
	s.fds = dgram_count_fds();
	*state = &s;
	return udp_open(&s.observer, AF_INET) ? 0 : -1;
}

static int
close_scene(void **state)
{
	struct scene *s = *state;

	fault_off(&fault_send);
	fault_off(&fault_socket);
	fault_off(&fault_connect);
	varta_close(s->agent);
	udp_close(&s->observer);
	return s->fds == dgram_count_fds() ? 0 : -1;
}

#define UDP_TEST(name)                                                         \
	cmocka_unit_test_setup_teardown(name, open_scene, close_scene)

static void
open_agent(struct scene *s)
{
	assert_int_equal(varta_open(s->observer.address, &s->agent), 0);
}

static int
beat_once(struct scene *s)
{
	return varta_beat(s->agent, VARTA_OK, 0);
}

static struct varta_counters
counters_of(const struct scene *s)
{
	struct varta_counters c;

	varta_counters_get(s->agent, &c);
	return c;
}

static void
take_frame(struct scene *s, struct varta_frame *ret)
{
	uint8_t bytes[UDP_BYTES_MAX + 1];
	ssize_t n;

	n = udp_take(&s->observer, 0, bytes);
	assert_int_equal(n, VARTA_FRAME_BYTES);
	assert_int_equal(varta_frame_decode(bytes, (size_t)n, ret), 0);
}

static void
assert_frame(struct scene *s, pid_t pid, uint64_t nonce)
{
	struct varta_frame frame;

	take_frame(s, &frame);
	assert_int_equal(frame.pid, pid);
	assert_int_equal(frame.nonce, nonce);
}

/* Addresses. */

static void
addresses_name_hosts_and_ports(void **state)
{
	struct varta__endpoint e;

	(void)state;
	assert_int_equal(varta__endpoint_parse("udp:127.0.0.1:9", &e), 0);
	assert_int_equal(e.addr.in.sin_family, AF_INET);
	assert_int_equal(e.addr.in.sin_port, htons(9));
	assert_int_equal(e.addr.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(e.len, sizeof(e.addr.in));

	assert_int_equal(varta__endpoint_parse("udp:[::1]:65535", &e), 0);
	assert_int_equal(e.addr.in6.sin6_family, AF_INET6);
	assert_int_equal(e.addr.in6.sin6_port, htons(65535));
	assert_true(IN6_IS_ADDR_LOOPBACK(&e.addr.in6.sin6_addr));
	assert_int_equal(e.len, sizeof(e.addr.in6));

	assert_int_equal(setenv("VARTA_SOCKET", "udp:127.0.0.3:7", 1), 0);
	assert_int_equal(varta__endpoint_parse(NULL, &e), 0);
	assert_int_equal(e.addr.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK + 2));
	assert_int_equal(unsetenv("VARTA_SOCKET"), 0);
}

static void
other_addresses_are_refused(void **state)
{
	static const char *const cases[] = { "udp:", "udp:h", "udp::9",
		"udp:h:", "udp:h:0", "udp:h:65536",
		"udp:h:99999999999999999999", "udp:h:9x", "udp:h:+9",
		"udp:h: 9", "udp:h:9:", "udp:::1:9", "udp:[::1]", "udp:[::1]9",
		"udp:[::1]:", "udp:[:9", "udp:[]:9", "udp:[localhost]:9",
		"udp:[127.0.0.1]:9", "udp" };
	struct scene *s = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
		    varta_open(cases[i], &s->agent), VARTA_ERR_ADDRESS);
		assert_null(s->agent);
	}
}

static void
a_host_that_is_too_long_is_not_cut(void **state)
{
	struct scene *s = *state;
	char address[300];

	memset(address, 'x', sizeof(address));
	memcpy(address, "udp:", 4);
	memcpy(address + 4 + 254, ":9", 3);
	assert_int_equal(varta_open(address, &s->agent), -ENAMETOOLONG);
	lookup_result = EAI_NONAME;
	memcpy(address + 4 + 253, ":9", 3);
	assert_int_equal(
	    varta_open(address, &s->agent), VARTA_ERR_HOST_UNKNOWN);
}

static void
a_look_up_that_fails_says_why(void **state)
{
	static const struct {
		int lookup, error, result;
	} cases[] = {
		{ EAI_NONAME, 0, VARTA_ERR_HOST_UNKNOWN },
		{ EAI_FAIL, 0, VARTA_ERR_HOST_UNKNOWN },
		{ EAI_AGAIN, 0, VARTA_ERR_HOST_LATER },
		{ EAI_MEMORY, 0, -ENOMEM },
		{ EAI_SYSTEM, EMFILE, -EMFILE },
		{ EAI_SYSTEM, 0, -EIO },
	};
	struct scene *s = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		lookup_result = cases[i].lookup;
		errno = cases[i].error;
		assert_int_equal(
		    varta_open("udp:host:9", &s->agent), cases[i].result);
		assert_null(s->agent);
	}
}

static in_addr_t
host_chosen(void)
{
	struct varta__endpoint e;

	lookup_gives_two = true;
	assert_int_equal(varta__endpoint_parse("udp:host:9", &e), 0);
	return ntohl(e.addr.in.sin_addr.s_addr) - INADDR_LOOPBACK + 1;
}

static void
of_several_addresses_the_first_with_a_way_to_it_is_taken(void **state)
{
	(void)state;
	assert_int_equal(host_chosen(), 2);
	fault_nth(&fault_connect, 1, ENETUNREACH);
	assert_int_equal(host_chosen(), 1);
	fault_nth(&fault_socket, 1, EAFNOSUPPORT);
	assert_int_equal(host_chosen(), 1);
	fault_always(&fault_connect, ENETUNREACH);
	assert_int_equal(host_chosen(), 2);
}

/* Beats. */

static void
a_beat_is_one_datagram(void **state)
{
	struct scene *s = *state;
	struct varta_frame frame;
	in_port_t port;
	int i;

	open_agent(s);
	assert_true(udp_is_empty(&s->observer));
	assert_int_equal(
	    varta_beat(s->agent, VARTA_DEGRADED, 0xfeedf00d), VARTA_SENT);
	take_frame(s, &frame);
	port = s->observer.from_port;
	assert_int_equal(frame.pid, getpid());
	assert_int_equal(frame.nonce, 1);
	assert_int_equal(frame.status, VARTA_DEGRADED);
	assert_int_equal(frame.payload, 0xfeedf00d);

	fault_off(&fault_socket);
	for (i = 2; i <= 20; i++) {
		assert_int_equal(beat_once(s), VARTA_SENT);
		assert_frame(s, getpid(), (uint64_t)i);
		assert_int_equal(s->observer.from_port, port);
	}
	assert_true(udp_is_empty(&s->observer));
	assert_int_equal(fault_socket.calls, 0);
}

static void
beats_go_over_ipv6_too(void **state)
{
	struct scene *s = *state;

	udp_close(&s->observer);
	if (!udp_open(&s->observer, AF_INET6)) {
		s->observer.fd = -1;
		skip();
	}
	open_agent(s);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 1);
}

static void
every_errno_has_its_outcome(void **state)
{
	static const struct {
		int error, outcome;
	} cases[] = {
		{ EAGAIN, VARTA_DROPPED_QUEUE_FULL },
		{ ENOBUFS, VARTA_DROPPED_QUEUE_FULL },
		{ ECONNREFUSED, VARTA_DROPPED_NO_OBSERVER },
		{ ECONNRESET, VARTA_DROPPED_PEER_GONE },
		{ EPIPE, VARTA_DROPPED_PEER_GONE },
		{ ENOSPC, VARTA_DROPPED_STORAGE_FULL },
		{ EHOSTUNREACH, -EHOSTUNREACH },
		{ ENETUNREACH, -ENETUNREACH },
		{ ENETDOWN, -ENETDOWN },
		{ EPERM, -EPERM },
		{ EACCES, -EACCES },
		{ EMSGSIZE, -EMSGSIZE },
		{ ENOMEM, -ENOMEM },
	};
	struct scene *s = *state;
	size_t i;

	open_agent(s);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fault_off(&fault_socket);
		fault_nth(&fault_send, 1, cases[i].error);
		assert_int_equal(beat_once(s), cases[i].outcome);
		assert_int_equal(fault_send.calls, 1);
		assert_int_equal(fault_socket.calls, 0);
	}
	assert_true(udp_is_empty(&s->observer));
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 1);
}

/* The kernel tells of a datagram that nobody took when the next one is sent,
 * which it then does not send. */
static void
nobody_listening_is_a_drop_and_no_reason_for_a_new_socket(void **state)
{
	struct scene *s = *state;
	uint64_t sent = 0, refused = 0;
	int r;

	open_agent(s);
	fault_off(&fault_socket);
	udp_close(&s->observer);
	while (refused < 5) {
		r = beat_once(s);
		assert_true(r == VARTA_SENT || r == VARTA_DROPPED_NO_OBSERVER);
		sent += r == VARTA_SENT;
		refused += r == VARTA_DROPPED_NO_OBSERVER;
	}
	assert_int_equal(counters_of(s).sent, sent);
	assert_int_equal(counters_of(s).dropped_no_observer, refused);
	assert_int_equal(counters_of(s).reconnects, 0);
	assert_int_equal(fault_socket.calls, 0);

	udp_reopen(&s->observer);
	while (beat_once(s) != VARTA_SENT)
		;
	assert_frame(s, getpid(), sent + 1);
}

static void
drops_reconnect_where_that_was_asked_for(void **state)
{
	struct scene *s = *state;
	in_port_t port;

	open_agent(s);
	varta_set_reconnect_after(s->agent, 2);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 1);
	port = s->observer.from_port;
	fault_nth(&fault_send, 1, ECONNREFUSED);
	assert_int_equal(beat_once(s), VARTA_DROPPED_NO_OBSERVER);
	fault_nth(&fault_send, 1, ECONNREFUSED);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 2);
	assert_int_not_equal(s->observer.from_port, port);
	assert_int_equal(counters_of(s).reconnects, 1);
}

static void
a_reconnect_takes_another_port_and_goes_on(void **state)
{
	struct scene *s = *state;
	in_port_t port;

	open_agent(s);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 1);
	port = s->observer.from_port;
	assert_int_equal(varta_reconnect(s->agent), 0);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 2);
	assert_int_not_equal(s->observer.from_port, port);

	port = s->observer.from_port;
	fault_nth(&fault_socket, 1, EMFILE);
	assert_int_equal(varta_reconnect(s->agent), -EMFILE);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 3);
	assert_int_equal(s->observer.from_port, port);
}

/* Networks. */

static void
an_agent_opens_before_its_network_is_up(void **state)
{
	static const int errors[] = { ENETUNREACH, EHOSTUNREACH, ENETDOWN,
		EADDRNOTAVAIL };
	struct scene *s = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fault_always(&fault_connect, errors[i]);
		open_agent(s);
		assert_int_equal(beat_once(s), -errors[i]);
		assert_int_equal(beat_once(s), -errors[i]);
		fault_off(&fault_connect);
		assert_int_equal(beat_once(s), VARTA_SENT);
		assert_frame(s, getpid(), 1);
		fault_off(&fault_socket);
		assert_int_equal(beat_once(s), VARTA_SENT);
		assert_frame(s, getpid(), 2);
		assert_int_equal(fault_socket.calls, 0);
		varta_close(s->agent);
		s->agent = NULL;
	}
}

static void
a_beat_outlives_a_change_of_our_own_address(void **state)
{
	static const int errors[] = { EINVAL, EADDRNOTAVAIL };
	struct scene *s = *state;
	in_port_t port;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		open_agent(s);
		assert_int_equal(beat_once(s), VARTA_SENT);
		assert_frame(s, getpid(), 1);
		port = s->observer.from_port;
		fault_nth(&fault_send, 1, errors[i]);
		assert_int_equal(beat_once(s), VARTA_SENT);
		assert_frame(s, getpid(), 2);
		assert_int_not_equal(s->observer.from_port, port);
		fault_always(&fault_send, errors[i]);
		assert_int_equal(beat_once(s), -errors[i]);
		fault_off(&fault_send);
		varta_close(s->agent);
		s->agent = NULL;
	}
}

static void
what_cannot_be_opened_says_why(void **state)
{
	struct scene *s = *state;

	fault_nth(&fault_socket, 1, EMFILE);
	assert_int_equal(varta_open(s->observer.address, &s->agent), -EMFILE);
	fault_nth(&fault_connect, 1, EACCES);
	assert_int_equal(varta_open(s->observer.address, &s->agent), -EACCES);
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(varta_open(s->observer.address, &s->agent), -ENOMEM);
	assert_null(s->agent);
}

static void
ten_thousand_beats_allocate_nothing(void **state)
{
	struct scene *s = *state;
	uint8_t bytes[UDP_BYTES_MAX + 1];
	unsigned before;
	int i;

	open_agent(s);
	before = fault_malloc.calls + fault_calloc.calls;
	for (i = 0; i < 10000; i++) {
		if (i % 100 == 50)
			fault_nth(&fault_send, 1, EACCES);
		if (i % 100 == 60)
			fault_nth(&fault_send, 1, EAGAIN);
		if (i % 100 == 70)
			fault_nth(&fault_send, 1, EINVAL);
		(void)beat_once(s);
		(void)udp_take(&s->observer, MSG_DONTWAIT, bytes);
	}
	assert_int_equal(fault_malloc.calls + fault_calloc.calls, before);
	assert_int_equal(counters_of(s).sent, 9800);
}

/* Forks and crashes. */

static void
a_child_beats_from_a_port_of_its_own(void **state)
{
	struct scene *s = *state;
	in_port_t port;
	pid_t child;

	open_agent(s);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 1);
	port = s->observer.from_port;
	child = fork();
	if (child == 0) {
		fault_nth(&fault_connect, 1, ENETUNREACH);
		if (beat_once(s) != -ENETUNREACH)
			_exit(1);
		_exit(beat_once(s) == VARTA_SENT &&
			      counters_of(s).fork_recoveries == 1
			  ? 0
			  : 2);
	}
	assert_int_equal(status_of(child), 0);
	assert_frame(s, child, 1);
	assert_int_not_equal(s->observer.from_port, port);
	assert_int_equal(beat_once(s), VARTA_SENT);
	assert_frame(s, getpid(), 2);
	assert_int_equal(s->observer.from_port, port);
}

static void
be_killed_with_handlers(const struct scene *s, const char *second)
{
	static const char nowhere[] = "/nonexistent/varta.sock";

	(void)signal(SIGTERM, SIG_DFL);
	if (varta_crash_handler_install_signals(
		nowhere, VARTA_CRASH_TERMINATION) != 0 ||
	    varta_crash_frame_send(1) != VARTA_DROPPED_NO_OBSERVER ||
	    varta_crash_handler_install_signals(
		s->observer.address, VARTA_CRASH_TERMINATION) != 0)
		_exit(1);
	if (second != NULL && varta_crash_handler_install_signals(
				  second, VARTA_CRASH_TERMINATION) != 0)
		_exit(2);
	(void)raise(SIGTERM);
	_exit(3);
}

static void
assert_last_word(struct scene *s, pid_t child)
{
	struct varta_frame frame;
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	take_frame(s, &frame);
	assert_int_equal(frame.pid, child);
	assert_int_equal(frame.payload, SIGTERM);
	assert_true(frame.nonce == VARTA_NONCE_TERMINAL);
}

static void
a_last_word_goes_to_the_address_installed_last_of_any_kind(void **state)
{
	struct scene *s = *state;
	struct udp other;
	pid_t child;

	child = fork();
	if (child == 0)
		be_killed_with_handlers(s, NULL);
	assert_last_word(s, child);

	if (!udp_open(&other, AF_INET6))
		skip();
	child = fork();
	if (child == 0)
		be_killed_with_handlers(s, other.address);
	udp_close(&s->observer);
	s->observer = other;
	assert_last_word(s, child);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UDP_TEST(addresses_name_hosts_and_ports),
		UDP_TEST(other_addresses_are_refused),
		UDP_TEST(a_host_that_is_too_long_is_not_cut),
		UDP_TEST(a_look_up_that_fails_says_why),
		UDP_TEST(
		    of_several_addresses_the_first_with_a_way_to_it_is_taken),
		UDP_TEST(a_beat_is_one_datagram),
		UDP_TEST(beats_go_over_ipv6_too),
		UDP_TEST(every_errno_has_its_outcome),
		UDP_TEST(
		    nobody_listening_is_a_drop_and_no_reason_for_a_new_socket),
		UDP_TEST(drops_reconnect_where_that_was_asked_for),
		UDP_TEST(a_reconnect_takes_another_port_and_goes_on),
		UDP_TEST(an_agent_opens_before_its_network_is_up),
		UDP_TEST(a_beat_outlives_a_change_of_our_own_address),
		UDP_TEST(what_cannot_be_opened_says_why),
		UDP_TEST(ten_thousand_beats_allocate_nothing),
		UDP_TEST(a_child_beats_from_a_port_of_its_own),
		UDP_TEST(
		    a_last_word_goes_to_the_address_installed_last_of_any_kind),
	};

	return cmocka_run_group_tests_name("agent_udp", tests, NULL, NULL);
}
