/*
 * Control data of a received message, walked record by record. Pure: bytes in,
 * records out, no pointer into anything but the bytes given. What the kernel
 * wrote is taken as untrusted all the same, because a sender chooses which
 * records there are and how many.
 */
#ifndef WATCH_INTAKE_CMSG_H
#define WATCH_INTAKE_CMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cmsg_walk {
	const uint8_t *bytes;
	size_t left;
};

struct cmsg_record {
	int level;
	int type;
	const uint8_t *data; /* unaligned */
	size_t len;
};

/* Borrows the bytes; they need no alignment. */
void cmsg_walk_init(struct cmsg_walk *w, const uint8_t *bytes, size_t n);

/*
 * The next record. One that claims to reach past the end is given with what
 * is there, so that descriptors in a cut-off record can be closed, and is the
 * last; so is one that claims to be shorter than its own header, which is not
 * given. Readers check len.
 *
 * Returns false at the end, and leaves *ret as it was.
 */
bool cmsg_walk_next(struct cmsg_walk *w, struct cmsg_record *ret);

#endif
