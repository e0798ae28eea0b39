/*
 * Capture: the output of a child. Bytes of both streams are counted up to a
 * limit, the last ones kept, and everything is read, so that a child never
 * waits on a full pipe and never dies of a closed one.
 *
 * Memory is bounded: CAPTURE_RINGS children at a time have their last bytes
 * kept; more than that at the same time are counted and read all the same.
 */
#ifndef WATCH_ACT_CAPTURE_H
#define WATCH_ACT_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CAPTURE_RINGS = 256,
	CAPTURE_KEPT = 1024,  /* bytes in a ring */
	CAPTURE_CHUNK = 16384 /* read at a time */
};

/* The output of one child. */
struct capture {
	uint64_t bytes[2]; /* counted: stdout, stderr */
	int fds[2];        /* -1: ended or given up */
	uint32_t ring;
	bool truncated; /* the limit was reached */
};

struct capture_pool;

size_t capture_pool_size(void);

/* mem: capture_pool_size() bytes, aligned for uint64_t, outlives the pool.
 * limit is that of both streams of a child together; 0 counts nothing. */
struct capture_pool *capture_pool_init(void *mem, uint64_t limit);

/* Take the read ends, which must be non-blocking or -1, and a ring if there is
 * one. */
void capture_begin(struct capture_pool *p, struct capture *c, const int fds[2]);

/*
 * Read what is there, stdout first, budget bytes of each stream at most and one
 * chunk more. A stream at its end is closed. Returns the bytes read.
 */
size_t capture_drain(struct capture_pool *p, struct capture *c, size_t budget);

/* Whether there may be more to read. */
bool capture_is_open(const struct capture *c);

/* The last bytes, escaped; in the pool until the next call. NULL when there
 * are none. */
const char *capture_text(struct capture_pool *p, const struct capture *c);

/* Close what is open and give the ring back. */
void capture_end(struct capture_pool *p, struct capture *c);

#endif
