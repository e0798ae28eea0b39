/*
 * Rows of the audit trail from records of recovery: all columns but the first,
 * the number, and the last, the link of the chain, which are given when a row
 * is written. Pure.
 *
 * In program, source and reason each TAB, LF and CR becomes a space; nothing
 * else is escaped. What a command is called with is never written, since it
 * may hold secrets: only its length.
 */
#ifndef WATCH_TELL_AUDITROW_H
#define WATCH_TELL_AUDITROW_H

#include <stddef.h>
#include <stdint.h>

#include "audit/auditline.h"
#include "watch/event.h"

enum {
	AUDITROW_TEXT_MAX = 4096, /* more of a text is cut off */
	AUDITROW_BYTES = 2 * AUDITROW_TEXT_MAX + 256
};

/* What a record is in the trail. */
enum auditline_kind auditrow_kind(enum recovery_outcome outcome);

/* Both return the length without the NUL. */
size_t auditrow_format(const struct recovery_record *record, uint64_t wall_ms,
    char out[static AUDITROW_BYTES]);

/* prev NULL: it names no record before it. */
size_t auditrow_format_boot(enum auditline_boot reason, uint32_t pid,
    const struct auditline_link *prev, uint64_t wall_ms,
    char out[static AUDITROW_BYTES]);

#endif
