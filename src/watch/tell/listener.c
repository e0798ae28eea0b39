#include "watch/tell/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

static void
format_name(
    const struct sockaddr *address, char name[static LISTENER_NAME_BYTES])
{
	char host[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	/* Whatever inet_ntop() writes fits, so neither call can fail. */
	if (address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		(void)snprintf(name, LISTENER_NAME_BYTES, "[%s]:%u", host,
		    (unsigned)ntohs(in6.sin6_port));
	} else {
		memcpy(&in, address, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		(void)snprintf(name, LISTENER_NAME_BYTES, "%s:%u", host,
		    (unsigned)ntohs(in.sin_port));
	}
}

int
listener_open(const struct sockaddr *address, socklen_t address_len,
    char name[static LISTENER_NAME_BYTES])
{
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
	} bound;
	socklen_t len = sizeof(bound);
	const int on = 1, send_bytes = LISTENER_SEND_BYTES;
	int fd, r;

	format_name(address, name);
	fd = socket(
	    address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;

	/* What is accepted inherits it; the default would do as well. */
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes));

	/* A restart must not wait for the last connections to be forgotten. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, address, address_len) < 0 ||
	    listen(fd, LISTENER_BACKLOG) < 0 ||
	    getsockname(fd, &bound.any, &len) < 0) {
		r = -errno;
		fd_close(&fd);
		return r;
	}
	format_name(&bound.any, name);
	return fd;
}
