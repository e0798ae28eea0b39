/*
 * The event file: rows appended through a buffer, one write(2) for each pass.
 *
 * The caller writes to the file, and never waits for the disk to have it: with
 * sync_every a thread of its own syncs the file (base/syncer.h), and once more
 * when it is rotated away. While the disk hangs, files that were rotated away
 * wait for it, up to a limit; then the file in use grows on.
 *
 * Nothing that goes wrong with the file stops the observer. What could not be
 * written stays in the buffer, a row that was written in part is completed
 * first, and when the buffer is full new rows are left out whole: the file
 * holds whole rows in the right order whatever happens. Failures and rows left
 * out are counted, and logged at most once a second; a sync that has failed, in
 * the pass after it.
 */
#ifndef WATCH_TELL_EVENTFILE_H
#define WATCH_TELL_EVENTFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "watch/stats.h"

enum {
	EVENTFILE_BUFFER_BYTES = 65536,
	EVENTFILE_GENERATIONS = 5 /* PATH.1 to PATH.5 */
};

struct eventfile_options {
	const char *path;
	uint64_t max_bytes;  /* rotated by the row that reaches it; 0 never */
	uint32_t sync_every; /* rows until an fdatasync(2); 0 never */
};

struct eventfile;

/*
 * Open or create the file by the rules of file.h, and start the thread, if
 * there is anything to sync. What the file holds already counts towards
 * max_bytes. path and stats are borrowed.
 *
 * Returns 0, -ENOMEM, or another error with fault filled in.
 */
int eventfile_open(const struct eventfile_options *options, struct stats *stats,
    struct eventfile **ret, struct file_fault *fault);

/* Write what is buffered, as far as it goes, and begin to sync it, where that
 * is wanted. Nothing may be added any more. */
void eventfile_end(struct eventfile *f, uint64_t now_ns);

/* The same, and close. Waits for the disk for wait_ns at most; one that takes
 * longer is left behind. Takes NULL. */
void eventfile_close(struct eventfile *f, uint64_t wait_ns, uint64_t now_ns);

/* Append one whole row: n bytes, LF at the end, at most
 * EVENTFILE_BUFFER_BYTES. now_ns is for the log. */
void eventfile_add(
    struct eventfile *f, const char *row, size_t n, uint64_t now_ns);

/* Write out what is buffered. */
void eventfile_flush(struct eventfile *f, uint64_t now_ns);

/* Where another program has moved the file away or removed it, go on in a new
 * one. When none can be made, that is logged, and the old one is used on. */
void eventfile_follow(struct eventfile *f, uint64_t now_ns);

#endif
