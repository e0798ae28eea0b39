/*
 * A listening Unix socket that only its owner may connect to: file mode 0600,
 * bound and removed by the rules of the socket of the beats (unix_path.h).
 */
#ifndef WATCH_TELL_LOCAL_H
#define WATCH_TELL_LOCAL_H

#include <stdbool.h>

#include "base/unix_path.h"

enum { LOCAL_BACKLOG = 64 };

struct local;

/* Bind and listen, while there is one thread. 0, or -errno with fault filled
 * in, as unix_path_init() and unix_path_bind(). */
int local_open(const char *path, struct local **ret,
    char fault[static UNIX_PATH_FAULT_BYTES]);

/* Close, and unlink the file if it is still ours. Takes NULL. */
void local_close(struct local *l);

int local_fd(const struct local *l);
const char *local_path(const struct local *l);

/* True when the process at the other end of this connection runs as our own
 * user or as root. */
bool local_peer_is_ours(int fd);

#endif
