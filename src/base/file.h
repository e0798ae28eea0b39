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

/*
 * What was wrong with a file, in words for the operator: value and reason, as
 * in "mode 0644, need 0600" or "cannot open: No such file or directory". Set
 * on every error. The caller, who knows what the file is for, puts kind and
 * path before it: "key file '/etc/varta/key': mode 0644, need 0600".
 */
struct file_fault {
	char text[160];
};

/*
 * Read a secret file whole into buf (size bytes; a NUL is added): opened
 * without following a link and without blocking, regular, owned by the
 * effective uid, no group or other permission bits, smaller than size.
 *
 * Returns the length without the NUL, or an error; fault says which rule. What
 * had been read by then is wiped from buf.
 */
ssize_t file_read_secret(
    const char *path, char *buf, size_t size, struct file_fault *fault);

/*
 * Open a file for reading and appending, created with mode 0600 when it is not
 * there (and its folder is then synced; when that fails, the file stays). An
 * existing one must be regular, owned by the effective uid, not a link, with
 * exactly one hard link.
 */
int file_open_append(const char *path, int *ret_fd, struct file_fault *fault);

/* The same for those who must not wait for a disk: nothing is synced. */
int file_open_append_unsynced(
    const char *path, int *ret_fd, struct file_fault *fault);

/* Open the folder that holds path. 0 or -errno. */
int file_open_parent(const char *path, int *ret_fd);

/* Sync the folder that holds path. 0 or -errno; 0 also on a file system that
 * syncs no folders. */
int file_sync_parent(const char *path);

/*
 * Shift generations: unlink PATH.keep, rename PATH.1 to PATH.2 and so on, PATH
 * to PATH.1. Missing ones are no error. keep is at least 1. Nothing is synced.
 *
 * 0, or -errno of the first failure; the younger generations are then left
 * where they are, so that none is written over.
 */
int file_rotate(const char *path, unsigned keep);

#endif
