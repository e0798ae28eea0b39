/*
 * Last words that are sealed. In the handler everything is computed on the
 * stack: derivation and sealing of libsodium neither allocate nor lock nor
 * call the system. Each last word has a prefix of its own, derived from the
 * process number now, its timestamp and a counter, so it does not matter which
 * process has installed the handler. The timestamp is exact: children with one
 * number, as in two pid namespaces, or soon after each other, have all else in
 * common.
 */
#include "secure/secure.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "secure/seal.h"

struct crash_key {
	uint8_t salt[HKDF_SALT_BYTES];
	uint8_t key[SECRET_KEY_BYTES]; /* the shared or the master key */
	bool is_master;
};

/*
 * An install fills the key that is not in use. Both are read-only but for that
 * moment, so that a program that writes where it should not does not spoil its
 * last word; their memory outlives every handler.
 */
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static struct crash_key *crash_keys[2];
static unsigned in_use;

/* Spent when a frame is sealed: what became of it nobody waits to see. */
static _Atomic uint64_t counter;

static int
seal_last_word(const void *context, const struct varta_frame *frame,
    const uint8_t wire[VARTA_FRAME_BYTES], uint8_t out[VARTA__DATAGRAM_MAX])
{
	const struct crash_key *k = context;
	uint64_t n = atomic_fetch_add(&counter, 1);
	uint8_t agent_key[SECRET_KEY_BYTES];
	struct seal_iv iv;

	if (n > UINT32_MAX)
		return -EOVERFLOW;
	iv.counter = (uint32_t)n;
	hkdf_panic_iv_prefix(
	    k->salt, frame->pid, frame->timestamp, iv.counter, iv.random);
	if (!k->is_master) {
		seal_shared(k->key, &iv, wire, out);
		return SEAL_SHARED_BYTES;
	}
	hkdf_agent_key(k->key, frame->pid, agent_key);
	seal_master(agent_key, frame->pid, &iv, wire, out);
	sodium_memzero(agent_key, sizeof(agent_key));
	return SEAL_MASTER_BYTES;
}

/* The key that is not in use, to be written. NULL and *ret_error: cannot be. */
static struct crash_key *
take_unused(int *ret_error)
{
	struct crash_key **unused = &crash_keys[!in_use];

	if (*unused == NULL)
		*unused = secret_new(sizeof(**unused));
	if (*unused == NULL) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	if (sodium_mprotect_readwrite(*unused) < 0) {
		*ret_error = -errno;
		return NULL;
	}
	return *unused;
}

static int
fill(struct crash_key *k, const uint8_t *key, enum secret_use use)
{
	int r;

	r = secret_fresh(k->salt, sizeof(k->salt));
	if (r < 0)
		return r;
	memcpy(k->key, key, SECRET_KEY_BYTES);
	k->is_master = use == SECRET_MASTER;
	return sodium_mprotect_readonly(k) < 0 ? -errno : 0;
}

static int
install_locked(const struct varta__endpoint *endpoint, const uint8_t *key,
    enum secret_use use, unsigned signals)
{
	struct varta__crash_sealer sealer = { .seal = seal_last_word };
	struct crash_key *k;
	int r = 0;

	k = take_unused(&r);
	if (k == NULL)
		return r;
	r = fill(k, key, use);
	sealer.context = k;
	if (r == 0)
		r = varta__crash_install(endpoint, signals, &sealer);
	if (r == 0)
		in_use = !in_use;
	else if (sodium_mprotect_readwrite(k) == 0)
		sodium_memzero(k, sizeof(*k));
	return r;
}

static int
install(const char *address, const uint8_t *key, enum secret_use use,
    unsigned signals)
{
	struct varta__endpoint endpoint;
	int r;

	r = secure_start(address, key, &endpoint);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&install_lock);
	r = install_locked(&endpoint, key, use, signals);
	(void)pthread_mutex_unlock(&install_lock);
	return r;
}

static int
install_file(const char *address, const char *path, enum secret_use use,
    unsigned signals)
{
	struct secret_keys *keys;
	int r;

	r = secure_read_key(path, use, &keys);
	if (r < 0)
		return r;
	r = install(address, keys->keys[0], use, signals);
	secret_free(keys);
	return r;
}

int
varta_secure_crash_handler_install_shared(const char *address,
    const uint8_t key[VARTA_SECURE_KEY_BYTES], unsigned signals)
{
	return install(address, key, SECRET_SHARED, signals);
}

int
varta_secure_crash_handler_install_master(const char *address,
    const uint8_t master[VARTA_SECURE_KEY_BYTES], unsigned signals)
{
	return install(address, master, SECRET_MASTER, signals);
}

int
varta_secure_crash_handler_install_shared_file(
    const char *address, const char *path, unsigned signals)
{
	return install_file(address, path, SECRET_SHARED, signals);
}

int
varta_secure_crash_handler_install_master_file(
    const char *address, const char *path, unsigned signals)
{
	return install_file(address, path, SECRET_MASTER, signals);
}
