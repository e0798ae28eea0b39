/*
 * The file of a Unix datagram socket: made by rule, taken over from a dead
 * observer but never from a live one, removed only while it is still ours
 * (reference: observer page 1.1, steps 1 to 6 and 8).
 */
#ifndef WATCH_INTAKE_UNIX_PATH_H
#define WATCH_INTAKE_UNIX_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "watch/intake/unix_in.h"

struct unix_path {
	struct sockaddr_un address;
	/* The kernel holds the inode as long as the socket is open, so that
	 * until then no other file can have this number. */
	dev_t dev;
	ino_t ino;
};

/* Say in fault what is wrong with the socket at path; returns error. */
int unix_path_refuse(struct unix_in_fault *fault, const char *path, int error,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Check path and the folder that it lies in. The folder must be a real one,
 * belong to us or to root, and be sticky if others may write to it.
 *
 * Returns 0 with the address filled in, -EINVAL, -ENAMETOOLONG, -EACCES, or
 * -errno of the folder.
 */
int unix_path_init(
    struct unix_path *p, const char *path, struct unix_in_fault *fault);

/*
 * Bind fd, with exactly this mode from the first moment; p was initialised.
 * *ret_took_over tells whether a dead observer's socket was in the way.
 *
 * Returns 0 or -errno, with no file of ours left.
 */
int unix_path_bind(struct unix_path *p, int fd, uint32_t mode,
    bool *ret_took_over, struct unix_in_fault *fault);

/* Unlink the file if it is still the one that was bound. Failure is ignored:
 * there is nobody left who could do better. */
void unix_path_remove(const struct unix_path *p);

#endif
