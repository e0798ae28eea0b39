/*
 * Files by rule: who may own them, what mode they may have, how they are
 * created, so that no link and no stranger's file is ever followed.
 *
 * Descriptors returned are close-on-exec and owned by the caller. Errors are
 * -errno; the three that a rule gives: -ELOOP (symbolic link), -EINVAL (not a
 * regular file, or too large), -EACCES (owner, mode or number of links).
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* What was wrong with a file, in words for the operator. Empty when the error
 * is plain from its number. */
struct file_fault {
	char text[160];
};

/*
 * Read a secret file whole into buf (size bytes; a NUL is added): opened
 * without following a link and without blocking, regular, owned by the
 * effective uid, no group or other permission bits, smaller than size.
 *
 * Returns the length without the NUL, or an error; fault says which rule.
 */
ssize_t file_read_secret(
    const char *path, char *buf, size_t size, struct file_fault *fault);

/*
 * Open a file for appending, created with mode 0600 when it is not there (and
 * its folder is then synced). An existing one must be regular, owned by the
 * effective uid, not a link, with exactly one hard link.
 */
int file_open_append(const char *path, int *ret_fd, struct file_fault *fault);

/* Sync the folder that holds path. 0 or -errno. */
int file_sync_parent(const char *path);

/*
 * Shift generations: unlink PATH.keep, rename PATH.1 to PATH.2 and so on, PATH
 * to PATH.1. Missing ones are no error. 0 or -errno of the first failure.
 */
int file_rotate(const char *path, unsigned keep);

#endif
