/*
 * Batches of datagrams from a socket: recvmmsg(2) where there is one, a loop
 * over recvmsg(2) elsewhere. Descriptors that a sender slipped in are closed
 * before anything else is looked at. All places are laid out once; a receive
 * resets nothing but the length of each control buffer.
 */
#ifndef WATCH_INTAKE_DATAGRAM_H
#define WATCH_INTAKE_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "watch/intake/credentials.h"
#include "watch/intake/intake.h"

enum {
	/* More than the longest message (64 bytes, sealed), so that a longer
	 * one shows even where the kernel does not tell true lengths. */
	DATAGRAM_BYTES = 72
};

/* As recvmmsg(2) wants it, with the same names where it does not exist. */
#ifdef DATAGRAM_ONE_BY_ONE
struct datagram_header {
	struct msghdr msg_hdr;
	unsigned int msg_len;
};
#else
#define datagram_header mmsghdr
#endif

/* Points into itself: not to be copied or moved after init. */
struct datagram_reader {
	int fd; /* borrowed */
	size_t control_len;
	uint64_t *n_injected;
	struct datagram_header headers[INTAKE_BATCH];
	struct iovec iov[INTAKE_BATCH];
	_Alignas(struct cmsghdr)
	    uint8_t control[INTAKE_BATCH][CREDENTIALS_CONTROL_BYTES];
	uint8_t bytes[INTAKE_BATCH][DATAGRAM_BYTES];
};

/* fd is a datagram socket, borrowed. n_injected, borrowed, counts descriptors
 * that were slipped in and closed; NULL: the socket carries no control data,
 * and none is asked for. */
void datagram_reader_init(
    struct datagram_reader *r, int fd, uint64_t *n_injected);

/*
 * What is queued, at most max (and INTAKE_BATCH) datagrams; never blocks. The
 * function of an intake_source; ctx is the reader.
 *
 * Returns how many, 0 when nothing is queued, or -errno of the receive call.
 */
int datagram_reader_take(void *ctx, struct datagram *ret, size_t max);

#endif
