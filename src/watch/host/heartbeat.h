/*
 * Heartbeat file: a line that says how far the loop has come, for a watcher
 * outside: "PASSES OBSERVER_NS", decimal. Each version is written beside the
 * file and renamed over it, so that a reader sees a whole one. Nothing is
 * synced: a file system in memory is its place.
 *
 * Written at most ten times a second, and as long as the caller comes when it
 * is told to, at least once. After heartbeat_open() nothing is allocated.
 */
#ifndef WATCH_HOST_HEARTBEAT_H
#define WATCH_HOST_HEARTBEAT_H

#include <stdint.h>

#include "watch/stats.h"

enum {
	HEARTBEAT_LEAST_MS = 100, /* between two */
	HEARTBEAT_MOST_MS = 900,  /* leaves room below a second */
	HEARTBEAT_TRIES = 16      /* names of temporary files */
};

struct heartbeat;

/* Makes no file. path is copied, stats borrowed. 0 or -ENOMEM. */
int heartbeat_open(
    const char *path, struct stats *stats, struct heartbeat **ret);

/*
 * Write the file if it is time to, from stats->passes and now_ns. Returns when
 * to come again at the latest. Failures are logged and counted, and leave the
 * file as it was.
 */
uint64_t heartbeat_beat(struct heartbeat *h, uint64_t now_ns);

/* The file stays, and grows old. Takes NULL. */
void heartbeat_close(struct heartbeat *h);

#endif
