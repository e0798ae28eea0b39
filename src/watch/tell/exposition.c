#include "watch/tell/exposition.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "watch/tell/words.h"

enum {
	BUCKETS_MAX = STATS_FINE_BUCKETS,
	/* In the unit of a fine sum, 1,024 ns: as many as are 16 s. */
	FINE_UNITS_IN_16_S = 15625000
};

static const char *const bounds[STATS_BUCKETS] = { "0.001", "0.005", "0.01",
	"0.05", "0.1", "0.25", "0.5", "1", "+Inf" };
static const char *const fine_bounds[STATS_FINE_BUCKETS] = { "5e-05", "0.0001",
	"0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
	"0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf" };

/* Any histogram. */
struct histogram {
	size_t n;
	const char *const *bounds;
	uint64_t buckets[BUCKETS_MAX]; /* not cumulative */
	uint64_t sum_s, sum_ns;
};

static bool
ends_in(const char *name, size_t len, const char *end)
{
	size_t end_len = strlen(end);

	return len > end_len && memcmp(name + len - end_len, end, end_len) == 0;
}

static const char *
type_word(const struct family *f, enum metrics_format format, size_t *len)
{
	switch (f->type) {
	case FAMILY_COUNTER:
		if (format == METRICS_CLASSIC)
			return "counter";
		/* There is no other way to keep the name. */
		if (!ends_in(f->name, *len, "_total"))
			return "unknown";
		*len -= strlen("_total");
		return "counter";
	case FAMILY_GAUGE:
		return "gauge";
	case FAMILY_HISTOGRAM:
	case FAMILY_FINE:
		return "histogram";
	case FAMILY_INFO:
		if (format == METRICS_CLASSIC)
			return "gauge";
		*len -= strlen("_info");
		return "info";
	}
	return "";
}

static void
add_comment(struct strbuf *sb, const char *what, const char *name, size_t len,
    const char *text)
{
	strbuf_str(sb, what);
	strbuf_add(sb, name, len);
	strbuf_char(sb, ' ');
	strbuf_str(sb, text);
	strbuf_char(sb, '\n');
}

void
exposition_head(
    struct strbuf *sb, const struct family *f, enum metrics_format format)
{
	size_t len = strlen(f->name);
	const char *type = type_word(f, format, &len);

	add_comment(sb, "# HELP ", f->name, len, f->help);
	add_comment(sb, "# TYPE ", f->name, len, type);
	if (format == METRICS_CLASSIC)
		return;
	if (ends_in(f->name, len, "_seconds"))
		add_comment(sb, "# UNIT ", f->name, len, "seconds");
	else if (ends_in(f->name, len, "_bytes"))
		add_comment(sb, "# UNIT ", f->name, len, "bytes");
}

/* The digits after the point, all of them. */
static char *
put_fraction(char *p, uint64_t x, unsigned digits)
{
	unsigned i;

	*p++ = '.';
	for (i = digits; i > 0; i--, x /= 10)
		p[i - 1] = (char)('0' + x % 10);
	return p + digits;
}

static char *
put_value(char *p, enum family_unit unit, uint64_t x)
{
	switch (unit) {
	case FAMILY_PLAIN:
		if (x < 10)
			*p++ = (char)('0' + x);
		else
			p += text_format_u64(x, p);
		break;
	case FAMILY_MS:
		p += text_format_u64(x / 1000, p);
		p = put_fraction(p, x % 1000, 3);
		break;
	case FAMILY_NS:
		p += text_format_u64(x / NS_PER_S, p);
		p = put_fraction(p, x % NS_PER_S, 9);
		break;
	}
	*p++ = '\n';
	return p;
}

static void
add_value(struct strbuf *sb, enum family_unit unit, uint64_t x)
{
	char text[40];

	strbuf_char(sb, ' ');
	strbuf_add(sb, text, (size_t)(put_value(text, unit, x) - text));
}

static void
add_pair(struct strbuf *sb, const char *label, const char *word)
{
	strbuf_str(sb, label);
	strbuf_str(sb, "=\"");
	strbuf_str(sb, word);
	strbuf_char(sb, '"');
}

/* Element i of the array of such elements that the family names. */
static const void *
element(const struct family *f, const struct family_values *v, size_t i,
    size_t size)
{
	return (const char *)v + f->offset + i * size;
}

static void
add_plain_line(struct strbuf *sb, const struct family *f,
    const struct family_values *v, size_t i)
{
	uint64_t x;

	if (f->of_values != NULL)
		x = f->of_values(v, i);
	else
		memcpy(&x, element(f, v, i, sizeof(x)), sizeof(x));

	strbuf_str(sb, f->name);
	if (f->label != NULL) {
		strbuf_char(sb, '{');
		add_pair(sb, f->label, f->words[i]);
		strbuf_char(sb, '}');
	}
	add_value(sb, f->unit, x);
}

static struct histogram
histogram_of(const struct family *f, const struct family_values *v, size_t i)
{
	struct stats_histogram coarse;
	struct histogram ret = { 0 };
	struct stats_fine fine;
	uint64_t rest_ns;

	if (f->type == FAMILY_HISTOGRAM) {
		memcpy(
		    &coarse, element(f, v, i, sizeof(coarse)), sizeof(coarse));
		ret.n = STATS_BUCKETS;
		ret.bounds = bounds;
		memcpy(ret.buckets, coarse.buckets, sizeof(coarse.buckets));
		ret.sum_s = coarse.sum_ns / NS_PER_S;
		ret.sum_ns = coarse.sum_ns % NS_PER_S;
		return ret;
	}
	memcpy(&fine, element(f, v, i, sizeof(fine)), sizeof(fine));
	ret.n = STATS_FINE_BUCKETS;
	ret.bounds = fine_bounds;
	memcpy(ret.buckets, fine.buckets, sizeof(fine.buckets));
	/* As nanoseconds it need not fit. */
	rest_ns = fine.sum_1024ns % FINE_UNITS_IN_16_S * 1024;
	ret.sum_s =
	    fine.sum_1024ns / FINE_UNITS_IN_16_S * 16 + rest_ns / NS_PER_S;
	ret.sum_ns = rest_ns % NS_PER_S;
	return ret;
}

static size_t
histogram_lines(const struct family *f)
{
	/* Buckets, sum, count. */
	return (f->type == FAMILY_FINE ? STATS_FINE_BUCKETS : STATS_BUCKETS) +
	       2;
}

static void
add_bound(struct strbuf *sb, const char *bound, enum metrics_format format)
{
	strbuf_str(sb, "le=\"");
	strbuf_str(sb, bound);
	/* A whole number must show there that it is a float. */
	if (format == METRICS_OPEN && strpbrk(bound, ".eI") == NULL)
		strbuf_str(sb, ".0");
	strbuf_char(sb, '"');
}

static void
add_sum(struct strbuf *sb, const struct histogram *h)
{
	char text[40], *p = text;

	*p++ = ' ';
	p += text_format_u64(h->sum_s, p);
	p = put_fraction(p, h->sum_ns, 9);
	*p++ = '\n';
	strbuf_add(sb, text, (size_t)(p - text));
}

/* Line part of a histogram: a bucket, then the sum, then the count. */
static void
add_histogram_line(struct strbuf *sb, const struct family *f,
    const struct family_values *v, enum metrics_format format, size_t i,
    size_t part)
{
	const struct histogram h = histogram_of(f, v, i);
	const bool is_bucket = part < h.n;
	uint64_t x = 0;
	size_t bucket;

	strbuf_str(sb, f->name);
	strbuf_str(sb, is_bucket ? "_bucket" : part == h.n ? "_sum" : "_count");
	if (f->label != NULL || is_bucket) {
		strbuf_char(sb, '{');
		if (f->label != NULL)
			add_pair(sb, f->label, f->words[i]);
		if (f->label != NULL && is_bucket)
			strbuf_char(sb, ',');
		if (is_bucket)
			add_bound(sb, h.bounds[part], format);
		strbuf_char(sb, '}');
	}
	if (part == h.n) {
		add_sum(sb, &h);
		return;
	}
	/* The count is that of the last bucket, so that they always agree. */
	for (bucket = 0; bucket < h.n && bucket <= part; bucket++)
		x += h.buckets[bucket];
	add_value(sb, FAMILY_PLAIN, x);
}

static bool
is_histogram(const struct family *f)
{
	return f->type == FAMILY_HISTOGRAM || f->type == FAMILY_FINE;
}

size_t
exposition_lines(const struct family *f)
{
	size_t n = f->label != NULL ? f->n_words : 1;

	return is_histogram(f) ? n * histogram_lines(f) : n;
}

void
exposition_line(struct strbuf *sb, const struct family *f,
    const struct family_values *v, enum metrics_format format, size_t line)
{
	size_t lines = histogram_lines(f);

	if (is_histogram(f))
		add_histogram_line(
		    sb, f, v, format, line / lines, line % lines);
	else
		add_plain_line(sb, f, v, line);
}

static char *
put(char *p, const char *text, size_t n)
{
	memcpy(p, text, n);
	return p + n;
}

static char *
put_text(char *p, const char *text)
{
	return put(p, text, strlen(text));
}

void
exposition_rows_init(
    struct exposition_rows *rows, const struct family *f, const char *label)
{
	struct strbuf sb;

	rows->family = f;
	strbuf_init(&sb, rows->prefix, sizeof(rows->prefix));
	strbuf_str(&sb, f->name);
	strbuf_char(&sb, '{');
	strbuf_str(&sb, label);
	strbuf_str(&sb, "=\"");
	assert(!sb.overflowed);
	rows->prefix_len = sb.len;
}

/* All of its storage, which a few instructions copy, whatever its length. */
static char *
put_prefix(char *p, const struct exposition_rows *rows)
{
	memcpy(p, rows->prefix, sizeof(rows->prefix));
	return p + rows->prefix_len;
}

static char *
put_end(char *p, const struct family *f, uint64_t value)
{
	return put_value(put(p, "\"} ", 3), f->unit, value);
}

static char *
put_row_value(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const struct agent_row *agent)
{
	return put_end(p, rows->family, rows->family->of_agent(v, agent));
}

/* Agents of other hosts may have the pid of one here: they have one label
 * more. A key is called by its fingerprint. */
static char *
put_source(char *p, uint32_t source)
{
	uint8_t bytes[4];
	char hex[2 * sizeof(bytes) + 1];

	if (likely(source == SOURCE_HOST))
		return p;
	p = put_text(p, "\",source=\"");
	if (source == SOURCE_UDP)
		return put_text(p, "udp");
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)((source & ~SOURCE_MASTER) >> (24 - 8 * i));
	text_bytes_to_hex(bytes, sizeof(bytes), hex);
	p = put_text(p, hex);
	return (source & SOURCE_MASTER) != 0 ? put_text(p, "-master") : p;
}

char *
exposition_agent(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const struct agent_row *agent)
{
	p = put_prefix(p, rows);
	p += text_format_u64(agent->pid, p);
	p = put_source(p, agent->source);
	return put_row_value(p, rows, v, agent);
}

char *
exposition_lane(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const struct lane_row *lane)
{
	p = put_prefix(p, rows);
	p += text_format_u64(lane->pid, p);
	p = put_text(p, "\",lane=\"");
	p += byname_label(lane->name, p);
	return put_end(p, rows->family, rows->family->of_lane(v, lane));
}

char *
exposition_info(
    char *p, const struct exposition_rows *rows, const struct agent_view *agent)
{
	static const char name[] = "\",name=\"", uid[] = "\",uid=\"";
	static const char origin[] = "\",origin=\"", unknown[] = "unknown";

	p = put_prefix(p, rows);
	p += text_format_u64(agent->pid, p);
	p = put_source(p, (uint32_t)(agent->id >> 32));
	p = put(p, name, sizeof(name) - 1);
	p += byname_label(agent->name, p);
	p = put(p, uid, sizeof(uid) - 1);
	if (agent->uid == UINT32_MAX)
		p = put(p, unknown, sizeof(unknown) - 1);
	else
		p += text_format_u64(agent->uid, p);
	p = put(p, origin, sizeof(origin) - 1);
	p = put_text(p, words_origin(agent->origin));
	return put(p, "\"} 1\n", 5);
}

char *
exposition_name(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const char *label,
    const struct agent_row *sum)
{
	p = put_text(put_prefix(p, rows), label);
	return put_row_value(p, rows, v, sum);
}
