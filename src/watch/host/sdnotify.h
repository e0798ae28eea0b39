/*
 * The service manager's notification socket (NOTIFY_SOCKET, sd_notify(3)).
 * A path or an abstract name after '@'. Sending never blocks, and a manager
 * that is missing must not stop the observer. One that has too much to read is
 * told later, as far as it waits for it: see sdnotify_ready().
 */
#ifndef WATCH_HOST_SDNOTIFY_H
#define WATCH_HOST_SDNOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sdnotify {
	int fd;          /* -1: nobody to tell */
	bool owes_ready; /* READY=1 could not be taken yet */
};

/*
 * Open what the environment names; address is the value of the variable, NULL
 * when it is not set. Returns 1 when there is somebody to tell, 0 when there
 * is nobody (not set, or empty), -errno when it cannot be used.
 */
int sdnotify_open(struct sdnotify *n, const char *address);
void sdnotify_close(struct sdnotify *n);

/* Send one or more lines: "STOPPING=1\n". False when the manager has too much
 * to read; it is worth another try then. */
bool sdnotify_send(const struct sdnotify *n, const char *lines);

/* READY=1, for which the manager waits. If it cannot be taken now, it is owed
 * until a sdnotify_settle(), which is true when nothing is. */
void sdnotify_ready(struct sdnotify *n);
bool sdnotify_settle(struct sdnotify *n);

/* Begin to reload: RELOADING=1, with the time of CLOCK_MONOTONIC that goes with
 * it. READY=1 ends it. */
void sdnotify_send_reloading(const struct sdnotify *n, uint64_t monotonic_ns);

/*
 * How often the manager waits for WATCHDOG=1, from the values of WATCHDOG_USEC
 * and WATCHDOG_PID, NULL when not set. *ret_ns is 0 when it waits for nothing
 * from the process own_pid. 0, or -EINVAL when one of them is no number, with
 * *ret_ns untouched.
 */
int sdnotify_watchdog(
    const char *usec, const char *pid, pid_t own_pid, uint64_t *ret_ns);

#endif
