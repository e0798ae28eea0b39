#include "watch/tell/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "watch/tell/exposition.h"
#include "watch/tell/metrics_table.h"

enum {
	/* With more agents than this rows go in the order of the table: what
	 * sorting costs must not grow with it. */
	SORTED_MAX = 4096
};

_Static_assert((int)EXPOSITION_ROW_BYTES < (int)METRICS_PIECE_MIN, "a row");

struct metrics_render {
	struct metrics_source source;
	enum metrics_format format;
	struct family_values values; /* of the start */

	size_t family;
	struct exposition_rows rows; /* of the family */
	bool head_done;              /* HELP and TYPE of the family */
	bool end_done;               /* of OpenMetrics */
	size_t line;                 /* of the family, after those */
	uint32_t cursor; /* of the rows: slot, place in sorted, or name */

	bool collecting; /* what the union is made of, cursor is the slot */
	bool is_sorted;  /* rows go by pid */
	uint32_t n;      /* in the union */
	union {
		uint64_t sorted[SORTED_MAX]; /* pid << 32 | slot */
		struct byname_sum sums[BYNAME_ROWS];
	};
};

const char *
metrics_family_name(size_t i)
{
	return i < family_count ? family_table[i].name : NULL;
}

struct metrics_render *
metrics_render_new(const struct metrics_source *source,
    enum metrics_format format, uint64_t now_ns)
{
	struct metrics_render *r;

	assert((source->series == METRICS_BY_NAME) == (source->names != NULL));
	r = malloc(sizeof(*r));
	if (r == NULL)
		return NULL;
	r->source = *source;
	r->format = format;
	r->values.now_ns = now_ns;
	r->values.stats = *source->stats;
	r->values.gauges = *source->gauges;
	r->family = 0;
	r->head_done = false;
	r->end_done = format == METRICS_CLASSIC;
	r->line = 0;
	r->cursor = 0;
	r->n = 0;
	r->is_sorted = source->series == METRICS_BY_PID &&
		       source->gauges->agents <= SORTED_MAX;
	r->collecting = r->is_sorted;
	if (source->series == METRICS_BY_NAME) {
		r->collecting = true;
		byname_begin(source->names, r->sums);
	}
	return r;
}

void
metrics_render_free(struct metrics_render *r)
{
	free(r);
}

/*
 * The agent at slot, unless it joined after the start. Since the others keep
 * their slot and a pid of a source has one agent, none comes up twice.
 */
static bool
view(const struct metrics_render *r, uint32_t slot, struct agent_view *ret)
{
	return r->source.agent(r->source.ctx, slot, ret) &&
	       ret->joined_ns <= r->values.now_ns;
}

/* The same, of what most rows need. */
static bool
row(const struct metrics_render *r, uint32_t slot, struct agent_row *ret)
{
	return r->source.row(r->source.ctx, slot, ret) &&
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

/* Note the agent at the cursor. False when there is no room for it. */
static bool
note(struct metrics_render *r, const struct agent_view *agent)
{
	if (!r->is_sorted) {
		byname_add(r->source.names, r->sums, agent);
		return true;
	}
	if (r->n == SORTED_MAX)
		return false;
	r->sorted[r->n++] = (uint64_t)agent->pid << 32 | r->cursor;
	return true;
}

/* Look at up to max slots for the order of rows, or for sums. */
static void
collect(struct metrics_render *r, uint32_t max)
{
	uint32_t slots = r->source.slots(r->source.ctx);
	struct agent_view agent;

	for (; max > 0 && r->cursor < slots; max--, r->cursor++) {
		if (!view(r, r->cursor, &agent))
			continue;
		if (!note(r, &agent)) {
			/* The gauge was too low. */
			r->is_sorted = false;
			r->collecting = false;
			r->cursor = 0;
			return;
		}
	}
	if (r->cursor < slots)
		return;
	if (r->is_sorted)
		qsort(r->sorted, r->n, sizeof(r->sorted[0]), compare_keys);
	else
		r->n = byname_end(r->source.names, r->sums);
	r->collecting = false;
	r->cursor = 0;
}

/* The row of the agent at slot, if there is one. Returns its end. */
static char *
add_agent(const struct metrics_render *r, uint32_t slot, char *p)
{
	struct agent_view agent;
	struct agent_row changing;

	if (r->rows.family->type == FAMILY_INFO)
		return view(r, slot, &agent)
			   ? exposition_info(p, &r->rows, &agent)
			   : p;
	return row(r, slot, &changing)
		   ? exposition_agent(p, &r->rows, &r->values, &changing)
		   : p;
}

/* Rows of agents, straight into out: they are what a scrape consists of.
 * True when there are none left. */
static bool
add_agents(struct metrics_render *r, struct strbuf *sb, uint32_t *max_agents)
{
	const uint32_t end =
	    r->is_sorted ? r->n : r->source.slots(r->source.ctx);
	char *p = sb->text + sb->len;
	const char *limit = sb->text + sb->size - EXPOSITION_ROW_BYTES;
	uint32_t left = *max_agents;

	for (; r->cursor < end && left > 0 && p < limit; r->cursor++, left--)
		p = add_agent(r,
		    r->is_sorted ? (uint32_t)r->sorted[r->cursor] : r->cursor,
		    p);
	*max_agents = left;
	sb->len = (size_t)(p - sb->text);
	return r->cursor >= end;
}

/* What there is to tell of a name: a gauge needs agents that are there, and
 * the others are no name until there are some. */
static bool
has_row(const struct metrics_render *r, const struct family *f, uint32_t row)
{
	const struct byname_sum *sum = &r->sums[row];

	if (sum->agents > 0)
		return true;
	return f->type == FAMILY_COUNTER && (row > 0 || sum->beats > 0);
}

/* The same by name. */
static bool
add_names(struct metrics_render *r, struct strbuf *sb)
{
	const struct family *f = &family_table[r->family];
	struct agent_row agent = { 0 };
	const struct byname_sum *sum;
	char *p;

	for (; r->cursor < r->n; r->cursor++) {
		if (!has_row(r, f, r->cursor))
			continue;
		if (sb->size - sb->len <= EXPOSITION_ROW_BYTES)
			return false;
		sum = &r->sums[r->cursor];
		agent.beats = sum->beats;
		agent.stalls = sum->stalls;
		agent.last_seen_ns = sum->last_seen_ns;
		agent.status = sum->status;
		p = exposition_name(sb->text + sb->len, &r->rows, &r->values,
		    byname_row(r->source.names, r->cursor), &agent);
		sb->len = (size_t)(p - sb->text);
	}
	return true;
}

/* Rows of lanes. A process has one lane of a name at a time, and those that
 * were opened after the start do not appear: none comes up twice. */
static bool
add_lanes(struct metrics_render *r, struct strbuf *sb, uint32_t *max_agents)
{
	const struct metrics_source *source = &r->source;
	uint32_t end;
	char *p;

	if (source->lane == NULL || source->series != METRICS_BY_PID)
		return true;
	end = source->lane_slots(source->ctx);
	for (; r->cursor < end; r->cursor++, --*max_agents) {
		struct lane_row lane;

		if (*max_agents == 0 ||
		    sb->size - sb->len <= EXPOSITION_ROW_BYTES)
			return false;
		if (!source->lane(source->ctx, r->cursor, &lane) ||
		    lane.joined_ns > r->values.now_ns)
			continue;
		p = exposition_lane(
		    sb->text + sb->len, &r->rows, &r->values, &lane);
		sb->len = (size_t)(p - sb->text);
	}
	return true;
}

static bool
add_rows(struct metrics_render *r, struct strbuf *sb, uint32_t *max_agents)
{
	if (family_table[r->family].of_lane != NULL)
		return add_lanes(r, sb, max_agents);
	switch (r->source.series) {
	case METRICS_BY_PID:
		return add_agents(r, sb, max_agents);
	case METRICS_BY_NAME:
		return family_table[r->family].type == FAMILY_INFO ||
		       add_names(r, sb);
	case METRICS_TOTALS:
		return true;
	}
	return true;
}

/* Take back what did not fit. True when it did. */
static bool
fits(struct strbuf *sb, size_t mark)
{
	if (!sb->overflowed)
		return true;
	strbuf_truncate(sb, mark);
	return false;
}

/* Series that come and go, and not lines that are always there. */
static bool
has_rows(const struct family *f)
{
	return f->of_agent != NULL || f->of_lane != NULL;
}

/* Go on with the family at hand. False when there is no room for more. */
static bool
add_family(struct metrics_render *r, struct strbuf *sb, uint32_t *max_agents)
{
	const struct family *f = &family_table[r->family];
	size_t mark = sb->len;

	if (!r->head_done) {
		exposition_head(sb, f, r->format);
		if (!fits(sb, mark))
			return false;
		r->head_done = true;
		if (has_rows(f))
			exposition_rows_init(&r->rows, f,
			    r->source.series == METRICS_BY_NAME ? "name"
								: "pid");
	}
	if (has_rows(f))
		return add_rows(r, sb, max_agents);

	for (; r->line < exposition_lines(f); r->line++) {
		mark = sb->len;
		exposition_line(sb, f, &r->values, r->format, r->line);
		if (!fits(sb, mark))
			return false;
	}
	return true;
}

size_t
metrics_render(struct metrics_render *r, char *out, size_t size,
    uint32_t max_agents, bool *ret_done)
{
	struct strbuf sb;
	size_t mark;

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
	mark = sb.len;
	if (!r->end_done) {
		strbuf_str(&sb, "# EOF\n");
		r->end_done = fits(&sb, mark);
	}
	*ret_done = sb.len == 0;
	return sb.len;
}
