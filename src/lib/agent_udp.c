/*
 * Agents over UDP. The socket is connected, so that the kernel tells when
 * nobody listens: each ICMP error ends the beat after the one that caused it,
 * and says nothing of the socket, which goes on.
 */
#include "lib/lib.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"

struct udp_agent {
	struct varta_agent agent;
	struct varta__udp udp;
};

/* There is no way to the peer, now. */
static bool
is_no_route(int error)
{
	return error == ENETUNREACH || error == EHOSTUNREACH ||
	       error == ENETDOWN || error == EADDRNOTAVAIL;
}

/*
 * The address that this host had when the socket was connected has gone; the
 * socket keeps it. Linux says EINVAL then. Other errors come and go with
 * routes and with what ICMP says, and a new socket would hide them.
 */
static bool
is_own_address_gone(int error)
{
	return error == EINVAL || error == EADDRNOTAVAIL;
}

int
varta__udp_open(struct varta__udp *udp, const struct varta__endpoint *endpoint)
{
	int r;

	udp->endpoint = *endpoint;
	udp->fd = -1;
	r = varta__udp_reconnect(udp);
	return r < 0 && is_no_route(-r) ? 0 : r;
}

static inline int
send_now(const struct varta__udp *udp, const uint8_t *datagram, size_t n)
{
	ssize_t r;

	r = send(udp->fd, datagram, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	return likely(r >= 0) ? (int)r : -errno;
}

int
varta__udp_send(struct varta__udp *udp, const uint8_t *datagram, size_t n)
{
	int r;

	if (likely(udp->fd >= 0)) {
		r = send_now(udp, datagram, n);
		if (likely(r >= 0) || !is_own_address_gone(-r))
			return r;
	}
	r = varta__udp_reconnect(udp);
	return r < 0 ? r : send_now(udp, datagram, n);
}

int
varta__udp_reconnect(struct varta__udp *udp)
{
	int fd;

	fd = varta__endpoint_connect(&udp->endpoint);
	if (fd < 0)
		return fd;
	varta__udp_close(udp);
	udp->fd = fd;
	return 0;
}

void
varta__udp_close(struct varta__udp *udp)
{
	if (udp->fd >= 0)
		(void)close(udp->fd);
	udp->fd = -1;
}

static int
udp_send(void *transport, const uint8_t frame[VARTA_FRAME_BYTES])
{
	struct udp_agent *u = transport;

	return varta__udp_send(&u->udp, frame, VARTA_FRAME_BYTES);
}

static int
udp_reconnect(void *transport)
{
	struct udp_agent *u = transport;

	return varta__udp_reconnect(&u->udp);
}

static void
udp_disconnect(void *transport)
{
	struct udp_agent *u = transport;

	varta__udp_close(&u->udp);
}

static void
udp_free(void *transport)
{
	udp_disconnect(transport);
	free(transport);
}

static const struct varta__transport_ops udp_ops = {
	.send = udp_send,
	.reconnect = udp_reconnect,
	.disconnect = udp_disconnect,
	.free = udp_free,
	.is_connectionless = true,
};

int
varta__udp_agent_open(const struct varta__endpoint *endpoint,
    const struct varta__lineage *lineage, struct varta_agent **ret_agent)
{
	struct udp_agent *u;
	int r;

	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return -ENOMEM;
	varta__agent_init(&u->agent, &udp_ops, u, lineage);
	r = varta__udp_open(&u->udp, endpoint);
	if (r < 0) {
		free(u);
		return r;
	}
	*ret_agent = &u->agent;
	return 0;
}
