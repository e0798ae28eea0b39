#include "watch/tell/bell.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

int
bell_init(struct bell *b)
{
	int fds[2], i, r = 0;

	if (pipe(fds) < 0)
		return -errno;
	for (i = 0; i < 2 && r == 0; i++) {
		r = fd_set_cloexec(fds[i]);
		if (r == 0)
			r = fd_set_nonblocking(fds[i]);
	}
	if (r < 0) {
		fd_close(&fds[0]);
		fd_close(&fds[1]);
		return r;
	}
	b->fds[0] = fds[0];
	b->fds[1] = fds[1];
	atomic_init(&b->rung, false);
	return 0;
}

void
bell_fini(struct bell *b)
{
	fd_close(&b->fds[0]);
	fd_close(&b->fds[1]);
}

void
bell_ring(struct bell *b)
{
	if (atomic_exchange(&b->rung, true))
		return;
	/* There is room for the one byte that can be in the pipe. */
	while (write(b->fds[1], "", 1) < 0 && errno == EINTR)
		;
}

/* Rounded up, so that nobody wakes up too early and asks again. */
static int
milliseconds(uint64_t ns)
{
	uint64_t ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);

	return ns == NS_NEVER ? -1 : (int)u64_min(ms, INT_MAX);
}

bool
bell_wait(struct bell *b, uint64_t wait_ns)
{
	struct pollfd pollfd = { .fd = b->fds[0], .events = POLLIN };
	char byte;

	if (poll(&pollfd, 1, milliseconds(wait_ns)) <= 0)
		return false;
	/* The pipe is emptied first: a ring between the two is then one that
	 * needs no byte, since its thread is heard by what follows. */
	while (read(b->fds[0], &byte, 1) < 0 && errno == EINTR)
		;
	return atomic_exchange(&b->rung, false);
}
