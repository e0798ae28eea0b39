/*
 * The AEAD nonce is the 12 bytes of the IV as they stand on the wire, so it is
 * used from there and never copied.
 */
#include "secure/seal.h"

#include <stddef.h>
#include <string.h>

#include <sodium.h>

#include "base/bytes.h"

enum {
	PID_BYTES = 4,
	IV_BYTES = crypto_aead_chacha20poly1305_ietf_NPUBBYTES,
	TAG_BYTES = crypto_aead_chacha20poly1305_ietf_ABYTES
};

_Static_assert(SEAL_PREFIX_BYTES + sizeof(uint32_t) == IV_BYTES, "IV");
_Static_assert(IV_BYTES + SEAL_PLAIN_BYTES + TAG_BYTES == SEAL_SHARED_BYTES,
    "frame of a shared key");
_Static_assert(
    PID_BYTES + SEAL_SHARED_BYTES == SEAL_MASTER_BYTES, "master key's");

static void
put_iv(uint8_t *out, const struct seal_iv *iv)
{
	memcpy(out, iv->random, SEAL_PREFIX_BYTES);
	store_le32(out + SEAL_PREFIX_BYTES, iv->counter);
}

static void
get_iv(const uint8_t *wire, struct seal_iv *ret)
{
	memcpy(ret->random, wire, SEAL_PREFIX_BYTES);
	ret->counter = load_le32(wire + SEAL_PREFIX_BYTES);
}

/* at: the IV, with room behind it; what is authenticated in the clear lies
 * directly before it. */
static void
seal(const uint8_t *key, size_t clear_len, const uint8_t *plain, uint8_t *at)
{
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(at + IV_BYTES, NULL,
	    plain, SEAL_PLAIN_BYTES, at - clear_len, clear_len, NULL, at, key);
}

static bool
unseal(const uint8_t *key, size_t clear_len, const uint8_t *at, uint8_t *plain)
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL,
		at + IV_BYTES, SEAL_PLAIN_BYTES + TAG_BYTES, at - clear_len,
		clear_len, at, key) == 0)
		return true;
	memset(plain, 0, SEAL_PLAIN_BYTES);
	return false;
}

void
seal_shared(const uint8_t key[static 32], const struct seal_iv *iv,
    const uint8_t plain[static 32], uint8_t out[static 60])
{
	put_iv(out, iv);
	seal(key, 0, plain, out);
}

void
seal_master(const uint8_t agent_key[static 32], uint32_t pid,
    const struct seal_iv *iv, const uint8_t plain[static 32],
    uint8_t out[static 64])
{
	store_le32(out, pid);
	put_iv(out + PID_BYTES, iv);
	seal(agent_key, PID_BYTES, plain, out + PID_BYTES);
}

void
seal_shared_iv(const uint8_t wire[static 60], struct seal_iv *ret)
{
	get_iv(wire, ret);
}

void
seal_master_iv(
    const uint8_t wire[static 64], uint32_t *ret_pid, struct seal_iv *ret)
{
	*ret_pid = load_le32(wire);
	get_iv(wire + PID_BYTES, ret);
}

bool
seal_open_shared(const uint8_t key[static 32], const uint8_t wire[static 60],
    uint8_t plain[static 32])
{
	return unseal(key, 0, wire, plain);
}

bool
seal_open_master(const uint8_t agent_key[static 32],
    const uint8_t wire[static 64], uint8_t plain[static 32])
{
	return unseal(agent_key, PID_BYTES, wire + PID_BYTES, plain);
}
