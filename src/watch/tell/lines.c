#include "watch/tell/lines.h"

#include <string.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "watch/tell/words.h"

enum { OUTPUT_BYTES = 1025 }; /* of recovery_record.output at most */

static struct strbuf
begin(struct line *line, enum log_level level, uint32_t pid)
{
	struct strbuf sb;

	*line = (struct line){ .level = level, .fields.pid = pid };
	strbuf_init(&sb, line->text, sizeof(line->text));
	return sb;
}

/* Seconds with three digits, rounded down. */
static void
add_seconds(struct strbuf *sb, uint64_t ns)
{
	strbuf_printf(sb, "%llu.%03u s", (unsigned long long)(ns / NS_PER_S),
	    (unsigned)(ns % NS_PER_S / NS_PER_MS));
}

static void
add_agent(struct strbuf *sb, const struct event *ev)
{
	strbuf_printf(sb, "agent %u", ev->pid);
	if (ev->name != NULL && ev->name[0] != '\0')
		strbuf_printf(sb, " (%.*s)", LINES_NAME_MAX, ev->name);
	if (ev->lane != NULL)
		strbuf_printf(sb, " lane '%.*s'", LINES_NAME_MAX, ev->lane);
}

static void
add_end(struct strbuf *sb, struct exit_info exit)
{
	const char *name;

	switch (exit.how) {
	case EXIT_HOW_CODE:
		strbuf_printf(sb, "ended with exit code %d", exit.value);
		return;
	case EXIT_HOW_SIGNAL:
		strbuf_printf(sb, "was killed by signal %d", exit.value);
		name = words_signal(exit.value);
		if (name != NULL)
			strbuf_printf(sb, " (%s)", name);
		return;
	case EXIT_HOW_UNKNOWN:
	case EXIT_HOW_COUNT:
		strbuf_str(sb, "has ended, how is not known");
		return;
	}
}

static const char *
stall_text(enum stall_reason why, enum origin origin)
{
	switch (why) {
	case STALL_SILENT:
		if (origin == ORIGIN_NETWORK_UNVERIFIED ||
		    origin == ORIGIN_OPERATOR_ATTESTED)
			return "known over the network alone";
		return "its process is there";
	case STALL_GONE:
		return "its process has ended";
	case STALL_REASON_COUNT:
		break;
	}
	return "reason unknown";
}

static void
stall_line(const struct event *ev, struct line *ret)
{
	struct strbuf sb = begin(ret, LOG_WARN, ev->pid);

	add_agent(&sb, ev);
	strbuf_str(&sb, " stalled: silent for ");
	add_seconds(&sb, ev->silence_ns);
	strbuf_str(&sb, ", threshold ");
	add_seconds(&sb, ev->threshold_ns);
	strbuf_printf(&sb, ", last status %s, %s", words_status(ev->status),
	    stall_text(ev->why.stall, (enum origin)ev->origin));
}

static void
agent_line(const struct event *ev, enum log_level level, const char *what,
    struct line *ret)
{
	struct strbuf sb = begin(ret, level, ev->pid);

	add_agent(&sb, ev);
	strbuf_str(&sb, what);
}

bool
lines_of_event(const struct event *ev, struct line *ret)
{
	struct strbuf sb;

	switch (ev->kind) {
	case EVENT_STALL:
		stall_line(ev, ret);
		return true;
	case EVENT_EVICTION:
		agent_line(ev, LOG_DEBUG, " made room for another", ret);
		return true;
	case EVENT_JOIN:
		agent_line(ev, LOG_DEBUG, " joined", ret);
		return true;
	case EVENT_RESUME:
		agent_line(ev, LOG_INFO, " beats again", ret);
		return true;
	case EVENT_EXIT:
		sb = begin(ret, LOG_WARN, ev->pid);
		add_agent(&sb, ev);
		strbuf_char(&sb, ' ');
		add_end(&sb, ev->why.exit);
		return true;
	case EVENT_LEAVE:
		if (ev->lane != NULL)
			agent_line(ev, LOG_DEBUG, " left", ret);
		else
			agent_line(
			    ev, LOG_INFO, " ended with exit code 0", ret);
		return true;
	case EVENT_LATE:
		sb = begin(ret, LOG_WARN, 0);
		strbuf_str(&sb, "observer late by ");
		add_seconds(&sb, ev->silence_ns);
		strbuf_str(&sb, ": no agent is blamed for that time");
		return true;
	case EVENT_BEAT:
	case EVENT_DECODE:
	case EVENT_IO:
	case EVENT_CTRUNC:
	case EVENT_MISMATCH:
	case EVENT_KIND_COUNT:
		return false;
	}
	return false;
}

/* A hexadecimal digit of text_escape(). */
static unsigned
hex_value(char c)
{
	return c >= 'a'   ? (unsigned)(c - 'a') + 10
	       : c >= 'A' ? (unsigned)(c - 'A') + 10
			  : (unsigned)(c - '0');
}

/*
 * Undo text_escape(): the log escapes again, and twice is hard to read. A NUL
 * becomes a blank, because it would end the text. Returns the length.
 */
static size_t
unescape(const char *text, char out[static OUTPUT_BYTES])
{
	size_t n = 0;
	unsigned byte;

	for (; *text != '\0' && n < OUTPUT_BYTES - 1; text++) {
		if (text[0] != '\\' || text[1] == '\0') {
			out[n++] = *text;
			continue;
		}
		text++;
		if (*text == 'n') {
			out[n++] = '\n';
		} else if (*text == 't') {
			out[n++] = '\t';
		} else if (*text == 'r') {
			out[n++] = '\r';
		} else if (*text == 'x' && text[1] != '\0' && text[2] != '\0') {
			byte = hex_value(text[1]) << 4 | hex_value(text[2]);
			out[n++] =
			    (byte & 0xff) == 0 ? ' ' : (char)(byte & 0xff);
			text += 2;
		} else {
			out[n++] = *text;
		}
	}
	out[n] = '\0';
	return n;
}

/* The last bytes of the output, as far as there is room in a line. */
static void
add_output(struct strbuf *sb, const struct recovery_record *record)
{
	char output[OUTPUT_BYTES];
	const char *tail = output;
	size_t n;

	if (record->output == NULL)
		return;
	n = unescape(record->output, output);
	while (n > 0 && (output[n - 1] == '\n' || output[n - 1] == '\r'))
		output[--n] = '\0';
	if (n == 0)
		return;
	if (n > LINES_OUTPUT_MAX) {
		tail = output + n - LINES_OUTPUT_MAX;
		/* Not in the middle of a character. */
		while (((unsigned char)*tail & 0xc0) == 0x80)
			tail++;
	}
	strbuf_str(sb, tail == output ? ", output: " : ", output ends: ");
	strbuf_str(sb, tail);
}

static void
ended_line(const struct recovery_record *record, enum log_level level,
    struct line *ret)
{
	struct strbuf sb = begin(ret, level, 0);

	ret->fields.child_pid = record->child_pid;
	strbuf_printf(&sb, "recovery command for agent %u ", record->agent_pid);
	add_end(&sb, record->exit);
	strbuf_str(&sb, " after ");
	add_seconds(&sb, record->duration_ns);
	if (record->outcome == RECOVERY_KILLED)
		strbuf_str(&sb, " (time-out)");
	if (record->outcome != RECOVERY_REAPED_ZERO)
		add_output(&sb, record);
}

static void
spawned_line(const struct recovery_record *record, struct line *ret)
{
	struct strbuf sb = begin(ret, LOG_INFO, record->agent_pid);

	ret->fields.child_pid = record->child_pid;
	strbuf_str(&sb, "recovery started");
	if (record->program != NULL)
		strbuf_printf(&sb, ": %s", record->program);
}

static void
error_line(
    const struct recovery_record *record, const char *what, struct line *ret)
{
	struct strbuf sb = begin(ret, LOG_ERROR, record->agent_pid);

	ret->fields.child_pid = record->child_pid;
	if (record->error != 0)
		ret->fields.error = words_error(record->error);
	strbuf_str(&sb, what);
}

static void
refused_line(
    const struct recovery_record *record, const char *why, struct line *ret)
{
	struct strbuf sb = begin(ret, LOG_WARN, 0);

	strbuf_printf(
	    &sb, "recovery of agent %u refused: %s", record->agent_pid, why);
}

static void
skipped_line(
    const struct recovery_record *record, const char *why, struct line *ret)
{
	struct strbuf sb = begin(ret, LOG_INFO, record->agent_pid);

	strbuf_printf(&sb, "recovery skipped: %s", why);
}

bool
lines_of_recovery(const struct recovery_record *record, struct line *ret)
{
	switch (record->outcome) {
	case RECOVERY_SPAWNED:
		spawned_line(record, ret);
		return true;
	case RECOVERY_REAPED_ZERO:
		ended_line(record, LOG_DEBUG, ret);
		return true;
	case RECOVERY_REAPED_NONZERO:
	case RECOVERY_KILLED:
		ended_line(record, LOG_WARN, ret);
		return true;
	case RECOVERY_REAP_FAILED:
		error_line(record, "cannot wait for the recovery command", ret);
		return true;
	case RECOVERY_SPAWN_FAILED:
		error_line(record, "cannot start the recovery command", ret);
		return true;
	case RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED:
		error_line(
		    record, "recovery refused: cannot end the one before", ret);
		return true;
	case RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT:
		refused_line(record, "its beats come unauthenticated", ret);
		return true;
	case RECOVERY_REFUSED_SOCKET_MODE_ONLY:
		refused_line(
		    record, "only the socket's mode vouches for it", ret);
		return true;
	case RECOVERY_REFUSED_CROSS_NAMESPACE:
		refused_line(record, "it is in another pid namespace", ret);
		return true;
	case RECOVERY_REFUSED_DEBOUNCE_CAPACITY:
		refused_line(record, "the debounce table is full", ret);
		return true;
	case RECOVERY_REFUSED_OUTSTANDING_CAPACITY:
		refused_line(record, "too many commands are running", ret);
		return true;
	case RECOVERY_SKIPPED_AGENT_RESUMED:
		skipped_line(record, "the agent beats again", ret);
		return true;
	case RECOVERY_SKIPPED_PID_RECYCLED:
		skipped_line(record, "the pid is another process's now", ret);
		return true;
	case RECOVERY_SKIPPED_STALL_UNVERIFIABLE:
		skipped_line(record,
		    "cannot tell whether it is still the same process", ret);
		return true;
	case RECOVERY_DEBOUNCED:
	case RECOVERY_OUTCOME_COUNT:
		return false;
	}
	return false;
}
