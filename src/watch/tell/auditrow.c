#include "watch/tell/auditrow.h"

#include <assert.h>
#include <string.h>

#include "base/strbuf.h"

/* All but the two texts: four words and at most ten numbers of 20 digits. */
static_assert(AUDITROW_BYTES + AUDITLINE_END_BYTES + 32 < AUDITLINE_MAX,
    "a row fits in a line");

enum auditline_kind
auditrow_kind(enum recovery_outcome outcome)
{
	switch (outcome) {
	case RECOVERY_SPAWNED:
		return AUDITLINE_SPAWN;
	case RECOVERY_REAPED_ZERO:
	case RECOVERY_REAPED_NONZERO:
	case RECOVERY_REAP_FAILED:
	case RECOVERY_KILLED:
		return AUDITLINE_COMPLETE;
	case RECOVERY_DEBOUNCED:
	case RECOVERY_SPAWN_FAILED:
	case RECOVERY_REFUSED_UNAUTHENTICATED_TRANSPORT:
	case RECOVERY_REFUSED_SOCKET_MODE_ONLY:
	case RECOVERY_REFUSED_CROSS_NAMESPACE:
	case RECOVERY_REFUSED_DEBOUNCE_CAPACITY:
	case RECOVERY_REFUSED_OUTSTANDING_CAPACITY:
	case RECOVERY_REFUSED_STALE_CHILD_KILL_FAILED:
	case RECOVERY_SKIPPED_AGENT_RESUMED:
	case RECOVERY_SKIPPED_PID_RECYCLED:
	case RECOVERY_SKIPPED_STALL_UNVERIFIABLE:
	case RECOVERY_OUTCOME_COUNT:
		break;
	}
	return AUDITLINE_REFUSED;
}

static void
add_number(struct strbuf *sb, uint64_t x)
{
	strbuf_char(sb, '\t');
	strbuf_u64(sb, x);
}

static void
add_word(struct strbuf *sb, const char *word)
{
	strbuf_char(sb, '\t');
	strbuf_str(sb, word);
}

/* Text from outside. */
static void
add_text(struct strbuf *sb, const char *text)
{
	size_t i, n = text != NULL ? strnlen(text, AUDITROW_TEXT_MAX) : 0;

	if (n == 0) {
		add_word(sb, "-");
		return;
	}
	strbuf_char(sb, '\t');
	for (i = 0; i < n; i++)
		strbuf_char(sb, strchr("\t\n\r", text[i]) ? ' ' : text[i]);
}

static const char *
complete_word(enum recovery_outcome outcome)
{
	if (outcome == RECOVERY_KILLED)
		return "killed";
	return outcome == RECOVERY_REAP_FAILED ? "reap_failed" : "reaped";
}

/* A column for exits of this kind. */
static void
add_exit(struct strbuf *sb, const struct exit_info *exit, enum exit_how how)
{
	strbuf_char(sb, '\t');
	if (exit->how == how)
		strbuf_i64(sb, exit->value);
	else
		strbuf_char(sb, '-');
}

static void
add_complete(struct strbuf *sb, const struct recovery_record *record)
{
	add_number(sb, record->child_pid);
	add_word(sb, complete_word(record->outcome));
	add_exit(sb, &record->exit, EXIT_HOW_CODE);
	add_exit(sb, &record->exit, EXIT_HOW_SIGNAL);
	add_number(sb, record->duration_ns);
	add_number(sb, record->stdout_bytes);
	add_number(sb, record->stderr_bytes);
	add_word(sb, record->output_truncated ? "true" : "false");
}

static void
add_spawn(struct strbuf *sb, const struct recovery_record *record)
{
	add_number(sb, record->child_pid);
	add_word(sb, "exec");
	add_text(sb, record->program);
	add_text(sb, record->source);
	add_number(sb, record->template_bytes);
}

/* The columns that all kinds have. */
static void
begin(struct strbuf *sb, char *out, uint64_t wall_ms, uint64_t at_ns,
    enum auditline_kind kind, uint32_t pid)
{
	strbuf_init(sb, out, AUDITROW_BYTES);
	strbuf_u64(sb, wall_ms);
	add_number(sb, at_ns);
	add_word(sb, auditline_kind_word(kind));
	add_number(sb, pid);
}

size_t
auditrow_format(const struct recovery_record *record, uint64_t wall_ms,
    char out[static AUDITROW_BYTES])
{
	enum auditline_kind kind = auditrow_kind(record->outcome);
	struct strbuf sb;

	begin(&sb, out, wall_ms, record->at_ns, kind, record->agent_pid);
	switch (kind) {
	case AUDITLINE_SPAWN:
		add_spawn(&sb, record);
		break;
	case AUDITLINE_COMPLETE:
		add_complete(&sb, record);
		break;
	case AUDITLINE_REFUSED:
		add_text(&sb, record->detail);
		break;
	case AUDITLINE_BOOT:
	case AUDITLINE_KIND_COUNT:
		break;
	}
	assert(!sb.overflowed);
	return sb.len;
}

size_t
auditrow_format_boot(enum auditline_boot reason, uint32_t pid,
    const struct auditline_link *prev, uint64_t wall_ms,
    char out[static AUDITROW_BYTES])
{
	char hex[AUDITLINE_LINK_HEX + 1] = "-";
	struct strbuf sb;

	begin(&sb, out, wall_ms, 0, AUDITLINE_BOOT, pid);
	if (prev != NULL)
		auditline_link_format(prev, hex);
	add_word(&sb, hex);
	add_word(&sb, auditline_boot_word(reason));
	return sb.len;
}
