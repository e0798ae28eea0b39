#include "watch/intake/replay_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "watch/intake/replay_disk.h"

enum {
	RETRY_LOOKS = 16384 /* places looked at in one call, while retrying */
};

int
replay_store_open(const char *dir, struct replay_store **ret,
    struct replay_store_fault *fault)
{
	struct replay_store *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return replay_disk_fault(
		    fault, -ENOMEM, "folder '%s': out of memory", dir);
	s->dir_fd = -1;
	s->fd = -1;
	if ((size_t)snprintf(s->dir, sizeof(s->dir), "%s", dir) >=
	    sizeof(s->dir))
		r = replay_disk_fault(
		    fault, -ENAMETOOLONG, "folder: name too long");
	else
		r = replay_disk_open(s, fault);
	if (r < 0) {
		replay_store_close(s, 0);
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
		return replay_disk_fault_file(
		    fault, s, -ENOMEM, "cannot be kept");
	e = replay_disk_restore(s, now_ns, fault);
	if (e == 0)
		e = replay_disk_write(s, fault);
	if (e < 0)
		return e;
	e = syncer_start(&s->syncer);
	if (e < 0)
		return replay_disk_fault_file(
		    fault, s, e, "no thread to sync it");
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
		    s->n_sessions + (uint32_t)i, &entries[i], s->n_synced);
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
		    s->dir, REPLAY_DISK_FILE, strerror(-r));
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
	int r = retry_places(s);

	if (r == 1)
		r = retry_sessions(s);
	if (r < 0) {
		fail(s, r, now_ns);
	} else if (r == 1) {
		s->is_failing = false;
		log_info(
		    "file '%s/%s': is whole again", s->dir, REPLAY_DISK_FILE);
		syncer_ask(s->syncer, s->fd, s->n_sessions);
	}
}

static void
look_at_syncer(struct replay_store *s)
{
	int error;
	uint32_t n = syncer_failures(s->syncer, &error);

	s->n_synced = (uint32_t)u64_max(s->n_synced, syncer_done(s->syncer));
	if (n == s->n_unsynced)
		return;
	s->stats->state_errors += n - s->n_unsynced;
	if (s->n_unsynced == 0)
		log_error("file '%s/%s': cannot be synced: %s; after a loss of "
			  "power, sessions of now could be replayed",
		    s->dir, REPLAY_DISK_FILE, strerror(-error));
	s->n_unsynced = n;
}

void
replay_store_save(struct replay_store *s, uint64_t now_ns)
{
	const struct replay_notes *notes = replay_notes(s->replay);
	bool is_due = notes->n_places > 0 &&
		      now_ns - s->asked_ns > REPLAY_STORE_SYNC_S * NS_PER_S;
	int e, r = 0;

	/* Places first. A session that is remembered and open at no place is
	 * over: whoever lives in it would not be heard any more. */
	for (size_t i = 0; i < notes->n_places; i++) {
		e = save_place(s, notes->places[i], false);
		if (e < 0)
			r = e;
	}
	e = save_sessions(s, notes->sessions, notes->n_sessions);
	if (e < 0)
		r = e;
	if (r == 0 && (notes->n_sessions > 0 || is_due)) {
		s->asked_ns = now_ns;
		syncer_ask(s->syncer, s->fd, s->n_sessions);
	}
	replay_settle(s->replay);
	look_at_syncer(s);
	if (r < 0)
		fail(s, r, now_ns);
	else if (s->is_failing && now_ns >= s->retry_ns)
		retry(s, now_ns);
}

/* That all sessions are on disk for certain. Less than a sector: it is there,
 * or it is not. */
static int
save_header(struct replay_store *s)
{
	uint8_t header[REPLAY_FILE_HEADER_BYTES];

	replay_file_put_header(
	    header, replay_places(s->replay), s->hash_key, s->n_sessions);
	return write_at(s, header, sizeof(header), 0);
}

/* Nothing was lost on the way to the disk, ever: that is noted. */
static void
sync_last(struct replay_store *s, uint64_t wait_ns)
{
	uint32_t before, after;
	int error, r = 0;

	before = syncer_failures(s->syncer, &error);
	syncer_ask(s->syncer, s->fd, s->n_sessions);
	if (!syncer_wait(s->syncer, wait_ns)) {
		log_error("file '%s/%s': its disk does not answer at the end; "
			  "after a loss of power, sessions of now could be "
			  "replayed",
		    s->dir, REPLAY_DISK_FILE);
		return;
	}
	after = syncer_failures(s->syncer, &error);
	if (after != before)
		r = error;
	else if (after == 0)
		r = save_header(s);
	if (r < 0)
		log_error("file '%s/%s': cannot be written at the end: %s",
		    s->dir, REPLAY_DISK_FILE, strerror(-r));
}

/* What is only in memory: counters as they are, and what failed before. */
static void
save_last(struct replay_store *s, uint64_t wait_ns)
{
	int e, r = 0;

	for (uint32_t i = 0; i < replay_places(s->replay); i++) {
		e = save_place(s, i, true);
		if (e < 0)
			r = e;
	}
	s->retry_session = 0;
	do
		e = retry_sessions(s);
	while (e == 0);
	if (e < 0)
		r = e;
	if (r < 0)
		log_error("file '%s/%s': cannot be written at the end: %s",
		    s->dir, REPLAY_DISK_FILE, strerror(-r));
	else
		sync_last(s, wait_ns);
}

void
replay_store_close(struct replay_store *s, uint64_t wait_ns)
{
	if (s == NULL)
		return;
	if (s->syncer != NULL) {
		save_last(s, wait_ns);
		syncer_stop(s->syncer);
	}
	fd_close(&s->fd);
	fd_close(&s->dir_fd); /* and the lock with it */
	free(s->bytes);
	free(s->writes);
	free(s->is_missing);
	free(s);
}
