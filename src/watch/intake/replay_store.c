#include "watch/intake/replay_store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include "watch/intake/replay_file.h"
#include "watch/intake/syncer.h"

static const char file_name[] = "sessions";
static const char new_name[] = "sessions.new";

enum {
	RETRY_LOOKS = 16384, /* places looked at in one call, while retrying */
	BUFFER_BYTES = 65536
};

struct replay_store {
	char dir[PATH_MAX];
	int dir_fd; /* holds the lock */
	int fd;
	uint8_t hash_key[PREFIXSET_HASH_KEY_BYTES];
	uint8_t *bytes; /* of the file that was read; NULL: none */
	struct replay_file file;

	struct replay *replay;
	struct stats *stats;
	struct syncer *syncer;
	uint32_t n_sessions; /* in the file */
	uint64_t asked_ns;   /* the last sync */
	uint32_t n_unsynced; /* failures of the syncer that were told */
	bool is_failing;     /* something is not written */
	uint64_t retry_ns;
	uint32_t retry_place; /* how far this round of tries has come */
	uint32_t retry_session;
	uint32_t *writes; /* of each place; the next one is this + 1 */
	bool *is_missing; /* the last change of a place is not written */
};

static int fault_set(struct replay_store_fault *fault, int r,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

static int
fault_set(struct replay_store_fault *fault, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return r;
}

static int
fault_file(struct replay_store_fault *fault, const struct replay_store *s,
    int r, const char *what)
{
	return fault_set(fault, r, "file '%s/%s': %s: %s", s->dir, file_name,
	    what, strerror(-r));
}

/* ---- reading ------------------------------------------------------------ */

static int
open_dir(struct replay_store *s, struct replay_store_fault *fault)
{
	struct stat st;
	int r;

	s->dir_fd =
	    open(s->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->dir_fd < 0 || fstat(s->dir_fd, &st) < 0) {
		r = -errno;
		return fault_set(
		    fault, r, "folder '%s': %s", s->dir, strerror(-r));
	}
	if (st.st_uid != geteuid())
		return fault_set(fault, -EACCES,
		    "folder '%s': belongs to user %u, need %u", s->dir,
		    (unsigned)st.st_uid, (unsigned)geteuid());
	if ((st.st_mode & 022) != 0)
		return fault_set(fault, -EACCES,
		    "folder '%s': mode %04o, others may write to it", s->dir,
		    (unsigned)st.st_mode & 07777);
	if (flock(s->dir_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	r = -errno;
	if (r == -EWOULDBLOCK)
		return fault_set(fault, -EBUSY,
		    "folder '%s': another observer is using it", s->dir);
	return fault_set(fault, r, "folder '%s': %s", s->dir, strerror(-r));
}

/* The content of an open file into s->bytes; its length or -errno. */
static ssize_t
read_bytes(struct replay_store *s, int fd, struct replay_store_fault *fault)
{
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st) < 0)
		return fault_file(fault, s, -errno, "cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077) != 0)
		return fault_set(fault, -EACCES,
		    "file '%s/%s': must be a regular file of our own, mode "
		    "0600",
		    s->dir, file_name);
	if (st.st_size > REPLAY_FILE_BYTES_MAX)
		return fault_set(fault, -EINVAL, "file '%s/%s': is too long",
		    s->dir, file_name);
	s->bytes = malloc((size_t)st.st_size + 1);
	if (s->bytes == NULL)
		return fault_file(fault, s, -ENOMEM, "cannot be read");
	len = fd_read_full(fd, s->bytes, (size_t)st.st_size + 1);
	if (len < 0)
		return fault_file(fault, s, (int)len, "cannot be read");
	return len;
}

static int
read_file(struct replay_store *s, struct replay_store_fault *fault)
{
	int fd = openat(s->dir_fd, file_name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char why[96];
	ssize_t len;
	int r;

	if (fd < 0 && errno == ENOENT) {
		r = prng_entropy(s->hash_key, sizeof(s->hash_key));
		return r == 0 ? 0
			      : fault_set(fault, r,
				    "no random bytes from the kernel: %s",
				    strerror(-r));
	}
	if (fd < 0)
		return fault_file(fault, s, -errno, "cannot be opened");
	len = read_bytes(s, fd, fault);
	fd_close(&fd);
	if (len < 0)
		return (int)len;
	if (replay_file_check(
		s->bytes, (size_t)len, &s->file, why, sizeof(why)) < 0)
		return fault_set(fault, -EINVAL,
		    "file '%s/%s': %s; what it remembered could be replayed: "
		    "replace the keys, or move the file away to go without",
		    s->dir, file_name, why);
	memcpy(s->hash_key, s->file.hash_key, sizeof(s->hash_key));
	return 0;
}

int
replay_store_open(const char *dir, struct replay_store **ret,
    struct replay_store_fault *fault)
{
	struct replay_store *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return fault_set(
		    fault, -ENOMEM, "folder '%s': out of memory", dir);
	s->dir_fd = -1;
	s->fd = -1;
	if ((size_t)snprintf(s->dir, sizeof(s->dir), "%s", dir) >=
	    sizeof(s->dir))
		r = fault_set(fault, -ENAMETOOLONG, "folder: name too long");
	else
		r = open_dir(s, fault);
	if (r == 0)
		r = read_file(s, fault);
	if (r < 0) {
		replay_store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

const uint8_t *
replay_store_hash_key(const struct replay_store *s)
{
	return s->hash_key;
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

static int
restore(
    struct replay_store *s, uint64_t now_ns, struct replay_store_fault *fault)
{
	bool fits = true;

	if (s->bytes == NULL)
		return 0;
	if (s->file.is_torn)
		log_warn("file '%s/%s': its last session was not whole, and "
			 "is left out",
		    s->dir, file_name);
	for (uint32_t i = 0; i < s->file.n_sessions && fits; i++) {
		struct prefixset_entry entry = replay_file_session(&s->file, i);

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
	return fault_set(fault, -ENOSPC,
	    "file '%s/%s': remembers more than %u sessions: replace the keys, "
	    "or raise --udp-senders-max",
	    s->dir, file_name, prefixset_capacity(replay_prefixes(s->replay)));
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

	replay_file_put_header(
	    room_for(w, REPLAY_FILE_HEADER_BYTES), places, s->hash_key);
	for (uint32_t i = 0; i < places; i++) {
		uint8_t *cell = room_for(w, 2 * REPLAY_FILE_PLACE_BYTES);

		s->writes[i] = replay_image(s->replay, i, true, &image) ? 2 : 0;
		if (s->writes[i] > 0)
			replay_file_put_place(cell, i, s->writes[i], &image);
	}
	s->n_sessions = 0;
	while ((r = prefixset_next(p, false, UINT32_MAX, &cursor, &entry)) > 0)
		replay_file_put_session(room_for(w, REPLAY_FILE_SESSION_BYTES),
		    s->n_sessions++, &entry);
	(void)r;
	flush(w);
}

/* The file as it is now, beside the old one, then in its place. */
static int
write_file(struct replay_store *s, struct replay_store_fault *fault)
{
	struct writer *w = malloc(sizeof(*w));
	int r = -ENOMEM;

	if (w == NULL)
		goto fail;
	(void)unlinkat(s->dir_fd, new_name, 0);
	w->n = 0;
	w->error = 0;
	w->fd = openat(s->dir_fd, new_name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = w->fd < 0 ? -errno : 0;
	if (r < 0)
		goto fail;
	write_all(s, w);
	r = w->error;
	if (r == 0 && fsync(w->fd) < 0)
		r = -errno;
	if (r == 0 && renameat(s->dir_fd, new_name, s->dir_fd, file_name) < 0)
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
	return fault_file(fault, s, r, "cannot be written");
}

int
replay_store_start(struct replay_store *s, struct replay *r,
    struct stats *stats, uint64_t now_ns, struct replay_store_fault *fault)
{
	uint32_t places = replay_places(r);
	int e;

	s->replay = r;
	s->stats = stats;
	s->writes = calloc(places, sizeof(s->writes[0]));
	s->is_missing = calloc(places, sizeof(s->is_missing[0]));
	if (s->writes == NULL || s->is_missing == NULL)
		return fault_file(fault, s, -ENOMEM, "cannot be kept");
	e = restore(s, now_ns, fault);
	if (e == 0)
		e = write_file(s, fault);
	if (e < 0)
		return e;
	e = syncer_start(s->fd, &s->syncer);
	if (e < 0)
		return fault_file(fault, s, e, "no thread to sync it");
	return 0;
}

/* ---- saving ------------------------------------------------------------- */

static int
write_at(const struct replay_store *s, const void *bytes, size_t n, uint64_t at)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t done = pwrite(s->fd, p, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
		at += (uint64_t)done;
	}
	return 0;
}

static int
save_place(struct replay_store *s, uint32_t place, bool exact)
{
	uint8_t cell[REPLAY_FILE_PLACE_BYTES];
	struct replay_image image;
	int r;

	if (!replay_image(s->replay, place, exact, &image))
		return 0;
	replay_file_put_place(cell, place, s->writes[place] + 1, &image);
	r = write_at(s, cell, sizeof(cell),
	    replay_file_place_at(place, s->writes[place] + 1));
	s->is_missing[place] = r < 0;
	if (r == 0)
		s->writes[place]++;
	return r;
}

static int
save_sessions(
    struct replay_store *s, const struct prefixset_entry *entries, size_t n)
{
	uint8_t cells[REPLAY_NOTES * REPLAY_FILE_SESSION_BYTES];
	int r;

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		replay_file_put_session(cells + i * REPLAY_FILE_SESSION_BYTES,
		    s->n_sessions + (uint32_t)i, &entries[i]);
	r = write_at(s, cells, n * REPLAY_FILE_SESSION_BYTES,
	    replay_file_session_at(replay_places(s->replay), s->n_sessions));
	if (r < 0)
		return r;
	s->n_sessions += (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		prefixset_saved(replay_prefixes(s->replay), &entries[i]);
	return 0;
}

/* From now on something is missing on disk; told once. */
static void
fail(struct replay_store *s, int r, uint64_t now_ns)
{
	s->stats->state_errors++;
	if (!s->is_failing)
		log_error("file '%s/%s': cannot be written: %s; after a "
			  "restart, sessions of now could be replayed",
		    s->dir, file_name, strerror(-r));
	s->is_failing = true;
	s->retry_ns = u64_add_sat(now_ns, REPLAY_STORE_RETRY_S * NS_PER_S);
	s->retry_place = 0;
	s->retry_session = 0;
}

/* Sessions that are not on disk: a part of them, or of the way to them. 1 when
 * all have been gone through. */
static int
retry_sessions(struct replay_store *s)
{
	struct prefixset_entry entry;
	uint32_t looks = RETRY_LOOKS;

	while (looks > 0) {
		uint32_t before = s->retry_session;
		int found = prefixset_next(replay_prefixes(s->replay), true,
		    looks, &s->retry_session, &entry);
		int r;

		if (found <= 0)
			return found < 0;
		looks -= s->retry_session - before;
		r = save_sessions(s, &entry, 1);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
retry_places(struct replay_store *s)
{
	uint32_t end = (uint32_t)u64_min(
	    s->retry_place + RETRY_LOOKS, replay_places(s->replay));

	for (; s->retry_place < end; s->retry_place++)
		if (s->is_missing[s->retry_place]) {
			int r = save_place(s, s->retry_place, false);

			if (r < 0)
				return r;
		}
	return s->retry_place == replay_places(s->replay);
}

/* Write what could not be written before. */
static void
retry(struct replay_store *s, uint64_t now_ns)
{
	int r = retry_sessions(s);

	if (r == 1)
		r = retry_places(s);
	if (r < 0) {
		fail(s, r, now_ns);
	} else if (r == 1) {
		s->is_failing = false;
		log_info("file '%s/%s': is whole again", s->dir, file_name);
		syncer_ask(s->syncer);
	}
}

static void
look_at_syncer(struct replay_store *s)
{
	int error;
	uint32_t n = syncer_failures(s->syncer, &error);

	if (n == s->n_unsynced)
		return;
	s->stats->state_errors += n - s->n_unsynced;
	if (s->n_unsynced == 0)
		log_error("file '%s/%s': cannot be synced: %s; after a loss of "
			  "power, sessions of now could be replayed",
		    s->dir, file_name, strerror(-error));
	s->n_unsynced = n;
}

void
replay_store_save(struct replay_store *s, uint64_t now_ns)
{
	const struct replay_notes *notes = replay_notes(s->replay);
	int r = save_sessions(s, notes->sessions, notes->n_sessions);
	bool is_due = notes->n_places > 0 &&
		      now_ns - s->asked_ns > REPLAY_STORE_SYNC_S * NS_PER_S;

	for (size_t i = 0; i < notes->n_places; i++) {
		int e = save_place(s, notes->places[i], false);

		if (e < 0)
			r = e;
	}
	if (r == 0 && (notes->n_sessions > 0 || is_due)) {
		s->asked_ns = now_ns;
		syncer_ask(s->syncer);
	}
	replay_settle(s->replay);
	look_at_syncer(s);
	if (r < 0)
		fail(s, r, now_ns);
	else if (s->is_failing && now_ns >= s->retry_ns)
		retry(s, now_ns);
}

/* What is only in memory: counters as they are, and what failed before. */
static void
save_last(struct replay_store *s)
{
	int r, e;

	s->retry_session = 0;
	do
		r = retry_sessions(s);
	while (r == 0);
	for (uint32_t i = 0; i < replay_places(s->replay); i++) {
		e = save_place(s, i, true);
		if (e < 0)
			r = e;
	}
	if (r >= 0 && fdatasync(s->fd) < 0)
		r = -errno;
	if (r < 0)
		log_error("file '%s/%s': cannot be written at the end: %s",
		    s->dir, file_name, strerror(-r));
}

void
replay_store_close(struct replay_store *s)
{
	if (s == NULL)
		return;
	if (s->syncer != NULL) {
		syncer_stop(s->syncer);
		save_last(s);
	}
	fd_close(&s->fd);
	fd_close(&s->dir_fd); /* and the lock with it */
	free(s->bytes);
	free(s->writes);
	free(s->is_missing);
	free(s);
}
