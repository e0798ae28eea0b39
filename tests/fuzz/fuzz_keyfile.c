/*
 * Any bytes as a file of shared keys: keys that come out stand there, one a
 * line, and as many as there are lines that are neither empty nor comments.
 */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "watch/intake/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t keys[KEYRING_SHARED_MAX][KEYRING_KEY_BYTES];
	char hex[2 * KEYRING_KEY_BYTES + 1], why[96] = "";
	char *text, *lower;
	size_t n = 0;
	int r;

	if (size >= KEYRING_FILE_BYTES)
		return 0;
	text = malloc(size + 1);
	lower = malloc(size + 1);
	assert(text != NULL && lower != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	for (size_t i = 0; i < size; i++)
		lower[i] = (char)tolower(data[i]);
	lower[size] = '\0';

	r = keyring_parse_shared(
	    text, size, keys, KEYRING_SHARED_MAX, &n, why, sizeof(why));
	assert(r == 0 || (r == -EINVAL && why[0] != '\0'));
	assert(n <= KEYRING_SHARED_MAX);
	for (size_t i = 0; r == 0 && i < n; i++) {
		text_bytes_to_hex(keys[i], KEYRING_KEY_BYTES, hex);
		assert(memmem(lower, size, hex, sizeof(hex) - 1) != NULL);
	}
	free(text);
	free(lower);
	return 0;
}
