#include "watch/tell/auditresume.h"

#include <string.h>

#include "base/util.h"

void
auditresume_init(struct auditresume *s)
{
	*s = (struct auditresume){ .sure = true };
	auditsplit_init(&s->split, 0);
}

void
auditresume_init_window(struct auditresume *s, uint64_t offset)
{
	*s = (struct auditresume){ .skip = true, .has_header = true };
	auditsplit_init(&s->split, offset);
}

/* What stood before a header does not count. */
static void
take_header(struct auditresume *s)
{
	s->has_header = true;
	s->has_record = false;
	s->bad_lines = 0;
	s->bad_seq = 0;
}

static void
take_record(struct auditresume *s, const struct auditline *l)
{
	s->has_record = true;
	s->linked = l->linked;
	s->seq = l->seq;
	s->link = l->link;
	s->bad_lines = 0;
	s->bad_seq = 0;
}

static void
take_bad_line(struct auditresume *s)
{
	uint64_t seq = 0;

	s->bad_lines++;
	if (auditline_parse_seq(s->split.line, s->split.n, &seq) == 0)
		s->bad_seq = u64_max(s->bad_seq, seq);
}

static bool
begins_with(const struct auditsplit *split, const char *text)
{
	return split->n >= strlen(text) &&
	       memcmp(split->line, text, strlen(text)) == 0;
}

static void
take_line(struct auditresume *s)
{
	const struct auditsplit *split = &s->split;
	bool headed = s->has_header && s->lines == 0;
	struct auditline l;

	if (s->skip) {
		s->skip = false;
		return;
	}
	/* In a file that begins with something else the last one counts. */
	if (!headed && !split->too_long &&
	    auditline_is_header(split->line, split->n)) {
		take_header(s);
		return;
	}
	if (!s->has_header) {
		s->is_v1 |=
		    s->lines == 0 && begins_with(split, auditline_header_v1);
		s->lines++;
	} else if (!split->too_long &&
		   auditline_parse(split->line, split->n, &l) == 0) {
		take_record(s, &l);
	} else {
		take_bad_line(s);
	}
}

void
auditresume_take(struct auditresume *s, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t taken = auditsplit_take(&s->split, bytes, n);

		if (s->split.whole)
			take_line(s);
		bytes += taken;
		n -= taken;
	}
}

/* Nothing but the start of the header: it was torn when it was written. */
static bool
is_torn_header(const struct auditresume *s)
{
	const struct auditsplit *split = &s->split;

	return s->lines == 0 && !split->too_long &&
	       split->n <= strlen(auditline_header) &&
	       memcmp(split->line, auditline_header, split->n) == 0;
}

/* A file without a header of v2. */
static void
plan_new(const struct auditresume *s, struct auditresume_plan *ret)
{
	bool torn = auditsplit_is_torn(&s->split);

	ret->add_header = true;
	if (s->lines == 0 && !torn) {
		ret->reason = AUDITLINE_FRESH;
	} else if (is_torn_header(s)) {
		ret->reason = AUDITLINE_CORRUPT_TAIL;
		ret->keep_bytes = 0;
	} else {
		ret->reason =
		    s->is_v1 || (s->lines == 0 &&
				    begins_with(&s->split, auditline_header_v1))
			? AUDITLINE_LEGACY_V1
			: AUDITLINE_SCHEMA_DRIFT;
		ret->add_line_end = torn;
	}
}

bool
auditresume_finish(const struct auditresume *s, struct auditresume_plan *ret)
{
	struct auditresume_plan plan = { .keep_bytes = s->split.next };

	if (!s->sure && !s->has_record)
		return false;
	if (!s->has_header) {
		plan_new(s, &plan);
		*ret = plan;
		return true;
	}

	if (s->has_record) {
		plan.seq = s->seq;
		plan.link = s->link;
	}
	plan.seq = u64_max(plan.seq, s->bad_seq);
	if (auditsplit_is_torn(&s->split)) {
		plan.reason = AUDITLINE_CORRUPT_TAIL;
		plan.keep_bytes = s->split.start;
	} else if (s->bad_lines > 0) {
		plan.reason = AUDITLINE_SCHEMA_DRIFT;
	} else if (s->has_record) {
		plan.reason = AUDITLINE_RESUME;
		plan.name_prev = s->linked;
	} else {
		/* The header is all there is, of this schema. */
		plan.reason = s->lines == 0 ? AUDITLINE_FRESH
			      : s->is_v1    ? AUDITLINE_LEGACY_V1
					    : AUDITLINE_SCHEMA_DRIFT;
	}
	*ret = plan;
	return true;
}
