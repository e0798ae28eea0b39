/*
 * The file of a Unix socket: made by rule, taken over from a dead observer but
 * never from a live one, removed only while it is still ours (reference:
 * observer page 1.1, steps 1 to 6 and 8).
 */
#ifndef BASE_UNIX_PATH_H
#define BASE_UNIX_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

enum { UNIX_PATH_FAULT_BYTES = 256 };

struct unix_path {
	struct sockaddr_un address;
	int type; /* SOCK_DGRAM or SOCK_STREAM */
	/* The kernel holds the inode as long as the socket is open, so that
	 * until then no other file can have this number. */
	dev_t dev;
	ino_t ino;
};

/* Say in fault what is wrong with the socket at path; returns error. */
int unix_path_refuse(char fault[static UNIX_PATH_FAULT_BYTES], const char *path,
    int error, const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Check path and the folder that it lies in. The folder must be a real one,
 * belong to us or to root, and be sticky if others may write to it.
 *
 * Returns 0 with the address filled in, -EINVAL, -ENAMETOOLONG, -EACCES, or
 * -errno of the folder.
 */
int unix_path_init(struct unix_path *p, const char *path, int type,
    char fault[static UNIX_PATH_FAULT_BYTES]);

/*
 * Bind fd, with exactly this mode from the first moment; p was initialised.
 * *ret_took_over tells whether a dead observer's socket was in the way. The
 * process must be single-threaded: the umask is the process's.
 *
 * Returns 0, -EBUSY (other threads), -EADDRINUSE (a live observer, or not a
 * socket), -EPROTOTYPE (a live socket of another type) or -errno, with no file
 * of ours left.
 */
int unix_path_bind(struct unix_path *p, int fd, uint32_t mode,
    bool *ret_took_over, char fault[static UNIX_PATH_FAULT_BYTES]);

/* Unlink the file if it is still the one that was bound. Failure is ignored:
 * there is nobody left who could do better. */
void unix_path_remove(const struct unix_path *p);

#endif
