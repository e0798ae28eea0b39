/*
 * Datagrams for tests: frames, sending them with descriptors attached, and
 * counting the descriptors that this process has open.
 */
#ifndef SUPPORT_DGRAM_H
#define SUPPORT_DGRAM_H

#include <assert.h>
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <varta/frame.h>

enum { DGRAM_FDS = 250 }; /* the kernel's limit is 253 */

/* A valid frame of pid with this nonce. */
static inline void
dgram_frame(uint32_t pid, uint64_t nonce, uint8_t out[VARTA_FRAME_BYTES])
{
	const struct varta_frame frame = {
		.pid = pid,
		.nonce = nonce,
		.timestamp = nonce * 1000,
		.payload = 7,
		.status = 0,
	};
	int r = varta_frame_encode(&frame, out);

	assert(r == 0);
	(void)r;
}

/* How many descriptors are open in this process. */
static inline int
dgram_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert(dir != NULL);
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

/* Send n bytes with copies of a descriptor attached; 0 copies attach none. */
static inline ssize_t
dgram_send(int fd, const void *bytes, size_t n, int attach, size_t copies)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(DGRAM_FDS * sizeof(int))];
	} control;
	int fds[DGRAM_FDS];
	struct iovec iov;
	struct msghdr m;
	struct cmsghdr *c;
	size_t i;

	assert(copies <= DGRAM_FDS);
	memset(&m, 0, sizeof(m));
	/* sendmsg(2) only reads; iov_base has no const. */
	memcpy(&iov.iov_base, &bytes, sizeof(bytes));
	iov.iov_len = n;
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	if (copies > 0) {
		for (i = 0; i < copies; i++)
			fds[i] = attach;
		memset(&control, 0, sizeof(control));
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(copies * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(copies * sizeof(int));
		memcpy(CMSG_DATA(c), fds, copies * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

/* Whether the kernel refuses descriptors for this socket at their sender (Linux
 * 6.16), as was asked for; they are let through from now on. */
static inline bool
dgram_let_descriptors_in(int fd)
{
	int refused = 1, on = 1;
	socklen_t len = sizeof(refused);

	if (getsockopt(fd, SOL_SOCKET, 83 /* SO_PASSRIGHTS */, &refused, &len) <
	    0)
		return false;
	assert(setsockopt(fd, SOL_SOCKET, 83, &on, sizeof(on)) == 0);
	return refused == 0;
}

/* A socket without an address, connected to path; -1 and errno on failure. */
static inline int
dgram_connect(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	assert(strlen(path) < sizeof(to.sun_path));
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

#endif
