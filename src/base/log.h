/*
 * Log lines of the daemon on stderr, plain or JSON, chosen at start.
 *
 * Plain: "varta-watch: MESSAGE". JSON: one object a line with the keys ts_ns,
 * session_id, level, msg and, where given, pid, child_pid, error, in this
 * order. Plain lines carry these at the end, as in
 * "varta-watch: recovery failed pid=7: No such file or directory".
 *
 * Message and error are raw text, cut at 320 and 128 bytes and then escaped
 * whole: callers do not escape what they put in. Nothing allocates. A line is
 * one write(2); a failed write is ignored; errno is kept. Thread-safe after
 * log_init().
 *
 * A reader that is slow is waited for, LOG_WAIT_MS for a line. One that is
 * slower is not waited for again before it takes something: lines are lost
 * until then, and the next one ends in " (N lines lost before it)". The loop
 * must not stand still for a log that nobody reads.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum { LOG_WAIT_MS = 20 };

enum log_format { LOG_PLAIN = 0, LOG_JSON };
enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Kinds of line that repeat; each is limited to one a second, with the number
 * of those left out added to the next. */
enum log_kind {
	LOG_KIND_FILE_EXPORT_IO = 0,
	LOG_KIND_AUDIT_IO,
	LOG_KIND_PROM_SERVE,
	LOG_KIND_HEARTBEAT_IO,
	LOG_KIND_AUDIT_RING_WARN,
	LOG_KIND_AUDIT_RING_CRITICAL,
	LOG_KIND_COUNT
};

/* Fields beside the message; 0 and NULL mean "none". */
struct log_fields {
	uint32_t pid;
	uint32_t child_pid;
	const char *error;
};

/*
 * name goes before plain lines; it is kept, not copied. Draws a new session
 * id. Before the first call: "varta-watch", plain, info.
 */
void log_init(const char *name, enum log_format format, enum log_level level);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

void log_line(enum log_level level, const struct log_fields *fields,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_error(...) log_line(LOG_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, NULL, __VA_ARGS__)

/*
 * As log_line(), but at most once a second for each kind. now_ns is monotonic.
 * The first line of a kind is always written; the next one after a silence
 * ends in " (N more left out)".
 */
void log_limited(enum log_kind kind, uint64_t now_ns, enum log_level level,
    const struct log_fields *fields, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* How many lines of this kind were left out since the start. */
uint64_t log_suppressed(enum log_kind kind);

/* The labels of the kinds in metrics: file_export_io and so on. */
extern const char *const log_kind_names[LOG_KIND_COUNT];

#endif
