#include "audit/auditsplit.h"

#include <string.h>

static void
begin_line(struct auditsplit *s)
{
	s->whole = false;
	s->too_long = false;
	s->n = 0;
	s->number++;
	s->start = s->next;
}

void
auditsplit_init(struct auditsplit *s, uint64_t at)
{
	s->number = 0;
	s->next = at;
	begin_line(s);
}

size_t
auditsplit_take(struct auditsplit *s, const char *bytes, size_t n)
{
	const char *end = n > 0 ? memchr(bytes, '\n', n) : NULL;
	size_t taken = end != NULL ? (size_t)(end - bytes) : n;

	if (s->whole)
		begin_line(s);
	/* One byte less than AUDITLINE_MAX, which counts the LF. */
	n = sizeof(s->line) - 1 - s->n;
	if (taken > n)
		s->too_long = true;
	else
		n = taken;
	if (n > 0)
		memcpy(s->line + s->n, bytes, n);
	s->n += n;
	s->whole = end != NULL;
	taken += s->whole;
	s->next += taken;
	return taken;
}

bool
auditsplit_is_torn(const struct auditsplit *s)
{
	return !s->whole && s->next > s->start;
}
