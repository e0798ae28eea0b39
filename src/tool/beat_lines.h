/*
 * Beats as lines of text: "ok", "degraded 7", "critical 3", or an empty line
 * for ok. Pure: bytes in, beats or a reason out; no I/O.
 */
#ifndef TOOL_BEAT_LINES_H
#define TOOL_BEAT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varta/varta.h>

enum { BEAT_LINE_MAX = 63 }; /* bytes of a line, its end not counted */

/* ok, degraded or critical. False, and *ret as it was, for all else. */
bool beat_status_parse(const char *text, enum varta_status *ret);

/*
 * One line without its end: a status and, after blanks, a payload. NULL when
 * it is good; otherwise what is wrong with it, and the results as they were.
 */
const char *beat_line_parse(
    const char *line, enum varta_status *ret_status, uint32_t *ret_payload);

/* A stream of bytes cut into lines. */
struct beat_lines {
	char line[BEAT_LINE_MAX + 1]; /* the present line, NUL-ended */
	size_t len;
	bool spoilt;     /* too long, or holds a NUL: not to be parsed */
	bool whole;      /* its end has come: the next byte begins another */
	uint64_t number; /* of the present line, from 1 */
};

void beat_lines_init(struct beat_lines *l);

/*
 * Take bytes up to the end of a line, at least one of the n. Returns how many
 * were used; l->whole says whether a line is there to be parsed.
 */
size_t beat_lines_take(struct beat_lines *l, const char *bytes, size_t n);

/* The stream has ended. True when a last line, without its end, is there. */
bool beat_lines_end(struct beat_lines *l);

#endif
