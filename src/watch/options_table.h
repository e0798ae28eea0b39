/*
 * The table behind options.h: one row a flag.
 */
#ifndef WATCH_OPTIONS_TABLE_H
#define WATCH_OPTIONS_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum option_type {
	OPTION_SWITCH = 0, /* bool */
	OPTION_TEXT,       /* const char *, not empty */
	OPTION_U32,
	OPTION_U64,
	OPTION_MODE,   /* uint32_t, octal, at most 0777 */
	OPTION_CHOICE, /* int, index into choices */
	OPTION_ADDRESS,
	OPTION_UID, /* added to struct options_ids */
	OPTION_GID,
	OPTION_ENV, /* added to recovery_env */
	OPTION_REMOVED
};

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
	const char *group; /* heading in help, on the first of its group */
};

extern const struct option_spec options_table[];
extern const size_t options_table_count;

#endif
