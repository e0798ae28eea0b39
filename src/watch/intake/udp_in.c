#include "watch/intake/udp_in.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "watch/intake/datagram.h"

enum {
	/* Asked for, of which Linux makes twice as much: 512 datagrams. More
	 * would take longer in one pass than stalls should be late by. */
	RCVBUF_BYTES = 192 << 10,
	/* What Linux charges to the receive buffer for one small datagram. */
	CHARGE_BYTES = 768
};

struct udp_in {
	int fd;
	uint32_t queue_len;
	char address[UDP_IN_ADDRESS_BYTES];
	struct datagram_reader reader;
};

static void
format_address(const struct sockaddr *address, char ret[UDP_IN_ADDRESS_BYTES])
{
	const struct sockaddr_in *in4 =
	    (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *in6 =
	    (const struct sockaddr_in6 *)(const void *)address;
	char ip[INET6_ADDRSTRLEN];

	if (address->sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
		(void)snprintf(ret, UDP_IN_ADDRESS_BYTES, "[%s]:%u", ip,
		    ntohs(in6->sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &in4->sin_addr, ip, sizeof(ip));
		(void)snprintf(ret, UDP_IN_ADDRESS_BYTES, "%s:%u", ip,
		    ntohs(in4->sin_port));
	}
}

static int
bind_socket(struct udp_in *u, const struct sockaddr *address, socklen_t len)
{
	struct sockaddr_storage bound = { 0 };
	socklen_t bound_len = sizeof(bound);
	const int asked = RCVBUF_BYTES;
	int granted = 0;
	socklen_t granted_len = sizeof(granted);

	u->fd = socket(
	    address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0 || bind(u->fd, address, len) < 0 ||
	    getsockname(u->fd, (struct sockaddr *)&bound, &bound_len) < 0)
		return -errno;
	format_address((const struct sockaddr *)&bound, u->address);
	(void)setsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &asked, sizeof(asked));
	if (getsockopt(u->fd, SOL_SOCKET, SO_RCVBUF, &granted, &granted_len) ==
	    0)
		u->queue_len = (uint32_t)granted / CHARGE_BYTES;
	return 0;
}

int
udp_in_open(const struct sockaddr *address, socklen_t len, struct udp_in **ret,
    struct udp_in_fault *fault)
{
	struct udp_in *u = calloc(1, sizeof(*u));
	char wanted[UDP_IN_ADDRESS_BYTES];
	int r = -ENOMEM;

	format_address(address, wanted);
	if (u != NULL) {
		u->fd = -1;
		r = bind_socket(u, address, len);
	}
	if (r < 0) {
		(void)snprintf(fault->text, sizeof(fault->text),
		    "UDP address '%s': %s", wanted, strerror(-r));
		udp_in_close(u);
		return r;
	}
	datagram_reader_init(&u->reader, u->fd, NULL);
	*ret = u;
	return 0;
}

void
udp_in_close(struct udp_in *u)
{
	if (u == NULL)
		return;
	fd_close(&u->fd);
	free(u);
}

int
udp_in_fd(const struct udp_in *u)
{
	return u->fd;
}

const char *
udp_in_address(const struct udp_in *u)
{
	return u->address;
}

uint32_t
udp_in_queue_len(const struct udp_in *u)
{
	return u->queue_len;
}

int
udp_in_take(void *ctx, struct datagram *ret, size_t max)
{
	struct udp_in *u = ctx;

	return datagram_reader_take(&u->reader, ret, max);
}

struct intake_source
udp_in_source(struct udp_in *u, bool vouched)
{
	return (struct intake_source){
		.take = datagram_reader_take,
		.ctx = &u->reader,
		.is_network = true,
		.is_vouched = vouched,
		.id = SOURCE_UDP,
	};
}
