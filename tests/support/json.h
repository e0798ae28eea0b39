/*
 * Just enough JSON to read the test vectors: values are found in the text
 * itself, and whole numbers keep all 64 bits, which a double would not. What
 * is not there, or not of the wanted kind, ends the test program.
 */
#ifndef SUPPORT_JSON_H
#define SUPPORT_JSON_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text of a file; the caller frees it. */
static inline char *
json_load(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t size = 1 << 20, n;
	char *text = malloc(size);

	assert(f != NULL && text != NULL);
	n = fread(text, 1, size, f);
	assert(n < size && !ferror(f));
	text[n] = '\0';
	(void)fclose(f);
	return text;
}

static inline const char *
json_blank(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* From the start of a value to the byte after it. */
static inline const char *
json_skip(const char *p)
{
	size_t depth = 0;
	bool in_string = false;

	do {
		assert(*p != '\0');
		if (in_string) {
			if (*p == '\\')
				p++;
			else if (*p == '"')
				in_string = false;
			p++;
			continue;
		}
		if (*p == '"')
			in_string = true;
		else if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (depth == 0)
			return p + strcspn(p, ",]} \t\r\n");
		p++;
	} while (in_string || depth > 0);
	return p;
}

/* The byte after a comma, or NULL at the end of the list. */
static inline const char *
json_next(const char *p)
{
	p = json_blank(p);
	return *p == ',' ? json_blank(p + 1) : NULL;
}

/* Element i of an array; NULL past its end. */
static inline const char *
json_at(const char *array, size_t i)
{
	const char *p;

	assert(*array == '[');
	p = json_blank(array + 1);
	if (*p == ']')
		return NULL;
	for (; i > 0 && p != NULL; i--)
		p = json_next(json_skip(p));
	return p;
}

static inline bool
json_is(const char *value, const char *string)
{
	size_t n = strlen(string);

	return value != NULL && value[0] == '"' &&
	       strncmp(value + 1, string, n) == 0 && value[n + 1] == '"';
}

/* Member of an object; it must be there. */
static inline const char *
json_get(const char *object, const char *key)
{
	const char *p, *value;

	assert(object != NULL && *object == '{');
	for (p = json_blank(object + 1); p != NULL;
	     p = json_next(json_skip(value))) {
		value = json_blank(json_skip(p));
		assert(*value == ':');
		value = json_blank(value + 1);
		if (json_is(p, key))
			return value;
	}
	(void)fprintf(stderr, "no '%s' in the object\n", key);
	abort();
}

static inline uint64_t
json_u64(const char *value)
{
	char *end;
	unsigned long long x;

	assert(*value >= '0' && *value <= '9');
	x = strtoull(value, &end, 10);
	assert(end == json_skip(value));
	return x;
}

/* The bytes of a string of hexadecimal digits. Returns how many. */
static inline size_t
json_hex(const char *value, uint8_t *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	assert(*value == '"');
	value++;
	for (i = 0; value[2 * i] != '"'; i++) {
		const char *high = strchr(digits, value[2 * i]);
		const char *low = strchr(digits, value[2 * i + 1]);

		assert(i < size && high != NULL && low != NULL);
		out[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	return i;
}

#endif
