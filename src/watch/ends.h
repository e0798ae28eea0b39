/*
 * Ends that are waiting for their cause: a process has ended, and its parent
 * may reap it any moment, when the kernel tells how. Bounded, oldest first.
 * Pure.
 */
#ifndef WATCH_ENDS_H
#define WATCH_ENDS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	ENDS_WAITING = 4096 /* at a time */
};

struct ends_one {
	uint64_t token;
	uint64_t give_up_ns;
};

struct ends {
	uint32_t head; /* oldest */
	uint32_t n;
	struct ends_one ring[ENDS_WAITING];
};

/* False when full. give_up_ns must not be before that of the last one. */
bool ends_put(struct ends *e, uint64_t token, uint64_t give_up_ns);

/* The oldest, or NULL. */
const struct ends_one *ends_oldest(const struct ends *e);

/* Drop the oldest; there must be one. */
void ends_drop(struct ends *e);

#endif
