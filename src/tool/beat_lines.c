#include "tool/beat_lines.h"

#include <string.h>

#include "base/text.h"
#include "base/util.h"

static const struct {
	const char *name;
	enum varta_status status;
} statuses[] = {
	{ "ok", VARTA_OK },
	{ "degraded", VARTA_DEGRADED },
	{ "critical", VARTA_CRITICAL },
};

static const char blanks[] = " \t";

bool
beat_status_parse(const char *text, enum varta_status *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (strcmp(statuses[i].name, text) == 0) {
			*ret = statuses[i].status;
			return true;
		}
	return false;
}

/* The next word of *at into word, which holds a whole line. */
static bool
next_word(const char **at, char word[static BEAT_LINE_MAX + 1])
{
	const char *from = *at + strspn(*at, blanks);
	size_t n = strcspn(from, blanks);

	if (n == 0 || n > BEAT_LINE_MAX)
		return false;
	memcpy(word, from, n);
	word[n] = '\0';
	*at = from + n;
	return true;
}

const char *
beat_line_parse(
    const char *line, enum varta_status *ret_status, uint32_t *ret_payload)
{
	char word[BEAT_LINE_MAX + 1];
	enum varta_status status = VARTA_OK;
	uint32_t payload = 0;

	if (next_word(&line, word) && !beat_status_parse(word, &status))
		return "the status is not ok, degraded or critical";
	if (next_word(&line, word) &&
	    text_to_u32(word, UINT32_MAX, &payload) < 0)
		return "the payload is not a number from 0 to 4294967295";
	if (next_word(&line, word))
		return "more than a status and a payload";
	*ret_status = status;
	*ret_payload = payload;
	return NULL;
}

void
beat_lines_init(struct beat_lines *l)
{
	*l = (struct beat_lines){ .whole = true };
}

size_t
beat_lines_take(struct beat_lines *l, const char *bytes, size_t n)
{
	const char *end = memchr(bytes, '\n', n);
	size_t part = end != NULL ? (size_t)(end - bytes) : n;

	if (l->whole) {
		l->len = 0;
		l->spoilt = false;
		l->number++;
	}
	if (part > BEAT_LINE_MAX - l->len ||
	    memchr(bytes, '\0', part) != NULL) {
		l->spoilt = true;
	} else {
		memcpy(l->line + l->len, bytes, part);
		l->len += part;
	}
	l->line[l->len] = '\0';
	l->whole = end != NULL;
	return end != NULL ? part + 1 : part;
}

bool
beat_lines_end(struct beat_lines *l)
{
	return !l->whole;
}
