#include "watch/tell/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "base/util.h"
#include "watch/tell/metrics_table.h"

enum {
	/* With more agents than this rows go in the order of the table: what
	 * sorting costs must not grow with it. */
	SORTED_MAX = 4096,
	/* The longest row of an agent: name, {pid="4294967295"}, u64. */
	ROW_MAX = 128,
	HISTOGRAM_LINES = STATS_BUCKETS + 2
};

struct metrics_render {
	struct metrics_source source;
	struct family_values values; /* of the start */

	size_t family;
	bool head_done;  /* HELP and TYPE of the family */
	size_t line;     /* of the family, after those */
	uint32_t cursor; /* of the agents: slot, or place in sorted */

	bool collecting; /* what sorted is made of, cursor is the slot */
	bool is_sorted;  /* rows go by pid */
	uint32_t n_sorted;
	uint64_t sorted[SORTED_MAX]; /* pid << 32 | slot */
};

const char *
metrics_family_name(size_t i)
{
	return i < family_count ? family_table[i].name : NULL;
}

struct metrics_render *
metrics_render_new(const struct metrics_source *source, uint64_t now_ns)
{
	struct metrics_render *r;

	r = malloc(sizeof(*r));
	if (r == NULL)
		return NULL;
	r->source = *source;
	r->values.now_ns = now_ns;
	r->values.stats = *source->stats;
	r->values.gauges = *source->gauges;
	r->family = 0;
	r->head_done = false;
	r->line = 0;
	r->cursor = 0;
	r->collecting = source->gauges->agents <= SORTED_MAX;
	r->is_sorted = r->collecting;
	r->n_sorted = 0;
	return r;
}

void
metrics_render_free(struct metrics_render *r)
{
	free(r);
}

/*
 * The agent at slot, unless it joined after the start. Since the others keep
 * their slot and a pid has one agent, no pid comes up twice.
 */
static bool
view(const struct metrics_render *r, uint32_t slot, struct agent_view *ret)
{
	return r->source.agent(r->source.ctx, slot, ret) &&
	       ret->joined_ns <= r->values.now_ns;
}

static int
compare_keys(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

/* Look at up to max slots for the order of rows. */
static void
collect(struct metrics_render *r, uint32_t max)
{
	uint32_t slots = r->source.slots(r->source.ctx);
	struct agent_view agent;

	for (; max > 0 && r->cursor < slots; max--, r->cursor++) {
		if (!view(r, r->cursor, &agent))
			continue;
		if (r->n_sorted == SORTED_MAX) {
			/* The gauge was too low. */
			r->is_sorted = false;
			r->cursor = slots;
			break;
		}
		r->sorted[r->n_sorted++] =
		    (uint64_t)agent.pid << 32 | r->cursor;
	}
	if (r->cursor < slots)
		return;
	if (r->is_sorted)
		qsort(
		    r->sorted, r->n_sorted, sizeof(r->sorted[0]), compare_keys);
	r->collecting = false;
	r->cursor = 0;
}

static void
add_fixed(struct strbuf *sb, uint64_t x, uint64_t one, unsigned digits)
{
	char fraction[20];
	uint64_t rest = x % one;
	unsigned i;

	for (i = digits; i > 0; i--, rest /= 10)
		fraction[i - 1] = (char)('0' + rest % 10);
	strbuf_u64(sb, x / one);
	strbuf_char(sb, '.');
	strbuf_add(sb, fraction, digits);
}

static void
add_value(struct strbuf *sb, enum family_unit unit, uint64_t x)
{
	strbuf_char(sb, ' ');
	switch (unit) {
	case FAMILY_PLAIN:
		strbuf_u64(sb, x);
		break;
	case FAMILY_MS:
		add_fixed(sb, x, 1000, 3);
		break;
	case FAMILY_NS:
		add_fixed(sb, x, NS_PER_S, 9);
		break;
	}
	strbuf_char(sb, '\n');
}

static void
add_head(struct strbuf *sb, const struct family *f)
{
	static const char *const types[] = {
		[FAMILY_COUNTER] = "counter",
		[FAMILY_GAUGE] = "gauge",
		[FAMILY_HISTOGRAM] = "histogram",
	};

	strbuf_str(sb, "# HELP ");
	strbuf_str(sb, f->name);
	strbuf_char(sb, ' ');
	strbuf_str(sb, f->help);
	strbuf_str(sb, "\n# TYPE ");
	strbuf_str(sb, f->name);
	strbuf_char(sb, ' ');
	strbuf_str(sb, types[f->type]);
	strbuf_char(sb, '\n');
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

/* Line part of a histogram: a bucket, then the sum, then the count. */
static void
add_histogram_line(struct strbuf *sb, const struct family *f,
    const struct family_values *v, size_t i, size_t part)
{
	static const char *const bounds[STATS_BUCKETS] = { "0.001", "0.005",
		"0.01", "0.05", "0.1", "0.25", "0.5", "1", "+Inf" };
	const bool is_bucket = part < STATS_BUCKETS;
	struct stats_histogram h;
	uint64_t x = 0;
	size_t bucket;

	memcpy(&h, element(f, v, i, sizeof(h)), sizeof(h));
	strbuf_str(sb, f->name);
	strbuf_str(sb, is_bucket               ? "_bucket"
		       : part == STATS_BUCKETS ? "_sum"
					       : "_count");
	if (f->label != NULL || is_bucket) {
		strbuf_char(sb, '{');
		if (f->label != NULL)
			add_pair(sb, f->label, f->words[i]);
		if (f->label != NULL && is_bucket)
			strbuf_char(sb, ',');
		if (is_bucket)
			add_pair(sb, "le", bounds[part]);
		strbuf_char(sb, '}');
	}

	if (part == STATS_BUCKETS) {
		add_value(sb, FAMILY_NS, h.sum_ns);
		return;
	}
	/* The count is that of the last bucket, so that they always agree. */
	for (bucket = 0; bucket < STATS_BUCKETS && bucket <= part; bucket++)
		x += h.buckets[bucket];
	add_value(sb, FAMILY_PLAIN, x);
}

static size_t
lines_of(const struct family *f)
{
	size_t n = f->label != NULL ? f->n_words : 1;

	return f->type == FAMILY_HISTOGRAM ? n * HISTOGRAM_LINES : n;
}

/* The next line of a family without agents. */
static void
add_line(struct strbuf *sb, const struct metrics_render *r)
{
	const struct family *f = &family_table[r->family];

	if (f->type == FAMILY_HISTOGRAM)
		add_histogram_line(sb, f, &r->values, r->line / HISTOGRAM_LINES,
		    r->line % HISTOGRAM_LINES);
	else
		add_plain_line(sb, f, &r->values, r->line);
}

static char *
put(char *p, const char *text, size_t n)
{
	memcpy(p, text, n);
	return p + n;
}

/* Rows of agents, straight into out: they are what a scrape consists of.
 * True when there are none left. */
static bool
add_rows(struct metrics_render *r, struct strbuf *sb, uint32_t *max_agents)
{
	static const char open[] = "{pid=\"", close[] = "\"} ";
	const struct family *f = &family_table[r->family];
	const size_t name_len = strlen(f->name);
	const uint32_t end =
	    r->is_sorted ? r->n_sorted : r->source.slots(r->source.ctx);
	struct agent_view agent;
	uint32_t slot;
	char *p;

	for (; r->cursor < end; r->cursor++) {
		if (*max_agents == 0 || sb->size - sb->len <= ROW_MAX)
			return false;
		--*max_agents;
		slot =
		    r->is_sorted ? (uint32_t)r->sorted[r->cursor] : r->cursor;
		if (!view(r, slot, &agent))
			continue;
		p = put(sb->text + sb->len, f->name, name_len);
		p = put(p, open, sizeof(open) - 1);
		p += text_format_u64(agent.pid, p);
		p = put(p, close, sizeof(close) - 1);
		p += text_format_u64(f->of_agent(&agent), p);
		*p++ = '\n';
		sb->len = (size_t)(p - sb->text);
	}
	return true;
}

/* Go on with the family at hand. False when there is no room for more. */
static bool
add_family(struct metrics_render *r, struct strbuf *sb, uint32_t *max_agents)
{
	const struct family *f = &family_table[r->family];
	size_t mark = sb->len;

	if (!r->head_done) {
		add_head(sb, f);
		if (sb->overflowed) {
			strbuf_truncate(sb, mark);
			return false;
		}
		r->head_done = true;
	}
	if (f->of_agent != NULL)
		return add_rows(r, sb, max_agents);

	for (; r->line < lines_of(f); r->line++) {
		mark = sb->len;
		add_line(sb, r);
		if (sb->overflowed) {
			strbuf_truncate(sb, mark);
			return false;
		}
	}
	return true;
}

size_t
metrics_render(struct metrics_render *r, char *out, size_t size,
    uint32_t max_agents, bool *ret_done)
{
	struct strbuf sb;

	assert(size >= METRICS_PIECE_MIN && max_agents > 0);
	*ret_done = false;
	if (r->collecting) {
		collect(r, max_agents);
		return 0;
	}

	strbuf_init(&sb, out, size);
	for (; r->family < family_count; r->family++) {
		if (!add_family(r, &sb, &max_agents))
			return sb.len;
		r->head_done = false;
		r->line = 0;
		r->cursor = 0;
	}
	*ret_done = sb.len == 0;
	return sb.len;
}
