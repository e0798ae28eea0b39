#include "watch/tell/byname.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

enum { ROW_OTHERS = 0 };

struct row {
	char label[BYNAME_LABEL_BYTES];
	/* Of agents that are no more. */
	uint64_t kept_beats;
	uint64_t kept_stalls;
	/* What was last shown. */
	uint64_t shown_beats;
	uint64_t shown_stalls;
};

struct byname {
	uint32_t n_rows;
	struct row rows[BYNAME_ROWS];
	uint16_t order[BYNAME_ROWS]; /* rows by label */
};

struct byname *
byname_new(void)
{
	struct byname *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	memcpy(b->rows[ROW_OTHERS].label, BYNAME_OTHERS, sizeof(BYNAME_OTHERS));
	b->order[0] = ROW_OTHERS;
	b->n_rows = 1;
	return b;
}

void
byname_free(struct byname *b)
{
	free(b);
}

size_t
byname_label(const char *name, char ret[static BYNAME_LABEL_BYTES])
{
	if (name == NULL)
		name = "";
	return text_escape_label(name, strlen(name), ret, BYNAME_LABEL_BYTES);
}

/* The row of a label, made if there is room for it. */
static uint32_t
find_row(struct byname *b, const char *label)
{
	uint32_t low = 0, high = b->n_rows, middle;
	int order;

	while (low < high) {
		middle = (low + high) / 2;
		order = strcmp(label, b->rows[b->order[middle]].label);
		if (order == 0)
			return b->order[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (b->n_rows == BYNAME_ROWS)
		return ROW_OTHERS;

	memmove(&b->order[low + 1], &b->order[low],
	    (b->n_rows - low) * sizeof(b->order[0]));
	b->order[low] = (uint16_t)b->n_rows;
	memcpy(b->rows[b->n_rows].label, label, strlen(label) + 1);
	return b->n_rows++;
}

static uint32_t
row_of(struct byname *b, const struct agent_view *agent)
{
	char label[BYNAME_LABEL_BYTES];

	(void)byname_label(agent->name, label);
	return find_row(b, label);
}

void
byname_keep(struct byname *b, const struct agent_view *agent)
{
	struct row *row = &b->rows[row_of(b, agent)];

	row->kept_beats = u64_add_sat(row->kept_beats, agent->beats);
	row->kept_stalls = u64_add_sat(row->kept_stalls, agent->stalls);
}

void
byname_begin(const struct byname *b, struct byname_sum sums[static BYNAME_ROWS])
{
	uint32_t i;

	memset(sums, 0, BYNAME_ROWS * sizeof(sums[0]));
	for (i = 0; i < b->n_rows; i++) {
		sums[i].beats = b->rows[i].kept_beats;
		sums[i].stalls = b->rows[i].kept_stalls;
	}
}

void
byname_add(struct byname *b, struct byname_sum sums[static BYNAME_ROWS],
    const struct agent_view *agent)
{
	struct byname_sum *sum = &sums[row_of(b, agent)];

	sum->beats = u64_add_sat(sum->beats, agent->beats);
	sum->stalls = u64_add_sat(sum->stalls, agent->stalls);
	sum->last_seen_ns = u64_max(sum->last_seen_ns, agent->last_seen_ns);
	sum->agents++;
	if (agent->status > sum->status)
		sum->status = agent->status;
}

static void
never_undercut(uint64_t *sum, uint64_t *shown)
{
	*sum = u64_max(*sum, *shown);
	*shown = *sum;
}

uint32_t
byname_end(struct byname *b, struct byname_sum sums[static BYNAME_ROWS])
{
	uint32_t i;

	for (i = 0; i < b->n_rows; i++) {
		never_undercut(&sums[i].beats, &b->rows[i].shown_beats);
		never_undercut(&sums[i].stalls, &b->rows[i].shown_stalls);
	}
	return b->n_rows;
}

const char *
byname_row(const struct byname *b, uint32_t row)
{
	return b->rows[row].label;
}
