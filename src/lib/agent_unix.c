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
	struct varta__endpoint
	    endpoint; /* agent.fd is connected to it, or -1 */
};

/* Without a socket: never connected, or let go. */
static int
unix_send(void *transport, const uint8_t frame[VARTA_FRAME_BYTES])
{
	(void)transport;
	(void)frame;
	return -ENOENT;
}

static void
unix_disconnect(void *transport)
{
	struct unix_agent *u = transport;

	if (u->agent.fd >= 0)
		(void)close(u->agent.fd);
	u->agent.fd = -1;
}

static int
unix_reconnect(void *transport)
{
	struct unix_agent *u = transport;
	int fd;

	fd = varta__endpoint_connect(&u->endpoint);
	if (fd < 0)
		return fd;
	unix_disconnect(u);
	u->agent.fd = fd;
	return 0;
}

static const char *
unix_path(const void *transport)
{
	const struct unix_agent *u = transport;

	return u->endpoint.addr.un.sun_path;
}

static void
unix_free(void *transport)
{
	unix_disconnect(transport);
	free(transport);
}

static const struct varta__transport_ops unix_ops = {
	.send = unix_send,
	.reconnect = unix_reconnect,
	.disconnect = unix_disconnect,
	.free = unix_free,
	.path = unix_path,
};

int
varta__unix_agent_open(const struct varta__endpoint *endpoint,
    const struct varta__lineage *lineage, struct varta_agent **ret_agent)
{
	struct unix_agent *u;
	int r;

	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return -ENOMEM;
	u->endpoint = *endpoint;
	varta__agent_init(&u->agent, &unix_ops, u, lineage);
	r = unix_reconnect(u);
	if (r < 0 && varta__classify(-r) != VARTA_DROPPED_NO_OBSERVER) {
		free(u);
		return r;
	}

	*ret_agent = &u->agent;
	return 0;
}
