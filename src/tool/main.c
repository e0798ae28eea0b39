/*
 * varta: one tool for people and scripts. The commands stand in a table; help
 * comes from the table. Manual: varta(1).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <varta/version.h>

#include "base/util.h"
#include "tool/tool.h"

static const struct tool_command *const commands[] = {
	&cmd_audit,
	&cmd_beat,
	&cmd_key,
};

enum { OPT_HELP, OPT_VERSION };

static const struct opts_entry options[] = {
	[OPT_HELP] = { "help", NULL, "show this help" },
	[OPT_VERSION] = { "version", NULL, "show the version" },
	{ NULL, NULL, NULL },
};

static const struct tool_command *
find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static void
print_help(FILE *out)
{
	fputs("usage: varta COMMAND [OPTION ...]\n"
	      "       varta help COMMAND\n"
	      "\n"
	      "commands:\n",
	    out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-20s  %s\n", commands[i]->name,
		    commands[i]->summary);
	fputs("\noptions:\n", out);
	opts_print_help(options, out);
	fputs("\nManual: varta(1)\n", out);
}

void
tool_print_help(const struct tool_command *c)
{
	printf("usage: varta %s %s\n\n%s\noptions:\n", c->name, c->synopsis,
	    c->about);
	opts_print_help(c->options, stdout);
	fputs("\nManual: varta(1)\n", stdout);
}

static enum tool_exit
unknown_command(const char *name)
{
	fprintf(stderr,
	    "varta: unknown command '%s'; 'varta --help' lists them\n", name);
	return TOOL_USAGE;
}

static enum tool_exit
help(int argc, char **argv)
{
	const struct tool_command *c;

	if (argc < 2) {
		print_help(stdout);
		return TOOL_OK;
	}
	if (argc > 2) {
		fprintf(
		    stderr, "varta help: unexpected argument '%s'\n", argv[2]);
		return TOOL_USAGE;
	}
	c = find(argv[1]);
	if (c == NULL)
		return unknown_command(argv[1]);
	tool_print_help(c);
	return TOOL_OK;
}

static enum tool_exit
run_command(int argc, char **argv)
{
	const struct tool_command *c = find(argv[0]);

	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv);
	if (c == NULL)
		return unknown_command(argv[0]);
	optind = 1;
	return c->run(argc, argv);
}

static enum tool_exit
run(int argc, char **argv)
{
	const char *value;

	if (argc < 2) {
		print_help(stderr);
		return TOOL_USAGE;
	}
	switch (opts_next(options, "varta", argc, argv, &value)) {
	case OPT_HELP:
		print_help(stdout);
		return TOOL_OK;
	case OPT_VERSION:
		puts("varta " VARTA_VERSION);
		return TOOL_OK;
	case OPTS_END:
		if (optind < argc)
			return run_command(argc - optind, argv + optind);
		print_help(stderr);
		return TOOL_USAGE;
	case OPTS_BAD:
	default:
		return TOOL_USAGE;
	}
}

int
main(int argc, char **argv)
{
	enum tool_exit code = run(argc, argv);

	/* Output that could not be written is a failure, not a success. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(
		    stderr, "varta: standard output: %s\n", strerror(errno));
		return TOOL_FAILED;
	}
	return (int)code;
}
