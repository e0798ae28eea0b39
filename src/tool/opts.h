/*
 * Options from a table: the same table is what getopt_long(3) parses by and
 * what help is printed from, so that neither can forget an option.
 *
 * Long options only, in full; "--name VALUE" and "--name=VALUE". Parsing stops
 * at the first word that is no option. Messages about bad options are printed
 * here.
 */
#ifndef TOOL_OPTS_H
#define TOOL_OPTS_H

#include <stdio.h>

/* A table ends with an entry whose name is NULL. */
struct opts_entry {
	const char *name;
	const char *value; /* what the value is called; NULL: takes none */
	const char *help;  /* one line or more, separated by newlines */
};

enum {
	OPTS_MAX = 16, /* entries of a table, its end not counted */

	/* what opts_next() returns besides an index */
	OPTS_END = -1,
	OPTS_BAD = -2
};

/*
 * The next option of argv as an index of table, its value (or NULL) in
 * *ret_value. OPTS_END at the first word that is no option: optind is its
 * index. OPTS_BAD after a message on stderr that begins with who.
 *
 * The place in argv is kept by getopt_long(3), in optind: one parse a process.
 */
int opts_next(const struct opts_entry *table, const char *who, int argc,
    char **argv, const char **ret_value);

/* One line for each entry, or more where its help has more. */
void opts_print_help(const struct opts_entry *table, FILE *out);

#endif
