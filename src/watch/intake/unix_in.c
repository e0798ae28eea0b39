#include "watch/intake/unix_in.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "base/unix_path.h"
#include "watch/intake/credentials.h"
#include "watch/intake/datagram.h"

struct unix_in {
	int fd;
	struct unix_path path;
	struct datagram_reader reader;
};

static const char queue_len_file[] = "/proc/sys/net/unix/max_dgram_qlen";

static uint32_t
queue_len(void)
{
	char text[16];
	uint32_t len = 0;
	ssize_t n;
	int fd;

	fd = open(queue_len_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = fd_read_full(fd, text, sizeof(text) - 1);
	fd_close(&fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	(void)text_to_u32(text, UINT32_MAX, &len);
	return len;
}

/* Ask for a receive buffer; what was granted, or 0 when that is unknown. */
static uint32_t
set_rcvbuf(int fd, uint32_t bytes)
{
	int asked = bytes > INT_MAX ? INT_MAX : (int)bytes;
	int granted;
	socklen_t len = sizeof(granted);

	if (bytes == 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &asked, sizeof(asked)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &len) < 0 ||
	    granted < 0)
		return 0;
	return (uint32_t)granted;
}

/*
 * A socket that names senders, before it has an address: a datagram that
 * arrived earlier would come without a name.
 */
static int
open_socket(const char *path, int *ret_fd, struct unix_in_fault *fault)
{
	int fd, r;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		r = -errno;
		return unix_path_refuse(fault->text, path, r,
		    "cannot make a socket: %s", strerror(-r));
	}
	r = credentials_enable(fd);
	if (r < 0) {
		fd_close(&fd);
		return unix_path_refuse(fault->text, path, r,
		    "cannot have senders named: %s", strerror(-r));
	}
	credentials_refuse_descriptors(fd);
	*ret_fd = fd;
	return 0;
}

int
unix_in_open(const struct unix_in_options *options, struct unix_in **ret,
    struct unix_in_facts *ret_facts, struct unix_in_fault *fault)
{
	struct unix_in_facts facts = { 0 };
	struct unix_in *u;
	int r;

	assert(options->mode <= 0777);
	u = malloc(sizeof(*u));
	if (u == NULL)
		return unix_path_refuse(
		    fault->text, options->path, -ENOMEM, "out of memory");

	u->fd = -1;
	r = unix_path_init(&u->path, options->path, SOCK_DGRAM, fault->text);
	if (r < 0)
		goto fail;
	/* Before the socket is made: that is when the kernel takes it over. */
	facts.queue_len = queue_len();
	r = open_socket(options->path, &u->fd, fault);
	if (r < 0)
		goto fail;
	facts.rcvbuf_bytes = set_rcvbuf(u->fd, options->rcvbuf_bytes);
	r = unix_path_bind(&u->path, u->fd, options->mode,
	    &facts.took_over_stale, fault->text);
	if (r < 0)
		goto fail;
	facts.dir_sync_failed = file_sync_parent(options->path) < 0;

	*ret = u;
	*ret_facts = facts;
	return 0;

fail:
	fd_close(&u->fd);
	free(u);
	return r;
}

void
unix_in_close(struct unix_in *u)
{
	if (u == NULL)
		return;
	/* In this order: as long as the socket lives nobody takes it for a
	 * dead one's, and its inode number stays ours. */
	unix_path_remove(&u->path);
	fd_close(&u->fd);
	free(u);
}

int
unix_in_fd(const struct unix_in *u)
{
	return u->fd;
}

struct intake_source
unix_in_source(struct unix_in *u, uint64_t *n_injected)
{
	datagram_reader_init(&u->reader, u->fd, n_injected);
	return (struct intake_source){
		.take = datagram_reader_take,
		.ctx = &u->reader,
		.attested = credentials_attested(),
	};
}
