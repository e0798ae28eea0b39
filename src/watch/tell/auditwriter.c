#include "watch/tell/auditwriter.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "watch/tell/bell.h"
#include "watch/tell/words.h"

struct auditwriter {
	struct auditwriter_options options;
	struct auditwriter_counts counts;
	struct auditqueue *queue;
	struct bell wake;  /* there is something to do */
	struct bell ended; /* the thread has nothing to do any more */
	atomic_bool stop;
	atomic_bool left; /* by the first of the two who share this */
	pthread_t thread;

	/* Of the thread alone. */
	struct auditfile *file;
	uint64_t unsynced_since_ns; /* of the oldest record not synced */
	uint64_t retry_at_ns;       /* after an error; 0 */
	uint64_t rotate_at_ns;      /* the same for rotation alone */
	bool stopping;              /* what fails now fails for good */
	char path[PATH_MAX];
};

static uint64_t
now_ns(void)
{
	return clock_now_ns(CLOCK_SOURCE_MONOTONIC);
}

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* An operation has failed. Returns when to try it again. */
static uint64_t
fail(struct auditwriter *w, const char *doing, int error)
{
	uint64_t now = now_ns();

	count(&w->counts.errors, 1);
	log_limited(LOG_KIND_AUDIT_IO, now, LOG_ERROR,
	    &(struct log_fields){ .error = words_error(error) },
	    "audit file '%s': cannot %s", w->path, doing);
	return u64_add_sat(now, AUDITWRITER_RETRY_MS * NS_PER_MS);
}

/* Rows from the queue to the file's buffer, as many as it takes. */
static uint64_t
gather(struct auditwriter *w)
{
	struct auditqueue_row row;
	uint64_t now = now_ns(), n = 0;

	while (
	    auditfile_has_room(w->file) && auditqueue_front(w->queue, &row)) {
		/* Once for all that waited together; they are in order. */
		if (n == 0 && u64_sub_sat(now, row.put_ns) >
				  AUDITWRITER_FLUSH_MS * NS_PER_MS)
			count(&w->counts.late_rows, 1);
		if (auditfile_unsynced(w->file) == 0)
			w->unsynced_since_ns = now;
		auditfile_add(w->file, row.kind, row.text, row.n, row.n_lost);
		auditqueue_take(w->queue);
		n++;
	}
	count(&w->counts.rows, n);
	return n;
}

/* When what is written has to be on disk; NS_NEVER: not yet known. */
static uint64_t
sync_at_ns(const struct auditwriter *w)
{
	uint32_t n = auditfile_unsynced(w->file);

	if (n >= w->options.sync_every || (w->stopping && n > 0))
		return 0;
	if (n == 0 || w->options.sync_interval_ns == 0)
		return NS_NEVER;
	return u64_add_sat(w->unsynced_since_ns, w->options.sync_interval_ns);
}

static void
count_sync(struct auditwriter *w, uint64_t ns)
{
	size_t i = 0;

	while (ns > stats_bucket_bounds_ns[i])
		i++;
	count(&w->counts.sync_buckets[i], 1);
	count(&w->counts.sync_ns, ns);
	if (ns > w->options.fsync_budget_ns)
		count(&w->counts.late_syncs, 1);
}

static bool
sync_file(struct auditwriter *w)
{
	uint64_t start = now_ns();
	int r = auditfile_sync(w->file);

	count_sync(w, u64_sub_sat(now_ns(), start));
	if (r < 0)
		w->retry_at_ns = fail(w, "sync", r);
	return r == 0;
}

/* True when the trail goes on in a new file. */
static bool
rotate_if_due(struct auditwriter *w)
{
	uint64_t start = now_ns();
	int r;

	if (!auditfile_rotation_is_due(w->file) || start < w->rotate_at_ns)
		return false;
	r = auditfile_rotate(w->file, clock_wall_ms());
	if (u64_sub_sat(now_ns(), start) > w->options.rotation_budget_ns)
		count(&w->counts.late_rotations, 1);
	if (r < 0)
		w->rotate_at_ns = fail(w, "rotate", r);
	return r == 0;
}

/* One round: all that can be taken, written, synced and rotated. False when
 * there is nothing left that can be done now. */
static bool
work(struct auditwriter *w)
{
	uint64_t n = gather(w);
	int r = auditfile_write(w->file);
	bool rotated;

	if (r < 0) {
		w->retry_at_ns = fail(w, "write", r);
		return false;
	}
	if (sync_at_ns(w) <= now_ns() && !sync_file(w))
		return false;
	rotated = rotate_if_due(w);
	return (n > 0 || rotated) && auditqueue_count(w->queue) > 0;
}

static void
work_unless_failing(struct auditwriter *w)
{
	if (now_ns() < w->retry_at_ns && !w->stopping)
		return;
	w->retry_at_ns = 0;
	while (work(w))
		;
}

static uint64_t
wait_ns(const struct auditwriter *w)
{
	uint64_t at_ns = sync_at_ns(w);

	if (auditfile_rotation_is_due(w->file))
		at_ns = u64_min(at_ns, w->rotate_at_ns);
	if (w->retry_at_ns != 0)
		at_ns = w->retry_at_ns;
	return at_ns == NS_NEVER ? NS_NEVER : u64_sub_sat(at_ns, now_ns());
}

static void
say_how_it_ended(const struct auditwriter *w)
{
	uint64_t n =
	    (uint64_t)auditqueue_count(w->queue) + auditfile_unwritten(w->file);
	char head[AUDITLINE_LINK_HEX + 1];

	if (n > 0) {
		log_error("audit file '%s': %" PRIu64 " records could not be "
			  "written and are lost",
		    w->path, n);
		return;
	}
	auditline_link_format(auditfile_head(w->file), head);
	log_info("audit file '%s': closed after record %" PRIu64 ", chain %s",
	    w->path, auditfile_seq(w->file), head);
}

/* The second one to go frees all. */
static void
leave(struct auditwriter *w)
{
	if (!atomic_exchange(&w->left, true))
		return;
	auditfile_close(w->file);
	auditqueue_free(w->queue);
	bell_fini(&w->wake);
	bell_fini(&w->ended);
	free(w);
}

static void *
run(void *ctx)
{
	struct auditwriter *w = ctx;

	while (!w->stopping) {
		(void)bell_wait(&w->wake, wait_ns(w));
		w->stopping = atomic_load(&w->stop);
		work_unless_failing(w);
	}
	say_how_it_ended(w);
	bell_ring(&w->ended);
	leave(w);
	return NULL;
}

int
auditwriter_start(const struct auditwriter_options *options, const char *path,
    struct auditfile *file, struct auditqueue *queue, struct auditwriter **ret)
{
	struct auditwriter *w = calloc(1, sizeof(*w));
	int r;

	if (w == NULL)
		return -ENOMEM;
	w->options = *options;
	w->file = file;
	w->queue = queue;
	memcpy(w->path, path, strnlen(path, sizeof(w->path) - 1));
	r = bell_init(&w->wake);
	if (r < 0)
		goto fail;
	r = bell_init(&w->ended);
	if (r == 0) {
		r = thread_start(&w->thread, run, w);
		if (r < 0)
			bell_fini(&w->ended);
	}
	if (r < 0)
		goto fail_wake;
	*ret = w;
	return 0;

fail_wake:
	bell_fini(&w->wake);
fail:
	free(w);
	return r;
}

void
auditwriter_wake(struct auditwriter *w)
{
	bell_ring(&w->wake);
}

const struct auditwriter_counts *
auditwriter_counts(const struct auditwriter *w)
{
	return &w->counts;
}

int
auditwriter_stop(struct auditwriter *w, uint64_t wait_ns)
{
	uint64_t now = now_ns(), end = u64_add_sat(now, wait_ns);
	pthread_t thread = w->thread;
	bool ended = false;

	atomic_store(&w->stop, true);
	bell_ring(&w->wake);
	/* A signal only makes a wait shorter. */
	while (!ended && now < end) {
		ended = bell_wait(&w->ended, end - now);
		now = now_ns();
	}
	leave(w);
	if (ended)
		return -pthread_join(thread, NULL);
	(void)pthread_detach(thread);
	return -ETIMEDOUT;
}
