#include "watch/tell/local.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

struct local {
	int fd;
	struct unix_path path;
};

int
local_open(const char *path, struct local **ret,
    char fault[static UNIX_PATH_FAULT_BYTES])
{
	struct local *l = malloc(sizeof(*l));
	bool took_over;
	int r;

	if (l == NULL)
		return unix_path_refuse(fault, path, -ENOMEM, "out of memory");
	l->fd = -1;
	r = unix_path_init(&l->path, path, SOCK_STREAM, fault);
	if (r < 0)
		goto fail;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0) {
		r = -errno;
		(void)unix_path_refuse(
		    fault, path, r, "cannot make a socket: %s", strerror(-r));
		goto fail;
	}
	r = unix_path_bind(&l->path, l->fd, 0600, &took_over, fault);
	if (r < 0)
		goto fail;
	if (listen(l->fd, LOCAL_BACKLOG) < 0) {
		r = -errno;
		unix_path_remove(&l->path);
		(void)unix_path_refuse(
		    fault, path, r, "cannot listen: %s", strerror(-r));
		goto fail;
	}
	*ret = l;
	return 0;

fail:
	fd_close(&l->fd);
	free(l);
	return r;
}

void
local_close(struct local *l)
{
	if (l == NULL)
		return;
	/* In this order, as the socket of the beats: see unix_path.h. */
	unix_path_remove(&l->path);
	fd_close(&l->fd);
	free(l);
}

int
local_fd(const struct local *l)
{
	return l->fd;
}

const char *
local_path(const struct local *l)
{
	return l->path.address.sun_path;
}

/* Who connected, not who has the descriptor now. */
static bool
peer_uid(int fd, uid_t *ret)
{
#if defined(SO_PEERCRED) && defined(__linux__)
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    len != sizeof(peer))
		return false;
	*ret = peer.uid;
	return true;
#else
	gid_t gid;

	return getpeereid(fd, ret, &gid) == 0;
#endif
}

bool
local_peer_is_ours(int fd)
{
	uid_t uid;

	return peer_uid(fd, &uid) && (uid == geteuid() || uid == 0);
}
