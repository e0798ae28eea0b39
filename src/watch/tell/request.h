/*
 * What a request asks for, and whether it is one that HTTP allows.
 *
 * libmicrohttpd reads requests more kindly than RFC 9112 wants, and knows paths
 * only. This is the rest: sections 3.2 (targets and Host), 5.1 (names of
 * fields) and 6.3 (lengths).
 */
#ifndef WATCH_TELL_REQUEST_H
#define WATCH_TELL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include <microhttpd.h>

/*
 * The path of a target, within it: what follows the host of a whole URL, and
 * any other target as it stands. "" when the URL has no path.
 */
const char *request_path(const char *target);

/*
 * False when it must be answered with 400: two fields Host or, after HTTP/1.0,
 * none; two of Content-Length; a name with a blank in it.
 */
bool request_is_good(struct MHD_Connection *connection, const char *version);

/* It says that a body follows. */
bool request_has_body(struct MHD_Connection *connection);

/* An UnescapeCallback of the library. A text with %00 stays as it is, so that
 * no path ends before its end. */
size_t request_unescape(
    void *cls, struct MHD_Connection *connection, char *text);

#endif
