#include "watch/tell/auditfile.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "base/util.h"
#include "watch/tell/auditresume.h"
#include "watch/tell/auditrotate.h"
#include "watch/tell/auditrow.h"

struct auditfile {
	char path[PATH_MAX];
	uint64_t max_bytes;
	uint32_t pid;
	int fd;
	bool unnamed;         /* it is still called PATH.next */
	bool rotation_failed; /* the limit is not kept for now */
	uint64_t seq;         /* of the last record added */
	struct auditline_link head;
	uint64_t file_bytes;
	uint32_t n_unsynced;
	size_t used;
	char buffer[AUDITFILE_BUFFER_BYTES];
};

/* ---- reading what is there ---------------------------------------------- */

static int
read_into(int fd, uint64_t from, uint64_t end, struct auditresume *s)
{
	char bytes[4096];
	ssize_t n;

	while (from < end) {
		n = pread(fd, bytes, (size_t)u64_min(end - from, sizeof(bytes)),
		    (off_t)from);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO; /* shorter than it was */
		auditresume_take(s, bytes, (size_t)n);
		from += (uint64_t)n;
	}
	return 0;
}

/* 1: the file begins with the header of v2, 0: it does not, or an error. */
static int
begins_with_header(int fd)
{
	size_t n = strlen(auditline_header) + 1;
	char bytes[64];
	ssize_t got;

	assert(n <= sizeof(bytes));
	do
		got = pread(fd, bytes, n, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return (size_t)got == n && bytes[n - 1] == '\n' &&
	       auditline_is_header(bytes, n - 1);
}

static int
make_plan(int fd, uint64_t size, struct auditresume_plan *ret)
{
	struct auditresume s;
	uint64_t from;
	int r;

	r = begins_with_header(fd);
	if (r < 0)
		return r;
	from = u64_sub_sat(size, AUDITRESUME_WINDOW);
	if (r > 0 && from > strlen(auditline_header)) {
		auditresume_init_window(&s, from);
		r = read_into(fd, from, size, &s);
		if (r < 0 || auditresume_finish(&s, ret))
			return r;
	}
	auditresume_init(&s);
	r = read_into(fd, 0, size, &s);
	if (r == 0)
		(void)auditresume_finish(&s, ret);
	return r;
}

/* ---- records ------------------------------------------------------------ */

bool
auditfile_has_room(const struct auditfile *f)
{
	return sizeof(f->buffer) - f->used >= AUDITLINE_MAX &&
	       (f->rotation_failed || !auditfile_rotation_is_due(f));
}

/* End a record: number and text go to line, which has room for them. */
static size_t
compose(char *line, uint64_t seq, enum auditline_kind kind, const char *text,
    size_t n, struct auditline_link *link)
{
	size_t len = text_format_u64(seq, line);

	line[len++] = '\t';
	memcpy(line + len, text, n);
	return auditline_finish(line, len + n, kind, link);
}

void
auditfile_add(struct auditfile *f, enum auditline_kind kind, const char *text,
    size_t n, uint64_t n_lost)
{
	assert(n <= AUDITROW_BYTES);
	assert(sizeof(f->buffer) - f->used >= AUDITLINE_MAX);
	f->seq = u64_add_sat(f->seq, u64_add_sat(n_lost, 1));
	f->used +=
	    compose(f->buffer + f->used, f->seq, kind, text, n, &f->head);
	f->n_unsynced++;
}

int
auditfile_write(struct auditfile *f)
{
	size_t done = 0;
	ssize_t n;
	int r = 0;

	while (done < f->used && r == 0) {
		n = write(f->fd, f->buffer + done, f->used - done);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			r = -EIO;
		else if (errno != EINTR)
			r = -errno;
	}
	f->file_bytes += done;
	f->used -= done;
	if (f->used > 0 && done > 0)
		memmove(f->buffer, f->buffer + done, f->used);
	return r;
}

static int
sync_fd(int fd)
{
	int r;

	do
		r = fdatasync(fd) < 0 ? -errno : 0;
	while (r == -EINTR);
	return r;
}

int
auditfile_sync(struct auditfile *f)
{
	int r;

	r = auditfile_write(f);
	if (r == 0 && f->n_unsynced > 0)
		r = sync_fd(f->fd);
	if (r == 0)
		f->n_unsynced = 0;
	return r;
}

uint32_t
auditfile_unsynced(const struct auditfile *f)
{
	return f->n_unsynced;
}

uint32_t
auditfile_unwritten(const struct auditfile *f)
{
	uint32_t n = 0;
	size_t i;

	for (i = 0; i < f->used; i++)
		n += f->buffer[i] == '\n';
	return n;
}

uint64_t
auditfile_seq(const struct auditfile *f)
{
	return f->seq;
}

const struct auditline_link *
auditfile_head(const struct auditfile *f)
{
	return &f->head;
}

/* ---- opening ------------------------------------------------------------ */

static void
append(struct auditfile *f, const char *text)
{
	size_t n = strlen(text);

	memcpy(f->buffer + f->used, text, n);
	f->used += n;
}

/* Bring the end of the file into order and begin anew behind it. */
static int
resume(
    struct auditfile *f, const struct auditresume_plan *plan, uint64_t wall_ms)
{
	char row[AUDITROW_BYTES];
	size_t n;

	if (plan->keep_bytes < f->file_bytes) {
		if (ftruncate(f->fd, (off_t)plan->keep_bytes) < 0)
			return -errno;
		f->file_bytes = plan->keep_bytes;
	}
	if (plan->add_line_end)
		append(f, "\n");
	if (plan->add_header) {
		append(f, auditline_header);
		append(f, "\n");
	}
	f->seq = plan->seq;
	f->head = plan->link;
	n = auditrow_format_boot(plan->reason, f->pid,
	    plan->name_prev ? &plan->link : NULL, wall_ms, row);
	auditfile_add(f, AUDITLINE_BOOT, row, n, 0);
	return auditfile_sync(f);
}

static int
refuse(struct file_fault *fault, const char *doing, int error)
{
	/* Every text here is short; a cut one would still be a good hint. */
	(void)snprintf(fault->text, sizeof(fault->text), "cannot %s: %s", doing,
	    strerror(-error));
	return error;
}

/* Two observers that append to one file would tear its chain. Where files
 * cannot be locked nobody is held back. */
static int
lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK ? -EBUSY
									: 0;
}

/* What is opened stays in f also after an error. */
static int
open_file(struct auditfile *f, uint64_t wall_ms,
    struct auditfile_found *ret_found, struct file_fault *fault)
{
	struct auditresume_plan plan;
	struct stat st;
	int r;

	r = auditrotate_settle(f->path);
	if (r < 0)
		return refuse(fault, "complete a rotation", r);
	r = file_open_append(f->path, &f->fd, fault);
	if (r < 0)
		return r;
	r = lock(f->fd);
	if (r < 0)
		return refuse(fault, "lock, another observer writes it", r);
	r = auditrotate_clean(f->path);
	if (r < 0)
		return refuse(fault, "remove what a rotation left", r);
	if (fstat(f->fd, &st) < 0)
		return refuse(fault, "look at it", -errno);
	f->file_bytes = (uint64_t)st.st_size;
	r = make_plan(f->fd, f->file_bytes, &plan);
	if (r < 0)
		return refuse(fault, "read", r);
	*ret_found = (struct auditfile_found){
		.reason = plan.reason,
		.cut_bytes = f->file_bytes - plan.keep_bytes,
		.mode = (uint32_t)st.st_mode & 07777,
	};
	r = resume(f, &plan, wall_ms);
	return r < 0 ? refuse(fault, "write", r) : 0;
}

int
auditfile_open(const struct auditfile_options *options, uint64_t wall_ms,
    struct auditfile **ret, struct auditfile_found *ret_found,
    struct file_fault *fault)
{
	struct auditfile_found found = { AUDITLINE_FRESH, 0, 0 };
	struct auditfile *f;
	size_t n = strlen(options->path);
	int r;

	if (n >= sizeof(f->path))
		return refuse(fault, "open", -ENAMETOOLONG);
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return refuse(fault, "open", -ENOMEM);
	memcpy(f->path, options->path, n + 1);
	f->max_bytes = options->max_bytes;
	f->pid = options->pid;
	f->fd = -1;
	r = open_file(f, wall_ms, &found, fault);
	if (r < 0) {
		auditfile_close(f);
		return r;
	}
	*ret_found = found;
	*ret = f;
	return 0;
}

void
auditfile_close(struct auditfile *f)
{
	if (f == NULL)
		return;
	fd_close(&f->fd);
	free(f);
}

/* ---- rotation ----------------------------------------------------------- */

static bool
is_at_limit(const struct auditfile *f)
{
	return f->max_bytes != 0 && f->file_bytes + f->used >= f->max_bytes;
}

bool
auditfile_rotation_is_due(const struct auditfile *f)
{
	return f->unnamed || is_at_limit(f);
}

/* A new file that begins with bytes, synced. */
static int
make_next(const char *path, const char *bytes, size_t n, int *ret_fd)
{
	struct file_fault fault;
	char next[PATH_MAX];
	int fd, r;

	r = auditrotate_clean(path);
	if (r == 0)
		r = auditrotate_next(path, next);
	if (r == 0)
		r = file_open_append(next, &fd, &fault);
	if (r < 0)
		return r;
	r = lock(fd);
	if (r == 0)
		r = fd_write_all(fd, bytes, n);
	if (r == 0)
		r = sync_fd(fd);
	if (r < 0)
		fd_close(&fd);
	else
		*ret_fd = fd;
	return r;
}

/* Go on in a new file, as yet without its name. */
static int
change_files(struct auditfile *f, uint64_t wall_ms)
{
	char row[AUDITROW_BYTES], bytes[AUDITLINE_MAX];
	struct auditline_link head = f->head;
	uint64_t seq = u64_add_sat(f->seq, 1);
	size_t n = strlen(auditline_header), row_len;
	int fd = -1, r;

	memcpy(bytes, auditline_header, n);
	bytes[n++] = '\n';
	row_len = auditrow_format_boot(
	    AUDITLINE_ROTATION, f->pid, &f->head, wall_ms, row);
	n += compose(bytes + n, seq, AUDITLINE_BOOT, row, row_len, &head);

	r = make_next(f->path, bytes, n, &fd);
	if (r == 0)
		r = auditrotate_shift(f->path, AUDITFILE_GENERATIONS);
	if (r < 0) {
		fd_close(&fd);
		(void)auditrotate_clean(f->path);
		return r;
	}
	fd_close(&f->fd);
	f->fd = fd;
	f->seq = seq;
	f->head = head;
	f->file_bytes = n;
	f->unnamed = true;
	return 0;
}

int
auditfile_rotate(struct auditfile *f, uint64_t wall_ms)
{
	int r = 0;

	f->rotation_failed = true;
	if (!f->unnamed) {
		r = auditfile_sync(f);
		if (r == 0)
			r = change_files(f, wall_ms);
	}
	if (r == 0)
		r = auditrotate_name(f->path);
	if (r < 0)
		return r;
	f->unnamed = false;
	f->rotation_failed = false;
	return file_sync_parent(f->path);
}
