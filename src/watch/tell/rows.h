/*
 * Rows of the event file: six columns parted by TAB, ended by LF, as the
 * reference writes them (exports page 3): observer_ns, kind, pid, nonce,
 * status, payload; "-" where there is nothing. Pure.
 *
 * Kinds of the reference: beat, stall, decode, io, ctrunc, mismatch, eviction.
 * Ours: join, resume, exit, leave, late. Rows of a lane have the kinds join,
 * stall, resume and leave, and "lane=NAME" as their payload; none of them is
 * one of the reference.
 */
#ifndef WATCH_TELL_ROWS_H
#define WATCH_TELL_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "watch/event.h"

enum { ROWS_BYTES = 256 }; /* no row is longer, the NUL included */

/* True for the kinds that the reference has too. */
bool rows_is_reference_kind(enum event_kind kind);

/* Write the row of ev, LF and a NUL after it. Returns its length. */
size_t rows_format(const struct event *ev, char out[static ROWS_BYTES]);

#endif
