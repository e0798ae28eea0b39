#include "watch/tell/auth.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const char scheme[] = "Bearer";

enum { SCHEME_LEN = sizeof(scheme) - 1 };

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

int
auth_parse(
    const char *value, size_t n, uint8_t ret_token[static AUTH_TOKEN_BYTES])
{
	while (n > 0 && is_blank(*value)) {
		value++;
		n--;
	}
	if (n < SCHEME_LEN || strncasecmp(value, scheme, SCHEME_LEN) != 0)
		return -EINVAL;
	value += SCHEME_LEN;
	n -= SCHEME_LEN;

	if (n == 0 || !is_blank(*value))
		return -EINVAL;
	while (n > 0 && is_blank(*value)) {
		value++;
		n--;
	}
	while (n > 0 && is_blank(value[n - 1]))
		n--;
	if (n != (size_t)2 * AUTH_TOKEN_BYTES)
		return -EINVAL;
	return text_hex_to_bytes(value, n, ret_token, AUTH_TOKEN_BYTES);
}

bool
auth_is_allowed(
    const char *value, size_t n, const uint8_t token[static AUTH_TOKEN_BYTES])
{
	uint8_t given[AUTH_TOKEN_BYTES];
	unsigned differs = 0;
	size_t i;

	if (auth_parse(value, n, given) < 0)
		return false;
	/* Every byte is looked at, whatever the first ones say. */
	for (i = 0; i < AUTH_TOKEN_BYTES; i++)
		differs |= (unsigned)(given[i] ^ token[i]);
	explicit_bzero(given, sizeof(given));
	return differs == 0;
}
