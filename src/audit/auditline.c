#include "audit/auditline.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <sodium/crypto_hash_sha256.h>

#include "base/text.h"
#include "base/util.h"

enum {
	KIND_COLUMN = 3,
	PREV_COLUMN = 5,
	REASON_COLUMN = 6,
	SEQ_DIGITS = 20 /* of the largest number of 64 bits */
};

static_assert((int)AUDITLINE_LINK_BYTES == (int)crypto_hash_sha256_BYTES,
    "a link is a hash");

const char auditline_header[] = "# varta-watch recovery audit v2";
const char auditline_header_v1[] = "# varta-watch recovery audit v1";

const char *
auditline_kind_word(enum auditline_kind kind)
{
	static const char *const words[AUDITLINE_KIND_COUNT] = {
		[AUDITLINE_BOOT] = "boot",
		[AUDITLINE_SPAWN] = "spawn",
		[AUDITLINE_COMPLETE] = "complete",
		[AUDITLINE_REFUSED] = "refused",
	};

	return words[kind];
}

const char *
auditline_boot_word(enum auditline_boot reason)
{
	static const char *const words[AUDITLINE_BOOT_COUNT] = {
		[AUDITLINE_FRESH] = "fresh",
		[AUDITLINE_RESUME] = "resume",
		[AUDITLINE_LEGACY_V1] = "legacy_v1",
		[AUDITLINE_CORRUPT_TAIL] = "corrupt_tail",
		[AUDITLINE_SCHEMA_DRIFT] = "schema_drift",
		[AUDITLINE_ROTATION] = "rotation",
	};

	return words[reason];
}

/* Whether the n bytes of text are this word. */
static bool
is_word(const char *text, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(text, word, n) == 0;
}

bool
auditline_is_header(const char *line, size_t n)
{
	return is_word(line, n, auditline_header);
}

void
auditline_step(const struct auditline_link *prev, const char *kind,
    size_t kind_len, const char *body, size_t n, struct auditline_link *ret)
{
	static const char domain[] = "VARTA-AUDIT-v2"; /* its NUL included */
	static const unsigned char nul = 0;
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(
	    &state, (const unsigned char *)domain, sizeof(domain));
	(void)crypto_hash_sha256_update(
	    &state, (const unsigned char *)kind, kind_len);
	(void)crypto_hash_sha256_update(&state, &nul, 1);
	(void)crypto_hash_sha256_update(
	    &state, prev->bytes, sizeof(prev->bytes));
	(void)crypto_hash_sha256_update(&state, &nul, 1);
	(void)crypto_hash_sha256_update(&state, (const unsigned char *)body, n);
	(void)crypto_hash_sha256_final(&state, ret->bytes);
}

size_t
auditline_finish(
    char *line, size_t n, enum auditline_kind kind, struct auditline_link *link)
{
	const char *word = auditline_kind_word(kind);
	char hex[AUDITLINE_LINK_HEX + 1];

	auditline_step(link, word, strlen(word), line, n, link);
	auditline_link_format(link, hex);
	line[n++] = '\t';
	memcpy(line + n, hex, AUDITLINE_LINK_HEX);
	n += AUDITLINE_LINK_HEX;
	line[n++] = '\n';
	return n;
}

/* All n bytes are digits, at least one, of a number of 64 bits. */
static int
parse_number(const char *text, size_t n, uint64_t *ret)
{
	char digits[SEQ_DIGITS + 1];

	if (n == 0 || n > SEQ_DIGITS || text[0] == '+')
		return -EINVAL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (strlen(digits) != n)
		return -EINVAL;
	return text_to_u64(digits, UINT64_MAX, ret) < 0 ? -EINVAL : 0;
}

/* "-" or the hex digits of a link. */
static int
parse_link(
    const char *text, size_t n, bool *ret_linked, struct auditline_link *ret)
{
	size_t i;

	*ret_linked = false;
	*ret = (struct auditline_link){ { 0 } };
	if (is_word(text, n, "-"))
		return 0;
	if (text_hex_to_bytes(text, n, ret->bytes, sizeof(ret->bytes)) < 0)
		return -EINVAL;
	/* A link is written in one way only: not even its case may change. */
	for (i = 0; i < n; i++)
		if (text[i] >= 'A' && text[i] <= 'F')
			return -EINVAL;
	*ret_linked = true;
	return 0;
}

/* Length of the column at text, of which n bytes are left. */
static size_t
column_len(const char *text, size_t n)
{
	const char *tab = n > 0 ? memchr(text, '\t', n) : NULL;

	return tab != NULL ? (size_t)(tab - text) : n;
}

/* Column i of the n bytes of line, counted from 0; empty when there are not as
 * many. */
static const char *
column(const char *line, size_t n, unsigned i, size_t *ret_len)
{
	size_t len = column_len(line, n);

	for (; i > 0; i--) {
		if (len == n) {
			*ret_len = 0;
			return line + n;
		}
		line += len + 1;
		n -= len + 1;
		len = column_len(line, n);
	}
	*ret_len = len;
	return line;
}

int
auditline_parse(const char *line, size_t n, struct auditline *ret)
{
	struct auditline l;
	size_t tab = n;

	while (tab > 0 && line[tab - 1] != '\t')
		tab--;
	if (tab == 0 || parse_number(line, column_len(line, n), &l.seq) < 0 ||
	    parse_link(line + tab, n - tab, &l.linked, &l.link) < 0)
		return -EINVAL;
	l.body_len = tab - 1;
	l.kind = column(line, l.body_len, KIND_COLUMN, &l.kind_len);
	*ret = l;
	return 0;
}

bool
auditline_is_boot(const struct auditline *l)
{
	return is_word(
	    l->kind, l->kind_len, auditline_kind_word(AUDITLINE_BOOT));
}

int
auditline_parse_boot(const char *line, const struct auditline *l,
    struct auditline_boot_columns *ret)
{
	struct auditline_boot_columns boot;
	const char *prev, *reason;
	size_t prev_len, reason_len;
	int i;

	prev = column(line, l->body_len, PREV_COLUMN, &prev_len);
	/* The last one before the link. */
	reason = column(line, l->body_len, REASON_COLUMN, &reason_len);
	if (reason + reason_len != line + l->body_len ||
	    parse_link(prev, prev_len, &boot.has_prev, &boot.prev) < 0)
		return -EINVAL;
	for (i = 0; i < AUDITLINE_BOOT_COUNT; i++) {
		boot.reason = (enum auditline_boot)i;
		if (is_word(
			reason, reason_len, auditline_boot_word(boot.reason))) {
			*ret = boot;
			return 0;
		}
	}
	return -EINVAL;
}

int
auditline_parse_seq(const char *line, size_t n, uint64_t *ret)
{
	uint64_t seq;

	if (parse_number(line, column_len(line, n), &seq) < 0 ||
	    seq > INT64_MAX)
		return -EINVAL;
	*ret = seq;
	return 0;
}

bool
auditline_link_equal(
    const struct auditline_link *a, const struct auditline_link *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void
auditline_link_format(
    const struct auditline_link *link, char out[static AUDITLINE_LINK_HEX + 1])
{
	text_bytes_to_hex(link->bytes, sizeof(link->bytes), out);
}
