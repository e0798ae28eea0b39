#include "watch/intake/keyring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include <varta/error.h>

#include "base/bytes.h"
#include "base/util.h"
#include "secure/hkdf.h"
#include "secure/secret.h"
#include "watch/event.h"

enum {
	WAYS = 4, /* places that a pid may have among the derived keys */
	SETS = KEYRING_AGENTS / WAYS,
	PID_AT = 4, /* in a frame */
	IV_BYTES = 12,
	TAGGED_BYTES = SEAL_PLAIN_BYTES + 16,
	ONCE_BYTES = crypto_onetimeauth_poly1305_KEYBYTES
};

_Static_assert((int)KEYRING_SHARED_MAX == (int)SECRET_FILE_KEYS, "one limit");
_Static_assert((int)KEYRING_KEY_BYTES == (int)SECRET_KEY_BYTES, "one length");

static const char no_memory[] = "key files: out of memory that can be guarded";

/* A derived key; pid 0 is none. */
struct agent {
	uint32_t pid;
	uint8_t key[KEYRING_KEY_BYTES];
};

/* Everything, so that all secrets are in one block. */
struct keyring {
	size_t n_shared;
	bool has_master;
	uint32_t master_source;
	uint32_t shared_sources[KEYRING_SHARED_MAX];
	uint8_t shared[KEYRING_SHARED_MAX][KEYRING_KEY_BYTES];
	uint8_t master[KEYRING_KEY_BYTES];
	uint8_t next_way[SETS]; /* whose turn it is to give way */
	struct agent agents[SETS][WAYS];
};

static int fault_set(struct keyring_fault *fault, int r, const char *format,
    ...) __attribute__((format(printf, 3, 4)));

static int
fault_set(struct keyring_fault *fault, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return r;
}

/* The keys of a file. They stay in read until the next one. */
static int
read_file(struct secret_keys *read, const char *option, const char *path,
    enum secret_use use, struct keyring_fault *fault)
{
	struct file_fault reason;
	int r = secret_read_keys(path, use, read, &reason);

	if (r == 0)
		return 0;
	return fault_set(fault, r == VARTA_ERR_KEY ? -EINVAL : r,
	    "%s: file '%s': %s", option, path, reason.text);
}

/* Add the shared keys of a file. */
static int
read_shared(struct keyring *k, struct secret_keys *read, const char *option,
    const char *path, enum secret_use use, struct keyring_fault *fault)
{
	int r;

	if (path == NULL)
		return 0;
	r = read_file(read, option, path, use, fault);
	if (r < 0)
		return r;
	if (read->n_keys > KEYRING_SHARED_MAX - k->n_shared)
		return fault_set(fault, -EINVAL,
		    "%s: file '%s': %zu keys, with the one of --key-file more "
		    "than %d",
		    option, path, read->n_keys, KEYRING_SHARED_MAX);
	memcpy(k->shared[k->n_shared], read->keys,
	    read->n_keys * sizeof(read->keys[0]));
	k->n_shared += read->n_keys;
	return 0;
}

static int
read_master(struct keyring *k, struct secret_keys *read, const char *path,
    struct keyring_fault *fault)
{
	int r;

	if (path == NULL)
		return 0;
	r = read_file(read, "--master-key-file", path, SECRET_MASTER, fault);
	if (r < 0)
		return r;
	memcpy(k->master, read->keys[0], sizeof(k->master));
	k->has_master = true;
	return 0;
}

static int
read_all(struct keyring *k, const struct keyring_files *files,
    struct keyring_fault *fault)
{
	struct secret_keys *read = secret_new(sizeof(*read));
	int r;

	if (read == NULL)
		return fault_set(fault, -ENOMEM, no_memory);
	r = read_shared(
	    k, read, "--key-file", files->key, SECRET_SHARED, fault);
	if (r == 0)
		r = read_shared(k, read, "--accepted-key-file", files->accepted,
		    SECRET_ANY, fault);
	if (r == 0)
		r = read_master(k, read, files->master, fault);
	secret_free(read);
	return r;
}

static bool
is_known(const struct keyring *k, const uint8_t key[KEYRING_KEY_BYTES])
{
	bool known = false;

	for (size_t i = 0; i < k->n_shared; i++)
		known |=
		    sodium_memcmp(k->shared[i], key, KEYRING_KEY_BYTES) == 0;
	return known;
}

static void
drop_doubles(struct keyring *k)
{
	size_t n = k->n_shared;

	k->n_shared = 0;
	for (size_t i = 0; i < n; i++) {
		if (is_known(k, k->shared[i]))
			continue;
		memmove(
		    k->shared[k->n_shared++], k->shared[i], KEYRING_KEY_BYTES);
	}
}

/* The sources of the keys. Two with the same one, which is chance of one in
 * 10^8, could not be told apart. */
static int
name_keys(struct keyring *k, struct keyring_fault *fault)
{
	uint32_t *all = k->shared_sources;

	for (size_t i = 0; i < k->n_shared; i++)
		all[i] = secret_fingerprint(k->shared[i]);
	if (k->has_master)
		k->master_source =
		    secret_fingerprint(k->master) | SOURCE_MASTER;
	for (size_t i = 1; i < k->n_shared; i++)
		for (size_t j = 0; j < i; j++)
			if (all[i] == all[j])
				return fault_set(fault, -EINVAL,
				    "key files: two keys have the same number "
				    "%08" PRIx32 "; make another key",
				    all[i]);
	return 0;
}

int
keyring_new(const struct keyring_files *files, struct keyring **ret,
    struct keyring_fault *fault)
{
	struct keyring *k;
	int r;

	if (secret_init() < 0)
		return fault_set(
		    fault, -ENOSYS, "key files: libsodium cannot be used");
	k = secret_new(sizeof(*k));
	if (k == NULL)
		return fault_set(fault, -ENOMEM, no_memory);
	r = read_all(k, files, fault);
	if (r == 0) {
		drop_doubles(k);
		r = name_keys(k, fault);
	}
	if (r < 0) {
		keyring_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void
keyring_free(struct keyring *k)
{
	/* Wipes before it gives back; takes NULL. */
	secret_free(k);
}

bool
keyring_lock(struct keyring *k)
{
	return sodium_mlock(k, sizeof(*k)) == 0;
}

size_t
keyring_shared_count(const struct keyring *k)
{
	return k->n_shared;
}

bool
keyring_has_master(const struct keyring *k)
{
	return k->has_master;
}

size_t
keyring_sources(const struct keyring *k, uint32_t ret[static KEYRING_KEYS_MAX])
{
	size_t n = k->n_shared;

	memcpy(ret, k->shared_sources, n * sizeof(ret[0]));
	if (k->has_master)
		ret[n++] = k->master_source;
	return n;
}

/*
 * Whether the tag of a frame is that of key, at four fifths of the cost of
 * trying to open it: RFC 8439, section 2.8, with nothing authenticated in the
 * clear. sealed is the ciphertext and the two lengths behind it; once is room
 * for the key that authenticates, which the caller wipes.
 */
static bool
has_tag(const uint8_t key[KEYRING_KEY_BYTES], const uint8_t *wire,
    const uint8_t sealed[TAGGED_BYTES], uint8_t once[ONCE_BYTES])
{
	(void)crypto_stream_chacha20_ietf(once, ONCE_BYTES, wire, key);
	return crypto_onetimeauth_poly1305_verify(
		   wire + IV_BYTES + SEAL_PLAIN_BYTES, sealed, TAGGED_BYTES,
		   once) == 0;
}

/* Which key fits, without a branch that depends on it: all are tried, always.
 * The one that does, or zeros, into key. */
static void
choose_shared(const struct keyring *k, const uint8_t *wire,
    uint8_t key[KEYRING_KEY_BYTES], uint32_t *ret_source)
{
	uint8_t sealed[TAGGED_BYTES], once[ONCE_BYTES];

	memcpy(sealed, wire + IV_BYTES, SEAL_PLAIN_BYTES);
	store_le64(sealed + SEAL_PLAIN_BYTES, 0);
	store_le64(sealed + SEAL_PLAIN_BYTES + 8, SEAL_PLAIN_BYTES);
	memset(key, 0, KEYRING_KEY_BYTES);
	*ret_source = 0;
	for (size_t i = 0; i < k->n_shared; i++) {
		uint32_t fits = has_tag(k->shared[i], wire, sealed, once);
		uint8_t mask = (uint8_t)-fits;

		*ret_source |= k->shared_sources[i] & -fits;
		for (size_t j = 0; j < KEYRING_KEY_BYTES; j++)
			key[j] |= k->shared[i][j] & mask;
	}
	sodium_memzero(once, sizeof(once));
}

static bool
open_shared(struct keyring *k, const uint8_t *wire, struct keyring_opened *ret)
{
	uint8_t key[KEYRING_KEY_BYTES];
	bool fits;

	ret->attempts = (uint32_t)k->n_shared;
	seal_shared_iv(wire, &ret->iv);
	if (k->n_shared == 1) {
		ret->source = k->shared_sources[0];
		return seal_open_shared(k->shared[0], wire, ret->plain);
	}
	choose_shared(k, wire, key, &ret->source);
	fits = ret->source != 0 && seal_open_shared(key, wire, ret->plain);
	sodium_memzero(key, sizeof(key));
	return fits;
}

static struct agent *
set_of(struct keyring *k, uint32_t pid)
{
	/* Only authentic pids get in, so that nobody fills a set on purpose
	 * but a holder of the master key. */
	return k->agents[(pid * UINT32_C(0x9e3779b1)) >> 24 & (SETS - 1)];
}

static void
keep(struct keyring *k, uint32_t pid, const uint8_t key[KEYRING_KEY_BYTES])
{
	struct agent *set = set_of(k, pid);
	size_t i = (size_t)(set - k->agents[0]) / WAYS;
	struct agent *a = &set[k->next_way[i]++ % WAYS];

	a->pid = pid;
	memcpy(a->key, key, sizeof(a->key));
}

static const uint8_t *
find(struct keyring *k, uint32_t pid)
{
	const struct agent *set = set_of(k, pid);

	for (size_t i = 0; i < WAYS; i++)
		if (set[i].pid == pid)
			return set[i].key;
	return NULL;
}

static bool
open_master(struct keyring *k, const uint8_t *wire, struct keyring_opened *ret)
{
	uint8_t derived[KEYRING_KEY_BYTES];
	const uint8_t *key;
	uint32_t pid;
	bool fits;

	ret->attempts = k->has_master;
	if (!k->has_master)
		return false;
	seal_master_iv(wire, &pid, &ret->iv);
	ret->source = k->master_source;
	key = pid != 0 ? find(k, pid) : NULL;
	if (key != NULL)
		return seal_open_master(key, wire, ret->plain) &&
		       load_le32(ret->plain + PID_AT) == pid;

	hkdf_agent_key(k->master, pid, derived);
	fits = seal_open_master(derived, wire, ret->plain);
	if (fits && pid != 0)
		keep(k, pid, derived);
	sodium_memzero(derived, sizeof(derived));
	return fits && load_le32(ret->plain + PID_AT) == pid;
}

bool
keyring_open(struct keyring *k, const uint8_t *wire, size_t len,
    struct keyring_opened *ret)
{
	if (len == SEAL_SHARED_BYTES)
		return open_shared(k, wire, ret);
	return open_master(k, wire, ret);
}
