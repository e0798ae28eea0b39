/*
 * Secret: small files that only we may read: tokens, commands (reference:
 * command line page 2.1).
 */
#ifndef WATCH_SECRET_H
#define WATCH_SECRET_H

#include "watch/options.h"

enum {
	SECRET_BYTES = 8192 /* of one file, at most */
};

/*
 * Read path whole, without the white space at its ends. label is the option
 * that named it. 0, or -errno with fault filled in. The caller wipes text.
 */
int secret_read(const char *label, const char *path, char text[SECRET_BYTES],
    struct options_fault *fault);

#endif
