/*
 * Key ring: the keys of sealed frames, and which of them opens a frame.
 *
 * Shared keys (up to KEYRING_SHARED_MAX, of two files) open frames of 60
 * bytes; the master key opens frames of 64 bytes, by a key that is derived for
 * the pid in front. No frame is tried with a key of the other kind.
 *
 * All secrets of a ring, derived keys as well, lie in one locked, guarded block
 * that is wiped at the end. Files are read by secret.h.
 *
 * The time that opening takes does not tell which shared key fits: all of them
 * are always tried, whatever came of the ones before. It does tell whether any
 * fits, which shows anyhow, and whether a pid was heard of lately: derived
 * keys of KEYRING_AGENTS pids are kept, once a frame of theirs was authentic.
 */
#ifndef WATCH_INTAKE_KEYRING_H
#define WATCH_INTAKE_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secure/seal.h"

enum {
	KEYRING_SHARED_MAX = 8,
	KEYRING_KEYS_MAX = KEYRING_SHARED_MAX + 1,
	KEYRING_KEY_BYTES = 32,
	KEYRING_AGENTS = 1024 /* derived keys kept */
};

struct keyring;

/* Paths; NULL: none. At least one is given. */
struct keyring_files {
	const char *key;      /* exactly one shared key */
	const char *accepted; /* one or more further shared keys */
	const char *master;
};

/* What is wrong: option, file and reason. */
struct keyring_fault {
	char text[320];
};

/*
 * Read the files, by the rules for secret files. A key that is given twice is
 * kept once. 0, or -errno with fault filled in: -EINVAL for the content, those
 * of file_read_secret(), -ENOMEM.
 */
int keyring_new(const struct keyring_files *files, struct keyring **ret,
    struct keyring_fault *fault);

/* Wipes everything. Takes NULL. */
void keyring_free(struct keyring *k);

/*
 * Keep the block out of swap. keyring_new() has tried; where two rings do not
 * fit below the limit of locked memory, one may once the other is gone. False
 * where it cannot be: keys may then be written to swap.
 */
bool keyring_lock(struct keyring *k);

size_t keyring_shared_count(const struct keyring *k);
bool keyring_has_master(const struct keyring *k);

/*
 * The sources of the ring (event.h), made of secret_fingerprint() of each key,
 * shared keys first. Returns how many were written.
 */
size_t keyring_sources(
    const struct keyring *k, uint32_t ret[static KEYRING_KEYS_MAX]);

/* An opened frame. */
struct keyring_opened {
	uint8_t plain[SEAL_PLAIN_BYTES];
	struct seal_iv iv;
	uint32_t source;   /* of the key that opened it */
	uint32_t attempts; /* keys that were tried */
};

/*
 * Open a sealed datagram of len bytes: SEAL_SHARED_BYTES or SEAL_MASTER_BYTES.
 * Of the latter the pid in front must be the one inside. False when nothing
 * opens it; attempts is then set as well, and the rest undefined.
 */
bool keyring_open(struct keyring *k, const uint8_t *wire, size_t len,
    struct keyring_opened *ret);

#endif
