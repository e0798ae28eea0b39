/*
 * The UDP socket: binding, what it says of itself, what it delivers.
 */
#include "watch/intake/udp_in.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <varta/frame.h>

#include "base/util.h"
#include "support/fault.h"

FAULT(int, -1, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
FAULT(
    int, -1, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
FAULT(int, -1, getsockname, (int fd, struct sockaddr *a, socklen_t *n),
    (fd, a, n))
FAULT(int, -1, getsockopt, (int fd, int l, int o, void *v, socklen_t *n),
    (fd, l, o, v, n))
FAULT(int, -1, setsockopt, (int fd, int l, int o, const void *v, socklen_t n),
    (fd, l, o, v, n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct sockaddr_in
loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int
open_at(uint16_t port, struct udp_in **ret, struct udp_in_fault *fault)
{
	struct sockaddr_in address = loopback(port);

	return udp_in_open(
	    (const struct sockaddr *)&address, sizeof(address), ret, fault);
}

static uint16_t
port_of(const struct udp_in *u)
{
	return (uint16_t)atol(strrchr(udp_in_address(u), ':') + 1);
}

static int
sender_to(const struct udp_in *u)
{
	struct sockaddr_in address = loopback(port_of(u));
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void
says_which_port_it_was_given(void **state)
{
	struct udp_in_fault fault;
	struct udp_in *u, *second;

	(void)state;
	assert_int_equal(open_at(0, &u, &fault), 0);
	assert_int_equal(strncmp(udp_in_address(u), "127.0.0.1:", 10), 0);
	assert_true(port_of(u) > 0);
	assert_true(udp_in_queue_len(u) > 16);
	assert_int_equal(open_at(port_of(u), &second, &fault), -EADDRINUSE);
	assert_non_null(strstr(fault.text, udp_in_address(u)));
	udp_in_close(u);
	udp_in_close(NULL);
}

static void
an_ipv6_address_stands_in_brackets(void **state)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct udp_in_fault fault;
	struct udp_in *u;
	int r;

	(void)state;
	r = udp_in_open(
	    (const struct sockaddr *)&address, sizeof(address), &u, &fault);
	if (r < 0) {
		assert_non_null(strstr(fault.text, "[::1]:0"));
		return; /* no IPv6 here */
	}
	assert_int_equal(strncmp(udp_in_address(u), "[::1]:", 6), 0);
	udp_in_close(u);
}

/* What an intake makes of this datagram. */
static void
send_and_take(const struct udp_in *u, struct intake *in, const void *bytes,
    size_t n, struct intake_batch *ret)
{
	int fd = sender_to(u);

	assert_int_equal(send(fd, bytes, n, 0), (ssize_t)n);
	(void)close(fd);
	intake_take(in, ret);
	assert_int_equal(ret->n_taken, 1);
}

static void
beats_of_the_network_are_of_a_source_of_their_own(void **state)
{
	static const bool vouched[] = { false, true };
	static const enum origin origins[] = { ORIGIN_NETWORK_UNVERIFIED,
		ORIGIN_OPERATOR_ATTESTED };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const struct varta_frame frame = { .nonce = 1,
			.pid = INTAKE_NETWORK_PID_MAX };
		const struct intake_policy policy = { .pid_max = 100 };
		struct udp_in_fault fault;
		struct intake_source source;
		static struct intake_batch batch;
		static struct intake in;
		struct stats stats = { 0 };
		struct udp_in *u;
		uint8_t wire[33];

		assert_int_equal(open_at(0, &u, &fault), 0);
		source = udp_in_source(u, vouched[i]);
		intake_init(&in, &source, &policy, &stats);
		assert_int_equal(varta_frame_encode(&frame, wire), 0);
		send_and_take(u, &in, wire, 32, &batch);
		assert_int_equal(batch.n_beats, 1);
		assert_int_equal(batch.beats[0].origin, origins[i]);
		assert_true(batch.beats[0].id ==
			    ((uint64_t)SOURCE_UDP << 32 | frame.pid));
		assert_int_equal(batch.beats[0].uid, UINT32_MAX);
		assert_false(batch.beats[0].is_anew);
		send_and_take(u, &in, wire, 33, &batch);
		send_and_take(u, &in, wire, 31, &batch);
		send_and_take(u, &in, wire, 0, &batch);
		assert_int_equal(batch.n_beats, 0);
		assert_int_equal(stats.truncated_datagrams, 3);
		udp_in_close(u);
	}
}

static void
a_pid_that_no_host_has_is_refused(void **state)
{
	const struct varta_frame frame = { .nonce = 1,
		.pid = INTAKE_NETWORK_PID_MAX + 1 };
	const struct intake_policy policy = { .pid_max = UINT32_MAX };
	struct udp_in_fault fault;
	struct intake_source source;
	static struct intake_batch batch;
	static struct intake in;
	struct stats stats = { 0 };
	struct udp_in *u;
	uint8_t wire[32];

	(void)state;
	assert_int_equal(open_at(0, &u, &fault), 0);
	source = udp_in_source(u, true);
	intake_init(&in, &source, &policy, &stats);
	assert_int_equal(varta_frame_encode(&frame, wire), 0);
	send_and_take(u, &in, wire, 32, &batch);
	assert_int_equal(batch.n_beats, 0);
	assert_int_equal(stats.pid_above_max, 1);
	udp_in_close(u);
}

static void
every_failure_leaves_nothing_behind(void **state)
{
	struct fault *const faults[] = { &fault_calloc, &fault_socket,
		&fault_bind, &fault_getsockname };
	struct udp_in_fault fault;
	struct udp_in *u = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		int error = i == 0 ? ENOMEM : EPERM;

		fault_nth(faults[i], 1, error);
		assert_int_equal(open_at(0, &u, &fault), -error);
		assert_null(u);
		assert_non_null(strstr(fault.text, "127.0.0.1:0"));
		fault_off(faults[i]);
	}
	/* Less room in the kernel is no reason not to start. */
	fault_nth(&fault_setsockopt, 1, EPERM);
	fault_nth(&fault_getsockopt, 1, EPERM);
	assert_int_equal(open_at(0, &u, &fault), 0);
	assert_int_equal(udp_in_queue_len(u), 0);
	udp_in_close(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_which_port_it_was_given),
		cmocka_unit_test(an_ipv6_address_stands_in_brackets),
		cmocka_unit_test(
		    beats_of_the_network_are_of_a_source_of_their_own),
		cmocka_unit_test(a_pid_that_no_host_has_is_refused),
		cmocka_unit_test(every_failure_leaves_nothing_behind),
	};

	return cmocka_run_group_tests_name("udp_in", tests, NULL, NULL);
}
