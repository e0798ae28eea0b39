#include "watch/intake/replay_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/util.h"

enum { BUFFER_BYTES = 65536 };

int
replay_disk_fault(
    struct replay_store_fault *fault, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return r;
}

int
replay_disk_fault_file(struct replay_store_fault *fault,
    const struct replay_store *s, int r, const char *what)
{
	return replay_disk_fault(fault, r, "file '%s/%s': %s: %s", s->dir,
	    REPLAY_DISK_FILE, what, strerror(-r));
}

/* ---- reading ------------------------------------------------------------ */

/* A link is "no folder" to open(2); to the operator it is one. */
static int
fault_dir(const struct replay_store *s, int r, struct replay_store_fault *fault)
{
	struct stat st;

	if (r == -ENOTDIR && lstat(s->dir, &st) == 0 && S_ISLNK(st.st_mode))
		return replay_disk_fault(fault, -ELOOP,
		    "folder '%s': symbolic link, not followed", s->dir);
	return replay_disk_fault(
	    fault, r, "folder '%s': %s", s->dir, strerror(-r));
}

static int
open_dir(struct replay_store *s, struct replay_store_fault *fault)
{
	struct stat st;
	int r;

	s->dir_fd =
	    open(s->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->dir_fd < 0 || fstat(s->dir_fd, &st) < 0)
		return fault_dir(s, -errno, fault);
	if (st.st_uid != geteuid())
		return replay_disk_fault(fault, -EACCES,
		    "folder '%s': belongs to user %u, need %u", s->dir,
		    (unsigned)st.st_uid, (unsigned)geteuid());
	if ((st.st_mode & 022) != 0)
		return replay_disk_fault(fault, -EACCES,
		    "folder '%s': mode %04o, others may write to it", s->dir,
		    (unsigned)st.st_mode & 07777);
	if (flock(s->dir_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	r = -errno;
	if (r == -EWOULDBLOCK)
		return replay_disk_fault(fault, -EBUSY,
		    "folder '%s': another observer is using it", s->dir);
	return fault_dir(s, r, fault);
}

/* The content of an open file into s->bytes; its length or -errno. */
static ssize_t
read_bytes(struct replay_store *s, int fd, struct replay_store_fault *fault)
{
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st) < 0)
		return replay_disk_fault_file(
		    fault, s, -errno, "cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077) != 0)
		return replay_disk_fault(fault, -EACCES,
		    "file '%s/%s': must be a regular file of our own, mode "
		    "0600",
		    s->dir, REPLAY_DISK_FILE);
	if (st.st_size > REPLAY_FILE_BYTES_MAX)
		return replay_disk_fault(fault, -EINVAL,
		    "file '%s/%s': is too long", s->dir, REPLAY_DISK_FILE);
	s->bytes = malloc((size_t)st.st_size + 1);
	if (s->bytes == NULL)
		return replay_disk_fault_file(
		    fault, s, -ENOMEM, "cannot be read");
	len = fd_read_full(fd, s->bytes, (size_t)st.st_size + 1);
	if (len < 0)
		return replay_disk_fault_file(
		    fault, s, (int)len, "cannot be read");
	return len;
}

static int
read_file(struct replay_store *s, struct replay_store_fault *fault)
{
	int fd = openat(s->dir_fd, REPLAY_DISK_FILE,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char why[96];
	ssize_t len;
	int r;

	if (fd < 0 && errno == ENOENT) {
		r = prng_entropy(s->hash_key, sizeof(s->hash_key));
		return r == 0 ? 0
			      : replay_disk_fault(fault, r,
				    "no random bytes from the kernel: %s",
				    strerror(-r));
	}
	if (fd < 0)
		return replay_disk_fault_file(
		    fault, s, -errno, "cannot be opened");
	len = read_bytes(s, fd, fault);
	fd_close(&fd);
	if (len < 0)
		return (int)len;
	if (replay_file_check(
		s->bytes, (size_t)len, &s->file, why, sizeof(why)) < 0)
		return replay_disk_fault(fault, -EINVAL,
		    "file '%s/%s': %s; what it remembered could be replayed: "
		    "replace the keys, or move the file away to go without",
		    s->dir, REPLAY_DISK_FILE, why);
	memcpy(s->hash_key, s->file.hash_key, sizeof(s->hash_key));
	return 0;
}

int
replay_disk_open(struct replay_store *s, struct replay_store_fault *fault)
{
	int r = open_dir(s, fault);

	return r < 0 ? r : read_file(s, fault);
}

/* ---- starting ----------------------------------------------------------- */

/* A session back into memory. Those of keys that are gone make room, and are
 * then no loss. */
static bool
restore_session(struct replay_store *s, const struct prefixset_entry *entry)
{
	struct prefixset *p = replay_prefixes(s->replay);

	if (prefixset_restore(p, entry))
		return true;
	prefixset_drop_unused(p);
	return prefixset_restore(p, entry) ||
	       prefixset_count(p) < prefixset_capacity(p);
}

/* A sender, and that its sessions have been seen. */
static bool
restore_place(
    struct replay_store *s, const struct replay_image *image, uint64_t now_ns)
{
	const struct replay_session *open[] = { &image->now, &image->next };

	for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
		struct prefixset_entry entry = prefixset_entry(
		    replay_prefixes(s->replay), image->id, open[i]->prefix);

		if (open[i]->is_open && !restore_session(s, &entry))
			return false;
	}
	/* Where there is no place any more its sessions are over. */
	(void)replay_restore(s->replay, image, now_ns);
	return true;
}

int
replay_disk_restore(
    struct replay_store *s, uint64_t now_ns, struct replay_store_fault *fault)
{
	bool fits = true;

	if (s->bytes == NULL)
		return 0;
	if (s->file.is_torn)
		log_warn("file '%s/%s': sessions that were being written when "
			 "the machine went down are not whole, and left out",
		    s->dir, REPLAY_DISK_FILE);
	for (uint32_t i = 0; i < s->file.n_sessions && fits; i++) {
		struct prefixset_entry entry;

		if (replay_file_session(&s->file, i, &entry))
			fits = restore_session(s, &entry);
	}
	for (uint32_t i = 0; i < s->file.places && fits; i++) {
		struct replay_image image;

		if (replay_file_place(&s->file, i, &image))
			fits = restore_place(s, &image, now_ns);
	}
	free(s->bytes);
	s->bytes = NULL;
	if (fits)
		return 0;
	return replay_disk_fault(fault, -ENOSPC,
	    "file '%s/%s': remembers more than %u sessions: replace the keys, "
	    "or raise --udp-senders-max",
	    s->dir, REPLAY_DISK_FILE,
	    prefixset_capacity(replay_prefixes(s->replay)));
}

/* Writing one after the other, in large pieces. */
struct writer {
	int fd;
	int error;
	size_t n;
	uint8_t buffer[BUFFER_BYTES];
};

static void
flush(struct writer *w)
{
	if (w->error == 0)
		w->error = fd_write_all(w->fd, w->buffer, w->n);
	w->n = 0;
}

/* Room for n bytes. */
static uint8_t *
room_for(struct writer *w, size_t n)
{
	uint8_t *p;

	if (w->n + n > sizeof(w->buffer))
		flush(w);
	p = w->buffer + w->n;
	memset(p, 0, n);
	w->n += n;
	return p;
}

static void
write_all(struct replay_store *s, struct writer *w)
{
	const struct prefixset *p = replay_prefixes(s->replay);
	uint32_t places = replay_places(s->replay), cursor = 0;
	struct prefixset_entry entry;
	struct replay_image image;
	int r;

	/* It is put in the place of the old one when all is on disk. */
	s->n_synced = prefixset_count(p);
	replay_file_put_header(room_for(w, REPLAY_FILE_HEADER_BYTES), places,
	    s->hash_key, s->n_synced);
	for (uint32_t i = 0; i < places; i++) {
		uint8_t *cell = room_for(w, 2 * REPLAY_FILE_PLACE_BYTES);

		s->writes[i] = replay_image(s->replay, i, true, &image) ? 2 : 0;
		if (s->writes[i] > 0)
			replay_file_put_place(cell, i, s->writes[i], &image);
	}
	s->n_sessions = 0;
	while ((r = prefixset_next(p, false, UINT32_MAX, &cursor, &entry)) > 0)
		replay_file_put_session(room_for(w, REPLAY_FILE_SESSION_BYTES),
		    s->n_sessions++, &entry, s->n_synced);
	(void)r;
	flush(w);
}

/* The file as it is now, beside the old one, then in its place. */
int
replay_disk_write(struct replay_store *s, struct replay_store_fault *fault)
{
	struct writer *w = malloc(sizeof(*w));
	int r = -ENOMEM;

	if (w == NULL)
		goto fail;
	(void)unlinkat(s->dir_fd, REPLAY_DISK_NEW_FILE, 0);
	w->n = 0;
	w->error = 0;
	w->fd = openat(s->dir_fd, REPLAY_DISK_NEW_FILE,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = w->fd < 0 ? -errno : 0;
	if (r < 0)
		goto fail;
	write_all(s, w);
	r = w->error;
	if (r == 0 && fsync(w->fd) < 0)
		r = -errno;
	if (r == 0 && renameat(s->dir_fd, REPLAY_DISK_NEW_FILE, s->dir_fd,
			  REPLAY_DISK_FILE) < 0)
		r = -errno;
	if (r == 0 && fsync(s->dir_fd) < 0)
		r = -errno;
	if (r < 0) {
		fd_close(&w->fd);
		goto fail;
	}
	s->fd = w->fd;
	free(w);
	return 0;

fail:
	free(w);
	return replay_disk_fault_file(fault, s, r, "cannot be written");
}
