#include "watch/host/sdnotify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/util.h"

/* The address behind a name; its length, or -errno. */
static int
parse_address(const char *name, struct sockaddr_un *ret)
{
	size_t n = strlen(name);

	if (name[0] != '/' && name[0] != '@')
		return -EINVAL;
	if (n >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, name, n);
	/* An abstract name is counted, not ended: no NUL behind it. */
	if (name[0] == '@')
		ret->sun_path[0] = '\0';
	else
		n++;
	return (int)(offsetof(struct sockaddr_un, sun_path) + n);
}

int
sdnotify_open(struct sdnotify *n, const char *address)
{
	struct sockaddr_un to;
	int fd, len, r;

	*n = (struct sdnotify){ .fd = -1 };
	if (address == NULL || address[0] == '\0')
		return 0;
	len = parse_address(address, &to);
	if (len < 0)
		return len;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Connected now, while the path can still be reached. */
	if (connect(fd, (const struct sockaddr *)&to, (socklen_t)len) < 0) {
		r = -errno;
		fd_close(&fd);
		return r;
	}
	n->fd = fd;
	return 1;
}

void
sdnotify_close(struct sdnotify *n)
{
	fd_close(&n->fd);
}

bool
sdnotify_send(const struct sdnotify *n, const char *lines)
{
	return n->fd < 0 ||
	       send(n->fd, lines, strlen(lines), MSG_NOSIGNAL) >= 0 ||
	       errno != EAGAIN;
}

void
sdnotify_ready(struct sdnotify *n)
{
	n->owes_ready = !sdnotify_send(n, "READY=1\n");
}

bool
sdnotify_settle(struct sdnotify *n)
{
	if (n->owes_ready)
		sdnotify_ready(n);
	return !n->owes_ready;
}

void
sdnotify_send_reloading(const struct sdnotify *n, uint64_t monotonic_ns)
{
	char text[64];
	struct strbuf sb;

	strbuf_init(&sb, text, sizeof(text));
	strbuf_str(&sb, "RELOADING=1\nMONOTONIC_USEC=");
	strbuf_u64(&sb, monotonic_ns / NS_PER_US);
	strbuf_char(&sb, '\n');
	(void)sdnotify_send(n, text);
}

int
sdnotify_watchdog(
    const char *usec, const char *pid, pid_t own_pid, uint64_t *ret_ns)
{
	uint64_t us = 0, for_pid = (uint64_t)own_pid;

	if (usec == NULL || usec[0] == '\0') {
		*ret_ns = 0;
		return 0;
	}
	if (text_to_u64(usec, UINT64_MAX, &us) < 0 ||
	    (pid != NULL && pid[0] != '\0' &&
		text_to_u64(pid, UINT64_MAX, &for_pid) < 0))
		return -EINVAL;
	*ret_ns = for_pid == (uint64_t)own_pid ? u64_mul_sat(us, NS_PER_US) : 0;
	return 0;
}
