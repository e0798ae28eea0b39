/*
 * The table behind options.h: one row an option, and how a value gets from
 * text into its field. Command line and configuration file both use it.
 */
#ifndef WATCH_OPTIONS_TABLE_H
#define WATCH_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options;
struct options_fault;

enum option_type {
	OPTION_SWITCH = 0, /* bool */
	OPTION_TEXT,       /* const char *, not empty */
	OPTION_U32,
	OPTION_U64,
	OPTION_MODE,   /* uint32_t, octal, at most 0777 */
	OPTION_CHOICE, /* int, index into choices */
	OPTION_ADDRESS,
	OPTION_IP,   /* struct options_address without its port */
	OPTION_PORT, /* struct options_port */
	OPTION_UID,  /* added to struct options_ids */
	OPTION_GID,
	OPTION_ENV, /* added to recovery_env */
	OPTION_REMOVED
};

/* What becomes of a file that a text names. */
enum option_file { OPTION_NO_FILE = 0, OPTION_FILE_READ, OPTION_FILE_WRITTEN };

struct option_spec {
	const char *name;  /* without the dashes */
	const char *value; /* what help calls the value; NULL: a switch */
	const char *help;  /* a line; for removed flags what to use instead */
	const char *const *choices; /* NULL-ended */
	size_t offset;              /* in struct options */
	uint64_t min;
	uint64_t max;
	uint64_t def; /* default of numbers, modes and choices */
	enum option_type type;
	enum option_file file;
	bool command_line_only;
	bool reloadable;   /* a change on SIGHUP takes effect */
	const char *group; /* heading in help, on the first of its group */
};

extern const struct option_spec options_table[];
extern const size_t options_table_count;

/* Every field as it is when nothing is given. */
void options_set_defaults(struct options *o);

/*
 * Set the field of a row from text, which o then may point to. label names the
 * option where it was given, for the fault. A switch with no text is on; with
 * text it is true or false, yes or no, on or off. 0 or -EINVAL.
 */
int options_set(const struct option_spec *spec, const char *label,
    const char *text, struct options *o, struct options_fault *fault);

/* Fill a fault in; returns -EINVAL. */
int options_fault_set(struct options_fault *fault, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
