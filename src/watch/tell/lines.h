/*
 * Log lines of events and of recovery: which level, which fields, which words
 * (cli page 3.6 of the reference, plus a line for each stall, exit, leave and
 * resume). Pure: log.h writes them, and escapes what came from outside.
 */
#ifndef WATCH_TELL_LINES_H
#define WATCH_TELL_LINES_H

#include <stdbool.h>

#include "base/log.h"
#include "watch/event.h"

enum {
	LINES_TEXT_BYTES = 321, /* as much as log.h keeps, and a NUL */
	LINES_NAME_MAX = 64,    /* more of an agent's name is cut off */
	LINES_OUTPUT_MAX = 200  /* last bytes of a command's output */
};

struct line {
	enum log_level level;
	struct log_fields fields; /* error is static text */
	char text[LINES_TEXT_BYTES];
};

/*
 * The line of an event. False, and ret as it was, for kinds that are counted
 * only: beats, receive errors, mismatches.
 */
bool lines_of_event(const struct event *ev, struct line *ret);

/* The same for a step of recovery; debounced ones are silent. */
bool lines_of_recovery(const struct recovery_record *record, struct line *ret);

#endif
