/*
 * Any bytes as text: what is escaped can be taken back, stays in one line and
 * in its room, and a number that was read is written again. The first byte
 * chooses the room.
 */
#include "base/text.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 512, OUT_MAX = 6 * TEXT_MAX + 1 };

static uint8_t
hex_byte(const char *digits)
{
	uint8_t byte = 0;
	int r = text_hex_to_bytes(digits, 2, &byte, 1);

	assert(r == 0);
	(void)r;
	return byte;
}

/* Take one escape at p back into *ret; its length. */
static size_t
unescape(const char *p, char *ret)
{
	switch (p[1]) {
	case 't':
		*ret = '\t';
		return 2;
	case 'n':
		*ret = '\n';
		return 2;
	case 'r':
		*ret = '\r';
		return 2;
	case '\\':
		*ret = '\\';
		return 2;
	default:
		assert(p[1] == 'x');
		*ret = (char)hex_byte(p + 2);
		return 4;
	}
}

static void
check_escape(const char *text, size_t n, size_t room)
{
	char out[OUT_MAX], back[TEXT_MAX];
	size_t len, i = 0, taken = 0;

	len = text_escape(text, n, out, room);
	assert(len < room && out[len] == '\0' && strlen(out) == len);
	while (i < len) {
		assert((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
		if (out[i] == '\\')
			i += unescape(out + i, &back[taken]);
		else
			back[taken] = out[i++];
		taken++;
	}
	assert(i == len && taken <= n && memcmp(back, text, taken) == 0);
	assert(room < OUT_MAX || taken == n);
}

static void
check_escape_json(const char *text, size_t n, size_t room)
{
	char out[OUT_MAX], again[OUT_MAX];
	size_t len, i;

	len = text_escape_json(text, n, out, room);
	assert(len < room && out[len] == '\0' && strlen(out) == len);
	for (i = 0; i < len; i++) {
		assert((unsigned char)out[i] >= 0x20 && out[i] != '"');
		if (out[i] != '\\')
			continue;
		i++;
		assert(out[i] == '"' || out[i] == '\\' || out[i] == 'u');
		if (out[i] == 'u') {
			(void)hex_byte(out + i + 1);
			(void)hex_byte(out + i + 3);
			i += 4;
		}
	}
	assert(i == len);
	/* All of it is UTF-8: a second time nothing is replaced. */
	if (memchr(out, '\\', len) == NULL) {
		assert(text_escape_json(out, len, again, OUT_MAX) == len);
		assert(memcmp(out, again, len) == 0);
	}
}

static void
check_escape_label(const char *text, size_t n, size_t room)
{
	char out[OUT_MAX], again[OUT_MAX];
	size_t len, i;

	len = text_escape_label(text, n, out, room);
	assert(len < room && out[len] == '\0' && strlen(out) == len);
	for (i = 0; i < len; i++) {
		assert((unsigned char)out[i] >= 0x20 && out[i] != '"');
		if (out[i] != '\\')
			continue;
		i++;
		assert(out[i] == '"' || out[i] == '\\' || out[i] == 'n');
	}
	assert(i == len);
	if (memchr(out, '\\', len) == NULL) {
		assert(text_escape_label(out, len, again, OUT_MAX) == len);
		assert(memcmp(out, again, len) == 0);
	}
}

static void
check_numbers(const char *text)
{
	char digits[20];
	uint64_t x = 0, ns = 0;
	uint32_t mode = 0;
	size_t n;

	if (text_to_u64(text, UINT64_MAX, &x) == 0) {
		text += strspn(text, "+");
		text += strspn(text, "0");
		n = text_format_u64(x, digits);
		assert(x == 0 ? *text == '\0' : strlen(text) == n);
		assert(x == 0 || memcmp(text, digits, n) == 0);
	}
	if (text_to_mode(text, &mode) == 0)
		assert(mode <= 0777);
	if (text_to_duration_ns(text, UINT64_C(1) << 40, &ns) == 0)
		assert(ns <= UINT64_C(1) << 40);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX + 1], hex[2 * TEXT_MAX + 1];
	uint8_t bytes[TEXT_MAX];
	size_t n, room;

	if (size == 0 || size > TEXT_MAX)
		return 0;
	n = size - 1;
	room = data[0] == 0 ? OUT_MAX : data[0];
	memcpy(text, data + 1, n);
	text[n] = '\0';

	check_escape(text, n, room);
	check_escape_json(text, n, room);
	check_escape_label(text, n, room);
	check_numbers(text);

	text_bytes_to_hex((const uint8_t *)text, n, hex);
	assert(text_hex_to_bytes(hex, 2 * n, bytes, n) == 0);
	assert(memcmp(bytes, text, n) == 0);
	if (n % 2 == 0 && text_hex_to_bytes(text, n, bytes, n / 2) == 0)
		assert(strspn(text, "0123456789abcdefABCDEF") == n);
	return 0;
}
