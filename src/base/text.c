#include "base/text.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

/*
 * The n digits of text as a number of at most max. All of them are looked at
 * before the range, so that "99999999999999999999x" is malformed, not large.
 */
static int
digits_to_u64(const char *text, size_t n, uint64_t max, uint64_t *ret)
{
	bool too_large = false;
	uint64_t x = 0;
	size_t i;

	if (n == 0)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(x, UINT64_C(10), &x) ||
		    __builtin_add_overflow(x, (uint64_t)(text[i] - '0'), &x))
			too_large = true;
	}
	if (too_large || x > max)
		return -ERANGE;
	*ret = x;
	return 0;
}

int
text_to_u64(const char *text, uint64_t max, uint64_t *ret)
{
	if (*text == '+')
		text++;
	return digits_to_u64(text, strlen(text), max, ret);
}

int
text_to_u32(const char *text, uint32_t max, uint32_t *ret)
{
	uint64_t x;
	int r;

	r = text_to_u64(text, max, &x);
	if (r < 0)
		return r;
	*ret = (uint32_t)x;
	return 0;
}

int
text_to_mode(const char *text, uint32_t *ret_mode)
{
	uint32_t mode = 0;
	bool too_large = false;

	if (text[0] == '0' && (text[1] == 'o' || text[1] == 'O'))
		text += 2;
	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '7')
			return -EINVAL;
		mode = mode * 8 + (uint32_t)(*text - '0');
		if (mode > 0777) {
			too_large = true;
			mode = 0;
		}
	}
	if (too_large)
		return -ERANGE;
	*ret_mode = mode;
	return 0;
}

int
text_to_duration_ns(const char *text, uint64_t max_ns, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "us", NS_PER_US },
		{ "ms", NS_PER_MS },
		{ "s", NS_PER_S },
		{ "m", 60 * NS_PER_S },
		{ "h", 3600 * NS_PER_S },
	};
	size_t n = strspn(text, "0123456789");
	uint64_t count;
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text + n, units[i].name) != 0)
			continue;
		r = digits_to_u64(text, n, max_ns / units[i].ns, &count);
		if (r < 0)
			return r;
		*ret_ns = count * units[i].ns;
		return 0;
	}
	return -EINVAL;
}

/* 1 when lo <= c <= hi, else 0; no branch and no table, see hex_value(). */
static uint32_t
is_between(uint32_t c, uint32_t lo, uint32_t hi)
{
	return 1 ^ (((c - lo) | (hi - c)) >> 31);
}

/*
 * The value of a hexadecimal digit. *bad becomes 1 when it is none. Keys are
 * read through this: a table or a branch would leave the digits' values in
 * the cache and in the branch predictor.
 */
static uint32_t
hex_value(char digit, uint32_t *bad)
{
	uint32_t c = (unsigned char)digit;
	uint32_t lower = c | 0x20;
	uint32_t is_digit = is_between(c, '0', '9');
	uint32_t is_letter = is_between(lower, 'a', 'f');

	*bad |= 1 ^ (is_digit | is_letter);
	return (is_digit * (c - '0')) | (is_letter * (lower - 'a' + 10));
}

int
text_hex_to_bytes(const char *text, size_t text_len, uint8_t *ret, size_t n)
{
	uint32_t bad = 0, high, low;
	size_t i, digits;

	if (!size_mul(n, 2, &digits) || text_len != digits)
		return -EINVAL;
	for (i = 0; i < text_len; i++)
		(void)hex_value(text[i], &bad);
	if (bad != 0)
		return -EINVAL;

	for (i = 0; i < n; i++) {
		high = hex_value(text[2 * i], &bad);
		low = hex_value(text[2 * i + 1], &bad);
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static const char hex_digits[] = "0123456789abcdef";

void
text_bytes_to_hex(const uint8_t *bytes, size_t n, char *out)
{
	size_t i;

	for (i = 0; i < n; i++) {
		*out++ = hex_digits[bytes[i] >> 4];
		*out++ = hex_digits[bytes[i] & 0xf];
	}
	*out = '\0';
}

static size_t
count_digits(uint64_t x)
{
	size_t n = 1;

	for (; x >= 10000; x /= 10000)
		n += 4;
	return n + (x >= 10) + (x >= 100) + (x >= 1000);
}

/* Two digits with one division: a scrape consists of numbers. */
size_t
text_format_u64(uint64_t x, char out[20])
{
	static const char pairs[] =
	    "00010203040506070809101112131415161718192021222324252627282930313"
	    "23334353637383940414243444546474849505152535455565758596061626364"
	    "65666768697071727374757677787980818283848586878889909192939495969"
	    "79899";
	size_t n = count_digits(x), at = n;

	for (; x >= 10; x /= 100) {
		at -= 2;
		memcpy(out + at, pairs + x % 100 * 2, 2);
	}
	if (at > 0)
		out[0] = (char)('0' + x);
	return n;
}

/* Length of a UTF-8 sequence by its first byte; 0 when none starts so. */
static size_t
utf8_length(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if (first >= 0xe0 && first <= 0xef)
		return 3;
	if (first >= 0xf0 && first <= 0xf4)
		return 4;
	return 0;
}

/*
 * Take one character from the n > 0 bytes at p. Returns its length, or 0 when
 * no well-formed one stands there (RFC 3629: shortest form, no surrogates,
 * nothing above U+10FFFF).
 */
static size_t
utf8_take(const uint8_t *p, size_t n, uint32_t *ret_char)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = utf8_length(p[0]);
	uint32_t c;
	size_t i;

	if (length == 0 || length > n)
		return 0;
	c = length == 1 ? p[0] : p[0] & (0x7fu >> length);
	for (i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < lowest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret_char = c;
	return length;
}

/*
 * May the character stand in a line as it is? Not the controls; not U+2028
 * and U+2029, which some readers take for the end of a line; not the marks
 * that turn the direction of writing, with which a name could show as
 * another.
 */
static bool
is_plain(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
		return false;
	if (c >= 0x2028 && c <= 0x202e)
		return false;
	return c < 0x2066 || c > 0x2069;
}

/* Append piece to the len bytes at out when it fits with a NUL behind it. */
static bool
put(char *out, size_t size, size_t *len, const char *piece, size_t n)
{
	if (n >= size - *len)
		return false;
	memcpy(out + *len, piece, n);
	*len += n;
	out[*len] = '\0';
	return true;
}

/* The escape of one byte, into piece; returns its length. */
static size_t
escape_byte(uint8_t byte, char piece[4])
{
	static const char named[] = {
		['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r', ['\\'] = '\\'
	};

	piece[0] = '\\';
	if (byte < sizeof(named) && named[byte] != '\0') {
		piece[1] = named[byte];
		return 2;
	}
	piece[1] = 'x';
	piece[2] = hex_digits[byte >> 4];
	piece[3] = hex_digits[byte & 0xf];
	return 4;
}

size_t
text_escape(const char *text, size_t n, char *out, size_t size)
{
	size_t i = 0, len = 0, length, piece_len;
	uint32_t c;
	char piece[4];

	if (size == 0)
		return 0;
	out[0] = '\0';
	while (i < n) {
		length = utf8_take((const uint8_t *)text + i, n - i, &c);
		if (length > 0 && is_plain(c) && c != '\\') {
			if (!put(out, size, &len, text + i, length))
				break;
			i += length;
			continue;
		}
		piece_len = escape_byte((uint8_t)text[i], piece);
		if (!put(out, size, &len, piece, piece_len))
			break;
		i++;
	}
	return len;
}

/* The JSON escape of a character that needs one, all of them below U+FFFF. */
static size_t
escape_json_char(uint32_t c, char piece[6])
{
	piece[0] = '\\';
	if (c == '"' || c == '\\') {
		piece[1] = (char)c;
		return 2;
	}
	piece[1] = 'u';
	piece[2] = hex_digits[c >> 12 & 0xf];
	piece[3] = hex_digits[c >> 8 & 0xf];
	piece[4] = hex_digits[c >> 4 & 0xf];
	piece[5] = hex_digits[c & 0xf];
	return 6;
}

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

size_t
text_escape_json(const char *text, size_t n, char *out, size_t size)
{
	size_t i = 0, len = 0, length, piece_len;
	uint32_t c = 0;
	char piece[6];
	bool fits;

	if (size == 0)
		return 0;
	out[0] = '\0';
	while (i < n) {
		length = utf8_take((const uint8_t *)text + i, n - i, &c);
		if (length == 0) {
			length = 1;
			fits = put(out, size, &len, replacement, 3);
		} else if (is_plain(c) && c != '"' && c != '\\') {
			fits = put(out, size, &len, text + i, length);
		} else {
			piece_len = escape_json_char(c, piece);
			fits = put(out, size, &len, piece, piece_len);
		}
		if (!fits)
			break;
		i += length;
	}
	return len;
}

/* A character of ASCII that may stand in a label as it is. */
static bool
is_clean(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

size_t
text_escape_label(const char *text, size_t n, char *out, size_t size)
{
	size_t i = 0, len = 0, length;
	uint32_t c = 0;
	bool fits;

	if (size == 0)
		return 0;
	out[0] = '\0';
	while (i < n) {
		/* Nearly all there is. */
		while (i < n && len + 1 < size && is_clean(text[i]))
			out[len++] = text[i++];
		out[len] = '\0';
		if (i == n)
			break;
		length = utf8_take((const uint8_t *)text + i, n - i, &c);
		if (length == 1 && (c == '"' || c == '\\'))
			fits =
			    put(out, size, &len, c == '"' ? "\\\"" : "\\\\", 2);
		else if (length == 1 && c == '\n')
			fits = put(out, size, &len, "\\n", 2);
		else if (length > 0 && is_plain(c))
			fits = put(out, size, &len, text + i, length);
		else
			fits = put(out, size, &len, replacement, 3);
		if (!fits)
			break;
		i += length > 0 ? length : 1;
	}
	return len;
}
