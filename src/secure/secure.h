/*
 * Inside libvarta-secure: what agents and the crash handler share.
 */
#ifndef SECURE_SECURE_H
#define SECURE_SECURE_H

#include <stdint.h>

#include <varta/secure.h>

#include "lib/lib.h"
#include "secure/secret.h"

/*
 * What comes before the use of a key: libsodium is made ready and the address
 * parsed, which must be one of the internet. key may be NULL, which is refused.
 * 0, or a code of varta_secure_open_shared().
 */
int secure_start(
    const char *address, const uint8_t *key, struct varta__endpoint *ret);

/*
 * The one key of a file, in memory of secret_new() that the caller frees. 0, or
 * a code of varta_secure_open_shared_file().
 */
int secure_read_key(
    const char *path, enum secret_use use, struct secret_keys **ret_keys);

#endif
