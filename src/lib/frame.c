/*
 * The frame codec, with all checks in the order that the protocol lays down.
 * A frame is handled as four 64-bit words in registers.
 */
#include <varta/frame.h>

#include <varta/varta.h>

#include "base/bytes.h"
#include "base/util.h"
#include "lib/wire.h"

enum { STATUS_STALL = 3 }; /* made by observers only */

/* Checks 4 to 8 of the decoder, which the encoder shares. */
static inline int
check_fields(const struct varta_frame *f)
{
	if (unlikely(f->status > STATUS_STALL))
		return VARTA_ERR_BAD_STATUS;
	if (unlikely(f->status == STATUS_STALL))
		return VARTA_ERR_STALL_ON_WIRE;
	if (unlikely(f->pid < WIRE_PID_LOWEST))
		return VARTA_ERR_BAD_PID;
	if (unlikely(f->timestamp == UINT64_MAX))
		return VARTA_ERR_BAD_TIMESTAMP;
	if (unlikely(f->nonce == VARTA_NONCE_TERMINAL &&
		     f->status != VARTA_CRITICAL))
		return VARTA_ERR_BAD_NONCE;
	return 0;
}

int
varta_frame_encode(
    const struct varta_frame *frame, uint8_t out[VARTA_FRAME_BYTES])
{
	int r;

	r = check_fields(frame);
	if (likely(r == 0))
		wire_put(out, frame->status, frame->pid, frame->timestamp,
		    frame->nonce, frame->payload);
	return r;
}

int
varta_frame_decode(const uint8_t *data, size_t n, struct varta_frame *ret_frame)
{
	struct varta_frame f;
	uint64_t head, tail;
	int r;

	if (unlikely(n != VARTA_FRAME_BYTES))
		return VARTA_ERR_BAD_LENGTH;

	head = load_le64(data);
	f.timestamp = load_le64(data + 8);
	f.nonce = load_le64(data + 16);
	tail = load_le64(data + 24);

	if (unlikely((head & 0xffff) != WIRE_MAGIC))
		return VARTA_ERR_BAD_MAGIC;
	if (unlikely((head >> 16 & 0xff) != WIRE_VERSION))
		return VARTA_ERR_BAD_VERSION;

	f.payload = (uint32_t)tail;
	if (unlikely(varta__crc32c_frame(
			 head, f.timestamp, f.nonce, f.payload) != tail >> 32))
		return VARTA_ERR_BAD_CRC;

	f.status = (uint8_t)(head >> 24);
	f.pid = (uint32_t)(head >> 32);
	r = check_fields(&f);
	if (unlikely(r < 0))
		return r;

	*ret_frame = f;
	return 0;
}

const char *
varta_frame_error_name(int code)
{
	switch (code) {
	case VARTA_ERR_BAD_MAGIC:
		return "BadMagic";
	case VARTA_ERR_BAD_VERSION:
		return "BadVersion";
	case VARTA_ERR_BAD_CRC:
		return "BadCrc";
	case VARTA_ERR_BAD_STATUS:
		return "BadStatus";
	case VARTA_ERR_STALL_ON_WIRE:
		return "StallOnWire";
	case VARTA_ERR_BAD_PID:
		return "BadPid";
	case VARTA_ERR_BAD_TIMESTAMP:
		return "BadTimestamp";
	case VARTA_ERR_BAD_NONCE:
		return "BadNonce";
	}
	return "Unknown";
}
