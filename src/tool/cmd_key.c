/*
 * varta key: keys of sealed beats. Made, derived, checked, told apart by
 * fingerprints. A key is printed only when that is asked for; it lies in
 * memory for secrets and never passes through standard output's buffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <varta/varta.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "base/util.h"
#include "secure/hkdf.h"
#include "secure/secret.h"
#include "tool/tool.h"

#define WHO "varta key"

enum { PID_LOWEST = 2 };

enum {
	OPT_OUT,
	OPT_MASTER,
	OPT_PID,
	OPT_PRINT,
	OPT_HELP,
};

static const struct opts_entry options[] = {
	[OPT_OUT] = { "out", "FILE",
	    "write the key to this file, which must not be there yet" },
	[OPT_MASTER] = { "master", "FILE", "derive from the key in this file" },
	[OPT_PID] = { "pid", "NUMBER",
	    "the process to derive for, 2 to 4294967295" },
	[OPT_PRINT] = { "print", NULL, "print the key" },
	[OPT_HELP] = { "help", NULL, "show this help" },
	{ NULL, NULL, NULL },
};

struct request {
	const char *out;
	const char *master;
	uint32_t pid; /* 0: not given */
	bool print;
	bool help;
	char **files;
	size_t n_files;
};

struct action {
	const char *name;
	bool makes_key;
	bool derives;
	enum tool_exit (*run)(const struct request *rq);
};

static void
complain(const char *name, const char *reason)
{
	char escaped[512];

	(void)text_escape(name, strlen(name), escaped, sizeof(escaped));
	fprintf(stderr, WHO ": '%s': %s\n", escaped, reason);
}

static struct secret_keys *
new_keys(void)
{
	struct secret_keys *keys = NULL;

	if (secret_init() == 0)
		keys = secret_new(sizeof(*keys));
	if (keys == NULL)
		fputs(WHO ": no memory for secrets\n", stderr);
	return keys;
}

/* ---- a key goes out ----------------------------------------------------- */

/* Write and sync; what could not be finished is removed. */
static int
write_file(const char *path, const char *text, size_t n)
{
	int fd, r;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    S_IRUSR | S_IWUSR);
	if (fd < 0)
		return -errno;
	/* A umask may have taken even the owner's rights. */
	r = fchmod(fd, S_IRUSR | S_IWUSR) < 0 ? -errno : 0;
	if (r == 0)
		r = fd_write_all(fd, text, n);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	fd_close(&fd);
	if (r == 0)
		r = file_sync_parent(path);
	if (r < 0)
		(void)unlink(path);
	return r;
}

static enum tool_exit
give_key(const struct request *rq, const uint8_t *key)
{
	enum { HEX = 2 * SECRET_KEY_BYTES };
	enum tool_exit code = TOOL_OK;
	char *line;
	int r = 0;

	line = secret_new(HEX + 2);
	if (line == NULL) {
		fputs(WHO ": no memory for secrets\n", stderr);
		return TOOL_FAILED;
	}
	text_bytes_to_hex(key, SECRET_KEY_BYTES, line);
	line[HEX] = '\n';
	if (rq->out != NULL)
		r = write_file(rq->out, line, HEX + 1);
	if (r < 0) {
		complain(rq->out, strerror(-r));
		code = TOOL_FAILED;
	} else if (rq->print) {
		r = fd_write_all(STDOUT_FILENO, line, HEX + 1);
		if (r < 0) {
			complain("standard output", strerror(-r));
			code = TOOL_FAILED;
		}
	}
	secret_free(line);
	return code;
}

static enum tool_exit
make(const struct request *rq)
{
	struct secret_keys *keys = new_keys();
	enum tool_exit code = TOOL_FAILED;
	int r;

	if (keys == NULL)
		return TOOL_FAILED;
	r = secret_fresh(keys->keys[0], SECRET_KEY_BYTES);
	if (r < 0)
		complain("random bytes", strerror(-r));
	else
		code = give_key(rq, keys->keys[0]);
	secret_free(keys);
	return code;
}

static enum tool_exit
derive(const struct request *rq)
{
	struct secret_keys *keys = new_keys();
	enum tool_exit code = TOOL_FAILED;
	struct file_fault fault;

	if (keys == NULL)
		return TOOL_FAILED;
	if (secret_read_keys(rq->master, SECRET_MASTER, keys, &fault) < 0) {
		complain(rq->master, fault.text);
	} else {
		hkdf_agent_key(keys->keys[0], rq->pid, keys->keys[1]);
		code = give_key(rq, keys->keys[1]);
	}
	secret_free(keys);
	return code;
}

/* ---- files -------------------------------------------------------------- */

static void
print_name(const char *name)
{
	char escaped[512];

	(void)text_escape(name, strlen(name), escaped, sizeof(escaped));
	fputs(escaped, stdout);
}

/* What a good file is good for. */
static void
print_use(const struct secret_keys *keys)
{
	if (keys->n_keys > 1)
		printf(": ok, %zu keys: for --accepted-key-file only\n",
		    keys->n_keys);
	else if (keys->n_comments > 0)
		puts(": ok, with comments: not for --master-key-file");
	else
		puts(": ok");
}

static enum tool_exit
check(const struct request *rq)
{
	struct secret_keys *keys = new_keys();
	enum tool_exit code = TOOL_OK;
	struct file_fault fault;
	size_t i;

	if (keys == NULL)
		return TOOL_FAILED;
	for (i = 0; i < rq->n_files; i++) {
		print_name(rq->files[i]);
		if (secret_read_keys(rq->files[i], SECRET_ANY, keys, &fault) <
		    0) {
			printf(": %s\n", fault.text);
			code = TOOL_FAILED;
		} else {
			print_use(keys);
		}
	}
	secret_free(keys);
	return code;
}

static enum tool_exit
fingerprint(const struct request *rq)
{
	struct secret_keys *keys = new_keys();
	enum tool_exit code = TOOL_OK;
	struct file_fault fault;
	size_t i, k;

	if (keys == NULL)
		return TOOL_FAILED;
	for (i = 0; i < rq->n_files; i++) {
		if (secret_read_keys(rq->files[i], SECRET_ANY, keys, &fault) <
		    0) {
			complain(rq->files[i], fault.text);
			code = TOOL_FAILED;
			continue;
		}
		for (k = 0; k < keys->n_keys; k++) {
			printf("%08" PRIx32 "  ",
			    secret_fingerprint(keys->keys[k]));
			print_name(rq->files[i]);
			putchar('\n');
		}
	}
	secret_free(keys);
	return code;
}

/* ---- arguments ---------------------------------------------------------- */

static const struct action actions[] = {
	{ .name = "new", .makes_key = true, .run = make },
	{ .name = "derive", .makes_key = true, .derives = true, .run = derive },
	{ .name = "check", .run = check },
	{ .name = "fingerprint", .run = fingerprint },
};

static bool
take_option(struct request *rq, int which, const char *value)
{
	switch (which) {
	case OPT_OUT:
		rq->out = value;
		return true;
	case OPT_MASTER:
		rq->master = value;
		return true;
	case OPT_PID:
		if (text_to_u32(value, UINT32_MAX, &rq->pid) == 0 &&
		    rq->pid >= PID_LOWEST)
			return true;
		fprintf(stderr,
		    WHO ": --pid '%s': not a number from 2 to 4294967295\n",
		    value);
		return false;
	case OPT_PRINT:
		rq->print = true;
		return true;
	case OPT_HELP:
		rq->help = true;
		return true;
	default:
		return false;
	}
}

static bool
parse_options(int argc, char **argv, struct request *rq)
{
	const char *value = NULL;
	int which;

	while (
	    (which = opts_next(options, WHO, argc, argv, &value)) != OPTS_END)
		if (!take_option(rq, which, value)) {
			rq->help = false;
			return false;
		}
	return true;
}

static const struct action *
find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(actions); i++)
		if (name != NULL && strcmp(actions[i].name, name) == 0)
			return &actions[i];
	fputs(WHO ": say what to do: new, derive, check or fingerprint\n",
	    stderr);
	return NULL;
}

static bool
refuse(const struct action *a, const char *reason)
{
	fprintf(stderr, WHO ": %s %s\n", a->name, reason);
	return false;
}

/* Do the arguments make sense for this action? */
static bool
fits(const struct action *a, const struct request *rq)
{
	if (a->derives && (rq->master == NULL || rq->pid == 0))
		return refuse(a, "needs --master FILE and --pid NUMBER");
	if (!a->derives && (rq->master != NULL || rq->pid != 0))
		return refuse(a, "takes no --master and no --pid");
	if (a->makes_key && rq->out == NULL && !rq->print)
		return refuse(a, "needs --out FILE or --print");
	if (a->makes_key && rq->n_files > 0)
		return refuse(a, "takes no file; say --out FILE");
	if (!a->makes_key && (rq->out != NULL || rq->print))
		return refuse(a, "takes no --out and no --print");
	if (!a->makes_key && rq->n_files == 0)
		return refuse(a, "needs a file");
	return true;
}

/* NULL: nothing to be run, for help or after a message. */
static const struct action *
parse(int argc, char **argv, struct request *rq)
{
	const struct action *a;

	if (!parse_options(argc, argv, rq) || rq->help)
		return NULL;
	a = find(argv[optind]);
	if (a == NULL)
		return NULL;
	optind++;
	if (!parse_options(argc, argv, rq) || rq->help)
		return NULL;
	rq->files = argv + optind;
	rq->n_files = (size_t)(argc - optind);
	return fits(a, rq) ? a : NULL;
}

static enum tool_exit
run(int argc, char **argv)
{
	struct request rq = { 0 };
	const struct action *a = parse(argc, argv, &rq);

	if (a != NULL)
		return a->run(&rq);
	if (rq.help) {
		tool_print_help(&cmd_key);
		return TOOL_OK;
	}
	fputs("'varta help key' shows all options\n", stderr);
	return TOOL_USAGE;
}

const struct tool_command cmd_key = {
	.name = "key",
	.summary = "make and check keys of sealed beats",
	.synopsis = "new|derive|check|fingerprint [OPTION ...] [FILE ...]",
	.about = "new: a fresh key, to --out FILE or printed.\n"
		 "derive: the key of one agent, from a master key.\n"
		 "check: whether key files are as an observer wants them.\n"
		 "fingerprint: what tells keys apart and does not tell them.\n",
	.options = options,
	.run = run,
};
