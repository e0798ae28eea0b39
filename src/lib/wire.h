/*
 * Fields to the bytes of a frame, for those who know that they are valid.
 *
 * The CRC is computed from the values in registers, not from the buffer:
 * reading back what was just stored in other widths stalls the processor for
 * longer than the whole CRC takes (7.2 against 1.7 ns).
 */
#ifndef LIB_WIRE_H
#define LIB_WIRE_H

#include <stdint.h>

#include <varta/frame.h>

#include "base/bytes.h"
#include "lib/crc32c.h"

enum {
	WIRE_MAGIC = 0x4156, /* the bytes 'V' 'A' */
	WIRE_VERSION = 2,
	WIRE_PID_LOWEST = 2 /* below are the kernel and init */
};

/* Write a frame to out. status and pid hold what varta_frame_encode() would
 * accept, as do the other fields. */
static inline void
wire_put(uint8_t out[VARTA_FRAME_BYTES], uint32_t status, uint32_t pid,
    uint64_t timestamp, uint64_t nonce, uint32_t payload)
{
	uint64_t head = WIRE_MAGIC | (uint64_t)WIRE_VERSION << 16 |
			(uint64_t)status << 24 | (uint64_t)pid << 32;
	uint32_t crc = varta__crc32c_frame(head, timestamp, nonce, payload);

	store_le64(out, head);
	store_le64(out + 8, timestamp);
	store_le64(out + 16, nonce);
	store_le64(out + 24, (uint64_t)crc << 32 | payload);
}

#endif
