/*
 * Text of a bounded length in storage of the caller. What does not fit is cut
 * off and remembered, so that many appends need one check at the end. Never
 * allocates; always ends in a NUL. Not for secrets.
 */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf {
	char *text;
	size_t size; /* of the storage, the NUL included; at least 1 */
	size_t len;
	bool overflowed;
};

void strbuf_init(struct strbuf *sb, char *storage, size_t size);

/* Empty again; forgets an overflow. */
void strbuf_clear(struct strbuf *sb);

void strbuf_add(struct strbuf *sb, const char *text, size_t n);
void strbuf_str(struct strbuf *sb, const char *text);
void strbuf_char(struct strbuf *sb, char c);
void strbuf_u64(struct strbuf *sb, uint64_t x);
void strbuf_i64(struct strbuf *sb, int64_t x);
void strbuf_printf(struct strbuf *sb, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Cut back to len bytes, which must not be above the present length; forgets
 * an overflow. For taking back a line that did not fit. */
void strbuf_truncate(struct strbuf *sb, size_t len);

#endif
