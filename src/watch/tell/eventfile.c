#include "watch/tell/eventfile.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/syncer.h"
#include "watch/tell/words.h"

struct eventfile {
	const char *path;
	uint64_t max_bytes;
	uint32_t sync_every;
	uint32_t n_unsynced;   /* rows since a sync was last asked for */
	uint32_t n_failed;     /* syncs that were told of */
	struct syncer *syncer; /* NULL: never synced */
	struct stats *stats;
	int fd; /* -1: rotated away, and a new one could not be made */
	bool rotation_put_off; /* to the next pass */
	bool ended;
	uint64_t file_bytes;
	size_t used;
	char buffer[EVENTFILE_BUFFER_BYTES];
};

static void
complain(
    struct eventfile *f, const char *doing, const char *why, uint64_t now_ns)
{
	f->stats->export_errors++;
	log_limited(LOG_KIND_FILE_EXPORT_IO, now_ns, LOG_ERROR,
	    &(struct log_fields){ .error = why }, "event file '%s': cannot %s",
	    f->path, doing);
}

/* Open the file with one of the two functions for that, and see how long it
 * is. Changes f on success only. */
static int
open_file(struct eventfile *f,
    int (*open_append)(const char *path, int *ret_fd, struct file_fault *fault),
    struct file_fault *fault)
{
	struct stat st;
	int fd, r;

	r = open_append(f->path, &fd, fault);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		fd_close(&fd);
		return r;
	}
	f->fd = fd;
	f->file_bytes = (uint64_t)st.st_size;
	return 0;
}

/* An earlier observer may have died in the middle of a row. */
static bool
ends_in_a_torn_row(const struct eventfile *f)
{
	char last;

	return f->file_bytes > 0 &&
	       pread(f->fd, &last, 1, (off_t)f->file_bytes - 1) == 1 &&
	       last != '\n';
}

static int
start_syncer(struct eventfile *f, struct file_fault *fault)
{
	int r;

	if (f->sync_every == 0)
		return 0;
	r = syncer_start(&f->syncer);
	if (r < 0)
		(void)snprintf(fault->text, sizeof(fault->text),
		    "cannot start the thread that syncs it: %s",
		    words_error(r));
	return r;
}

int
eventfile_open(const struct eventfile_options *options, struct stats *stats,
    struct eventfile **ret, struct file_fault *fault)
{
	struct eventfile *f;
	int r;

	fault->text[0] = '\0';
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ENOMEM;
	f->path = options->path;
	f->max_bytes = options->max_bytes;
	f->sync_every = options->sync_every;
	f->stats = stats;
	f->fd = -1;

	r = open_file(f, file_open_append, fault);
	if (r == 0)
		r = start_syncer(f, fault);
	if (r < 0) {
		fd_close(&f->fd);
		free(f);
		return r;
	}
	if (ends_in_a_torn_row(f))
		f->buffer[f->used++] = '\n';
	*ret = f;
	return 0;
}

/* There is room for it: a rotation makes sure of that. */
static void
sync_folder(struct eventfile *f, uint64_t now_ns)
{
	int fd, r;

	if (f->syncer == NULL)
		return;
	r = file_open_parent(f->path, &fd);
	if (r == 0)
		syncer_hand_over(f->syncer, fd);
	else
		complain(f, "sync its folder", words_error(r), now_ns);
}

/* A new file after a rotation. */
static bool
reopen(struct eventfile *f, uint64_t now_ns)
{
	struct file_fault fault = { "" };
	int r;

	r = open_file(f, file_open_append_unsynced, &fault);
	if (r == 0) {
		sync_folder(f, now_ns);
		return true;
	}
	complain(f, "create",
	    fault.text[0] != '\0' ? fault.text : words_error(r), now_ns);
	return false;
}

/* Write the buffer; what is left of it moves to its front. */
static void
drain(struct eventfile *f, uint64_t now_ns)
{
	size_t done = 0;
	ssize_t n;

	if (f->used == 0 || (f->fd < 0 && !reopen(f, now_ns)))
		return;
	while (done < f->used) {
		n = write(f->fd, f->buffer + done, f->used - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			complain(f, "write", words_error(n < 0 ? -errno : -EIO),
			    now_ns);
			break;
		}
		done += (size_t)n;
	}
	f->file_bytes += done;
	f->used -= done;
	if (f->used > 0 && done > 0)
		memmove(f->buffer, f->buffer + done, f->used);
}

/* Once for the rows up to now: a disk that cannot sync is not asked again for
 * the same ones. */
static void
ask_sync_if_due(struct eventfile *f)
{
	if (f->syncer == NULL || f->n_unsynced < f->sync_every || f->used > 0 ||
	    f->fd < 0)
		return;
	f->n_unsynced = 0;
	syncer_ask(f->syncer, f->fd, 0);
}

static void
tell_failed_syncs(struct eventfile *f, uint64_t now_ns)
{
	uint32_t n;
	int error;

	if (f->syncer == NULL)
		return;
	n = syncer_failures(f->syncer, &error) - f->n_failed;
	if (n == 0)
		return;
	f->n_failed += n;
	f->stats->export_errors += n - 1;
	complain(f, "sync", words_error(error), now_ns);
}

/* Done with a file that was in use; its last rows are still to be synced. */
static void
let_go(struct eventfile *f, int *fd)
{
	if (f->syncer == NULL || *fd < 0) {
		fd_close(fd);
		return;
	}
	syncer_hand_over(f->syncer, *fd);
	*fd = -1;
	f->n_unsynced = 0;
}

/* Only between two rows: the buffer is empty, so the file ends in a whole
 * one. */
static void
rotate_if_due(struct eventfile *f, uint64_t now_ns)
{
	int r;

	if (f->max_bytes == 0 || f->file_bytes < f->max_bytes || f->used > 0 ||
	    f->fd < 0 || f->rotation_put_off)
		return;
	/* For the old file and the folder. */
	if (f->syncer != NULL && !syncer_has_room(f->syncer, 2)) {
		f->rotation_put_off = true;
		return;
	}
	r = file_rotate(f->path, EVENTFILE_GENERATIONS);
	if (r < 0) {
		f->rotation_put_off = true;
		complain(f, "rotate", words_error(r), now_ns);
		return;
	}
	let_go(f, &f->fd);
	(void)reopen(f, now_ns);
}

/* Whether another program has put the file in use elsewhere. */
static bool
was_moved(const struct eventfile *f)
{
	struct stat ours, there;

	if (fstat(f->fd, &ours) < 0)
		return false;
	if (lstat(f->path, &there) < 0)
		return errno == ENOENT;
	return ours.st_dev != there.st_dev || ours.st_ino != there.st_ino;
}

static void
write_out(struct eventfile *f, uint64_t now_ns)
{
	drain(f, now_ns);
	ask_sync_if_due(f);
	rotate_if_due(f, now_ns);
}

/* True when the rows in the buffer may not wait for the end of the pass. */
static bool
must_write(const struct eventfile *f)
{
	if (f->sync_every != 0 && f->n_unsynced >= f->sync_every)
		return true;
	return f->max_bytes != 0 && !f->rotation_put_off &&
	       f->file_bytes + f->used >= f->max_bytes;
}

void
eventfile_add(struct eventfile *f, const char *row, size_t n, uint64_t now_ns)
{
	assert(n > 0 && n <= sizeof(f->buffer));
	if (n > sizeof(f->buffer) - f->used)
		write_out(f, now_ns);
	if (n > sizeof(f->buffer) - f->used) {
		f->stats->export_rows_lost++;
		return;
	}
	memcpy(f->buffer + f->used, row, n);
	f->used += n;
	if (f->sync_every != 0 && f->n_unsynced < UINT32_MAX)
		f->n_unsynced++;
	if (must_write(f))
		write_out(f, now_ns);
}

void
eventfile_flush(struct eventfile *f, uint64_t now_ns)
{
	f->rotation_put_off = false;
	write_out(f, now_ns);
	tell_failed_syncs(f, now_ns);
}

void
eventfile_follow(struct eventfile *f, uint64_t now_ns)
{
	int moved_fd;

	write_out(f, now_ns);
	/* A row that was begun is ended where it began. */
	if (f->fd < 0 || f->used > 0 || !was_moved(f) ||
	    (f->syncer != NULL && !syncer_has_room(f->syncer, 2)))
		return;
	moved_fd = f->fd;
	if (reopen(f, now_ns))
		let_go(f, &moved_fd);
}

/* Rows that begin in the buffer; the first one may have begun in the file. */
static uint64_t
count_rows(const struct eventfile *f)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < f->used; i++)
		n += f->buffer[i] == '\n';
	return n;
}

void
eventfile_end(struct eventfile *f, uint64_t now_ns)
{
	if (f->ended)
		return;
	eventfile_flush(f, now_ns);
	f->ended = true;
	f->stats->export_rows_lost += count_rows(f);
	let_go(f, &f->fd);
}

void
eventfile_close(struct eventfile *f, uint64_t wait_ns, uint64_t now_ns)
{
	if (f == NULL)
		return;
	eventfile_end(f, now_ns);
	if (f->syncer != NULL) {
		if (!syncer_wait(f->syncer, wait_ns))
			log_error("the event file's disk does not answer: its "
				  "last rows may be lost in a loss of power");
		tell_failed_syncs(f, now_ns);
		syncer_stop(f->syncer);
	}
	free(f);
}
