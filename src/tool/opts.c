#include "tool/opts.h"

#include <assert.h>
#include <getopt.h>
#include <stdbool.h>
#include <string.h>

enum { HELP_COLUMN = 24 };

/* The entry that a word names: exactly, up to an '='. */
static bool
is_known(const struct opts_entry *table, const char *word)
{
	size_t len;

	if (strncmp(word, "--", 2) != 0)
		return false;
	len = strcspn(word + 2, "=");
	for (; table->name != NULL; table++)
		if (strlen(table->name) == len &&
		    strncmp(table->name, word + 2, len) == 0)
			return true;
	return false;
}

static void
fill_in(const struct opts_entry *table, struct option longs[OPTS_MAX + 1])
{
	int n = 0;

	for (; table[n].name != NULL; n++) {
		assert(n < OPTS_MAX);
		longs[n] = (struct option){
			.name = table[n].name,
			.has_arg = table[n].value != NULL ? required_argument
							  : no_argument,
		};
	}
	longs[n] = (struct option){ 0 };
}

int
opts_next(const struct opts_entry *table, const char *who, int argc,
    char **argv, const char **ret_value)
{
	struct option longs[OPTS_MAX + 1];
	const char *word = argv[optind];
	int c, i = 0;

	if (optind >= argc || word[0] != '-' || word[1] == '\0')
		return OPTS_END;
	/* getopt_long() would take abbreviations; a script that uses one would
	 * break with the next option, so they are refused here. */
	if (!is_known(table, word)) {
		fprintf(stderr, "%s: unknown option '%s'\n", who, word);
		return OPTS_BAD;
	}
	fill_in(table, longs);
	opterr = 0;
	c = getopt_long(argc, argv, "+:", longs, &i);
	if (c == 0) {
		*ret_value = optarg;
		return i;
	}
	fprintf(stderr, "%s: option '%s' %s\n", who, word,
	    c == ':' ? "needs a value" : "takes no value");
	return OPTS_BAD;
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
