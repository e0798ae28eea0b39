#include "tool/opts.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

/* Values of long options lie above all characters. */
enum { FIRST_VAL = 256, HELP_COLUMN = 24 };

static void
complain(const struct opts_entry *table, const char *who, int result,
    const char *token)
{
	if (optopt < FIRST_VAL)
		fprintf(stderr, "%s: unknown option '%s'\n", who, token);
	else if (result == ':')
		fprintf(stderr, "%s: option '--%s' needs a value\n", who,
		    table[optopt - FIRST_VAL].name);
	else
		fprintf(stderr, "%s: option '--%s' takes no value\n", who,
		    table[optopt - FIRST_VAL].name);
}

int
opts_next(const struct opts_entry *table, const char *who, int argc,
    char **argv, const char **ret_value)
{
	struct option longs[OPTS_MAX + 1] = { 0 };
	const char *token;
	int r;

	for (int i = 0; table[i].name != NULL; i++) {
		assert(i < OPTS_MAX);
		longs[i].name = table[i].name;
		longs[i].has_arg =
		    table[i].value != NULL ? required_argument : no_argument;
		longs[i].val = FIRST_VAL + i;
	}

	opterr = 0;
	optopt = 0;
	token = argv[optind];
	r = getopt_long(argc, argv, "+:", longs, NULL);
	if (r == -1)
		return OPTS_END;
	if (r < FIRST_VAL) {
		complain(table, who, r, token);
		return OPTS_BAD;
	}
	*ret_value = optarg;
	return r - FIRST_VAL;
}

void
opts_print_help(const struct opts_entry *table, FILE *out)
{
	for (; table->name != NULL; table++) {
		const char *line = table->help;
		int width;

		width = fprintf(out, "  --%s%s%s", table->name,
		    table->value != NULL ? " " : "",
		    table->value != NULL ? table->value : "");
		for (;;) {
			size_t n = strcspn(line, "\n");

			fprintf(out, "%*s%.*s\n",
			    width < HELP_COLUMN ? HELP_COLUMN - width : 1, "",
			    (int)n, line);
			if (line[n] == '\0')
				break;
			line += n + 1;
			width = 0;
		}
	}
}
