/*
 * Syncer: a thread that syncs files to disk when it is asked to, so that
 * nobody else has to wait for the disk. Requests that come while it is at work
 * are served by one further sync.
 *
 * It serves one file at a time. When another file takes its place, as in a
 * rotation, the old one is handed over: it is synced a last time and closed.
 * Some of these may wait at once, and syncer_has_room() says when one more may.
 */
#ifndef BASE_SYNCER_H
#define BASE_SYNCER_H

#include <stdbool.h>
#include <stdint.h>

enum { SYNCER_WAITING = 32 /* files handed over that may wait at once */ };

struct syncer;

/* All signals are blocked in the thread. 0 or -errno. */
int syncer_start(struct syncer **ret);

/* Ask for a sync of all that was written to fd up to now, which is called mark.
 * fd is borrowed until it is handed over or syncer_wait() has been true. */
void syncer_ask(struct syncer *s, int fd, uint32_t mark);

/* The last mark that is on disk for certain; 0 at first. It stays as it is when
 * a sync has failed: later ones do not say what became of that data. */
uint32_t syncer_done(const struct syncer *s);

/* Whether n files can be handed over, and one more after them. */
bool syncer_has_room(struct syncer *s, unsigned n);

/* Sync fd once more and close it; it belongs to the syncer from now on. A
 * folder will do as well. To be called when there is room, and once more at the
 * end, for the last file. */
void syncer_hand_over(struct syncer *s, int fd);

/* How many syncs have failed; the -errno of the last one in *ret_error. */
uint32_t syncer_failures(const struct syncer *s, int *ret_error);

/* Wait until all that was asked for is done, at most wait_ns, NS_NEVER for
 * ever; a nap of a millisecond at a time. True when it is done. */
bool syncer_wait(struct syncer *s, uint64_t wait_ns);

/* End the thread, now: what was asked for and not begun is left undone, and a
 * thread that hangs in a sync is left behind. Takes NULL. */
void syncer_stop(struct syncer *s);

#endif
