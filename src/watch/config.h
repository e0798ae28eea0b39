/*
 * The configuration file: every option by its name, with '_' for '-', and
 * sections for agents.
 *
 *	threshold_ms = 2000
 *	allow_uid = { "www-data", "backup" }
 *	agent "ingest" {
 *		comm = "ingestd"
 *		threshold_ms = 500
 *	}
 *
 * Refused, with file and line: unknown and repeated keys, values that the
 * option itself would refuse, options that do not go together, agents that
 * match on nothing. More values come to a list by '+='. The file must be
 * regular, of our user or root, and writable by nobody else, since it names
 * commands that we run.
 */
#ifndef WATCH_CONFIG_H
#define WATCH_CONFIG_H

#include <stddef.h>

#include "watch/options.h"
#include "watch/options_table.h"
#include "watch/rules.h"

enum {
	CONFIG_FILE_BYTES = 1 << 20, /* the largest file */
	CONFIG_TEXT_BYTES = 65536,   /* of all text values */
	CONFIG_ROWS_MAX = 96,        /* of the table of options */
	CONFIG_KEY_BYTES = 72
};

/* What was read; options may point into it. */
struct config {
	struct rules rules;
	int lines[CONFIG_ROWS_MAX]; /* of each option; 0: not in the file */
	size_t text_len;
	char text[CONFIG_TEXT_BYTES];
};

/* Nothing read. */
void config_init(struct config *config);

/*
 * Read path into options, over what stands there, and into config, which is
 * emptied first. 0, or -EINVAL with fault filled in; options and config are
 * then not to be used.
 */
int config_read(const char *path, struct options *options,
    struct config *config, struct options_fault *fault);

/* The key of an option: its name with '_' for '-'. */
void config_make_key(const char *name, char ret[static CONFIG_KEY_BYTES]);

/* A flag was given: what the file says of it does not count. */
void config_overrule(struct config *config, const struct option_spec *spec);

/* A fault that begins with an option, as "--udp-port: ", which stands in the
 * file, names its place there instead: "FILE:7: udp_port: ". */
void config_place(const struct config *config, const struct options *options,
    struct options_fault *fault);

/* Print every option and rule in the form of the file. */
void config_dump(
    const struct options *options, const struct config *config, FILE *out);

#endif
