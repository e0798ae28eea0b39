/*
 * The recovery audit trail, schema v2: what a line of it is.
 *
 * A file is the header line and then one record a line: columns with one TAB
 * between two, the number of the record first, its link of the chain last.
 *
 * The link is SHA-256, in lower-case hex, over "VARTA-AUDIT-v2", NUL, the word
 * of the kind, NUL, the 32 bytes of the link before, NUL, and the line up to
 * but not with the TAB before the link. The first record follows 32 zero bytes.
 * So a record cannot be changed, taken out or put in without all links after
 * it having to be computed anew. There is no key: who can rewrite the whole
 * file can do that, unless a link was written down elsewhere.
 *
 * Pure; both the writer and the verifier are made of this. Text here may hold
 * any bytes and does not end in a NUL.
 */
#ifndef AUDIT_AUDITLINE_H
#define AUDIT_AUDITLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	AUDITLINE_LINK_BYTES = 32,
	AUDITLINE_LINK_HEX = 64,
	AUDITLINE_END_BYTES = 1 + AUDITLINE_LINK_HEX + 1, /* TAB, link, LF */
	AUDITLINE_MAX = 16384 /* with the LF; a longer line is no record */
};

enum auditline_kind {
	AUDITLINE_BOOT = 0,
	AUDITLINE_SPAWN,
	AUDITLINE_COMPLETE,
	AUDITLINE_REFUSED,
	AUDITLINE_KIND_COUNT
};

/* Why there is a boot record. */
enum auditline_boot {
	AUDITLINE_FRESH = 0,    /* a new file */
	AUDITLINE_RESUME,       /* a good file is continued */
	AUDITLINE_LEGACY_V1,    /* what goes before is of schema v1 */
	AUDITLINE_CORRUPT_TAIL, /* the last line was torn, and was cut off */
	AUDITLINE_SCHEMA_DRIFT, /* what goes before is not understood */
	AUDITLINE_ROTATION,     /* the file before has reached its size */
	AUDITLINE_BOOT_COUNT
};

/* A link of the chain. */
struct auditline_link {
	uint8_t bytes[AUDITLINE_LINK_BYTES];
};

/* A record in its line; text points into it. */
struct auditline {
	uint64_t seq;
	const char *kind; /* the fourth column; empty where there is none */
	size_t kind_len;
	size_t body_len; /* of the line up to the TAB before the link */
	bool linked;     /* false: the last column is "-" */
	struct auditline_link link; /* zeros where there is none */
};

/* The columns of a boot record. */
struct auditline_boot_columns {
	enum auditline_boot reason;
	bool has_prev; /* false: "-" */
	struct auditline_link prev;
};

/* The header line without its LF, and the start of that of schema v1. */
extern const char auditline_header[];
extern const char auditline_header_v1[];

const char *auditline_kind_word(enum auditline_kind kind);
const char *auditline_boot_word(enum auditline_boot reason);

/* Whether the n bytes of line, without LF, are the header. */
bool auditline_is_header(const char *line, size_t n);

/* The link of a record of body, its line up to the TAB before the link. ret
 * may be prev. */
void auditline_step(const struct auditline_link *prev, const char *kind,
    size_t kind_len, const char *body, size_t n, struct auditline_link *ret);

/*
 * End a line: the n bytes at line get TAB, link and LF, AUDITLINE_END_BYTES in
 * all, for which there must be room; *link steps on. Returns the length with
 * the LF.
 */
size_t auditline_finish(char *line, size_t n, enum auditline_kind kind,
    struct auditline_link *link);

/*
 * Read the n bytes of a line without its LF. A record's first column is a
 * number of 64 bits and its last, another one, is "-" or 64 hex digits. 0 or
 * -EINVAL with ret as it was.
 */
int auditline_parse(const char *line, size_t n, struct auditline *ret);

bool auditline_is_boot(const struct auditline *l);

/* The columns of a record that auditline_is_boot(). line is that which l was
 * read from. 0, or -EINVAL when they are not those of a boot record. */
int auditline_parse_boot(const char *line, const struct auditline *l,
    struct auditline_boot_columns *ret);

/* The number that a line begins with, be it a record or not. 0, or -EINVAL,
 * also when it has 64 bits or more. */
int auditline_parse_seq(const char *line, size_t n, uint64_t *ret);

bool auditline_link_equal(
    const struct auditline_link *a, const struct auditline_link *b);

/* Hex and a NUL. */
void auditline_link_format(
    const struct auditline_link *link, char out[static AUDITLINE_LINK_HEX + 1]);

#endif
