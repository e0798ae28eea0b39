/*
 * Hardware watchdog: a device that resets the machine unless it is kicked.
 *
 * It covers what nothing inside the process can: a kernel that hangs, an
 * observer that is gone and not started again. Kicks come from the loop itself,
 * four times in a time-out. A deliberate end disarms it; any other end leaves
 * it armed, which is its purpose. hwdog_linux.c drives watchdog(4) devices,
 * hwdog_none.c stands in elsewhere and refuses.
 */
#ifndef WATCH_HOST_HWDOG_H
#define WATCH_HOST_HWDOG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/file.h"

enum { HWDOG_TIMEOUT_MIN_S = 30 };

/* The system calls, for tests; each returns what it does or -errno. */
struct hwdog_ops {
	int (*open)(const char *path); /* a character device, else -ENODEV */
	int (*ioctl)(int fd, unsigned long request, int *value);
	ssize_t (*write)(int fd, const void *bytes, size_t n);
	int (*close)(int fd);
};

struct hwdog;

/*
 * Open the device at path, which arms it, and kick it. Its time-out is raised
 * to HWDOG_TIMEOUT_MIN_S when it is shorter. ops NULL: those of the system.
 *
 * 0, or -errno with fault filled in; what had been opened is then disarmed.
 */
int hwdog_open(const char *path, const struct hwdog_ops *ops, uint64_t now_ns,
    struct hwdog **ret, struct file_fault *fault);

/* Kick if it is time to. Returns when it is next. Errors are ignored: there is
 * nobody left to do better. */
uint64_t hwdog_kick(struct hwdog *h, uint64_t now_ns);

/* What is in force. */
uint32_t hwdog_timeout_s(const struct hwdog *h);

/* Disarm and close. Takes NULL. */
void hwdog_close(struct hwdog *h);

#endif
