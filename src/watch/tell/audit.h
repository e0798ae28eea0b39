/*
 * The recovery audit trail: a row for each thing that recovery does or leaves
 * undone, in a file whose rows are chained (audit/auditline.h), for the time
 * when somebody asks what was run, and whether the file still says so.
 *
 * The caller never waits for a disk: rows go through a queue to a thread of
 * their own. When the queue is full, a row is lost; it is counted, and its
 * number is missing in the file. Only after audit_end(), when nobody else is
 * kept waiting, does a row wait for room.
 */
#ifndef WATCH_TELL_AUDIT_H
#define WATCH_TELL_AUDIT_H

#include <stdint.h>

#include "base/file.h"
#include "watch/event.h"
#include "watch/stats.h"

struct audit_options {
	const char *path;            /* NULL: no trail */
	uint64_t max_bytes;          /* rotated at this size; 0 never */
	uint64_t sync_interval_ns;   /* sync rows after so long; 0 off */
	uint64_t fsync_budget_ns;    /* longer syncs are counted */
	uint64_t rotation_budget_ns; /* longer rotations are counted */
	uint64_t grace_ns;           /* how long the end may wait */
	uint32_t sync_every;         /* rows until a sync; 0 is taken for 1 */
};

struct audit;

/*
 * Open or create the file, write the boot row and sync it, start the thread.
 * Blocks on the disk. What was found in the file is logged. stats is borrowed.
 *
 * 0, or -errno with fault filled in.
 */
int audit_open(const struct audit_options *options, struct stats *stats,
    struct audit **ret, struct file_fault *fault);

/* One row. */
void audit_add(struct audit *a, const struct recovery_record *record);

/* At the end of a pass: what was added goes on its way, and the counters of
 * the thread come into stats. */
void audit_flush(struct audit *a);

/* Rows that come from now on may wait for room, all together, and with
 * audit_close(), for grace_ns. Time in between does not count. */
void audit_end(struct audit *a);

/* Write and sync all rows and end the thread, within what is left of grace_ns;
 * a disk that takes longer is left behind. Takes NULL.
 *
 * Returns what is left of grace_ns then. */
uint64_t audit_close(struct audit *a);

#endif
