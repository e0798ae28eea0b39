/*
 * HKDF-SHA256 (RFC 5869) over libsodium's HMAC, with the empty salt that the
 * protocol lays down, and the derivations of the protocol (vlp(7), "sealed
 * frames"). Keys that come out are the caller's to wipe. sodium_init() has
 * been called. Thread-safe.
 */
#ifndef SECURE_HKDF_H
#define SECURE_HKDF_H

#include <stddef.h>
#include <stdint.h>

enum {
	HKDF_KEY_BYTES = 32,
	HKDF_SALT_BYTES = 16,
	HKDF_IV_PREFIX_BYTES = 8,
	HKDF_OUT_MAX = 255 * 32
};

/* out_len is 1 to HKDF_OUT_MAX. */
void hkdf_sha256(const uint8_t *ikm, size_t ikm_len, const uint8_t *info,
    size_t info_len, uint8_t *out, size_t out_len);

/* The key of one agent: "varta-agent-v1" NUL pid. */
void hkdf_agent_key(
    const uint8_t master[static 32], uint32_t pid, uint8_t ret_key[static 32]);

/* The IV prefix of a session: "varta-iv-prefix-v1" NUL index. */
void hkdf_iv_prefix(const uint8_t salt[static 16], uint32_t prefix_index,
    uint8_t ret_prefix[static 8]);

/* The IV prefix of a crash frame: "varta-panic-iv-v1" NUL pid timestamp
 * counter. */
void hkdf_panic_iv_prefix(const uint8_t salt[static 16], uint32_t pid,
    uint64_t timestamp, uint32_t counter, uint8_t ret_prefix[static 8]);

/* Reserved by the protocol, not on the wire: "varta-epoch-v1" NUL epoch. */
void hkdf_epoch_key(const uint8_t agent_key[static 32], uint64_t epoch,
    uint8_t ret_key[static 32]);

#endif
