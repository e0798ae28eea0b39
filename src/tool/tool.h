/*
 * The varta tool: one program, a table of subcommands.
 *
 * A command is a value: name, texts, options, and a function that parses its
 * own arguments and returns an exit code. main.c holds the table, prints all
 * help from it, and is the only file that exits.
 */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include "tool/opts.h"

/* Exit codes of every command. */
enum tool_exit {
	TOOL_OK = 0,
	TOOL_FAILED = 1, /* could not do all that was asked */
	TOOL_USAGE = 2   /* arguments that make no sense; nothing was done */
};

struct tool_command {
	const char *name;
	const char *summary;  /* one line, for the list */
	const char *synopsis; /* after "varta NAME" */
	const char *about;    /* a paragraph, ends in a newline */
	const struct opts_entry *options;

	/* argv[0] is the name. Messages go to stderr, results to stdout. */
	enum tool_exit (*run)(int argc, char **argv);
};

/* Usage, text and options of a command on stdout. In main.c. */
void tool_print_help(const struct tool_command *c);

/* cmd_audit.c */
extern const struct tool_command cmd_audit;

/* cmd_beat.c */
extern const struct tool_command cmd_beat;

/* cmd_key.c */
extern const struct tool_command cmd_key;

#endif
