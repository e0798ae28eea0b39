#include "base/strbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

void
strbuf_init(struct strbuf *sb, char *storage, size_t size)
{
	assert(size >= 1);
	sb->text = storage;
	sb->size = size;
	strbuf_clear(sb);
}

void
strbuf_clear(struct strbuf *sb)
{
	sb->len = 0;
	sb->text[0] = '\0';
	sb->overflowed = false;
}

/* Bytes that still fit before the NUL. */
static size_t
room(const struct strbuf *sb)
{
	return sb->size - sb->len - 1;
}

void
strbuf_add(struct strbuf *sb, const char *text, size_t n)
{
	if (n > room(sb)) {
		n = room(sb);
		sb->overflowed = true;
	}
	if (n > 0)
		memcpy(sb->text + sb->len, text, n);
	sb->len += n;
	sb->text[sb->len] = '\0';
}

void
strbuf_str(struct strbuf *sb, const char *text)
{
	strbuf_add(sb, text, strlen(text));
}

void
strbuf_char(struct strbuf *sb, char c)
{
	strbuf_add(sb, &c, 1);
}

void
strbuf_u64(struct strbuf *sb, uint64_t x)
{
	char digits[20];

	strbuf_add(sb, digits, text_format_u64(x, digits));
}

void
strbuf_i64(struct strbuf *sb, int64_t x)
{
	if (x < 0)
		strbuf_char(sb, '-');
	/* Not -x: the lowest value has no positive counterpart. */
	strbuf_u64(sb, x < 0 ? UINT64_C(0) - (uint64_t)x : (uint64_t)x);
}

void
strbuf_printf(struct strbuf *sb, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(sb->text + sb->len, room(sb) + 1, format, args);
	va_end(args);

	if (n >= 0 && (size_t)n <= room(sb)) {
		sb->len += (size_t)n;
		return;
	}
	sb->overflowed = true;
	if (n >= 0)
		sb->len = sb->size - 1;
	sb->text[sb->len] = '\0';
}

void
strbuf_truncate(struct strbuf *sb, size_t len)
{
	assert(len <= sb->len);
	sb->len = len;
	sb->text[len] = '\0';
	sb->overflowed = false;
}
