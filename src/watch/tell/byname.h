/*
 * Sums of agents by name, for metrics with few series.
 *
 * The first BYNAME_NAMES names that come up get a row each, for good; all
 * later ones share row 0. What an agent had counted is kept when it is
 * forgotten, and what was shown once is never undercut: sums are counters.
 * Allocates nothing after byname_new(); no look-up takes more than eleven
 * comparisons, whatever names a sender chooses.
 */
#ifndef WATCH_TELL_BYNAME_H
#define WATCH_TELL_BYNAME_H

#include <stddef.h>
#include <stdint.h>

#include "watch/event.h"

enum {
	BYNAME_NAMES = 1024,
	BYNAME_ROWS = BYNAME_NAMES + 1,
	/* A name, escaped as the value of a label, and its NUL. What is longer
	 * is cut off, and names that then are equal are one. */
	BYNAME_LABEL_BYTES = 96
};

/* What row 0 is called; an agent of this very name counts there, too. */
#define BYNAME_OTHERS "(others)"

/* Agents of one name, together. */
struct byname_sum {
	uint64_t beats;
	uint64_t stalls;
	uint64_t last_seen_ns; /* the newest */
	uint32_t agents;       /* tracked now */
	uint8_t status;        /* the worst; AGENT_STALLED is */
};

struct byname;

/* NULL when memory is short. */
struct byname *byname_new(void);
void byname_free(struct byname *b); /* takes NULL */

/* How a name is shown: well-formed, never longer than the storage. Returns its
 * length. */
size_t byname_label(const char *name, char ret[static BYNAME_LABEL_BYTES]);

/* The agent is about to be forgotten: its counts are kept. */
void byname_keep(struct byname *b, const struct agent_view *agent);

/*
 * A sweep: byname_begin(), byname_add() for every agent, over any number of
 * passes, byname_end(). Agents that come or go meanwhile make no sum too large;
 * byname_end() raises what has become too small to what was last shown.
 * Returns the number of rows; their names and order never change.
 */
void byname_begin(
    const struct byname *b, struct byname_sum sums[static BYNAME_ROWS]);
void byname_add(struct byname *b, struct byname_sum sums[static BYNAME_ROWS],
    const struct agent_view *agent);
uint32_t byname_end(
    struct byname *b, struct byname_sum sums[static BYNAME_ROWS]);

/* The name of a row, as a label. */
const char *byname_row(const struct byname *b, uint32_t row);

#endif
