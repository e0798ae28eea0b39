/*
 * Secrets: memory for them, where they come from, the files that hold keys,
 * and the number by which a key is told from others.
 *
 * The memory lies between pages that end an overrun, is left out of cores, and
 * is kept out of swap where RLIMIT_MEMLOCK permits. The child of a fork has a
 * copy of it, since it has to seal with the same key; a copy can be swapped
 * until secret_lock() is called for it.
 */
#ifndef SECURE_SECRET_H
#define SECURE_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "secure/hkdf.h"

enum {
	SECRET_KEY_BYTES = HKDF_KEY_BYTES,
	SECRET_FILE_MAX = 8192, /* bytes of a key file */
	SECRET_FILE_KEYS = 8    /* what an observer accepts in one */
};

/* What a key file is for, and so what may stand in it. */
enum secret_use {
	SECRET_SHARED, /* one key on a line; blank lines and '#' lines */
	SECRET_MASTER, /* nothing but one key, and blanks around it */
	SECRET_ANY     /* one key or more, as an observer accepts them */
};

/* Get the library behind this ready; before all else. 0 or -EIO. */
int secret_init(void);

/* Zeroed memory of this size, aligned for anything. NULL: there is none. */
void *secret_new(size_t size);

/* Wipe and free. Takes NULL. */
void secret_free(void *secret);

/* In the child of a fork: keep the copy out of swap again, if permitted. */
void secret_lock(void *secret, size_t size);

/* Fresh bytes from the system, at most 256. May wait while the system starts,
 * never later. 0 or -errno. */
int secret_fresh(uint8_t *ret, size_t n);

struct secret_keys {
	uint8_t keys[SECRET_FILE_KEYS][SECRET_KEY_BYTES];
	size_t n_keys;
	size_t n_comments; /* lines that begin with '#' */
};

/*
 * Read a key file, by the rules of file_read_secret(). ret must lie in memory
 * of secret_new(). 0, or an error of file_read_secret(), -ENOMEM, or
 * VARTA_ERR_KEY; fault then has the reason, and never a part of the file. ret
 * holds no key after an error.
 */
int secret_read_keys(const char *path, enum secret_use use,
    struct secret_keys *ret, struct file_fault *fault);

/* The same for n bytes of text that have been read. 0 or VARTA_ERR_KEY. */
int secret_parse_keys(const char *text, size_t n, enum secret_use use,
    struct secret_keys *ret, struct file_fault *fault);

/*
 * The fingerprint of a key: a number that stays the same for the same key,
 * whatever it is used for, and gives nothing of it away. It is above 1, below
 * 2^31, and written with eight hexadecimal digits. Two keys have the same one
 * by chance of 1 in 2^31.
 */
uint32_t secret_fingerprint(const uint8_t key[static SECRET_KEY_BYTES]);

#endif
