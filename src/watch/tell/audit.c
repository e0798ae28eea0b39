#include "watch/tell/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium/core.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "watch/tell/auditfile.h"
#include "watch/tell/auditqueue.h"
#include "watch/tell/auditrow.h"
#include "watch/tell/auditwriter.h"
#include "watch/tell/words.h"

/* Rows in the queue at which somebody ought to look, and hurry. */
static const uint32_t watermarks[STATS_AUDIT_RING_COUNT] = {
	[STATS_AUDIT_RING_WARN] = AUDITQUEUE_ROWS * 3 / 4,
	[STATS_AUDIT_RING_CRITICAL] = AUDITQUEUE_ROWS * 95 / 100,
};

struct audit {
	struct stats *stats;
	struct auditwriter *writer;
	struct auditqueue *queue; /* the writer's */
	uint64_t left_ns;         /* how long the end may still wait */
	bool ending;
	bool added;                         /* rows since the last flush */
	bool above[STATS_AUDIT_RING_COUNT]; /* its watermark */
};

/* ---- start -------------------------------------------------------------- */

static void
say_what_was_found(const char *path, const struct auditfile *file,
    const struct auditfile_found *found)
{
	uint64_t seq = auditfile_seq(file);

	switch (found->reason) {
	case AUDITLINE_FRESH:
	case AUDITLINE_ROTATION:
	case AUDITLINE_BOOT_COUNT:
		log_info("audit file '%s': begun", path);
		break;
	case AUDITLINE_RESUME:
		log_info("audit file '%s': continued with record %" PRIu64,
		    path, seq);
		break;
	case AUDITLINE_LEGACY_V1:
		log_warn("audit file '%s': what is there is of schema v1 and "
			 "not part of the chain; continued behind it",
		    path);
		break;
	case AUDITLINE_CORRUPT_TAIL:
		log_warn("audit file '%s': the last record was torn, %" PRIu64
			 " bytes were cut off; continued with record %" PRIu64,
		    path, found->cut_bytes, seq);
		break;
	case AUDITLINE_SCHEMA_DRIFT:
		log_warn("audit file '%s': its end is not understood and was "
			 "kept; continued with record %" PRIu64,
		    path, seq);
		break;
	}
	if ((found->mode & 022) != 0)
		log_warn("audit file '%s': mode 0%03o, others may write it: "
			 "should be 0600",
		    path, found->mode);
}

static int
start(struct audit *a, const struct audit_options *options,
    struct auditfile *file, struct file_fault *fault)
{
	const struct auditwriter_options writer = {
		.sync_every = options->sync_every > 0 ? options->sync_every : 1,
		.sync_interval_ns = options->sync_interval_ns,
		.fsync_budget_ns = options->fsync_budget_ns,
		.rotation_budget_ns = options->rotation_budget_ns,
	};
	int r = -ENOMEM;

	a->queue = auditqueue_new();
	if (a->queue != NULL)
		r = auditwriter_start(
		    &writer, options->path, file, a->queue, &a->writer);
	if (r < 0) {
		auditqueue_free(a->queue);
		(void)snprintf(fault->text, sizeof(fault->text),
		    "cannot start its thread: %s", words_error(r));
	}
	return r;
}

int
audit_open(const struct audit_options *options, struct stats *stats,
    struct audit **ret, struct file_fault *fault)
{
	const struct auditfile_options file_options = {
		.path = options->path,
		.max_bytes = options->max_bytes,
		.pid = (uint32_t)getpid(),
	};
	struct auditfile_found found;
	struct auditfile *file = NULL;
	struct audit *a;
	int r = -ENOMEM;

	fault->text[0] = '\0';
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	a->stats = stats;
	a->left_ns = options->grace_ns;
	r = sodium_init() < 0 ? -EIO : 0;
	if (r == 0)
		r = auditfile_open(
		    &file_options, clock_wall_ms(), &file, &found, fault);
	if (r < 0)
		goto fail;
	say_what_was_found(options->path, file, &found);
	r = start(a, options, file, fault);
	if (r < 0)
		goto fail;
	if (options->sync_every > 1)
		log_warn("audit file '%s': synced each %" PRIu32 " records "
			 "only: a crash of the system may lose the last ones",
		    options->path, options->sync_every);
	*ret = a;
	return 0;

fail:
	auditfile_close(file);
	free(a);
	return r;
}

/* ---- rows --------------------------------------------------------------- */

/* Each watermark counts once when the queue grows past it, and again only
 * after it has fallen below. */
static void
watch_level(struct audit *a, uint64_t now_ns)
{
	static const enum log_kind kinds[STATS_AUDIT_RING_COUNT] = {
		[STATS_AUDIT_RING_WARN] = LOG_KIND_AUDIT_RING_WARN,
		[STATS_AUDIT_RING_CRITICAL] = LOG_KIND_AUDIT_RING_CRITICAL,
	};
	uint32_t fill = auditqueue_fill(a->queue);
	size_t i;

	for (i = 0; i < STATS_AUDIT_RING_COUNT; i++) {
		bool above = fill >= watermarks[i];

		if (above && !a->above[i]) {
			a->stats->audit_ring[i]++;
			log_limited(kinds[i], now_ns,
			    i == STATS_AUDIT_RING_WARN ? LOG_WARN : LOG_ERROR,
			    NULL,
			    "the audit file's disk is slow: %" PRIu32
			    " of %d records wait",
			    fill, AUDITQUEUE_ROWS);
		}
		a->above[i] = above;
	}
}

/* At the end of the program nobody is held up by a nap of a millisecond. */
static void
wait_for_room(struct audit *a, size_t n)
{
	uint64_t now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	uint64_t end_ns = u64_add_sat(now_ns, a->left_ns);

	while (!auditqueue_has_room(a->queue, n) && now_ns < end_ns) {
		auditwriter_wake(a->writer);
		(void)poll(NULL, 0, 1);
		now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	}
	a->left_ns = u64_sub_sat(end_ns, now_ns);
}

void
audit_add(struct audit *a, const struct recovery_record *record)
{
	char row[AUDITROW_BYTES];
	size_t n = auditrow_format(record, clock_wall_ms(), row);
	uint64_t now_ns;

	if (a->ending)
		wait_for_room(a, n);
	/* Not the observer's time, which the other thread does not know. */
	now_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	if (auditqueue_put(
		a->queue, auditrow_kind(record->outcome), row, n, now_ns))
		a->added = true;
	else
		a->stats->recovery_audit_dropped++;
	watch_level(a, now_ns);
}

static uint64_t
get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The thread counts on its own; a histogram is taken as a whole that is one
 * even when the thread is just adding to it. */
static void
collect(struct audit *a)
{
	const struct auditwriter_counts *counts = auditwriter_counts(a->writer);
	struct stats_histogram *h = &a->stats->audit_fsync;
	size_t i;

	a->stats->audit_rows = get(&counts->rows);
	a->stats->audit_errors = get(&counts->errors);
	a->stats->recovery_audit_flush_budget_exceeded =
	    get(&counts->late_rows);
	a->stats->audit_fsync_budget_exceeded = get(&counts->late_syncs);
	a->stats->audit_rotation_budget_exceeded = get(&counts->late_rotations);
	h->sum_ns = get(&counts->sync_ns);
	h->count = 0;
	for (i = 0; i < STATS_BUCKETS; i++) {
		h->buckets[i] = get(&counts->sync_buckets[i]);
		h->count += h->buckets[i];
	}
}

void
audit_flush(struct audit *a)
{
	if (a->added)
		auditwriter_wake(a->writer);
	a->added = false;
	if (a->above[STATS_AUDIT_RING_WARN])
		watch_level(a, clock_now_ns(CLOCK_SOURCE_MONOTONIC));
	collect(a);
}

/* ---- end ---------------------------------------------------------------- */

void
audit_end(struct audit *a)
{
	a->ending = true;
}

uint64_t
audit_close(struct audit *a)
{
	uint64_t start_ns, end_ns;

	if (a == NULL)
		return 0;
	audit_flush(a);
	start_ns = clock_now_ns(CLOCK_SOURCE_MONOTONIC);
	end_ns = u64_add_sat(start_ns, a->left_ns);
	if (auditwriter_stop(a->writer, a->left_ns) < 0)
		log_error("the audit file's disk does not answer: its last "
			  "records may be lost");
	free(a);
	return u64_sub_sat(end_ns, clock_now_ns(CLOCK_SOURCE_MONOTONIC));
}
