/*
 * Any bytes as an audit file: the verifier says the same in pieces of any
 * size, and a file that is continued as planned is one that can be continued
 * again, at the record and the link that was written last.
 */
#include "audit/auditverify.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "watch/tell/auditresume.h"
#include "watch/tell/auditrow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
verify(struct auditverify *v, const char *bytes, size_t n, size_t piece)
{
	size_t done, now;

	auditverify_init(v, NULL, NULL);
	auditverify_begin(v, 0);
	for (done = 0; done < n; done += now) {
		now = n - done < piece ? n - done : piece;
		auditverify_take(v, bytes + done, now);
	}
	auditverify_end(v);
}

static struct auditresume_plan
plan(const char *bytes, size_t n)
{
	static struct auditresume s;
	struct auditresume_plan all, window;
	size_t from = n > 200 ? n - 200 : n;

	auditresume_init(&s);
	auditresume_take(&s, bytes, n);
	assert(auditresume_finish(&s, &all));
	assert(all.keep_bytes <= n);

	/* The end of a file of this schema says the same, if anything. */
	if (n > strlen(auditline_header) &&
	    auditline_is_header(bytes, strlen(auditline_header)) &&
	    bytes[strlen(auditline_header)] == '\n' &&
	    from > strlen(auditline_header)) {
		auditresume_init_window(&s, from);
		auditresume_take(&s, bytes + from, n - from);
		if (auditresume_finish(&s, &window)) {
			assert(window.reason == all.reason);
			assert(window.keep_bytes == all.keep_bytes);
			assert(auditline_link_equal(&window.link, &all.link));
		}
	}
	return all;
}

/* Continue the file of n bytes as auditfile.c does. Returns its new length. */
static size_t
go_on(
    char *bytes, const struct auditresume_plan *p, struct auditline_link *link)
{
	size_t n = (size_t)p->keep_bytes, start;
	char row[AUDITROW_BYTES];
	size_t row_len;

	if (p->add_line_end)
		bytes[n++] = '\n';
	if (p->add_header) {
		memcpy(bytes + n, auditline_header, strlen(auditline_header));
		n += strlen(auditline_header);
		bytes[n++] = '\n';
	}
	start = n;
	*link = p->link;
	row_len = auditrow_format_boot(
	    p->reason, 1, p->name_prev ? link : NULL, 0, row);
	bytes[n++] = '7';
	bytes[n++] = '\t';
	memcpy(bytes + n, row, row_len);
	n += row_len;
	return start +
	       auditline_finish(bytes + start, n - start, AUDITLINE_BOOT, link);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct auditverify whole, pieces;
	const char *bytes = (const char *)data;
	struct auditresume_plan p;
	struct auditline_link link;
	char *file;
	size_t n;

	verify(&whole, bytes, size, size + 1);
	verify(&pieces, bytes, size, 1 + size / 7);
	assert(memcmp(&whole.sums, &pieces.sums, sizeof(whole.sums)) == 0);

	p = plan(bytes, size);
	file = malloc(size + AUDITLINE_MAX);
	assert(file != NULL);
	if (size > 0)
		memcpy(file, data, size);
	n = go_on(file, &p, &link);
	p = plan(file, n);
	assert(p.reason == AUDITLINE_RESUME);
	assert(p.seq == 7 && p.name_prev);
	assert(auditline_link_equal(&p.link, &link));
	free(file);
	return 0;
}
