/*
 * Any bytes as a key file: keys that come out stand there, one a line, and
 * nothing does that is neither a key, nor blank, nor a comment. What is good
 * for one use is good for a wider one.
 */
#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <varta/error.h>

#include "base/text.h"
#include "secure/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_keys(const struct secret_keys *keys, const char *text, size_t size, int r)
{
	static const struct secret_keys none;
	char hex[2 * SECRET_KEY_BYTES + 1], *lower;

	if (r < 0) {
		assert(memcmp(keys, &none, sizeof(none)) == 0);
		return;
	}
	assert(keys->n_keys >= 1 && keys->n_keys <= SECRET_FILE_KEYS);
	lower = malloc(size + 1);
	assert(lower != NULL);
	for (size_t i = 0; i < size; i++)
		lower[i] = (char)tolower((unsigned char)text[i]);
	for (size_t i = 0; i < keys->n_keys; i++) {
		text_bytes_to_hex(keys->keys[i], SECRET_KEY_BYTES, hex);
		assert(memmem(lower, size, hex, sizeof(hex) - 1) != NULL);
	}
	free(lower);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum secret_use uses[] = { SECRET_ANY, SECRET_SHARED,
		SECRET_MASTER };
	struct secret_keys keys;
	struct file_fault fault;
	/* A copy of its own size, so that a read past its end shows. */
	char *text = malloc(size);
	int r, wider = 0;

	assert(text != NULL || size == 0);
	if (size > 0)
		memcpy(text, data, size);
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		fault.text[0] = '\0';
		r = secret_parse_keys(text, size, uses[i], &keys, &fault);
		assert(r == 0 || (r == VARTA_ERR_KEY && fault.text[0] != '\0'));
		assert(r < 0 || wider == 0);
		check_keys(&keys, text, size, r);
		wider = r;
	}
	free(text);
	return 0;
}
