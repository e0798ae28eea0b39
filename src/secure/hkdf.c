#include "secure/hkdf.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/bytes.h"
#include "base/util.h"

/* The labels of the protocol; the NUL at their end is part of them. */
static const char agent_label[] = "varta-agent-v1";
static const char iv_label[] = "varta-iv-prefix-v1";
static const char panic_label[] = "varta-panic-iv-v1";
static const char epoch_label[] = "varta-epoch-v1";

enum { HASH_BYTES = crypto_auth_hmacsha256_BYTES, INFO_MAX = 64 };

/* What a derivation is for: a label and numbers, least significant byte
 * first. */
struct info {
	uint8_t bytes[INFO_MAX];
	size_t len;
};

static void
info_init(struct info *info, const char *label, size_t label_size)
{
	memcpy(info->bytes, label, label_size);
	info->len = label_size;
}

static void
info_add_u32(struct info *info, uint32_t x)
{
	store_le32(info->bytes + info->len, x);
	info->len += sizeof(x);
}

static void
info_add_u64(struct info *info, uint64_t x)
{
	store_le64(info->bytes + info->len, x);
	info->len += sizeof(x);
}

static void
hmac_init(crypto_auth_hmacsha256_state *h, const uint8_t key[HASH_BYTES])
{
	(void)crypto_auth_hmacsha256_init(h, key, HASH_BYTES);
}

static void
hmac_add(crypto_auth_hmacsha256_state *h, const uint8_t *p, size_t n)
{
	if (n > 0)
		(void)crypto_auth_hmacsha256_update(h, p, n);
}

static void
hmac_end(crypto_auth_hmacsha256_state *h, uint8_t out[HASH_BYTES])
{
	(void)crypto_auth_hmacsha256_final(h, out);
	sodium_memzero(h, sizeof(*h));
}

void
hkdf_sha256(const uint8_t *ikm, size_t ikm_len, const uint8_t *info,
    size_t info_len, uint8_t *out, size_t out_len)
{
	/* The empty salt is a hash's length of zeros. */
	static const uint8_t no_salt[HASH_BYTES];
	crypto_auth_hmacsha256_state h;
	uint8_t prk[HASH_BYTES], block[HASH_BYTES];
	uint8_t number = 0;
	size_t n, have = 0;

	assert(out_len >= 1 && out_len <= HKDF_OUT_MAX);
	hmac_init(&h, no_salt);
	hmac_add(&h, ikm, ikm_len);
	hmac_end(&h, prk);

	while (out_len > 0) {
		number++;
		hmac_init(&h, prk);
		hmac_add(&h, block, have);
		hmac_add(&h, info, info_len);
		hmac_add(&h, &number, 1);
		hmac_end(&h, block);
		have = sizeof(block);

		n = out_len < have ? out_len : have;
		memcpy(out, block, n);
		out += n;
		out_len -= n;
	}
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(block, sizeof(block));
}

void
hkdf_agent_key(
    const uint8_t master[static 32], uint32_t pid, uint8_t ret_key[static 32])
{
	struct info info;

	info_init(&info, agent_label, sizeof(agent_label));
	info_add_u32(&info, pid);
	hkdf_sha256(master, HKDF_KEY_BYTES, info.bytes, info.len, ret_key,
	    HKDF_KEY_BYTES);
}

void
hkdf_iv_prefix(const uint8_t salt[static 16], uint32_t prefix_index,
    uint8_t ret_prefix[static 8])
{
	struct info info;

	info_init(&info, iv_label, sizeof(iv_label));
	info_add_u32(&info, prefix_index);
	hkdf_sha256(salt, HKDF_SALT_BYTES, info.bytes, info.len, ret_prefix,
	    HKDF_IV_PREFIX_BYTES);
}

void
hkdf_panic_iv_prefix(const uint8_t salt[static 16], uint32_t pid,
    uint64_t timestamp, uint32_t counter, uint8_t ret_prefix[static 8])
{
	struct info info;

	info_init(&info, panic_label, sizeof(panic_label));
	info_add_u32(&info, pid);
	info_add_u64(&info, timestamp);
	info_add_u32(&info, counter);
	hkdf_sha256(salt, HKDF_SALT_BYTES, info.bytes, info.len, ret_prefix,
	    HKDF_IV_PREFIX_BYTES);
}

void
hkdf_epoch_key(const uint8_t agent_key[static 32], uint64_t epoch,
    uint8_t ret_key[static 32])
{
	struct info info;

	info_init(&info, epoch_label, sizeof(epoch_label));
	info_add_u64(&info, epoch);
	hkdf_sha256(agent_key, HKDF_KEY_BYTES, info.bytes, info.len, ret_key,
	    HKDF_KEY_BYTES);
}
