#include "watch/tell/eventfile.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "watch/tell/words.h"

struct eventfile {
	const char *path;
	uint64_t max_bytes;
	uint32_t sync_every;
	uint32_t n_unsynced; /* rows since the last sync */
	struct stats *stats;
	int fd; /* -1: rotated away, and a new one could not be made */
	bool rotation_failed; /* in this pass; the next one tries again */
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

/* Open the file and see how long it is. Changes f on success only. */
static int
open_file(struct eventfile *f, struct file_fault *fault)
{
	struct stat st;
	int fd, r;

	r = file_open_append(f->path, &fd, fault);
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

	r = open_file(f, fault);
	if (r < 0) {
		free(f);
		return r;
	}
	if (ends_in_a_torn_row(f))
		f->buffer[f->used++] = '\n';
	*ret = f;
	return 0;
}

/* After a rotation that could not make the new file. */
static bool
reopen(struct eventfile *f, uint64_t now_ns)
{
	struct file_fault fault = { "" };
	int r;

	r = open_file(f, &fault);
	if (r == 0)
		return true;
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
sync_if_due(struct eventfile *f, uint64_t now_ns)
{
	if (f->sync_every == 0 || f->n_unsynced < f->sync_every ||
	    f->used > 0 || f->fd < 0)
		return;
	f->n_unsynced = 0;
	if (fdatasync(f->fd) < 0)
		complain(f, "sync", words_error(-errno), now_ns);
}

/* Only between two rows: the buffer is empty, so the file ends in a whole
 * one. */
static void
rotate_if_due(struct eventfile *f, uint64_t now_ns)
{
	int r;

	if (f->max_bytes == 0 || f->file_bytes < f->max_bytes || f->used > 0 ||
	    f->fd < 0 || f->rotation_failed)
		return;
	r = file_rotate(f->path, EVENTFILE_GENERATIONS);
	if (r < 0) {
		f->rotation_failed = true;
		complain(f, "rotate", words_error(r), now_ns);
		return;
	}
	fd_close(&f->fd);
	f->n_unsynced = 0;
	(void)reopen(f, now_ns);
}

static void
write_out(struct eventfile *f, uint64_t now_ns)
{
	drain(f, now_ns);
	sync_if_due(f, now_ns);
	rotate_if_due(f, now_ns);
}

/* True when the rows in the buffer may not wait for the end of the pass. */
static bool
must_write(const struct eventfile *f)
{
	if (f->sync_every != 0 && f->n_unsynced >= f->sync_every)
		return true;
	return f->max_bytes != 0 && !f->rotation_failed &&
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
	f->rotation_failed = false;
	write_out(f, now_ns);
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
eventfile_close(struct eventfile *f, uint64_t now_ns)
{
	if (f == NULL)
		return;
	eventfile_flush(f, now_ns);
	f->stats->export_rows_lost += count_rows(f);
	fd_close(&f->fd);
	free(f);
}
