/*
 * No input crashes the codec; what was decoded encodes to the same bytes; and
 * any fields either are refused or come back as they were.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <varta/frame.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int holds)
{
	if (!holds)
		abort();
}

static void
check_fields(const uint8_t *data)
{
	uint8_t wire[VARTA_FRAME_BYTES];
	struct varta_frame f, back;

	f.status = data[3];
	f.pid = load_le32(data + 4);
	f.timestamp = load_le64(data + 8);
	f.nonce = load_le64(data + 16);
	f.payload = load_le32(data + 24);
	if (varta_frame_encode(&f, wire) < 0)
		return;

	check(varta_frame_decode(wire, sizeof(wire), &back) == 0);
	check(back.status == f.status && back.pid == f.pid &&
	      back.timestamp == f.timestamp && back.nonce == f.nonce &&
	      back.payload == f.payload);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[VARTA_FRAME_BYTES];
	struct varta_frame f;
	int r;

	r = varta_frame_decode(data, size, &f);
	if (r == 0) {
		check(varta_frame_encode(&f, again) == 0);
		check(memcmp(again, data, sizeof(again)) == 0);
	}
	check((r == VARTA_ERR_BAD_LENGTH) == (size != VARTA_FRAME_BYTES));
	if (size == VARTA_FRAME_BYTES)
		check_fields(data);
	return 0;
}
