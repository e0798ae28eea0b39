/*
 * The bearer token of a request: read out of its Authorization header and
 * compared in constant time. Pure.
 */
#ifndef WATCH_TELL_AUTH_H
#define WATCH_TELL_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AUTH_TOKEN_BYTES = 32 };

/*
 * Read the n bytes of an Authorization value: the word Bearer in any case,
 * blanks, exactly 64 hexadecimal digits, blanks.
 *
 * Returns 0, or -EINVAL with ret_token as it was.
 */
int auth_parse(
    const char *value, size_t n, uint8_t ret_token[static AUTH_TOKEN_BYTES]);

/*
 * Whether the value carries this token. The time taken tells nothing of the
 * token. False for a value that cannot be read.
 */
bool auth_is_allowed(
    const char *value, size_t n, const uint8_t token[static AUTH_TOKEN_BYTES]);

#endif
