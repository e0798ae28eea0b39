/*
 * Audit trails for tests: made record by record, and verified, in memory or
 * from files.
 */
#ifndef SUPPORT_AUDITBOOK_H
#define SUPPORT_AUDITBOOK_H

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit/auditline.h"
#include "audit/auditverify.h"

/* A file being made. */
struct auditbook {
	char text[32768];
	size_t n;
	uint64_t seq; /* of the last record */
	struct auditline_link link;
};

static inline void
auditbook_text(struct auditbook *b, const char *text)
{
	size_t n = strlen(text);

	assert(b->n + n < sizeof(b->text));
	memcpy(b->text + b->n, text, n + 1);
	b->n += n;
}

/* Lines that are no records, or the header. */
static inline void
auditbook_line(struct auditbook *b, const char *line)
{
	auditbook_text(b, line);
	auditbook_text(b, "\n");
}

static inline void
auditbook_header(struct auditbook *b)
{
	auditbook_line(b, auditline_header);
}

/* A record: all columns but the first and the last. Its number is one above
 * that of the last one. */
static inline void
auditbook_record(
    struct auditbook *b, enum auditline_kind kind, const char *columns)
{
	int n;

	n = snprintf(b->text + b->n, sizeof(b->text) - b->n, "%llu\t%s",
	    (unsigned long long)++b->seq, columns);
	assert(n > 0 && b->n + (size_t)n + 80 < sizeof(b->text));
	b->n += auditline_finish(b->text + b->n, (size_t)n, kind, &b->link);
	b->text[b->n] = '\0';
}

static inline void
auditbook_refused(struct auditbook *b, const char *reason)
{
	char columns[128];

	(void)snprintf(
	    columns, sizeof(columns), "1700\t5\trefused\t42\t%s", reason);
	auditbook_record(b, AUDITLINE_REFUSED, columns);
}

/* named: it names the link before it. */
static inline void
auditbook_boot(struct auditbook *b, enum auditline_boot reason, bool named)
{
	char columns[256], prev[AUDITLINE_LINK_HEX + 1] = "-";

	if (named)
		auditline_link_format(&b->link, prev);
	(void)snprintf(columns, sizeof(columns), "1700\t0\tboot\t1234\t%s\t%s",
	    prev, auditline_boot_word(reason));
	auditbook_record(b, AUDITLINE_BOOT, columns);
}

/* An empty file that goes on with the trail of b, or begins one anew. */
static inline void
auditbook_next(struct auditbook *b)
{
	b->n = 0;
	b->text[0] = '\0';
}

static inline void
auditbook_init(struct auditbook *b)
{
	memset(b, 0, sizeof(*b));
}

/* ---- what the verifier says --------------------------------------------- */

enum { AUDITBOOK_FINDINGS = 32 };

struct auditbook_verdict {
	struct auditverify v;
	size_t n;
	struct auditverify_finding findings[AUDITBOOK_FINDINGS];
};

static inline void
auditbook_note(void *ctx, const struct auditverify_finding *finding)
{
	struct auditbook_verdict *verdict = ctx;

	if (verdict->n < AUDITBOOK_FINDINGS)
		verdict->findings[verdict->n] = *finding;
	verdict->n++;
}

static inline void
auditbook_begin_verdict(struct auditbook_verdict *verdict)
{
	verdict->n = 0;
	auditverify_init(&verdict->v, auditbook_note, verdict);
}

/* One more file, in pieces of so many bytes. */
static inline void
auditbook_verify(struct auditbook_verdict *verdict, size_t file,
    const char *bytes, size_t n, size_t piece)
{
	size_t done, now;

	auditverify_begin(&verdict->v, file);
	for (done = 0; done < n; done += now) {
		now = n - done < piece ? n - done : piece;
		auditverify_take(&verdict->v, bytes + done, now);
	}
	auditverify_end(&verdict->v);
}

/* PATH.5 to PATH, as far as they are there. */
static inline void
auditbook_verify_files(struct auditbook_verdict *verdict, const char *path)
{
	static char bytes[1 << 20];
	char name[256];
	unsigned i;
	ssize_t n;
	int fd;

	auditbook_begin_verdict(verdict);
	for (i = 6; i-- > 0;) {
		if (i > 0)
			(void)snprintf(name, sizeof(name), "%s.%u", path, i);
		else
			(void)snprintf(name, sizeof(name), "%s", path);
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, bytes, sizeof(bytes));
		assert(n >= 0 && (size_t)n < sizeof(bytes));
		(void)close(fd);
		auditbook_verify(
		    verdict, 5 - i, bytes, (size_t)n, sizeof(bytes));
	}
}

#endif
