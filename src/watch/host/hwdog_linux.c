#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "watch/host/hwdog.h"

struct hwdog {
	struct hwdog_ops ops;
	int fd;
	uint32_t timeout_s;
	uint64_t kick_at_ns;
};

/* Looked at first: opening other kinds of file may have effects of its own. */
static int
system_open(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode))
		return -ENODEV;
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode))
		return fd;
	fd_close(&fd);
	return -ENODEV;
}

static int
system_ioctl(int fd, unsigned long request, int *value)
{
	return ioctl(fd, request, value) < 0 ? -errno : 0;
}

static ssize_t
system_write(int fd, const void *bytes, size_t n)
{
	ssize_t written = write(fd, bytes, n);

	return written < 0 ? -errno : written;
}

static int
system_close(int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

static const struct hwdog_ops system_ops = {
	.open = system_open,
	.ioctl = system_ioctl,
	.write = system_write,
	.close = system_close,
};

static int
refuse(struct file_fault *fault, int error, const char *what)
{
	(void)snprintf(fault->text, sizeof(fault->text), "%s%s%s", what,
	    error != 0 ? ": " : "", error != 0 ? strerror(-error) : "");
	return error != 0 ? error : -EINVAL;
}

/* Raise the time-out if need be; *ret is what is in force then. */
static int
settle_timeout(const struct hwdog *h, uint32_t *ret, struct file_fault *fault)
{
	int seconds = 0;
	int r = h->ops.ioctl(h->fd, WDIOC_GETTIMEOUT, &seconds);

	if (r < 0)
		return refuse(fault, r, "not a watchdog");
	if (seconds < HWDOG_TIMEOUT_MIN_S) {
		seconds = HWDOG_TIMEOUT_MIN_S;
		r = h->ops.ioctl(h->fd, WDIOC_SETTIMEOUT, &seconds);
		if (r < 0)
			return refuse(fault, r, "cannot set its time-out");
		/* A driver may round, or take what it likes. */
		r = h->ops.ioctl(h->fd, WDIOC_GETTIMEOUT, &seconds);
		if (r < 0)
			return refuse(fault, r, "cannot read its time-out");
	}
	if (seconds < HWDOG_TIMEOUT_MIN_S) {
		(void)snprintf(fault->text, sizeof(fault->text),
		    "its time-out stays at %d s, need %d", seconds,
		    HWDOG_TIMEOUT_MIN_S);
		return -ERANGE;
	}
	*ret = (uint32_t)seconds;
	return 0;
}

int
hwdog_open(const char *path, const struct hwdog_ops *ops, uint64_t now_ns,
    struct hwdog **ret, struct file_fault *fault)
{
	struct hwdog *h = malloc(sizeof(*h));
	int r;

	if (h == NULL)
		return refuse(fault, -ENOMEM, "cannot be used");
	*h = (struct hwdog){ .ops = ops != NULL ? *ops : system_ops };
	h->fd = h->ops.open(path);
	if (h->fd < 0) {
		r = h->fd == -ENODEV
			? refuse(fault, 0, "not a character device")
			: refuse(fault, h->fd, "cannot open");
		free(h);
		return r;
	}
	r = settle_timeout(h, &h->timeout_s, fault);
	if (r < 0) {
		hwdog_close(h);
		return r;
	}
	(void)hwdog_kick(h, now_ns);
	*ret = h;
	return 0;
}

uint64_t
hwdog_kick(struct hwdog *h, uint64_t now_ns)
{
	if (now_ns >= h->kick_at_ns) {
		(void)h->ops.write(h->fd, "", 1);
		h->kick_at_ns =
		    u64_add_sat(now_ns, h->timeout_s * NS_PER_S / 4);
	}
	return h->kick_at_ns;
}

uint32_t
hwdog_timeout_s(const struct hwdog *h)
{
	return h->timeout_s;
}

void
hwdog_close(struct hwdog *h)
{
	if (h == NULL)
		return;
	/* The magic character: without it, closing leaves the device armed. */
	(void)h->ops.write(h->fd, "V", 1);
	(void)h->ops.close(h->fd);
	free(h);
}
