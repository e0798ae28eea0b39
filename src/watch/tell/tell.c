#include "watch/tell/tell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "watch/tell/audit.h"
#include "watch/tell/eventfile.h"
#include "watch/tell/lines.h"
#include "watch/tell/rows.h"
#include "watch/tell/words.h"

struct tell {
	struct eventfile *file; /* NULL: none */
	struct audit *audit;    /* NULL: none */
	bool reference_only;
	uint64_t grace_ns;
	uint64_t last_ns; /* the latest time that we were told */
};

enum which { EVENTS = 0, AUDIT };

static int
refuse(struct tell_fault *fault, enum which which, const char *path,
    const struct file_fault *why, int error)
{
	static const char *const options[] = {
		[EVENTS] = "export-file", [AUDIT] = "recovery-audit-file"
	};
	static const char *const names[] = {
		[EVENTS] = "event file", [AUDIT] = "audit file"
	};

	fault->option = options[which];
	/* A path that is cut off is still a good hint. */
	(void)snprintf(fault->text, sizeof(fault->text), "%s '%s': %s",
	    names[which], path != NULL ? path : "-",
	    why->text[0] != '\0' ? why->text : words_error(error));
	return error;
}

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
		return refuse(fault, EVENTS, options->export_path, &why, r);
	t->reference_only = options->export_reference_only;
	t->grace_ns = options->grace_ns;
	r = 0;
	if (options->export_path != NULL)
		r = eventfile_open(&file_options, stats, &t->file, &why);
	if (r < 0) {
		(void)tell_close(t);
		return refuse(fault, EVENTS, options->export_path, &why, r);
	}
	if (options->audit.path != NULL)
		r = audit_open(&options->audit, stats, &t->audit, &why);
	if (r < 0) {
		(void)tell_close(t);
		return refuse(fault, AUDIT, options->audit.path, &why, r);
	}
	*ret = t;
	return 0;
}

void
tell_end(struct tell *t)
{
	if (t != NULL && t->audit != NULL)
		audit_end(t->audit);
}

uint64_t
tell_close(struct tell *t)
{
	uint64_t left_ns, end_ns;

	if (t == NULL)
		return 0;
	/* The two disks are at work at the same time. */
	if (t->file != NULL)
		eventfile_end(t->file, t->last_ns);
	left_ns = t->audit != NULL ? audit_close(t->audit) : t->grace_ns;
	end_ns = u64_add_sat(clock_now_ns(CLOCK_SOURCE_MONOTONIC), left_ns);
	eventfile_close(t->file, left_ns, t->last_ns);
	free(t);
	return u64_sub_sat(end_ns, clock_now_ns(CLOCK_SOURCE_MONOTONIC));
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
	    (!t->reference_only ||
		(rows_is_reference_kind(ev->kind) && ev->lane == NULL))) {
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
	if (t->audit != NULL)
		audit_add(t->audit, record);
	if (lines_of_recovery(record, &line))
		write_line(&line);
}

void
tell_follow(struct tell *t, uint64_t now_ns)
{
	if (t->file != NULL)
		eventfile_follow(t->file, now_ns);
}

void
tell_flush(struct tell *t, uint64_t now_ns)
{
	t->last_ns = now_ns;
	if (t->file != NULL)
		eventfile_flush(t->file, now_ns);
	if (t->audit != NULL)
		audit_flush(t->audit);
}
