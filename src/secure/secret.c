#include "secure/secret.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>
#include <varta/error.h>

#include "base/text.h"

int
secret_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

void *
secret_new(size_t size)
{
	const size_t line = 64;
	void *secret;

	/* The end of the memory lies at the end of a page, so a whole number
	 * of cache lines begins at one. */
	size = (size + line - 1) / line * line;
	secret = sodium_malloc(size);
	if (secret != NULL)
		memset(secret, 0, size);
	return secret;
}

void
secret_free(void *secret)
{
	sodium_free(secret);
}

void
secret_lock(void *secret, size_t size)
{
	(void)sodium_mlock(secret, size);
}

int
secret_fresh(uint8_t *ret, size_t n)
{
	return getentropy(ret, n) < 0 ? -errno : 0;
}

__attribute__((format(printf, 2, 3))) static int
refuse(struct file_fault *fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* Every text here is short. */
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return VARTA_ERR_KEY;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
trim(const char **text, size_t *n)
{
	while (*n > 0 && is_blank(**text)) {
		++*text;
		--*n;
	}
	while (*n > 0 && is_blank((*text)[*n - 1]))
		--*n;
}

static int
take_line(struct secret_keys *k, const char *text, size_t n, size_t number,
    struct file_fault *fault)
{
	trim(&text, &n);
	if (n == 0)
		return 0;
	if (text[0] == '#') {
		k->n_comments++;
		return 0;
	}
	if (k->n_keys == SECRET_FILE_KEYS)
		return refuse(fault,
		    "line %zu: more keys than an observer takes", number);
	if (text_hex_to_bytes(text, n, k->keys[k->n_keys], SECRET_KEY_BYTES) <
	    0)
		return refuse(
		    fault, "line %zu: not 64 hexadecimal digits", number);
	k->n_keys++;
	return 0;
}

static int
take_lines(
    struct secret_keys *k, const char *text, size_t n, struct file_fault *fault)
{
	size_t number = 0, used = 0, len;
	const char *end;
	int r;

	while (used < n) {
		end = memchr(text + used, '\n', n - used);
		len = end == NULL ? n - used : (size_t)(end - text) - used;
		r = take_line(k, text + used, len, ++number, fault);
		if (r < 0)
			return r;
		used += len + 1;
	}
	return 0;
}

static int
check_use(
    const struct secret_keys *k, enum secret_use use, struct file_fault *fault)
{
	if (k->n_keys == 0)
		return refuse(fault, "no key in it");
	if (use != SECRET_ANY && k->n_keys > 1)
		return refuse(fault, "%zu keys, need one", k->n_keys);
	if (use == SECRET_MASTER && k->n_comments > 0)
		return refuse(fault,
		    "a master key file has no comments, this one %zu",
		    k->n_comments);
	return 0;
}

int
secret_parse_keys(const char *text, size_t n, enum secret_use use,
    struct secret_keys *ret, struct file_fault *fault)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = take_lines(ret, text, n, fault);
	if (r == 0)
		r = check_use(ret, use, fault);
	if (r < 0)
		sodium_memzero(ret, sizeof(*ret));
	return r;
}

int
secret_read_keys(const char *path, enum secret_use use, struct secret_keys *ret,
    struct file_fault *fault)
{
	char *text;
	ssize_t n;
	int r;

	sodium_memzero(ret, sizeof(*ret));
	text = secret_new(SECRET_FILE_MAX + 1);
	if (text == NULL) {
		(void)refuse(fault, "no memory for secrets");
		return -ENOMEM;
	}
	n = file_read_secret(path, text, SECRET_FILE_MAX + 1, fault);
	r = n < 0 ? (int)n
		  : secret_parse_keys(text, (size_t)n, use, ret, fault);
	secret_free(text);
	return r;
}

uint32_t
secret_fingerprint(const uint8_t key[static SECRET_KEY_BYTES])
{
	/* The NUL at the end is part of it. */
	static const char label[] = "varta-key-fingerprint-v1";
	crypto_hash_sha256_state hash;
	uint8_t all[crypto_hash_sha256_BYTES];
	uint32_t number = 0;
	size_t i;

	(void)crypto_hash_sha256_init(&hash);
	(void)crypto_hash_sha256_update(
	    &hash, (const unsigned char *)label, sizeof(label));
	(void)crypto_hash_sha256_update(&hash, key, SECRET_KEY_BYTES);
	(void)crypto_hash_sha256_final(&hash, all);
	sodium_memzero(&hash, sizeof(hash));
	/* Written as a number, the digits of the hash in their order. */
	for (i = 0; i < sizeof(number); i++)
		number = number << 8 | all[i];
	/* Where keys are numbered, the highest bit tells what they are used
	 * for, and 0 and 1 stand for what is none. */
	number &= UINT32_MAX >> 1;
	return number > 1 ? number : number + 2;
}
