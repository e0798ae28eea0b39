/*
 * Lanes: the connection over which the observer gets the memory. It never
 * blocks, and is made again by beats when the observer comes back.
 */
#include "lib/lanes.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"

/* A socket that is connected to the observer, or -errno. */
static int
connect_to(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const size_t n = strlen(path);
	int fd, r;

	if (n + sizeof(LANES_SUFFIX) > sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, n);
	memcpy(to.sun_path + n, LANES_SUFFIX, sizeof(LANES_SUFFIX));

	fd = varta__endpoint_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	return fd;
}

static int
say_hello(int fd, int memory_fd)
{
	static char hello[] = LANE_HELLO;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = hello, .iov_len = sizeof(hello) - 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;

	memset(&control, 0, sizeof(control));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &memory_fd, sizeof(memory_fd));
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int
attach(struct varta__lanes *l, const char *path)
{
	int fd, r;

	fd = connect_to(path);
	if (fd < 0)
		return fd;
	r = say_hello(fd, l->memory_fd);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	l->connection_fd = fd;
	return 0;
}

/* The observer never answers: whatever there is to read is its end. */
static bool
is_attached(const struct varta__lanes *l)
{
	char byte;

	return l->connection_fd >= 0 &&
	       recv(l->connection_fd, &byte, sizeof(byte),
		   MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EINTR);
}

bool
varta__lanes_ring(struct varta_agent *agent)
{
	const struct varta__lanes *l = agent->lanes;

	if (l->connection_fd < 0)
		return false;
	/* Where there is no more room, bells are waiting already. Without
	 * memory for one, attaching anew tells as much. */
	if (send(l->connection_fd, LANE_BELL, sizeof(LANE_BELL) - 1,
		MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	    errno == EAGAIN)
		return true;
	varta__lanes_detach(agent);
	return false;
}

void
varta__lanes_detach(struct varta_agent *agent)
{
	struct varta__lanes *l = agent->lanes;

	if (l->connection_fd < 0)
		return;
	(void)close(l->connection_fd);
	l->connection_fd = -1;
	agent->attach_at_ns = 0;
}

void
varta__lanes_follow(struct varta_agent *agent, bool is_another)
{
	if (agent->lanes == NULL)
		return;
	if (is_another)
		varta__lanes_detach(agent);
	agent->lanes->retry_delay_ns = 0;
	agent->attach_at_ns = 0;
}

int
varta__lanes_look(struct varta_agent *agent, uint64_t now_ns)
{
	struct varta__lanes *l = agent->lanes;
	int r = 0;

	if (l != NULL && l->memory != NULL && !is_attached(l)) {
		varta__lanes_detach(agent);
		r = attach(l, agent->ops->path(agent->transport));
	}
	if (r < 0 && r != -ENAMETOOLONG) {
		l->retry_delay_ns = varta__retry_delay(l->retry_delay_ns);
		agent->attach_at_ns = u64_add_sat(now_ns, l->retry_delay_ns);
		return r;
	}
	if (l != NULL)
		l->retry_delay_ns = 0;
	agent->attach_at_ns = NS_NEVER;
	return r;
}

int
varta_lanes_attach(struct varta_agent *agent)
{
	if (agent == NULL)
		return VARTA_ERR_CLOSED;
	if (agent->ops->path == NULL)
		return VARTA_ERR_UNSUPPORTED;
	varta__lanes_leave(agent);
	return varta__lanes_look(agent, varta__agent_now(agent));
}
