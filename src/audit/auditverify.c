#include "audit/auditverify.h"

#include <string.h>

static const struct auditline_link no_link;

void
auditverify_init(struct auditverify *v, auditverify_report *report, void *ctx)
{
	memset(v, 0, sizeof(*v));
	v->report = report;
	v->ctx = ctx;
	auditsplit_init(&v->split, 0);
}

static void
find(struct auditverify *v, enum auditverify_what what, uint64_t line,
    uint64_t n)
{
	const struct auditverify_finding finding = {
		.what = what, .file = v->file, .line = line, .n = n
	};

	v->sums.breaks += auditverify_is_break(what);
	if (v->report != NULL)
		v->report(v->ctx, &finding);
}

/* Something about the line at hand. */
static void
find_here(struct auditverify *v, enum auditverify_what what)
{
	find(v, what, v->split.number, 0);
}

void
auditverify_begin(struct auditverify *v, size_t file)
{
	v->file = file;
	v->has_header = false;
	v->file_records = 0;
	v->bad_lines = 0;
	auditsplit_init(&v->split, 0);
}

/*
 * Numbers go up. One that is missing was used up by the observer for a record
 * that it dropped: so says the chain, when it is whole nevertheless.
 */
static void
check_number(struct auditverify *v, const struct auditline *l, bool is_whole)
{
	struct auditverify_sums *sums = &v->sums;

	if (sums->records == 0) {
		sums->first_seq = l->seq;
	} else if (l->seq <= sums->last_seq) {
		find_here(v, AUDITVERIFY_ORDER);
	} else if (l->seq - sums->last_seq > 1 && is_whole) {
		sums->gaps++;
		sums->dropped += l->seq - sums->last_seq - 1;
		find(v, AUDITVERIFY_DROPPED, v->split.number,
		    l->seq - sums->last_seq - 1);
	}
	sums->last_seq = l->seq;
}

static bool
follows(const struct auditverify *v, const struct auditline *l,
    const struct auditline_link *prev)
{
	struct auditline_link link;

	auditline_step(
	    prev, l->kind, l->kind_len, v->split.line, l->body_len, &link);
	return auditline_link_equal(&link, &l->link);
}

/* The link of a record that follows prev. */
static void
check_link(struct auditverify *v, const struct auditline *l,
    const struct auditline_link *prev)
{
	if (l->linked && !follows(v, l, prev))
		find_here(v, AUDITVERIFY_LINK);
}

static void
check_record(struct auditverify *v, const struct auditline *l)
{
	if (v->file_records == 0)
		find_here(v, AUDITVERIFY_NO_START);
	else if (l->linked != v->linked)
		find_here(v, AUDITVERIFY_NO_LINK);
	else
		check_link(v, l, &v->sums.head);
}

/* A boot record that names the record before it. */
static void
check_continued(struct auditverify *v, const struct auditline *l,
    const struct auditline_boot_columns *boot)
{
	if (l->linked && (boot->has_prev != v->linked ||
			     !auditline_link_equal(&boot->prev, &v->sums.head)))
		find_here(v, AUDITVERIFY_PREV);
	else
		check_link(v, l, &v->sums.head);
}

/* A boot record after damage: it follows the last good record, or nothing
 * where there was none to be found. */
static void
check_repaired(struct auditverify *v, const struct auditline *l, bool unsure)
{
	if (v->linked && (!unsure || follows(v, l, &v->sums.head)))
		check_link(v, l, &v->sums.head);
	else
		check_link(v, l, &no_link);
}

static void
check_rotated(struct auditverify *v, const struct auditline *l,
    const struct auditline_boot_columns *boot)
{
	if (v->file_records > 0)
		find_here(v, AUDITVERIFY_STARTS_OVER);
	else if (v->sums.records > 0)
		check_continued(v, l, boot);
	else
		check_link(v, l, &boot->prev);
}

static void
check_boot(struct auditverify *v, const struct auditline *l,
    const struct auditline_boot_columns *boot)
{
	bool first = v->file_records == 0;

	switch (boot->reason) {
	case AUDITLINE_FRESH:
	case AUDITLINE_LEGACY_V1:
		if (v->sums.records > 0)
			find_here(v, AUDITVERIFY_STARTS_OVER);
		else
			check_link(v, l, &no_link);
		return;
	case AUDITLINE_RESUME:
		if (first)
			find_here(v, AUDITVERIFY_NO_START);
		else
			check_continued(v, l, boot);
		return;
	case AUDITLINE_ROTATION:
		check_rotated(v, l, boot);
		return;
	case AUDITLINE_CORRUPT_TAIL:
		find_here(v, AUDITVERIFY_CUT);
		break;
	case AUDITLINE_SCHEMA_DRIFT:
	case AUDITLINE_BOOT_COUNT:
		break;
	}
	if (!first)
		check_repaired(v, l, v->bad_lines > 1);
	else if (v->sums.records > 0)
		find_here(v, AUDITVERIFY_STARTS_OVER);
	else
		check_link(v, l, &no_link);
}

static void
note_bad_line(struct auditverify *v)
{
	if (v->bad_lines++ == 0)
		v->first_bad_line = v->split.number;
}

static void
take_record(struct auditverify *v, const struct auditline *l)
{
	struct auditline_boot_columns boot;
	uint64_t breaks = v->sums.breaks;
	/* One of an unknown reason must follow like any other record. */
	bool is_boot = auditline_is_boot(l) &&
		       auditline_parse_boot(v->split.line, l, &boot) == 0;
	bool drifted = is_boot && boot.reason == AUDITLINE_SCHEMA_DRIFT &&
		       v->bad_lines > 0;

	if (v->bad_lines > 0)
		find(v, drifted ? AUDITVERIFY_DRIFT : AUDITVERIFY_NO_RECORD,
		    v->first_bad_line, v->bad_lines);
	if (!l->linked && (v->linked || v->file_records == 0))
		find_here(v, AUDITVERIFY_UNLINKED);
	if (is_boot)
		check_boot(v, l, &boot);
	else
		check_record(v, l);
	check_number(v, l, !drifted && v->sums.breaks == breaks);

	v->bad_lines = 0;
	v->linked = l->linked;
	v->sums.head = l->link;
	v->sums.unlinked += !l->linked;
	v->sums.boots += is_boot;
	v->sums.records++;
	v->file_records++;
}

static void
take_line(struct auditverify *v)
{
	const struct auditsplit *s = &v->split;
	struct auditline l;

	if (v->has_header) {
		if (!s->too_long && auditline_parse(s->line, s->n, &l) == 0)
			take_record(v, &l);
		else
			note_bad_line(v);
		return;
	}
	if (s->too_long || !auditline_is_header(s->line, s->n))
		return;
	v->has_header = true;
	if (s->number > 1) {
		v->sums.legacy_lines += s->number - 1;
		find(v, AUDITVERIFY_LEGACY, 1, s->number - 1);
	}
}

void
auditverify_take(struct auditverify *v, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t taken = auditsplit_take(&v->split, bytes, n);

		if (v->split.whole)
			take_line(v);
		bytes += taken;
		n -= taken;
	}
}

void
auditverify_end(struct auditverify *v)
{
	if (!v->has_header && v->split.next > 0) {
		find(v, AUDITVERIFY_NO_HEADER, 1, 0);
		return;
	}
	if (v->bad_lines > 0)
		find(v, AUDITVERIFY_NO_RECORD, v->first_bad_line, v->bad_lines);
	if (auditsplit_is_torn(&v->split))
		find_here(v, AUDITVERIFY_TORN);
	if (v->file_records == 0)
		find(v, AUDITVERIFY_EMPTY, 1, 0);
}

bool
auditverify_is_break(enum auditverify_what what)
{
	return what < AUDITVERIFY_DROPPED;
}

const char *
auditverify_word(enum auditverify_what what)
{
	static const char *const words[AUDITVERIFY_WHAT_COUNT] = {
		[AUDITVERIFY_LINK] = "link",
		[AUDITVERIFY_PREV] = "prev",
		[AUDITVERIFY_ORDER] = "order",
		[AUDITVERIFY_NO_RECORD] = "no_record",
		[AUDITVERIFY_NO_HEADER] = "no_header",
		[AUDITVERIFY_NO_START] = "no_start",
		[AUDITVERIFY_STARTS_OVER] = "starts_over",
		[AUDITVERIFY_NO_LINK] = "no_link",
		[AUDITVERIFY_TORN] = "torn",
		[AUDITVERIFY_EMPTY] = "empty",
		[AUDITVERIFY_DROPPED] = "dropped",
		[AUDITVERIFY_LEGACY] = "legacy",
		[AUDITVERIFY_DRIFT] = "drift",
		[AUDITVERIFY_CUT] = "cut",
		[AUDITVERIFY_UNLINKED] = "unlinked",
	};

	return words[what];
}

const char *
auditverify_text(enum auditverify_what what)
{
	static const char *const texts[AUDITVERIFY_WHAT_COUNT] = {
		[AUDITVERIFY_LINK] =
		    "the chain does not lead here: this record was "
		    "changed, or one before it changed, removed or put in",
		[AUDITVERIFY_PREV] =
		    "names another record before it than the one that "
		    "is there",
		[AUDITVERIFY_ORDER] = "its number is not above the one before",
		[AUDITVERIFY_NO_RECORD] =
		    "lines from here on that are no records, and of "
		    "which the observer says nothing",
		[AUDITVERIFY_NO_HEADER] = "not an audit file of schema v2",
		[AUDITVERIFY_NO_START] =
		    "the file does not begin here: what went before "
		    "was removed",
		[AUDITVERIFY_STARTS_OVER] =
		    "a new trail begins within this one: what lies "
		    "between was removed",
		[AUDITVERIFY_NO_LINK] =
		    "records with and without a chain, and no start of "
		    "the observer between them",
		[AUDITVERIFY_TORN] =
		    "the last line has no end: written in part, or cut "
		    "off",
		[AUDITVERIFY_EMPTY] = "a file without records",
		[AUDITVERIFY_DROPPED] =
		    "records before this one that the observer had to drop",
		[AUDITVERIFY_LEGACY] =
		    "lines of an earlier schema, not verified",
		[AUDITVERIFY_DRIFT] =
		    "lines from here on that the observer did not understand "
		    "and kept",
		[AUDITVERIFY_CUT] =
		    "the observer found a torn line here and cut it off",
		[AUDITVERIFY_UNLINKED] =
		    "records without a chain from here on, not verified",
	};

	return texts[what];
}
