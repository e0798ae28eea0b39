/*
 * The inside of replay_store.h, shared by its two parts: replay_load.c brings
 * memory and file together at the start, replay_store.c keeps them so. Private
 * to them.
 */
#ifndef WATCH_INTAKE_REPLAY_DISK_H
#define WATCH_INTAKE_REPLAY_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/syncer.h"
#include "watch/intake/replay_file.h"
#include "watch/intake/replay_store.h"

#define REPLAY_DISK_FILE "sessions"
#define REPLAY_DISK_NEW_FILE "sessions.new"

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
	uint32_t n_synced;   /* of them, on disk for certain */
	uint64_t asked_ns;   /* the last sync */
	uint32_t n_unsynced; /* failures of the syncer that were told */
	bool is_failing;     /* something is not written */
	uint64_t retry_ns;
	uint32_t retry_place; /* how far this round of tries has come */
	uint32_t retry_session;
	uint32_t *writes; /* of each place; the next one is this + 1 */
	bool *is_missing; /* the last change of a place is not written */
};

/* Fill a fault in; return r. */
int replay_disk_fault(struct replay_store_fault *fault, int r,
    const char *format, ...) __attribute__((format(printf, 3, 4)));
int replay_disk_fault_file(struct replay_store_fault *fault,
    const struct replay_store *s, int r, const char *what);

/* Lock s->dir, and read the file in it, if there is one, into s->bytes and
 * s->file. 0 or -errno. */
int replay_disk_open(struct replay_store *s, struct replay_store_fault *fault);

/* What was read, into s->replay; s->bytes is freed. 0 or -errno. */
int replay_disk_restore(
    struct replay_store *s, uint64_t now_ns, struct replay_store_fault *fault);

/* All that s->replay knows into a new file, put in the place of the old one,
 * and s->fd. 0 or -errno. */
int replay_disk_write(struct replay_store *s, struct replay_store_fault *fault);

#endif
