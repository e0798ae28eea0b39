/*
 * Pace: whether the loop should wait for the socket, or sleep on a timer and
 * drain what has come meanwhile.
 *
 * Waking for each beat costs sender and reader ten times what the beat costs,
 * so from PACE_ENTER frames a nap on it pays to sleep. The rate is measured
 * over windows: long enough that the chance ups and downs of a thousand beats
 * a second neither end the naps nor those of half as many begin them.
 *
 * A nap must never fill the kernel's queue. It lasts no longer than a quarter
 * of the queue takes to come at the measured rate, which leaves the factor of
 * four to bursts and to a late timer; no naps are taken where the queue is
 * short or unknown, nor for PACE_HOLD_MS after one drain brought more than
 * half of it. Pure: time and counts in, a decision out.
 */
#ifndef WATCH_INTAKE_PACE_H
#define WATCH_INTAKE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint32_t queue_len; /* datagrams the kernel holds; 0 unknown */
	uint64_t window_start_ns;
	uint64_t window_frames;
	uint64_t blocked_until_ns; /* no naps before this time */
	uint64_t nap_ns;           /* 0: block */
};

enum {
	PACE_NAP_US = 5000,
	PACE_NAP_MIN_US = 500, /* a nap that would have to be shorter to spare
				  the queue is not worth its timer */
	/* At 1,000 beats a second of random arrival a window shows 180 +- 13
	 * (enters from 144, leaves below 108); at 500 it shows 90 +- 9.5. Both
	 * borders are more than five standard deviations from the wrong side,
	 * and the right one is crossed in the first window. */
	PACE_WINDOW_MS = 180,
	PACE_ENTER = 4, /* frames in 5 ms, on average over a window, to begin */
	PACE_LEAVE = 3, /* below this many, to go back to blocking */
	PACE_QUEUE_MIN = 64, /* shorter queues are never napped on */
	PACE_QUEUE_PART = 4, /* a nap may bring this part of the queue */
	PACE_HOLD_MS = 1000  /* no nap so long after a drain found the queue
				half full */
};

void pace_init(struct pace *p, uint32_t queue_len, uint64_t now_ns);

/* Note one drain that ended at now_ns and brought frames, none included. */
void pace_note(struct pace *p, uint32_t frames, uint64_t now_ns);

/* How long to nap before the next drain; 0: block on the socket. */
uint64_t pace_nap_ns(const struct pace *p);

#endif
