/*
 * Does an audit trail hold together? Follows numbers and links through the
 * files of one trail, the oldest first.
 *
 * What is found is a break, something that an observer which could end in its
 * own time never leaves behind, or a note: records that it dropped itself
 * (their numbers are missing, the links are whole), lines before the trail,
 * lines that it did not understand and said so. After a break the record at
 * hand is taken as good, so that one change makes one break or two, not one
 * for each line behind it.
 *
 * A trail may begin with a file that was rotated in: what went before is gone,
 * and the first record names the link to it. That the newest records were cut
 * off cannot be seen in the file: compare the last link with one that was
 * written down elsewhere.
 *
 * Pure, in memory for one line, for any bytes.
 */
#ifndef AUDIT_AUDITVERIFY_H
#define AUDIT_AUDITVERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/auditline.h"
#include "audit/auditsplit.h"

enum auditverify_what {
	/* breaks */
	AUDITVERIFY_LINK = 0,    /* its link does not follow */
	AUDITVERIFY_PREV,        /* names another link than that before it */
	AUDITVERIFY_ORDER,       /* its number is not above the one before */
	AUDITVERIFY_NO_RECORD,   /* no record, and not explained by one */
	AUDITVERIFY_NO_HEADER,   /* not an audit file of schema v2 */
	AUDITVERIFY_NO_START,    /* a file begins with records missing */
	AUDITVERIFY_STARTS_OVER, /* a new trail begins within this one */
	AUDITVERIFY_NO_LINK,     /* no link, where there must be one */
	AUDITVERIFY_TORN,        /* the last line has no end */
	AUDITVERIFY_EMPTY,       /* a file without records */

	/* notes */
	AUDITVERIFY_DROPPED,  /* n numbers are missing before this one */
	AUDITVERIFY_LEGACY,   /* n lines before the header are not verified */
	AUDITVERIFY_DRIFT,    /* n lines from here on were not understood, and
				 kept */
	AUDITVERIFY_CUT,      /* the observer cut off a torn line here */
	AUDITVERIFY_UNLINKED, /* from here on records have no links */
	AUDITVERIFY_WHAT_COUNT
};

struct auditverify_finding {
	enum auditverify_what what;
	size_t file;   /* as given to auditverify_begin() */
	uint64_t line; /* counted from 1 */
	uint64_t n;    /* where the kind has a number */
};

struct auditverify_sums {
	uint64_t records;
	uint64_t boots;
	uint64_t gaps;
	uint64_t dropped;  /* records missing in all gaps */
	uint64_t unlinked; /* records without a link */
	uint64_t legacy_lines;
	uint64_t breaks;
	uint64_t first_seq; /* 0 without records, as the others */
	uint64_t last_seq;
	struct auditline_link head; /* the last link; zeros without one */
};

typedef void auditverify_report(
    void *ctx, const struct auditverify_finding *finding);

struct auditverify {
	auditverify_report *report;
	void *ctx;
	struct auditverify_sums sums;
	size_t file;
	bool linked; /* sums.head is that of the last record */
	bool has_header;
	uint64_t file_records;
	uint64_t bad_lines; /* since the last record */
	uint64_t first_bad_line;
	struct auditsplit split;
};

/* report may be NULL. */
void auditverify_init(
    struct auditverify *v, auditverify_report *report, void *ctx);

/* The files one after the other: begin, take all bytes, end. */
void auditverify_begin(struct auditverify *v, size_t file);
void auditverify_take(struct auditverify *v, const char *bytes, size_t n);
void auditverify_end(struct auditverify *v);

bool auditverify_is_break(enum auditverify_what what);

/* A short word, for programs, and a sentence, for people. */
const char *auditverify_word(enum auditverify_what what);
const char *auditverify_text(enum auditverify_what what);

#endif
