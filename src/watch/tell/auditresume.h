/*
 * How an audit file that is there already is continued: what has to be cut off
 * or put behind it, and which number and link the next record follows.
 *
 * Reads the file's bytes in pieces and keeps one line. For a file of schema v2
 * its last bytes are enough where they hold a record. Pure.
 */
#ifndef WATCH_TELL_AUDITRESUME_H
#define WATCH_TELL_AUDITRESUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/auditline.h"
#include "audit/auditsplit.h"

enum {
	/* Of the end of the file, looked at first: more than one line. */
	AUDITRESUME_WINDOW = AUDITLINE_MAX
};

struct auditresume {
	bool skip; /* until the first LF: the start may be within a line */
	bool sure; /* what goes before the first byte does not matter */
	bool has_header; /* of v2; what follows counts */
	bool has_record; /* seq and link are of the last good one */
	bool linked;
	bool is_v1;
	uint64_t seq;
	struct auditline_link link;
	uint64_t bad_lines; /* since the last good record */
	uint64_t bad_seq;   /* the highest that one of them begins with */
	uint64_t lines;     /* before the header */
	struct auditsplit split;
};

struct auditresume_plan {
	enum auditline_boot reason;
	uint64_t keep_bytes; /* the file is cut to this length */
	bool add_line_end;   /* then an LF goes behind it, */
	bool add_header;     /* then the header, */
	uint64_t seq; /* then a boot record, whose number is above this, */
	struct auditline_link link; /* and which follows this link */
	bool name_prev;             /* that is, names it */
};

/* For all bytes of the file. */
void auditresume_init(struct auditresume *s);

/* For the last bytes of a file that begins with the header of v2, from offset
 * on, which is behind the header. */
void auditresume_init_window(struct auditresume *s, uint64_t offset);

void auditresume_take(struct auditresume *s, const char *bytes, size_t n);

/* After the last byte. False, only with a window: it holds no record, so the
 * whole file has to be read. */
bool auditresume_finish(
    const struct auditresume *s, struct auditresume_plan *ret);

#endif
