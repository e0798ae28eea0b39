/*
 * Linger: stay alive until the observer has taken what was sent.
 *
 * The observer looks a sender up when it takes its first beat. A process that
 * ends before that can no longer be looked up, so a tool that sends one beat
 * waits until its datagrams have left the queue, and a moment for the look.
 */
#ifndef TOOL_LINGER_H
#define TOOL_LINGER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LINGER_MAX_MS = 1000, /* a stopped observer holds nobody up longer */
	LINGER_LOOK_MS = 10   /* for the observer's look at a taken beat */
};

/*
 * Wait until no Unix datagram socket of this process has anything queued that
 * its reader has not taken, at most LINGER_MAX_MS, then LINGER_LOOK_MS more.
 * Where the system does not tell, only the latter.
 *
 * Returns false when something was still queued at the end.
 */
bool linger_until_taken(void);

#endif
