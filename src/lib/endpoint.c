/*
 * Where the observer is, and a socket to reach it.
 */
#include "lib/lib.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH "/run/varta/varta.sock"
#define UNIX_PREFIX "unix:"
#define UDP_PREFIX "udp:"

/* A set-user-id program must not be led to another socket by its caller. */
static const char *
address_from_environment(void)
{
	const char *address;

#ifdef HAVE_SECURE_GETENV
	address = secure_getenv("VARTA_SOCKET");
#else
	address = geteuid() == getuid() && getegid() == getgid()
		      ? getenv("VARTA_SOCKET")
		      : NULL;
#endif
	return address != NULL && address[0] != '\0' ? address : DEFAULT_PATH;
}

int
varta__endpoint_parse(const char *address, struct varta__endpoint *ret)
{
	const char *path;
	size_t n;

	if (address == NULL)
		address = address_from_environment();
	if (strncmp(address, UDP_PREFIX, strlen(UDP_PREFIX)) == 0)
		return varta__endpoint_parse_udp(
		    address + strlen(UDP_PREFIX), ret);

	path = address;
	if (strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		path += strlen(UNIX_PREFIX);
	if (path[0] != '/')
		return VARTA_ERR_ADDRESS;

	n = strlen(path);
	if (n >= sizeof(ret->addr.un.sun_path))
		return -ENAMETOOLONG;

	memset(ret, 0, sizeof(*ret));
	ret->addr.un.sun_family = AF_UNIX;
	memcpy(ret->addr.un.sun_path, path, n + 1);
	ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

int
varta__above_standard(int fd)
{
	int moved;

	if (fd > STDERR_FILENO)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (moved < 0)
		moved = -errno;
	(void)close(fd);
	return moved;
}

int
varta__endpoint_socket(int family, int type)
{
	int fd;

#ifdef SOCK_CLOEXEC
	fd = socket(family, type | SOCK_CLOEXEC, 0);
#else
	fd = socket(family, type, 0);
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
	if (fd < 0)
		return -errno;
#ifdef SO_NOSIGPIPE
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_NOSIGPIPE, &(int){ 1 }, sizeof(int));
#endif
	return varta__above_standard(fd);
}

int
varta__endpoint_connect(const struct varta__endpoint *endpoint)
{
	int fd, r;

	fd = varta__endpoint_socket(endpoint->addr.any.sa_family, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	if (connect(fd, &endpoint->addr.any, endpoint->len) == 0)
		return fd;
	r = -errno;
	(void)close(fd);
	return r;
}
