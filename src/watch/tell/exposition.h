/*
 * How families, values and labels are written, in either format. Pure.
 */
#ifndef WATCH_TELL_EXPOSITION_H
#define WATCH_TELL_EXPOSITION_H

#include <stddef.h>

#include "base/strbuf.h"
#include "watch/tell/metrics.h"
#include "watch/tell/metrics_table.h"

enum {
	/* The longest row of an agent: name, four labels, value. */
	EXPOSITION_ROW_BYTES = 384,
	EXPOSITION_PREFIX_BYTES = 64
};

/* The lines that begin a family: help, type, and unit where the format has
 * one. */
void exposition_head(
    struct strbuf *sb, const struct family *f, enum metrics_format format);

/* Lines of a family without agents, and one of them. */
size_t exposition_lines(const struct family *f);
void exposition_line(struct strbuf *sb, const struct family *f,
    const struct family_values *v, enum metrics_format format, size_t line);

/* What all rows of a family begin with: name{label=" */
struct exposition_rows {
	const struct family *family;
	char prefix[EXPOSITION_PREFIX_BYTES];
	size_t prefix_len;
};

void exposition_rows_init(
    struct exposition_rows *rows, const struct family *f, const char *label);

/*
 * Rows, written to p, where EXPOSITION_ROW_BYTES must fit: of a single agent,
 * of a lane, of an agent in a family that tells who it is, or of all agents of
 * a name, which is given as a label. Return the end of what was written.
 */
char *exposition_agent(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const struct agent_row *agent);
char *exposition_lane(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const struct lane_row *lane);
char *exposition_info(char *p, const struct exposition_rows *rows,
    const struct agent_view *agent);
char *exposition_name(char *p, const struct exposition_rows *rows,
    const struct family_values *v, const char *label,
    const struct agent_row *sum);

#endif
