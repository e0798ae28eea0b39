/*
 * The files of an audit trail, in the order in which they were written: FILE
 * and what it was rotated to, FILE.5 to FILE.1, or files named one by one.
 */
#ifndef TOOL_TRAIL_H
#define TOOL_TRAIL_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

enum { TRAIL_GENERATIONS = 5 };

struct trail_file {
	char name[PATH_MAX];
	int fd; /* -1: not opened yet */
	dev_t dev;
	ino_t ino;
};

struct trail {
	struct trail_file *files; /* the oldest first */
	size_t n;
};

/*
 * All files are opened before the first is read, the newest first, so that a
 * rotation meanwhile can neither hide nor repeat one. 0, or -errno with
 * *ret_name (of path or static) naming the file that could not be opened.
 */
int trail_open(const char *path, struct trail *ret, const char **ret_name);

/* These files and no others; opened when they are read. 0, -ENOMEM or
 * -ENAMETOOLONG. */
int trail_open_named(
    char *const names[], size_t n, struct trail *ret, const char **ret_name);

/* Read file i in pieces. 0, or -errno of what failed; the file is then closed.
 */
int trail_read(struct trail *t, size_t i,
    void (*take)(void *ctx, const char *bytes, size_t n), void *ctx);

void trail_close(struct trail *t);

#endif
