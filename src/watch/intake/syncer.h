/*
 * Syncer: a thread that syncs one file to disk when it is asked to, so that
 * nobody else has to wait for the disk. Requests that come while it is at work
 * are served by one further sync.
 */
#ifndef WATCH_INTAKE_SYNCER_H
#define WATCH_INTAKE_SYNCER_H

#include <stdint.h>

struct syncer;

/* fd is borrowed. All signals are blocked in the thread. 0 or -errno. */
int syncer_start(int fd, struct syncer **ret);

/* Wait for the sync under way, if any, and end the thread. Takes NULL. Returns
 * how many syncs have failed. */
uint32_t syncer_stop(struct syncer *s);

/* Ask for a sync of all that was written up to now, which is called mark. */
void syncer_ask(struct syncer *s, uint32_t mark);

/* The last mark that is on disk for certain; 0 at first. It stays as it is when
 * a sync has failed: later ones do not say what became of that data. */
uint32_t syncer_done(const struct syncer *s);

/* How many syncs have failed; the -errno of the last one in *ret_error. */
uint32_t syncer_failures(const struct syncer *s, int *ret_error);

#endif
