/*
 * Sealed frames: ChaCha20-Poly1305 IETF around the 32 bytes of a plain one.
 *
 *	shared key, 60 bytes: iv_random 8, iv_counter 4, sealed 32, tag 16
 *	master key, 64 bytes: pid 4 (clear, authenticated), then the same
 *
 * Only bytes and keys; sessions are session.h, replay is the observer's.
 * Never allocates. Thread-safe.
 */
#ifndef SECURE_SEAL_H
#define SECURE_SEAL_H

#include <stdbool.h>
#include <stdint.h>

enum {
	SEAL_PLAIN_BYTES = 32,
	SEAL_SHARED_BYTES = 60,
	SEAL_MASTER_BYTES = 64,
	SEAL_PREFIX_BYTES = 8
};

struct seal_iv {
	uint8_t random[SEAL_PREFIX_BYTES];
	uint32_t counter;
};

void seal_shared(const uint8_t key[static 32], const struct seal_iv *iv,
    const uint8_t plain[static 32], uint8_t out[static 60]);
void seal_master(const uint8_t agent_key[static 32], uint32_t pid,
    const struct seal_iv *iv, const uint8_t plain[static 32],
    uint8_t out[static 64]);

/* The parts that are in the clear. */
void seal_shared_iv(const uint8_t wire[static 60], struct seal_iv *ret);
void seal_master_iv(
    const uint8_t wire[static 64], uint32_t *ret_pid, struct seal_iv *ret);

/* Open; false, with plain zeroed, when it is not authentic. */
bool seal_open_shared(const uint8_t key[static 32],
    const uint8_t wire[static 60], uint8_t plain[static 32]);
bool seal_open_master(const uint8_t agent_key[static 32],
    const uint8_t wire[static 64], uint8_t plain[static 32]);

#endif
