#include "watch/tell/rows.h"

#include <string.h>

#include <varta/frame.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "watch/tell/words.h"

enum { LANE_BYTES = 32 }; /* of a lane's name at most, with its NUL */

bool
rows_is_reference_kind(enum event_kind kind)
{
	switch (kind) {
	case EVENT_BEAT:
	case EVENT_STALL:
	case EVENT_DECODE:
	case EVENT_IO:
	case EVENT_CTRUNC:
	case EVENT_MISMATCH:
	case EVENT_EVICTION:
		return true;
	case EVENT_JOIN:
	case EVENT_RESUME:
	case EVENT_EXIT:
	case EVENT_LEAVE:
	case EVENT_LATE:
	case EVENT_KIND_COUNT:
		return false;
	}
	return false;
}

static const char *
kind_word(enum event_kind kind)
{
	switch (kind) {
	case EVENT_BEAT:
		return "beat";
	case EVENT_STALL:
		return "stall";
	case EVENT_DECODE:
		return "decode";
	case EVENT_IO:
		return "io";
	case EVENT_CTRUNC:
		return "ctrunc";
	case EVENT_MISMATCH:
		return "mismatch";
	case EVENT_EVICTION:
		return "eviction";
	case EVENT_JOIN:
		return "join";
	case EVENT_RESUME:
		return "resume";
	case EVENT_EXIT:
		return "exit";
	case EVENT_LEAVE:
		return "leave";
	case EVENT_LATE:
		return "late";
	case EVENT_KIND_COUNT:
		break;
	}
	return "-";
}

static const char *
mismatch_word(enum mismatch_reason reason)
{
	switch (reason) {
	case MISMATCH_AUTH_FAILURE:
		return "auth_failure";
	case MISMATCH_ORIGIN_CONFLICT:
		return "origin_conflict";
	case MISMATCH_NAMESPACE_CONFLICT:
		return "namespace_conflict";
	case MISMATCH_REASON_COUNT:
		break;
	}
	return "-";
}

static const char *
exit_word(enum exit_how how)
{
	switch (how) {
	case EXIT_HOW_CODE:
		return "code";
	case EXIT_HOW_SIGNAL:
		return "signal";
	case EXIT_HOW_UNKNOWN:
	case EXIT_HOW_COUNT:
		break;
	}
	return "unknown";
}

static void
add_nonce(struct strbuf *sb, const struct event *ev)
{
	strbuf_char(sb, '\t');
	strbuf_u64(sb, ev->nonce);
	strbuf_char(sb, '\t');
}

/* The payload column of a lane: its name, with no byte in it that parts columns
 * or lines. */
static void
add_lane(struct strbuf *sb, const char *lane)
{
	char text[4 * LANE_BYTES];

	(void)text_escape(lane, strnlen(lane, LANE_BYTES), text, sizeof(text));
	strbuf_str(sb, "lane=");
	strbuf_str(sb, text);
}

/* The columns after the pid of a row about a lane. */
static void
add_rest_of_lane(struct strbuf *sb, const struct event *ev)
{
	add_nonce(sb, ev);
	strbuf_str(sb, ev->kind == EVENT_STALL   ? "stall"
		       : ev->kind == EVENT_LEAVE ? "-"
						 : words_status(ev->status));
	strbuf_char(sb, '\t');
	add_lane(sb, ev->lane);
}

/* The columns after the pid. */
static void
add_rest(struct strbuf *sb, const struct event *ev)
{
	switch (ev->kind) {
	case EVENT_BEAT:
	case EVENT_JOIN:
	case EVENT_RESUME:
		add_nonce(sb, ev);
		strbuf_str(sb, words_status(ev->status));
		strbuf_char(sb, '\t');
		strbuf_u64(sb, ev->payload);
		return;
	case EVENT_STALL:
		add_nonce(sb, ev);
		strbuf_str(sb, "stall\t-");
		return;
	case EVENT_DECODE:
		strbuf_str(sb, "\t-\t-\t");
		strbuf_str(sb, varta_frame_error_name(ev->error));
		return;
	case EVENT_IO:
	case EVENT_CTRUNC:
		strbuf_str(sb, "\t-\t-\t");
		strbuf_str(sb, words_error(ev->error));
		return;
	case EVENT_MISMATCH:
		strbuf_str(sb, "\t-\t-\t");
		strbuf_str(sb, mismatch_word(ev->why.mismatch));
		return;
	case EVENT_EXIT:
		add_nonce(sb, ev);
		strbuf_str(sb, exit_word(ev->why.exit.how));
		strbuf_char(sb, '\t');
		if (ev->why.exit.how == EXIT_HOW_UNKNOWN)
			strbuf_char(sb, '-');
		else
			strbuf_i64(sb, ev->why.exit.value);
		return;
	case EVENT_LEAVE:
		add_nonce(sb, ev);
		strbuf_str(sb, "-\t-");
		return;
	case EVENT_LATE:
		strbuf_str(sb, "\t-\t-\t");
		strbuf_u64(sb, ev->silence_ns);
		return;
	case EVENT_EVICTION:
	case EVENT_KIND_COUNT:
		strbuf_str(sb, "\t-\t-\t-");
		return;
	}
}

static bool
has_pid(enum event_kind kind)
{
	return kind != EVENT_DECODE && kind != EVENT_IO &&
	       kind != EVENT_CTRUNC && kind != EVENT_LATE;
}

size_t
rows_format(const struct event *ev, char out[static ROWS_BYTES])
{
	struct strbuf sb;

	/* Without the LF, so that a cut row still ends in one. */
	strbuf_init(&sb, out, ROWS_BYTES - 1);
	strbuf_u64(&sb, ev->at_ns);
	strbuf_char(&sb, '\t');
	strbuf_str(&sb, kind_word(ev->kind));
	strbuf_char(&sb, '\t');
	if (has_pid(ev->kind))
		strbuf_u64(&sb, ev->pid);
	else
		strbuf_char(&sb, '-');
	if (ev->lane != NULL)
		add_rest_of_lane(&sb, ev);
	else
		add_rest(&sb, ev);

	out[sb.len] = '\n';
	out[sb.len + 1] = '\0';
	return sb.len + 1;
}
