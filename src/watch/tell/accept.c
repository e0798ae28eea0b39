#include "watch/tell/accept.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

enum {
	QUALITY_ONE = 1000,
	/* How exactly a range names what it is about. */
	EXACTLY = 3,
	BY_TYPE = 2,
	BY_ANY = 1
};

/* A piece of the value. */
struct piece {
	const char *text;
	size_t len;
};

static bool
is(struct piece p, const char *word)
{
	return p.len == strlen(word) && strncasecmp(p.text, word, p.len) == 0;
}

static struct piece
trim(struct piece p)
{
	while (p.len > 0 && (*p.text == ' ' || *p.text == '\t')) {
		p.text++;
		p.len--;
	}
	while (p.len > 0 &&
	       (p.text[p.len - 1] == ' ' || p.text[p.len - 1] == '\t'))
		p.len--;
	return p;
}

/* Cut off what stands before the next c, which is dropped, too; a quoted
 * text is passed over. False at the end. */
static bool
take(struct piece *rest, char c, struct piece *ret)
{
	bool quoted = false;
	size_t i;

	if (rest->text == NULL)
		return false;
	for (i = 0; i < rest->len && (quoted || rest->text[i] != c); i++)
		if (rest->text[i] == '"')
			quoted = !quoted;
	*ret = trim((struct piece){ rest->text, i });
	if (i < rest->len) {
		rest->text += i + 1;
		rest->len -= i + 1;
	} else {
		rest->text = NULL;
	}
	return true;
}

/* "0", "1", "0.75": thousandths. What cannot be read is 0: not wanted. */
static unsigned
quality_of(struct piece p)
{
	unsigned q, place = QUALITY_ONE / 10;
	size_t i;

	if (p.len == 0 || p.len > 5 || (p.text[0] != '0' && p.text[0] != '1') ||
	    (p.len > 1 && p.text[1] != '.'))
		return 0;
	q = (unsigned)(p.text[0] - '0') * QUALITY_ONE;
	for (i = 2; i < p.len; i++, place /= 10) {
		if (p.text[i] < '0' || p.text[i] > '9')
			return 0;
		q += (unsigned)(p.text[i] - '0') * place;
	}
	return q <= QUALITY_ONE ? q : 0;
}

struct range {
	struct piece name;
	struct piece version; /* empty: none */
	unsigned quality;
};

static struct range
range_of(struct piece text)
{
	struct range ret = { .quality = QUALITY_ONE };
	struct piece parameter, key;

	(void)take(&text, ';', &ret.name);
	while (take(&text, ';', &parameter)) {
		if (!take(&parameter, '=', &key) || parameter.text == NULL)
			continue;
		parameter = trim(parameter);
		if (is(key, "q"))
			ret.quality = quality_of(parameter);
		else if (is(key, "version"))
			ret.version = parameter;
	}
	return ret;
}

/* How exactly the range names the classic form; 0: not at all. */
static unsigned
names_text(const struct range *range)
{
	if (is(range->name, "text/plain"))
		return EXACTLY;
	if (is(range->name, "text/*"))
		return BY_TYPE;
	return is(range->name, "*/*") ? BY_ANY : 0;
}

static bool
names_open(const struct range *range)
{
	return is(range->name, "application/openmetrics-text") &&
	       (range->version.len == 0 || is(range->version, "1.0.0") ||
		   is(range->version, "\"1.0.0\""));
}

enum metrics_format
accept_format(const char *value)
{
	unsigned open = 0, text = 0, exactness = 0, how;
	struct piece rest, item;
	struct range range;

	if (value == NULL)
		return METRICS_CLASSIC;
	rest = (struct piece){ value, strlen(value) };
	while (take(&rest, ',', &item)) {
		range = range_of(item);
		how = names_text(&range);
		if (names_open(&range) && range.quality > open)
			open = range.quality;
		if (how < exactness || how == 0)
			continue;
		if (how > exactness || range.quality > text)
			text = range.quality;
		exactness = how;
	}
	return open > 0 && open >= text ? METRICS_OPEN : METRICS_CLASSIC;
}
