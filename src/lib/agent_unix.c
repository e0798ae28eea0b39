/*
 * Agents over a Unix datagram socket. A socket is connected while there is an
 * observer: sending to a path each time costs twice as much.
 */
#include "lib/lib.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"

struct unix_agent {
	struct varta_agent agent;
	struct varta__endpoint endpoint;
	int fd; /* -1: never connected, or let go */
};

static int
unix_send(void *transport, const uint8_t frame[VARTA_FRAME_BYTES])
{
	const struct unix_agent *u = transport;
	ssize_t n;

	if (unlikely(u->fd < 0))
		return -ENOENT;
	n = send(u->fd, frame, VARTA_FRAME_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
	return likely(n >= 0) ? (int)n : -errno;
}

static void
unix_disconnect(void *transport)
{
	struct unix_agent *u = transport;

	if (u->fd >= 0)
		(void)close(u->fd);
	u->fd = -1;
}

static int
unix_reconnect(void *transport)
{
	struct unix_agent *u = transport;
	const struct varta__endpoint *e = &u->endpoint;
	int fd, r;

	fd = varta__endpoint_socket();
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&e->addr, e->len) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	unix_disconnect(u);
	u->fd = fd;
	return 0;
}

static void
unix_free(void *transport)
{
	unix_disconnect(transport);
	free(transport);
}

static uint64_t
unix_now_ns(void *transport)
{
	(void)transport;
	return varta__clock_ns();
}

static const struct varta__transport_ops unix_ops = {
	.send = unix_send,
	.reconnect = unix_reconnect,
	.disconnect = unix_disconnect,
	.free = unix_free,
	.now_ns = unix_now_ns,
};

int
varta_open(const char *address, struct varta_agent **ret_agent)
{
	struct varta__endpoint endpoint;
	struct varta__lineage lineage;
	struct unix_agent *u;
	int r;

	r = varta__endpoint_parse(address, &endpoint);
	if (r < 0)
		return r;
	r = varta__lineage_open(&lineage);
	if (r < 0)
		return r;

	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return -ENOMEM;
	u->endpoint = endpoint;
	u->fd = -1;
	r = unix_reconnect(u);
	if (r < 0 && varta__classify(-r) != VARTA_DROPPED_NO_OBSERVER) {
		free(u);
		return r;
	}

	varta__agent_init(&u->agent, &unix_ops, u, &lineage);
	*ret_agent = &u->agent;
	return 0;
}
