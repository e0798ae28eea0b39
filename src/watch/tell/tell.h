/*
 * Tell: events and records go out: the event file, log lines, the audit trail
 * of recovery. Takes values, decides nothing. Metrics and HTTP stand beside it
 * (metrics.h, http.h): they are asked, this one tells.
 */
#ifndef WATCH_TELL_TELL_H
#define WATCH_TELL_TELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"
#include "watch/stats.h"
#include "watch/tell/audit.h"

struct tell_options {
	const char *export_path;    /* NULL: no event file */
	uint64_t export_max_bytes;  /* 0: never rotated */
	uint32_t export_sync_every; /* synced each so many; 0 never */
	bool export_reference_only; /* only the kinds of the reference */
	uint64_t grace_ns;          /* how long the end may wait for disks */
	struct audit_options audit;
};

struct tell;

struct tell_fault {
	const char *option; /* that named the file, without the dashes */
	char text[256];
};

/* 0 or -errno with fault filled in. */
int tell_open(const struct tell_options *options, struct stats *stats,
    struct tell **ret, struct tell_fault *fault);

/* The end has begun: from now on a record may wait until there is room for it,
 * within the grace of the audit trail. Takes NULL. */
void tell_end(struct tell *t);

/*
 * Flush and close; waits for the disks of both files for grace_ns, all in all.
 * Takes NULL.
 *
 * Returns what is left of grace_ns then.
 */
uint64_t tell_close(struct tell *t);

/* True when beats are written somewhere: the caller may leave out
 * EVENT_BEAT otherwise. */
bool tell_wants_beats(const struct tell *t);

/* Never blocks on anything but the event file's own write, which no disk has
 * to have answered. */
void tell_event(struct tell *t, const struct event *ev);
void tell_recovery(struct tell *t, const struct recovery_record *record);

/* The event file may have been moved away: see eventfile_follow(). */
void tell_follow(struct tell *t, uint64_t now_ns);

/* Write out what is buffered; at the end of each pass. */
void tell_flush(struct tell *t, uint64_t now_ns);

#endif
