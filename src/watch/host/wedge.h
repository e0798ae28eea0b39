/*
 * Wedge: does the loop hang? The rule of the watchdog thread, pure.
 *
 * Somebody looks at the pulse again and again, on a clock of their own, and
 * tells the time of each look. The time for which something has stood is the
 * sum of what passed between looks, each counted for at most the interval that
 * was meant: one who could not look, because the whole process was stopped,
 * suspended or starved, has seen nothing. So a stop, however long, adds no more
 * than one interval, and no limit is ever passed at the first look after it.
 *
 * The loop hangs when
 *   a stage of a pass takes longer than its limit;
 *   a pass takes longer than the deadline;
 *   it waits on, the deadline past the time by which it would wake;
 *   it waits on although its socket has had something to read for longer than
 *   the deadline.
 * An idle loop that waits for nobody is healthy, however long.
 */
#ifndef WATCH_HOST_WEDGE_H
#define WATCH_HOST_WEDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wedge_verdict {
	WEDGE_HEALTHY = 0,
	WEDGE_STAGE,     /* a stage over its limit */
	WEDGE_PASS,      /* a pass over the deadline */
	WEDGE_OVERSLEPT, /* waits past its time */
	WEDGE_DEAF       /* waits in spite of input */
};

enum { WEDGE_LINE_MAX = 160 };

/* Storage is the caller's; looked into by tests alone. */
struct wedge {
	uint64_t deadline_ns;
	uint64_t interval_ns;
	uint64_t looked_at_ns;
	uint64_t word;     /* of the last look */
	uint64_t state_ns; /* that this word has stood */
	uint64_t pass_ns;  /* that this pass has taken, waiting left out */
	uint64_t input_ns; /* that input has waited for this word to change */
	bool input;
	bool completed; /* a pass, once */
};

/* interval_ns is the time meant to pass between two looks. */
void wedge_init(struct wedge *w, uint64_t deadline_ns, uint64_t interval_ns,
    uint64_t now_ns);

/*
 * Look at the word of a pulse; input: its socket has something to read. A
 * clock that goes back counts as standing still.
 */
enum wedge_verdict wedge_look(
    struct wedge *w, uint64_t word, bool input, uint64_t now_ns);

/* True once a pass has been seen to complete. */
bool wedge_has_completed(const struct wedge *w);

/*
 * A line for people about a verdict other than healthy, with a newline, into
 * line. Async-signal-safe. Returns its length.
 */
size_t wedge_describe(const struct wedge *w, enum wedge_verdict verdict,
    char line[WEDGE_LINE_MAX]);

#endif
