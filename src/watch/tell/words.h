/*
 * Words that more than one output uses: of a status, of an origin, of an
 * error, of a signal. Pure; all returned text is static or of the C library.
 */
#ifndef WATCH_TELL_WORDS_H
#define WATCH_TELL_WORDS_H

#include <stdint.h>

/* ok, degraded, critical, stall; "-" for what is no status. */
const char *words_status(uint8_t status);

/* How far an agent can be trusted: kernel_attested and so on; "-". */
const char *words_origin(uint8_t origin);

/* Text of a negative code; "unknown" for 0. */
const char *words_error(int error);

/* SIGKILL and so on; NULL for a number without a common name. */
const char *words_signal(int signal);

#endif
