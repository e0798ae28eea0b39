/*
 * Bytes to lines of an audit file, whatever the bytes are and however they come
 * in pieces. Of a line that is too long only the start is kept: it is no
 * record. Pure; needs the memory of one line.
 */
#ifndef AUDIT_AUDITSPLIT_H
#define AUDIT_AUDITSPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/auditline.h"

struct auditsplit {
	bool whole;      /* line is one, with its LF behind it */
	bool too_long;   /* line is only the start of it */
	size_t n;        /* bytes in line, without the LF */
	uint64_t number; /* of the line, counted from 1 */
	uint64_t start;  /* where it begins, in bytes from the first one */
	uint64_t next;   /* where the next byte belongs */
	char line[AUDITLINE_MAX];
};

/* The first byte to come is at offset at. */
void auditsplit_init(struct auditsplit *s, uint64_t at);

/*
 * Take bytes up to the end of a line, or all n. Returns how many; s->whole
 * says whether there is a line to look at, until the next call.
 */
size_t auditsplit_take(struct auditsplit *s, const char *bytes, size_t n);

/* Whether bytes came after the last LF: the last line is torn. */
bool auditsplit_is_torn(const struct auditsplit *s);

#endif
