#include "tool/parent.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

static int
open_pidfd(pid_t pid)
{
	/* Other systems have none; there the changed parent pid must do. */
#ifdef SYS_pidfd_open
	return (int)syscall(SYS_pidfd_open, pid, 0);
#else
	(void)pid;
	return -1;
#endif
}

void
parent_open(struct parent *p)
{
	p->pid = getppid();
	p->pidfd = open_pidfd(p->pid);
}

void
parent_close(struct parent *p)
{
	fd_close(&p->pidfd);
}

bool
parent_is_gone(const struct parent *p)
{
	struct pollfd ended = { .fd = p->pidfd, .events = POLLIN };

	/* An orphan gets another parent, so an equal pid is no stranger's. */
	if (getppid() != p->pid)
		return true;
	return p->pidfd >= 0 && poll(&ended, 1, 0) > 0;
}
