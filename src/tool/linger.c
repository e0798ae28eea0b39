#include "tool/linger.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "base/clock.h"
#include "base/util.h"

/* The library's socket is among the first descriptors of a tool. */
enum { FD_FIRST = 3, FD_END = 64, STEP_MS = 1 };

static bool
is_unix_datagram(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	int type;

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
	    address.ss_family != AF_UNIX)
		return false;
	len = sizeof(type);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_DGRAM;
}

/* Whether fd has sent something that lies unread in its reader's queue. */
static bool
has_unread(int fd)
{
	/* Other systems count in another way or not at all. */
#ifdef SIOCOUTQ
	int queued = 0;

	return ioctl(fd, SIOCOUTQ, &queued) == 0 && queued > 0;
#else
	(void)fd;
	return false;
#endif
}

static bool
any_unread(void)
{
	for (int fd = FD_FIRST; fd < FD_END; fd++)
		if (is_unix_datagram(fd) && has_unread(fd))
			return true;
	return false;
}

static void
pause_ms(unsigned ms)
{
	struct timespec left = {
		.tv_sec = 0,
		.tv_nsec = (long)(ms * NS_PER_MS),
	};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

bool
linger_until_taken(void)
{
	uint64_t end_ns = u64_add_sat(
	    clock_now_ns(CLOCK_SOURCE_MONOTONIC), LINGER_MAX_MS * NS_PER_MS);
	bool unread;

	/* No event tells that a reader has taken a datagram: ask again. */
	while ((unread = any_unread()) &&
	       clock_now_ns(CLOCK_SOURCE_MONOTONIC) < end_ns)
		pause_ms(STEP_MS);
	pause_ms(LINGER_LOOK_MS);
	return !unread;
}
