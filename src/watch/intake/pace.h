/*
 * Pace: whether the loop should wait for the socket, or sleep on a timer and
 * drain what has come meanwhile.
 *
 * Waking for each beat costs sender and reader ten times what the beat costs,
 * so from PACE_ENTER frames a nap on it pays to sleep. A nap must never fill
 * the kernel's queue: it is not taken where the queue is short, and not while
 * one nap's frames came near half of it. Pure: time and counts in, a decision
 * out.
 */
#ifndef WATCH_INTAKE_PACE_H
#define WATCH_INTAKE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint32_t queue_len;    /* datagrams the kernel holds; 0 unknown */
	uint64_t window_start_ns;
	uint32_t window_frames;
	uint32_t window_peak;  /* most frames that one drain found */
	uint64_t blocked_until_ns; /* no naps before this time */
	bool napping;
};

enum {
	PACE_NAP_US = 5000,
	PACE_WINDOW_MS = 50,
	PACE_ENTER = 4, /* frames a nap, on average over a window, to begin */
	PACE_LEAVE = 3, /* below this many a nap, to go back to blocking */
	PACE_QUEUE_MIN = 64, /* shorter queues are never napped on */
	PACE_HOLD_MS = 1000  /* no nap so long after a drain found the queue
				half full */
};

void pace_init(struct pace *p, uint32_t queue_len, uint64_t now_ns);

/* Note one drain that ended at now_ns and brought frames. */
void pace_note(struct pace *p, uint32_t frames, uint64_t now_ns);

/* How long to nap before the next drain; 0: block on the socket. */
uint64_t pace_nap_ns(const struct pace *p);

#endif
