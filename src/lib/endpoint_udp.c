/*
 * Addresses of observers on other hosts: HOST:PORT. A name is looked up once;
 * an agent never waits for a name server again.
 */
#include "lib/lib.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

enum {
	HOST_MAX = 253, /* of a name in the DNS; numbers are shorter */
	PORT_HIGHEST = 65535
};

struct host_port {
	char host[HOST_MAX + 1];
	const char *port;
	bool is_bracketed; /* a number of IPv6 */
};

/* Digits only, no port 0: nobody can listen there. */
static bool
is_port(const char *text)
{
	unsigned port = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9' && port <= PORT_HIGHEST; p++)
		port = 10 * port + (unsigned)(*p - '0');
	return *p == '\0' && port > 0 && port <= PORT_HIGHEST;
}

static int
split(const char *text, struct host_port *ret)
{
	const char *end, *host = text;
	size_t n;

	ret->is_bracketed = text[0] == '[';
	if (ret->is_bracketed)
		host++;
	end = strchr(host, ret->is_bracketed ? ']' : ':');
	if (end == NULL || end == host)
		return VARTA_ERR_ADDRESS;
	n = (size_t)(end - host);
	if (n > HOST_MAX)
		return -ENAMETOOLONG;
	memcpy(ret->host, host, n);
	ret->host[n] = '\0';

	if (ret->is_bracketed && *++end != ':')
		return VARTA_ERR_ADDRESS;
	ret->port = end + 1;
	return is_port(ret->port) ? 0 : VARTA_ERR_ADDRESS;
}

static int
lookup_error(int error, const struct host_port *hp)
{
	switch (error) {
	case EAI_AGAIN:
		return VARTA_ERR_HOST_LATER;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno > 0 ? -errno : -EIO;
	default:
		return hp->is_bracketed ? VARTA_ERR_ADDRESS
					: VARTA_ERR_HOST_UNKNOWN;
	}
}

static bool
is_reachable(const struct addrinfo *a)
{
	int fd, r;

	fd = varta__endpoint_socket(a->ai_family, SOCK_DGRAM);
	if (fd < 0)
		return false;
	r = connect(fd, a->ai_addr, a->ai_addrlen);
	(void)close(fd);
	return r == 0;
}

/* The first address that there is a way to, else the first one: a host may
 * have one of IPv6 where we have none. */
static const struct addrinfo *
choose(const struct addrinfo *list)
{
	const struct addrinfo *a;

	if (list->ai_next == NULL)
		return list;
	for (a = list; a != NULL; a = a->ai_next)
		if (is_reachable(a))
			return a;
	return list;
}

int
varta__endpoint_parse_udp(const char *text, struct varta__endpoint *ret)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_DGRAM,
		.ai_flags = AI_NUMERICSERV,
	};
	const struct addrinfo *chosen;
	struct addrinfo *list;
	struct host_port hp;
	int r;

	r = split(text, &hp);
	if (r < 0)
		return r;
	if (hp.is_bracketed) {
		hints.ai_family = AF_INET6;
		hints.ai_flags |= AI_NUMERICHOST;
	}
	r = getaddrinfo(hp.host, hp.port, &hints, &list);
	if (r != 0)
		return lookup_error(r, &hp);

	chosen = choose(list);
	memset(ret, 0, sizeof(*ret));
	memcpy(&ret->addr, chosen->ai_addr, chosen->ai_addrlen);
	ret->len = chosen->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}
