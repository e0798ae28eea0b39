/*
 * Text to numbers and back, strictly: the whole text is consumed, the range is
 * stated by the caller, and on an error the result is left as it was.
 *
 * Errors of all parsers: -EINVAL (not of that form), -ERANGE (of the form, but
 * outside the range).
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits after an optional '+'; no blanks, no sign, no prefix. */
int text_to_u64(const char *text, uint64_t max, uint64_t *ret);
int text_to_u32(const char *text, uint32_t max, uint32_t *ret);

/* An octal file mode of at most 0777, after an optional 0o, 0O or zeros; no
 * sign. */
int text_to_mode(const char *text, uint32_t *ret_mode);

/*
 * A duration with a unit (us, ms, s, m, h): 500ms, 2s, 1m, 250us. A bare
 * number is refused, so that nobody has to guess its unit. At most max_ns.
 */
int text_to_duration_ns(const char *text, uint64_t max_ns, uint64_t *ret_ns);

/* Exactly 2 * n hexadecimal digits, any case, to n bytes; in constant time
 * with regard to the digits' values. Only -EINVAL. */
int text_hex_to_bytes(
    const char *text, size_t text_len, uint8_t *ret, size_t n);

/* Lower-case hexadecimal of n bytes and a NUL; out holds 2 * n + 1. */
void text_bytes_to_hex(const uint8_t *bytes, size_t n, char *out);

/*
 * Decimal digits of x, without a NUL, into out, which holds 20 bytes. Returns
 * how many were written.
 */
size_t text_format_u64(uint64_t x, char out[20]);

/*
 * How text from outside is written into lines that people read: printable
 * ASCII and well-formed UTF-8 stay, a backslash is doubled, all else becomes
 * \t, \n, \r or \xHH. So do the UTF-8 characters that would end a line or
 * turn the direction of writing (C1 controls, U+2028 to U+202E, U+2066 to
 * U+2069). Writes at most size bytes with the NUL, never a part of an escape
 * or of a character. Returns the length written.
 */
size_t text_escape(const char *text, size_t n, char *out, size_t size);

/* The same for the inside of a JSON string: \" \\ and \uXXXX; bytes that are
 * not UTF-8 become U+FFFD. */
size_t text_escape_json(const char *text, size_t n, char *out, size_t size);

/* The same for the value of a label of a metric: \" \\ and \n; U+FFFD for
 * every other byte or character that text_escape() would not leave. */
size_t text_escape_label(const char *text, size_t n, char *out, size_t size);

#endif
