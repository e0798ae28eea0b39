/*
 * A bell: one thread wakes another. Ringing never waits, and costs a system
 * call only when the bell has not been rung since it was last heard.
 *
 * What the ringing thread did before bell_ring() is seen by the other one
 * after the bell_wait() that hears it.
 */
#ifndef WATCH_TELL_BELL_H
#define WATCH_TELL_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bell {
	int fds[2]; /* a pipe: heard from the first, rung at the second */
	atomic_bool rung;
};

/* 0 or -errno. */
int bell_init(struct bell *b);
void bell_fini(struct bell *b);

void bell_ring(struct bell *b);

/* Wait until the bell is rung, at most wait_ns, NS_NEVER for ever. True when
 * it was rung. For one thread. */
bool bell_wait(struct bell *b, uint64_t wait_ns);

#endif
