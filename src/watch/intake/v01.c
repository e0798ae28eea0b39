#include "watch/intake/v01.h"

#include <varta/varta.h>

#include "base/bytes.h"

enum { VERSION_AT = 2, STATUS_STALL = 3 };

bool
v01_is(const uint8_t data[static VARTA_FRAME_BYTES])
{
	return data[0] == 'V' && data[1] == 'A' && data[VERSION_AT] == 1;
}

int
v01_decode(
    const uint8_t data[static VARTA_FRAME_BYTES], struct varta_frame *ret)
{
	struct varta_frame frame = {
		.status = data[3],
		.pid = load_le32(data + 4),
		.timestamp = load_le64(data + 8),
		.nonce = load_le64(data + 16),
		.payload = (uint32_t)load_le64(data + 24),
	};

	if (frame.status > STATUS_STALL)
		return VARTA_ERR_BAD_STATUS;
	if (frame.status == STATUS_STALL)
		return VARTA_ERR_STALL_ON_WIRE;
	if (frame.pid <= 1)
		return VARTA_ERR_BAD_PID;
	if (frame.timestamp == UINT64_MAX)
		return VARTA_ERR_BAD_TIMESTAMP;
	if (frame.nonce == VARTA_NONCE_TERMINAL &&
	    frame.status != VARTA_CRITICAL)
		return VARTA_ERR_BAD_NONCE;
	*ret = frame;
	return 0;
}
