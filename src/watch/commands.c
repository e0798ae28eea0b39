#include "watch/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watch/act/command.h"
#include "watch/options_table.h"
#include "watch/secret.h"

/* One command, split; argv[0] NULL where there is none. */
struct entry {
	struct command_words words;
	struct act_command command;
};

struct commands {
	bool given;
	struct entry all;
	size_t n_rules;
	struct entry by_rule[];
};

static int
take(struct entry *e, const char *label, const char *text, const char *source,
    int (*split)(const char *text, struct command_words *ret,
	struct command_fault *fault),
    struct options_fault *fault)
{
	struct command_fault reason;
	int r = split(text, &e->words, &reason);

	if (r == 0)
		r = command_check(e->words.argv, &reason);
	if (r < 0) {
		(void)options_fault_set(fault, "%s: %s", label, reason.text);
		return r;
	}
	e->command.argv = e->words.argv;
	e->command.source = source;
	return 0;
}

static int
take_for_all(
    struct commands *c, const struct options *o, struct options_fault *fault)
{
	if (o->recovery_cmd != NULL)
		return take(&c->all, "--recovery-cmd", o->recovery_cmd,
		    "inline", command_split_quoted, fault);
	if (o->recovery_exec != NULL)
		return take(&c->all, "--recovery-exec", o->recovery_exec,
		    "inline", command_split_blanks, fault);
	return 0;
}

int
commands_read_file(struct commands *c, const struct options *options,
    struct options_fault *fault)
{
	const char *path = options->recovery_exec_file;
	char text[SECRET_BYTES];
	int r;

	if (path == NULL)
		return 0;
	r = secret_read("--recovery-exec-file", path, text, fault);
	if (r == 0)
		r = take(&c->all, "--recovery-exec-file", text, path,
		    command_split_blanks, fault);
	explicit_bzero(text, sizeof(text));
	return r;
}

int
commands_new(const struct options *options, const struct rules *rules,
    struct commands **ret, struct options_fault *fault)
{
	struct commands *c =
	    calloc(1, sizeof(*c) + rules->n * sizeof(c->by_rule[0]));
	int r;

	if (c == NULL) {
		(void)options_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	c->n_rules = rules->n;
	r = take_for_all(c, options, fault);
	c->given = options_has_recovery(options);
	for (size_t i = 0; i < rules->n && r == 0; i++) {
		const struct rule *rule = &rules->list[i];
		char label[256];

		if (rule->recovery_exec == NULL)
			continue;
		c->given = true;
		(void)snprintf(label, sizeof(label),
		    "%s:%d: agent '%s': recovery_exec", options->config_file,
		    rule->command_line, rule->name);
		r = take(&c->by_rule[i], label, rule->recovery_exec,
		    "configuration", command_split_blanks, fault);
	}
	if (r < 0) {
		commands_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void
commands_free(struct commands *c)
{
	free(c);
}

bool
commands_are_given(const struct commands *c)
{
	return c->given;
}

const struct act_command *
commands_for(const struct commands *c, const struct rules *rules,
    const struct rule *rule)
{
	const struct entry *e = &c->all;

	if (rule != NULL && rule->recovery_exec != NULL)
		e = &c->by_rule[rule - rules->list];
	return e->command.argv != NULL ? &e->command : NULL;
}
