/*
 * The frame of the Varta lifeline protocol, version 2: 32 bytes, one in each
 * datagram, all integers little-endian.
 *
 *   0  magic 56 41     2  version 02     3  status     4  pid
 *   8  timestamp      16  nonce         24  payload   28  CRC-32C of 0 to 27
 *
 * These functions do no I/O, keep no state, never allocate, and may be called
 * from any thread and from signal handlers.
 */
#ifndef VARTA_FRAME_H
#define VARTA_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include <varta/error.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define VARTA_FRAME_BYTES 32

/* The nonce of a last word: allowed with status VARTA_CRITICAL only. */
#define VARTA_NONCE_TERMINAL UINT64_MAX

/* A frame in host order. */
struct varta_frame {
	uint64_t timestamp; /* nanoseconds of the agent; never UINT64_MAX */
	uint64_t nonce;
	uint32_t pid; /* in the agent's own pid namespace; above 1 */
	uint32_t payload;
	uint8_t status; /* enum varta_status */
};

/*
 * Write frame to out. What may not be on the wire is refused with the code
 * that a decoder would give for it, and out is left as it was.
 *
 * Returns 0, VARTA_ERR_BAD_STATUS, VARTA_ERR_STALL_ON_WIRE, VARTA_ERR_BAD_PID,
 * VARTA_ERR_BAD_TIMESTAMP or VARTA_ERR_BAD_NONCE.
 */
int varta_frame_encode(
    const struct varta_frame *frame, uint8_t out[VARTA_FRAME_BYTES]);

/*
 * Read the n bytes at data, which need no alignment. The first failing check
 * decides the error: length, magic, version, CRC, status, stall, pid,
 * timestamp, nonce. A frame that was decoded needs no further check.
 *
 * Returns 0 or one of VARTA_ERR_BAD_LENGTH, VARTA_ERR_BAD_MAGIC to
 * VARTA_ERR_BAD_NONCE; ret_frame is then as it was.
 */
int varta_frame_decode(
    const uint8_t *data, size_t n, struct varta_frame *ret_frame);

/*
 * The name that the protocol gives to a decode error: BadMagic, BadVersion,
 * BadCrc, BadStatus, StallOnWire, BadPid, BadTimestamp or BadNonce. Unknown
 * for every other code, VARTA_ERR_BAD_LENGTH among them: a wrong length is
 * not an error of the frame.
 */
const char *varta_frame_error_name(int code);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
