#include "watch/setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "watch/options_table.h"
#include "watch/secret.h"

int
setup_new(int argc, char *const argv[], struct setup **ret,
    struct options_fault *fault)
{
	struct setup *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL) {
		(void)options_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	r = options_parse(argc, argv, &s->config, &s->options, fault);
	if (r == 0) {
		r = commands_new(
		    &s->options, &s->config.rules, &s->commands, fault);
		if (r < 0)
			config_place(&s->config, &s->options, fault);
	}
	if (r < 0) {
		setup_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void
setup_free(struct setup *s)
{
	if (s == NULL)
		return;
	commands_free(s->commands);
	keyring_free(s->keys);
	explicit_bzero(s->token, sizeof(s->token));
	free(s);
}

static int
read_token(struct setup *s, struct options_fault *fault)
{
	const char *path = s->options.prom_token_file;
	char text[SECRET_BYTES];
	int r;

	if (path == NULL)
		return 0;
	r = secret_read("--prom-token-file", path, text, fault);
	if (r == 0 && text_hex_to_bytes(
			  text, strlen(text), s->token, sizeof(s->token)) < 0)
		r = options_fault_set(fault,
		    "--prom-token-file: file '%s': must hold 64 hexadecimal "
		    "digits",
		    path);
	explicit_bzero(text, sizeof(text));
	return r;
}

static int
read_keys(struct setup *s, struct options_fault *fault)
{
	const struct keyring_files files = {
		.key = s->options.key_file,
		.accepted = s->options.accepted_key_file,
		.master = s->options.master_key_file,
	};
	struct keyring_fault reason;
	int r;

	if (!options_has_keys(&s->options))
		return 0;
	r = keyring_new(&files, &s->keys, &reason);
	if (r < 0)
		(void)options_fault_set(fault, "%s", reason.text);
	return r;
}

int
setup_read(struct setup *s, struct options_fault *fault)
{
	int r = read_token(s, fault);

	if (r == 0)
		r = read_keys(s, fault);
	if (r < 0)
		return r;
	return commands_read_file(s->commands, &s->options, fault);
}

static bool
texts_are_equal(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Whether the field of a row is the same in both. */
static bool
is_unchanged(const struct option_spec *spec, const struct options *now,
    const struct options *next)
{
	const char *a = (const char *)now + spec->offset;
	const char *b = (const char *)next + spec->offset;
	size_t size = 0;

	switch (spec->type) {
	case OPTION_TEXT:
		return texts_are_equal(*(const char *const *)(const void *)a,
		    *(const char *const *)(const void *)b);
	case OPTION_ENV:
		for (size_t i = 0; i < OPTIONS_ENV_MAX; i++)
			if (!texts_are_equal(
				now->recovery_env[i], next->recovery_env[i]))
				return false;
		return true;
	case OPTION_SWITCH:
		size = sizeof(bool);
		break;
	case OPTION_U32:
	case OPTION_MODE:
		size = sizeof(uint32_t);
		break;
	case OPTION_U64:
		size = sizeof(uint64_t);
		break;
	case OPTION_CHOICE:
		size = sizeof(int);
		break;
	case OPTION_ADDRESS:
	case OPTION_IP:
		size = sizeof(struct options_address);
		break;
	case OPTION_PORT:
		size = sizeof(struct options_port);
		break;
	case OPTION_UID:
	case OPTION_GID:
		size = sizeof(struct options_ids);
		break;
	case OPTION_REMOVED:
		break;
	}
	return memcmp(a, b, size) == 0;
}

static int
compare(const struct setup *now, const struct setup *next,
    struct options_fault *fault)
{
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *spec = &options_table[i];

		if (!spec->reloadable &&
		    !is_unchanged(spec, &now->options, &next->options))
			return options_fault_set(fault,
			    "--%s: cannot be changed while running",
			    spec->name);
	}
	if (commands_are_given(now->commands) !=
	    commands_are_given(next->commands))
		return options_fault_set(fault,
		    "--recovery-exec: recovery cannot be switched on or off "
		    "while running");
	if (options_has_keys(&now->options) != options_has_keys(&next->options))
		return options_fault_set(fault,
		    "--key-file: keys cannot be switched on or off while "
		    "running");
	return 0;
}

int
setup_compare(const struct setup *now, const struct setup *next,
    struct options_fault *fault)
{
	int r = compare(now, next, fault);

	if (r < 0)
		config_place(&next->config, &next->options, fault);
	return r;
}
