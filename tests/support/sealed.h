/*
 * An observer of sealed frames for tests: it opens what agents send and keeps
 * what is in the clear. To be included after cmocka.h.
 */
#ifndef SUPPORT_SEALED_H
#define SUPPORT_SEALED_H

#include <varta/frame.h>

#include "secure/hkdf.h"
#include "secure/seal.h"
#include "support/udp.h"

static const uint8_t sealed_key[HKDF_KEY_BYTES] = { 0x00, 0x01, 0x02, 0x03,
	0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
	0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b,
	0x1c, 0x1d, 0x1e, 0x1f };

struct sealed {
	struct varta_frame frame;
	struct seal_iv iv;
	uint32_t key_pid; /* of a master frame; 0: a shared one */
};

/* Open a datagram; false when it is not what an agent with that key sends. */
static inline bool
sealed_open(const uint8_t *wire, size_t n, struct sealed *ret)
{
	uint8_t key[HKDF_KEY_BYTES], plain[SEAL_PLAIN_BYTES];

	memset(ret, 0, sizeof(*ret));
	if (n == SEAL_SHARED_BYTES) {
		seal_shared_iv(wire, &ret->iv);
		if (!seal_open_shared(sealed_key, wire, plain))
			return false;
	} else if (n == SEAL_MASTER_BYTES) {
		seal_master_iv(wire, &ret->key_pid, &ret->iv);
		hkdf_agent_key(sealed_key, ret->key_pid, key);
		if (!seal_open_master(key, wire, plain))
			return false;
	} else {
		return false;
	}
	return varta_frame_decode(plain, sizeof(plain), &ret->frame) == 0 &&
	       (ret->key_pid == 0 || ret->key_pid == ret->frame.pid);
}

/* The next frame, which must be there and must open. */
static inline void
sealed_take(struct udp *u, struct sealed *ret)
{
	uint8_t wire[UDP_BYTES_MAX + 1];
	ssize_t n;

	n = udp_take(u, 0, wire);
	assert_true(n > 0);
	assert_true(sealed_open(wire, (size_t)n, ret));
}

#endif
