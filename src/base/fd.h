/*
 * Descriptors: close once, write whole, set flags. EINTR is handled here.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Close *fd when it is not -1, and set it to -1. Keeps errno. */
void fd_close(int *fd);

/* 0 or -errno. */
int fd_set_nonblocking(int fd);
int fd_set_cloexec(int fd);

/* Write all n bytes. 0, or -errno with an unknown part written; -EAGAIN when a
 * non-blocking descriptor takes no more. */
int fd_write_all(int fd, const void *bytes, size_t n);

/* Read until n bytes or the end. Bytes read, or -errno. */
ssize_t fd_read_full(int fd, void *bytes, size_t n);

/* Raise RLIMIT_NOFILE to its hard limit. Returns the limit now in force:
 * UINT64_MAX for none, 0 when it cannot be known. */
uint64_t fd_raise_limit(void);

/*
 * Take those of the descriptors 0 to 2 that nobody has opened for us, with
 * /dev/null: what is opened later must not be taken for standard input, output
 * or error. To be called first. 0 or -errno.
 */
int fd_fill_standard(void);

#endif
