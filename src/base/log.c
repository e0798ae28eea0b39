#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/util.h"

enum {
	MESSAGE_MAX = 320,
	ERROR_MAX = 128,
	/* " (18446744073709551615 more left out)", and with " lines lost
	 * before it" */
	SUFFIX_MAX = 96,

	/* The longest line: each byte a six-byte escape, and the keys. It also
	 * is PIPE_BUF on Linux, so lines do not mix in a pipe. */
	LINE_MAX_BYTES = 4096
};

_Static_assert(
    (MESSAGE_MAX + SUFFIX_MAX + ERROR_MAX) * 6 + 512 <= LINE_MAX_BYTES,
    "a line of escapes only must fit");

static const char *name = "varta-watch";
static enum log_format format_in_use = LOG_PLAIN;
static char session_id[17] = "0000000000000000";
static _Atomic int highest_level = LOG_INFO;

static atomic_bool reader_is_stuck;
static _Atomic uint64_t n_lost; /* lines, since the last one */

static struct {
	_Atomic uint64_t next_ns; /* no line before; 0 at the start */
	_Atomic uint64_t pending; /* left out since the last line */
	_Atomic uint64_t total;
} limits[LOG_KIND_COUNT];

void
log_init(const char *new_name, enum log_format format, enum log_level level)
{
	uint8_t id[8];
	uint64_t seed;

	/* Two daemons started in one nanosecond without entropy may share an
	 * id; that is no reason not to start. */
	if (prng_entropy(id, sizeof(id)) < 0) {
		seed = clock_wall_ns() ^ ((uint64_t)getpid() << 40);
		memcpy(id, &seed, sizeof(id));
	}
	text_bytes_to_hex(id, sizeof(id), session_id);
	name = new_name;
	format_in_use = format;
	log_set_level(level);
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&highest_level, (int)level, memory_order_relaxed);
}

bool
log_wants(enum log_level level)
{
	return (int)level <=
	       atomic_load_explicit(&highest_level, memory_order_relaxed);
}

static const char *
level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warn";
	case LOG_INFO:
		return "info";
	case LOG_DEBUG:
		return "debug";
	}
	return "error";
}

/* The length to which text is cut so that no character is split at max. */
static size_t
cut_length(const char *text, size_t len, size_t max)
{
	size_t n = max, back;

	if (len <= max)
		return len;
	for (back = 0; back < 3 && n > 0; back++) {
		if (((uint8_t)text[n] & 0xc0) != 0x80)
			return n;
		n--;
	}
	return ((uint8_t)text[n] & 0xc0) != 0x80 ? n : max;
}

static void
add_plain(struct strbuf *line, const char *text, size_t n)
{
	line->len += text_escape(
	    text, n, line->text + line->len, line->size - line->len);
}

static void
add_json(struct strbuf *line, const char *text, size_t n)
{
	strbuf_char(line, '"');
	line->len += text_escape_json(
	    text, n, line->text + line->len, line->size - line->len);
	strbuf_char(line, '"');
}

static size_t
error_length(const char *error)
{
	return cut_length(error, strnlen(error, ERROR_MAX + 1), ERROR_MAX);
}

static void
build_plain(struct strbuf *line, const struct log_fields *fields,
    const char *message, size_t n)
{
	strbuf_str(line, name);
	strbuf_str(line, ": ");
	add_plain(line, message, n);
	if (fields->pid != 0)
		strbuf_printf(line, " pid=%u", fields->pid);
	if (fields->child_pid != 0)
		strbuf_printf(line, " child_pid=%u", fields->child_pid);
	if (fields->error != NULL) {
		strbuf_str(line, ": ");
		add_plain(line, fields->error, error_length(fields->error));
	}
	strbuf_char(line, '\n');
}

static void
build_json(struct strbuf *line, enum log_level level,
    const struct log_fields *fields, const char *message, size_t n)
{
	strbuf_str(line, "{\"ts_ns\":");
	strbuf_u64(line, clock_wall_ns());
	strbuf_printf(line,
	    ",\"session_id\":\"%s\",\"level\":\"%s\",\"msg\":", session_id,
	    level_name(level));
	add_json(line, message, n);
	if (fields->pid != 0)
		strbuf_printf(line, ",\"pid\":%u", fields->pid);
	if (fields->child_pid != 0)
		strbuf_printf(line, ",\"child_pid\":%u", fields->child_pid);
	if (fields->error != NULL) {
		strbuf_str(line, ",\"error\":");
		add_json(line, fields->error, error_length(fields->error));
	}
	strbuf_str(line, "}\n");
}

/* Whether the reader takes a line: there is room for PIPE_BUF bytes in a pipe
 * that can be written to at all. Errors are for the write. */
static bool
is_taken(void)
{
	struct pollfd pollfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	int wait_ms = atomic_load(&reader_is_stuck) ? 0 : LOG_WAIT_MS;
	int r;

	do
		r = poll(&pollfd, 1, wait_ms);
	while (r < 0 && errno == EINTR);
	atomic_store(&reader_is_stuck, r == 0);
	if (r == 0)
		atomic_fetch_add(&n_lost, 1);
	return r != 0;
}

static size_t
add_suffix(char *text, size_t n, size_t size, uint64_t count, const char *what)
{
	int r;

	if (count == 0)
		return n;
	r = snprintf(
	    text + n, size - n, " (%llu %s)", (unsigned long long)count, what);
	return n + (r < 0 ? 0 : (size_t)r);
}

/* left_out: how many lines like this one were not written before it. */
__attribute__((format(printf, 4, 0))) static void
write_line(enum log_level level, const struct log_fields *fields,
    uint64_t left_out, const char *format, va_list args)
{
	static const struct log_fields no_fields;
	/* Room to see whether a character ends at the limit. */
	char message[MESSAGE_MAX + 8 + SUFFIX_MAX];
	char storage[LINE_MAX_BYTES];
	int saved_errno = errno;
	struct strbuf line;
	size_t n;
	int r;

	if (!is_taken())
		goto done;
	r = vsnprintf(message, MESSAGE_MAX + 8, format, args);
	n = r < 0 ? 0 : strlen(message);
	n = cut_length(message, n, MESSAGE_MAX);
	n = add_suffix(message, n, sizeof(message), left_out, "more left out");
	n = add_suffix(message, n, sizeof(message), atomic_exchange(&n_lost, 0),
	    "lines lost before it");

	if (fields == NULL)
		fields = &no_fields;
	strbuf_init(&line, storage, sizeof(storage));
	if (format_in_use == LOG_JSON)
		build_json(&line, level, fields, message, n);
	else
		build_plain(&line, fields, message, n);

	/* Nobody is left to tell when this fails. */
	while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
		;
done:
	errno = saved_errno;
}

void
log_line(enum log_level level, const struct log_fields *fields,
    const char *format, ...)
{
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	write_line(level, fields, 0, format, args);
	va_end(args);
}

void
log_limited(enum log_kind kind, uint64_t now_ns, enum log_level level,
    const struct log_fields *fields, const char *format, ...)
{
	uint64_t next_ns, left_out;
	va_list args;

	if (!log_wants(level))
		return;

	next_ns = atomic_load(&limits[kind].next_ns);
	/* Of two threads that come at once, the second is left out. */
	if (now_ns < next_ns ||
	    !atomic_compare_exchange_strong(&limits[kind].next_ns, &next_ns,
		u64_add_sat(now_ns, NS_PER_S))) {
		atomic_fetch_add(&limits[kind].pending, 1);
		atomic_fetch_add(&limits[kind].total, 1);
		return;
	}
	left_out = atomic_exchange(&limits[kind].pending, 0);
	va_start(args, format);
	write_line(level, fields, left_out, format, args);
	va_end(args);
}

uint64_t
log_suppressed(enum log_kind kind)
{
	return atomic_load(&limits[kind].total);
}

const char *const log_kind_names[LOG_KIND_COUNT] = {
	[LOG_KIND_FILE_EXPORT_IO] = "file_export_io",
	[LOG_KIND_AUDIT_IO] = "audit_io",
	[LOG_KIND_PROM_SERVE] = "prom_serve",
	[LOG_KIND_HEARTBEAT_IO] = "heartbeat_io",
	[LOG_KIND_AUDIT_RING_WARN] = "audit_ring_warn",
	[LOG_KIND_AUDIT_RING_CRITICAL] = "audit_ring_critical",
};
