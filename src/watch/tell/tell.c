#include "watch/tell/tell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "watch/tell/eventfile.h"
#include "watch/tell/lines.h"
#include "watch/tell/rows.h"
#include "watch/tell/words.h"

struct tell {
	struct eventfile *file; /* NULL: none */
	bool reference_only;
	uint64_t last_ns; /* the latest time that we were told */
};

int
tell_open(const struct tell_options *options, struct stats *stats,
    struct tell **ret, struct tell_fault *fault)
{
	const struct eventfile_options file_options = {
		.path = options->export_path,
		.max_bytes = options->export_max_bytes,
		.sync_every = options->export_sync_every,
	};
	struct file_fault why = { "" };
	struct tell *t;
	int r = -ENOMEM;

	t = calloc(1, sizeof(*t));
	if (t == NULL)
		goto fail;
	t->reference_only = options->export_reference_only;
	if (options->export_path != NULL) {
		r = eventfile_open(&file_options, stats, &t->file, &why);
		if (r < 0)
			goto fail;
	}
	*ret = t;
	return 0;

fail:
	free(t);
	/* A path that is cut off is still a good hint. */
	(void)snprintf(fault->text, sizeof(fault->text), "event file '%s': %s",
	    options->export_path != NULL ? options->export_path : "-",
	    why.text[0] != '\0' ? why.text : words_error(r));
	return r;
}

void
tell_close(struct tell *t)
{
	if (t == NULL)
		return;
	eventfile_close(t->file, t->last_ns);
	free(t);
}

bool
tell_wants_beats(const struct tell *t)
{
	return t->file != NULL;
}

static void
write_line(const struct line *line)
{
	log_line(line->level, &line->fields, "%s", line->text);
}

void
tell_event(struct tell *t, const struct event *ev)
{
	char row[ROWS_BYTES];
	struct line line;
	size_t n;

	t->last_ns = ev->at_ns;
	if (t->file != NULL &&
	    (!t->reference_only || rows_is_reference_kind(ev->kind))) {
		n = rows_format(ev, row);
		eventfile_add(t->file, row, n, ev->at_ns);
	}
	if (ev->kind != EVENT_BEAT && lines_of_event(ev, &line))
		write_line(&line);
}

void
tell_recovery(struct tell *t, const struct recovery_record *record)
{
	struct line line;

	t->last_ns = record->at_ns;
	if (lines_of_recovery(record, &line))
		write_line(&line);
}

void
tell_flush(struct tell *t, uint64_t now_ns)
{
	t->last_ns = now_ns;
	if (t->file != NULL)
		eventfile_flush(t->file, now_ns);
}
