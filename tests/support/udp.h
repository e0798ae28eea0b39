/*
 * An observer for tests of agents over UDP: a bound socket on a loopback
 * address and a free port, which never waits for ever. To be included after
 * cmocka.h.
 */
#ifndef SUPPORT_UDP_H
#define SUPPORT_UDP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { UDP_PATIENCE_S = 20, UDP_BYTES_MAX = 64 };

struct udp {
	int fd;
	struct sockaddr_storage addr;
	socklen_t len;
	char address[64];    /* as varta_open() takes it */
	in_port_t from_port; /* of the last sender */
};

static inline void
udp_patience(const struct udp *u)
{
	const struct timeval patience = { .tv_sec = UDP_PATIENCE_S };

	assert_int_equal(setsockopt(u->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
			     sizeof(patience)),
	    0);
}

/* Bind again to the address of a socket that was closed. */
static inline void
udp_reopen(struct udp *u)
{
	u->fd = socket(u->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(u->fd >= 0);
	assert_int_equal(
	    bind(u->fd, (const struct sockaddr *)&u->addr, u->len), 0);
	udp_patience(u);
}

/* False where there is no such loopback address. */
static inline bool
udp_open(struct udp *u, int family)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	bool is_6 = family == AF_INET6;
	in_port_t port;

	memset(u, 0, sizeof(*u));
	u->len = is_6 ? sizeof(in6) : sizeof(in);
	memcpy(&u->addr, is_6 ? (const void *)&in6 : (const void *)&in, u->len);
	u->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (u->fd < 0)
		return false;
	if (bind(u->fd, (const struct sockaddr *)&u->addr, u->len) < 0) {
		(void)close(u->fd);
		return false;
	}
	assert_int_equal(
	    getsockname(u->fd, (struct sockaddr *)&u->addr, &u->len), 0);
	memcpy(&port, (const char *)&u->addr + 2, sizeof(port));
	(void)snprintf(u->address, sizeof(u->address), "udp:%s:%u",
	    is_6 ? "[::1]" : "127.0.0.1", (unsigned)ntohs(port));
	udp_patience(u);
	return true;
}

static inline void
udp_close(struct udp *u)
{
	if (u->fd >= 0)
		(void)close(u->fd);
	u->fd = -1;
}

/* The length of the next datagram; -1 when nothing came. */
static inline ssize_t
udp_take(struct udp *u, int flags, uint8_t out[static UDP_BYTES_MAX + 1])
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t n;

	n = recvfrom(u->fd, out, UDP_BYTES_MAX + 1, flags,
	    (struct sockaddr *)&from, &len);
	if (n >= 0)
		memcpy(&u->from_port, (const char *)&from + 2,
		    sizeof(u->from_port));
	return n;
}

static inline bool
udp_is_empty(struct udp *u)
{
	uint8_t bytes[UDP_BYTES_MAX + 1];

	return udp_take(u, MSG_DONTWAIT, bytes) < 0;
}

#endif
