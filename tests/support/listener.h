/*
 * An observer for tests of agents: a bound datagram socket that knows who sent
 * what, and never waits for ever.
 */
#ifndef SUPPORT_LISTENER_H
#define SUPPORT_LISTENER_H

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <varta/frame.h>

struct listener {
	int fd;
	struct sockaddr_un addr;
};

enum { LISTENER_PATIENCE_S = 20 };

static inline void
listener_open(struct listener *l, const char *path)
{
	const struct timeval patience = { .tv_sec = LISTENER_PATIENCE_S };
	const int one = 1;
	int r;

	memset(l, 0, sizeof(*l));
	l->addr.sun_family = AF_UNIX;
	assert(strlen(path) < sizeof(l->addr.sun_path));
	memcpy(l->addr.sun_path, path, strlen(path));
	l->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = bind(l->fd, (const struct sockaddr *)&l->addr, sizeof(l->addr));
	assert(r == 0);
	r = setsockopt(l->fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	assert(r == 0);
	r = setsockopt(
	    l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert(r == 0);
	(void)r;
}

/* The end of an observer: the socket is closed and its file is gone. */
static inline void
listener_close(struct listener *l)
{
	(void)close(l->fd);
	(void)unlink(l->addr.sun_path);
	l->fd = -1;
}

static inline uint32_t
listener_sender(struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	struct ucred who;

	assert(c != NULL && c->cmsg_type == SCM_CREDENTIALS);
	memcpy(&who, CMSG_DATA(c), sizeof(who));
	return (uint32_t)who.pid;
}

/*
 * The next frame, which must be a valid one from the process that it names.
 * flags are those of recvmsg(2); false when nothing came.
 */
static inline bool
listener_take(const struct listener *l, int flags, struct varta_frame *ret)
{
	uint8_t bytes[VARTA_FRAME_BYTES + 1];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	ssize_t n;

	n = recvmsg(l->fd, &m, flags);
	if (n < 0)
		return false;
	if (varta_frame_decode(bytes, (size_t)n, ret) != 0 ||
	    listener_sender(&m) != ret->pid) {
		(void)fprintf(stderr, "a bad frame of %zd bytes\n", n);
		return false;
	}
	return true;
}

static inline bool
listener_is_empty(const struct listener *l)
{
	struct varta_frame f;

	return !listener_take(l, MSG_DONTWAIT, &f);
}

#endif
