/*
 * The service manager's notification socket (NOTIFY_SOCKET, sd_notify(3)).
 * A path or an abstract name after '@'. Sending never blocks and failures are
 * ignored by design: a missing manager must not stop the observer.
 */
#ifndef WATCH_HOST_SDNOTIFY_H
#define WATCH_HOST_SDNOTIFY_H

#include <stdbool.h>

struct sdnotify {
	int fd; /* -1: nobody to tell */
};

/*
 * Open what the environment names; address is the value of the variable, NULL
 * when it is not set. Returns 1 when there is somebody to tell, 0 when there
 * is nobody (not set, or empty), -errno when it cannot be used.
 */
int sdnotify_open(struct sdnotify *n, const char *address);
void sdnotify_close(struct sdnotify *n);

/* Send one or more lines: "READY=1\n". */
void sdnotify_send(const struct sdnotify *n, const char *lines);

#endif
