#include <string.h>

#include "watch/config.h"

void
config_make_key(const char *name, char ret[static CONFIG_KEY_BYTES])
{
	size_t i;

	for (i = 0; name[i] != '\0' && i < CONFIG_KEY_BYTES - 1; i++)
		ret[i] = name[i] == '-' ? '_' : name[i];
	ret[i] = '\0';
}

void
config_overrule(struct config *config, const struct option_spec *spec)
{
	config->lines[spec - options_table] = 0;
}

/* The line of the option that has the first n bytes of name as its name. */
static int
line_of(const struct config *config, const char *name, size_t n)
{
	for (size_t i = 0; i < options_table_count; i++)
		if (strncmp(options_table[i].name, name, n) == 0 &&
		    options_table[i].name[n] == '\0')
			return config->lines[i];
	return 0;
}

void
config_place(const struct config *config, const struct options *options,
    struct options_fault *fault)
{
	const struct options_fault given = *fault;
	const char *name = given.text + 2;
	size_t n = strcspn(name, ":,");
	char key[CONFIG_KEY_BYTES];
	int line;

	if (strncmp(given.text, "--", 2) != 0)
		return;
	line = line_of(config, name, n);
	if (line == 0)
		return;
	config_make_key(name, key);
	key[n] = '\0';
	(void)options_fault_set(
	    fault, "%s:%d: %s%s", options->config_file, line, key, name + n);
}
