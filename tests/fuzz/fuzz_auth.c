/*
 * Any bytes as the value of an Authorization header: what is accepted, is in
 * the written form of a token, and names exactly that token.
 */
#include "watch/tell/auth.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { HEX = 2 * AUTH_TOKEN_BYTES };
	const char *value = (const char *)data;
	uint8_t token[AUTH_TOKEN_BYTES], other[AUTH_TOKEN_BYTES];
	char hex[HEX + 1];
	size_t i;

	memset(token, 0x5a, sizeof(token));
	memset(other, 0x5a, sizeof(other));
	if (auth_parse(value, size, token) < 0) {
		assert(memcmp(token, other, sizeof(token)) == 0);
		assert(!auth_is_allowed(value, size, token));
		return 0;
	}

	assert(auth_is_allowed(value, size, token));
	memcpy(other, token, sizeof(other));
	other[data[size - 1] % AUTH_TOKEN_BYTES] ^= 1;
	assert(!auth_is_allowed(value, size, other));

	/* The digits are there in one piece. */
	text_bytes_to_hex(token, sizeof(token), hex);
	i = 0;
	while (i + HEX < size && strncasecmp(value + i, hex, HEX) != 0)
		i++;
	assert(i + HEX <= size && strncasecmp(value + i, hex, HEX) == 0);
	return 0;
}
