/*
 * Replay store: what replay.h remembers, on disk, so that no frame of an
 * earlier session is taken after a restart of the observer either.
 *
 * One file, DIR/sessions (replay_file.h), locked while it is in use. At the
 * start it is read, and written anew beside and renamed over, without what is
 * not needed any more. From then on a change of a sender overwrites its own
 * place, and a new session is appended: the file needs no other compaction.
 *
 * What a frame changes is written, before the frame counts, to the memory of
 * the system: it outlives this process, however that ends. A thread of its own
 * syncs it to the disk: at once for new sessions, now and then for counters.
 *
 * While the disk fails, frames are taken as before, and what could not be
 * written is tried again every few seconds. That is told and counted.
 */
#ifndef WATCH_INTAKE_REPLAY_STORE_H
#define WATCH_INTAKE_REPLAY_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "watch/intake/replay.h"
#include "watch/stats.h"

enum {
	REPLAY_STORE_RETRY_S = 5,
	REPLAY_STORE_SYNC_S = 10 /* of counters */
};

struct replay_store;

/* What is wrong: folder or file, and reason. */
struct replay_store_fault {
	char text[320];
};

/*
 * Lock the folder and read the file, if there is one. The folder is the
 * caller's effective user's, and nobody else may write to it.
 *
 * 0, or -errno with fault filled in: -EACCES, -ENOTDIR, -ELOOP (a link), -EBUSY
 * (in use by another observer), -EINVAL (the file is damaged), -ENOMEM, others
 * of the system.
 */
int replay_store_open(const char *dir, struct replay_store **ret,
    struct replay_store_fault *fault);

/* For struct replay_options: that of the file, or a new one. */
const uint8_t *replay_store_hash_key(const struct replay_store *s);

/*
 * Put what was read into r, which is new and knows its sources, write the file
 * anew, and start the thread. Afterwards r and stats, which are borrowed, must
 * outlive the store. 0, or -errno with fault filled in; nothing that the file
 * remembered is then lost.
 */
int replay_store_start(struct replay_store *s, struct replay *r,
    struct stats *stats, uint64_t now_ns, struct replay_store_fault *fault);

/* Write down what replay_notes() says, and settle it. Never waits for the
 * disk. */
void replay_store_save(struct replay_store *s, uint64_t now_ns);

/* Write down all counters as they are, sync, and end the thread. Waits for the
 * disk for wait_ns at most; one that takes longer is left behind. Takes NULL,
 * and a store that was not started. */
void replay_store_close(struct replay_store *s, uint64_t wait_ns);

#endif
