/*
 * The thread that owns the audit file once the observer runs: it takes rows
 * from the queue, writes, syncs and rotates, and may wait for the disk as long
 * as that takes. What others have to know of it are counters.
 *
 * Rows that wait while the disk is at work are written together and synced
 * once: a sync covers all that was taken before it began, so with sync_every 1
 * no row is ever taken for written that is not on disk. Time limits are only
 * counted. After an error the same is tried again, at most every
 * AUDITWRITER_RETRY_MS; nothing is skipped.
 *
 * The thread has all signals blocked.
 */
#ifndef WATCH_TELL_AUDITWRITER_H
#define WATCH_TELL_AUDITWRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "watch/stats.h"
#include "watch/tell/auditfile.h"
#include "watch/tell/auditqueue.h"

enum {
	AUDITWRITER_RETRY_MS = 200,
	AUDITWRITER_FLUSH_MS = 10 /* a row that waits longer is counted */
};

struct auditwriter_options {
	uint32_t sync_every;       /* rows; at least 1 */
	uint64_t sync_interval_ns; /* rows older are synced as well; 0 off */
	uint64_t fsync_budget_ns;
	uint64_t rotation_budget_ns;
};

/* Each a total since the start. */
struct auditwriter_counts {
	_Atomic uint64_t rows; /* written */
	_Atomic uint64_t errors;
	_Atomic uint64_t late_rows; /* times that rows had waited too long */
	_Atomic uint64_t late_syncs;
	_Atomic uint64_t late_rotations;
	_Atomic uint64_t sync_ns;
	_Atomic uint64_t sync_buckets[STATS_BUCKETS];
};

struct auditwriter;

/*
 * Start the thread. path is for the log and borrowed. It takes over file and
 * queue, of which the caller goes on to put rows. On an error, -errno, they
 * stay the caller's.
 */
int auditwriter_start(const struct auditwriter_options *options,
    const char *path, struct auditfile *file, struct auditqueue *queue,
    struct auditwriter **ret);

/* There are rows in the queue. Never waits. */
void auditwriter_wake(struct auditwriter *w);

const struct auditwriter_counts *auditwriter_counts(
    const struct auditwriter *w);

/*
 * Write and sync what is in the queue, end the thread and free all, with file
 * and queue. No row may be put any more. When the disk does not answer within
 * wait_ns, the thread is left to itself, and to the end of the process: then
 * -ETIMEDOUT. Otherwise 0.
 */
int auditwriter_stop(struct auditwriter *w, uint64_t wait_ns);

#endif
