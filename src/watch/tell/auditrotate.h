/*
 * The steps by which the files of an audit trail change their names. Each is
 * safe to be interrupted and begun again. Errors are -errno.
 */
#ifndef WATCH_TELL_AUDITROTATE_H
#define WATCH_TELL_AUDITROTATE_H

#include <limits.h>

/* The name under which the next file is made. 0, or -ENAMETOOLONG, then no
 * generation fits in a path either. */
int auditrotate_next(const char *path, char ret[static PATH_MAX]);

/* Move each generation to the next one and path to the first, as far as the
 * first number that is free; where none is, the oldest of keep makes room.
 * Missing files are no error. At an error the younger ones are left as they
 * are. */
int auditrotate_shift(const char *path, unsigned keep);

/* Give the next file the name path. */
int auditrotate_name(const char *path);

/* After an interruption: where path is missing and there is a next file, that
 * one becomes it. */
int auditrotate_settle(const char *path);

/* Remove a next file that is of no use any more. */
int auditrotate_clean(const char *path);

#endif
