#include "watch/config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "watch/options_table.h"

/* One reading; the library hands no context to its callbacks but the section,
 * so that this one is reached through a variable. Used at start and on reload,
 * by one thread. */
struct reading {
	const char *path;
	struct options *options;
	struct config *config;
	struct options_fault *fault;
	bool failed;
	int n_lines;                     /* of the file itself */
	unsigned taken[CONFIG_ROWS_MAX]; /* values of each key */
	const cfg_t *section;            /* of an agent that is being read */
	unsigned section_keys;           /* those that it has, as bits */
	int command_line;                /* where its recovery_exec stands */
	char keys[CONFIG_ROWS_MAX][CONFIG_KEY_BYTES];
};

static struct reading *current;

/* Stands behind the last line: the parser takes the end of the file for that
 * of a section, but knows this key at the top only. */
#define END_KEY "\1end"

/* Where the parser is; not behind the end, where END_KEY stands. */
static int
line_of(const cfg_t *cfg)
{
	return cfg->line < current->n_lines ? cfg->line : current->n_lines;
}

/* Only the first fault is told; it has the line. */
static int
fail(cfg_t *cfg, const char *key, const char *reason)
{
	if (!current->failed)
		(void)options_fault_set(current->fault, "%s:%d: %s%s%s",
		    current->path, line_of(cfg), key,
		    key[0] != '\0' ? ": " : "", reason);
	current->failed = true;
	return -1;
}

/* What the parser itself does not like. */
static void on_parser_error(cfg_t *cfg, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void
on_parser_error(cfg_t *cfg, const char *format, va_list args)
{
	char reason[256];

	(void)vsnprintf(reason, sizeof(reason), format, args);
	(void)fail(cfg, "",
	    strstr(reason, END_KEY) != NULL ? "the file ends inside a section"
					    : reason);
}

/* A copy that lives as long as the configuration; NULL when there is no room.
 */
static const char *
keep(const char *text)
{
	struct config *c = current->config;
	size_t n = strlen(text) + 1;
	char *copy = c->text + c->text_len;

	if (n > sizeof(c->text) - c->text_len)
		return NULL;
	memcpy(copy, text, n);
	c->text_len += n;
	return copy;
}

/* The row that a key stands for. */
static const struct option_spec *
row_of(const char *key, size_t *ret_index)
{
	for (size_t i = 0; i < options_table_count; i++)
		if (strcmp(current->keys[i], key) == 0) {
			*ret_index = i;
			return &options_table[i];
		}
	return NULL;
}

static int
set(cfg_t *cfg, const struct option_spec *spec, const char *key,
    const char *value)
{
	const char *text = keep(value);
	char label[256];

	if (text == NULL)
		return fail(cfg, key, "too much text in this file");
	(void)snprintf(
	    label, sizeof(label), "%s:%d: %s", current->path, cfg->line, key);
	if (current->failed)
		return -1;
	if (options_set(spec, label, text, current->options, current->fault) <
	    0) {
		current->failed = true;
		return -1;
	}
	return 0;
}

/* Marks a value of a list that was taken, in the parser's own copy: one that
 * comes without it was put in the place of another. */
enum { TAKEN = 1 };

/* A list is shown to us at each of its values, and at its end. */
static int
on_list(cfg_t *cfg, cfg_opt_t *opt, size_t row)
{
	unsigned n = cfg_opt_size(opt), *taken = &current->taken[row];

	for (unsigned i = 0; i < *taken; i++)
		if (i >= n || cfg_opt_getnstr(opt, i)[0] != TAKEN)
			return fail(cfg, cfg_opt_name(opt), "given twice");
	for (; *taken < n; (*taken)++) {
		char *value = cfg_opt_getnstr(opt, *taken);

		if (set(cfg, &options_table[row], cfg_opt_name(opt), value) < 0)
			return -1;
		/* No list has an empty value. */
		value[0] = TAKEN;
	}
	return 0;
}

/* An option was read. */
static int
on_option(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct option_spec *spec;
	size_t row = 0;

	spec = row_of(cfg_opt_name(opt), &row);
	if (spec == NULL)
		return fail(cfg, cfg_opt_name(opt), "unknown key");
	current->config->lines[row] = line_of(cfg);
	if ((opt->flags & CFGF_LIST) != 0)
		return on_list(cfg, opt, row);
	if (current->taken[row]++ > 0)
		return fail(cfg, cfg_opt_name(opt), "given twice");
	return set(cfg, spec, cfg_opt_name(opt), cfg_opt_getnstr(opt, 0));
}

/* A key of an agent was read; its value is looked at with the whole section. */
static int
on_agent_key(cfg_t *sec, cfg_opt_t *opt)
{
	unsigned bit = 1u << (unsigned)(opt - sec->opts);

	if (current->section != sec) {
		current->section = sec;
		current->section_keys = 0;
	}
	if ((current->section_keys & bit) != 0)
		return fail(sec, cfg_opt_name(opt), "given twice");
	current->section_keys |= bit;
	if (strcmp(cfg_opt_name(opt), "recovery_exec") == 0)
		current->command_line = line_of(sec);
	return 0;
}

/* Rows for the values of an agent, so that they are checked like options. */
static const struct option_spec agent_threshold = {
	.type = OPTION_U64,
	.min = 10,
	.max = UINT64_MAX,
	.offset = offsetof(struct options, threshold_ms),
};
static const struct option_spec agent_grace = {
	.type = OPTION_U64,
	.max = UINT64_MAX,
	.offset = offsetof(struct options, threshold_ms),
};
static const struct option_spec agent_user = {
	.type = OPTION_UID,
	.offset = offsetof(struct options, allow_uids),
};

/* Parse one value of an agent into scratch options. */
static int
parse_agent_value(cfg_t *sec, const char *key, const struct option_spec *spec,
    struct options *scratch)
{
	char label[256];

	*scratch = (struct options){ 0 };
	(void)snprintf(label, sizeof(label), "%s:%d: agent '%s': %s",
	    current->path, sec->line, cfg_title(sec), key);
	if (options_set(spec, label, cfg_getstr(sec, key), scratch,
		current->fault) == 0)
		return 0;
	current->failed = true;
	return -1;
}

static int
take_texts(cfg_t *sec, struct rule *rule)
{
	const struct {
		const char *key;
		const char **field;
	} texts[] = {
		{ "comm", &rule->comm },
		{ "exe", &rule->exe },
		{ "unit", &rule->unit },
		{ "lane", &rule->lane },
		{ "recovery_exec", &rule->recovery_exec },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *value = cfg_getstr(sec, texts[i].key);

		if (value == NULL)
			continue;
		if (value[0] == '\0')
			return fail(sec, texts[i].key, "must not be empty");
		*texts[i].field = keep(value);
		if (*texts[i].field == NULL)
			return fail(sec, "", "too much text in this file");
	}
	rule->command_line = current->command_line;
	return 0;
}

static int
take_agent(cfg_t *sec, struct rule *rule)
{
	struct options scratch;

	if (take_texts(sec, rule) < 0)
		return -1;
	if (cfg_getstr(sec, "user") != NULL) {
		if (parse_agent_value(sec, "user", &agent_user, &scratch) < 0)
			return -1;
		rule->has_uid = true;
		rule->uid = scratch.allow_uids.ids[0];
	}
	if (cfg_getstr(sec, "threshold_ms") != NULL) {
		if (parse_agent_value(
			sec, "threshold_ms", &agent_threshold, &scratch) < 0)
			return -1;
		rule->threshold_ms = scratch.threshold_ms;
	}
	if (cfg_getstr(sec, "grace_ms") != NULL) {
		if (parse_agent_value(sec, "grace_ms", &agent_grace, &scratch) <
		    0)
			return -1;
		rule->grace_ms = scratch.threshold_ms;
	}
	return 0;
}

/* An agent section was read whole. */
static int
on_agent(cfg_t *cfg, cfg_opt_t *opt)
{
	struct rules *rules = &current->config->rules;
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	const char *title = cfg_title(sec);
	struct rule rule = { 0 };

	if (rules->n == RULES_MAX)
		return fail(cfg, "agent", "more sections than are taken");
	if (title[0] == '\0' || strlen(title) >= RULES_NAME_BYTES)
		return fail(cfg, "agent", "a name has 1 to 31 bytes");
	if (take_agent(sec, &rule) < 0)
		return -1;
	if (rule.comm == NULL && rule.exe == NULL && rule.unit == NULL &&
	    rule.lane == NULL && !rule.has_uid)
		return fail(cfg, title,
		    "an agent needs one of comm, exe, unit, user, lane");
	if (rule.lane != NULL && rule.grace_ms != 0)
		return fail(cfg, title,
		    "a lane has no grace_ms: it owes nothing before its first "
		    "beat");
	if (rule.lane != NULL && strlen(rule.lane) >= RULES_NAME_BYTES)
		return fail(cfg, title, "the name of a lane has 1 to 31 bytes");
	rule.name = keep(title);
	if (rule.name == NULL)
		return fail(cfg, "", "too much text in this file");
	rules->want_exe |= rule.exe != NULL;
	rules->want_unit |= rule.unit != NULL;
	rules->want_lane |= rule.lane != NULL;
	rules->list[rules->n++] = rule;
	return 0;
}

/* Options that make sense on a command line only. */
static bool
is_for_file(const struct option_spec *spec)
{
	return spec->type != OPTION_REMOVED && !spec->command_line_only;
}

static cfg_t *
make_parser(void)
{
	cfg_opt_t agent[] = {
		CFG_STR("comm", NULL, CFGF_NODEFAULT),
		CFG_STR("exe", NULL, CFGF_NODEFAULT),
		CFG_STR("unit", NULL, CFGF_NODEFAULT),
		CFG_STR("user", NULL, CFGF_NODEFAULT),
		CFG_STR("lane", NULL, CFGF_NODEFAULT),
		CFG_STR("threshold_ms", NULL, CFGF_NODEFAULT),
		CFG_STR("grace_ms", NULL, CFGF_NODEFAULT),
		CFG_STR("recovery_exec", NULL, CFGF_NODEFAULT),
		CFG_END(),
	};
	cfg_opt_t opts[CONFIG_ROWS_MAX + 3];
	size_t n = 0;
	cfg_t *cfg;

	for (size_t i = 0; i < ARRAY_SIZE(agent) - 1; i++)
		agent[i].validcb = on_agent_key;
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *spec = &options_table[i];
		bool list = spec->type == OPTION_UID ||
			    spec->type == OPTION_GID ||
			    spec->type == OPTION_ENV;

		config_make_key(spec->name, current->keys[i]);
		if (!is_for_file(spec))
			continue;
		if (list)
			opts[n++] = (cfg_opt_t)CFG_STR_LIST(
			    current->keys[i], NULL, CFGF_NODEFAULT);
		else
			opts[n++] = (cfg_opt_t)CFG_STR(
			    current->keys[i], NULL, CFGF_NODEFAULT);
		opts[n - 1].validcb = on_option;
	}
	opts[n++] = (cfg_opt_t)CFG_STR(END_KEY, NULL, CFGF_NODEFAULT);
	opts[n] = (cfg_opt_t)CFG_SEC(
	    "agent", agent, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
	opts[n++].validcb = on_agent;
	opts[n] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(opts, CFGF_NONE);
	if (cfg != NULL)
		(void)cfg_set_error_function(cfg, on_parser_error);
	return cfg;
}

/* The whole file and END_KEY, on the heap, and its number of lines. */
static int
load(const char *path, char **ret, int *ret_lines, struct options_fault *fault)
{
	static const char end[] = "\n" END_KEY " = 1\n";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = options_fault_set(fault, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_BYTES) {
		r = options_fault_set(fault,
		    S_ISREG(st.st_mode) ? "%s: larger than a mebibyte"
					: "%s: not a regular file",
		    path);
	} else if ((st.st_uid != geteuid() && st.st_uid != 0) ||
		   (st.st_mode & 022) != 0) {
		r = options_fault_set(fault,
		    "%s: must belong to uid %u or to root and be writable by "
		    "its owner alone (uid %u, mode %04o)",
		    path, (unsigned)geteuid(), (unsigned)st.st_uid,
		    (unsigned)st.st_mode & 07777);
	} else if ((text = malloc(CONFIG_FILE_BYTES + sizeof(end))) == NULL) {
		r = options_fault_set(fault, "%s: out of memory", path);
	} else if ((n = fd_read_full(fd, text, CONFIG_FILE_BYTES)) < 0) {
		r = options_fault_set(fault, "%s: %s", path, strerror((int)-n));
	} else if (memchr(text, '\0', (size_t)n) != NULL) {
		r = options_fault_set(fault, "%s: is not text", path);
	} else {
		/* A last line may have its newline or not. */
		if (n > 0 && text[n - 1] == '\n')
			n--;
		memcpy(text + n, end, sizeof(end));
		*ret_lines = 1;
		for (ssize_t i = 0; i < n; i++)
			*ret_lines += text[i] == '\n';
		*ret = text;
		text = NULL;
		r = 0;
	}
	free(text);
	fd_close(&fd);
	return r;
}

/* A list that is given anew as an empty one is not shown to us; the parser
 * waits for its first value to drop the others. */
static void
find_emptied_list(cfg_t *cfg)
{
	for (size_t i = 0; i < options_table_count && !current->failed; i++) {
		const cfg_opt_t *opt = current->taken[i] > 0
					   ? cfg_getopt(cfg, current->keys[i])
					   : NULL;

		if (opt == NULL || (opt->flags & CFGF_RESET) == 0)
			continue;
		(void)options_fault_set(current->fault,
		    "%s:%d: %s: given twice", current->path,
		    current->config->lines[i], current->keys[i]);
		current->failed = true;
	}
}

static void
parse(cfg_t *cfg, const char *text)
{
	int r = cfg_parse_buf(cfg, text);

	if (r == CFG_SUCCESS)
		find_emptied_list(cfg);
	if (r == CFG_SUCCESS || current->failed)
		return;
	(void)options_fault_set(
	    current->fault, "%s: cannot be read", current->path);
	current->failed = true;
}

void
config_init(struct config *config)
{
	config->rules.n = 0;
	config->rules.want_exe = config->rules.want_unit = false;
	config->rules.want_lane = false;
	memset(config->lines, 0, sizeof(config->lines));
	config->text_len = 0;
}

int
config_read(const char *path, struct options *options, struct config *config,
    struct options_fault *fault)
{
	struct reading reading = {
		.path = path,
		.options = options,
		.config = config,
		.fault = fault,
	};
	char *text = NULL;
	cfg_t *cfg;
	int r;

	config_init(config);
	r = load(path, &text, &reading.n_lines, fault);
	if (r < 0)
		return r;
	current = &reading;
	cfg = make_parser();
	if (cfg == NULL) {
		(void)options_fault_set(fault, "%s: out of memory", path);
		reading.failed = true;
	} else {
		parse(cfg, text);
		(void)cfg_free(cfg);
	}
	current = NULL;
	free(text);
	return reading.failed ? -EINVAL : 0;
}
