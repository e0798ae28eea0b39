/*
 * Command: from the text of a recovery command to arguments and environment.
 *
 * There is never a shell. --recovery-exec is split at blanks and knows no
 * quotes, as in the reference; --recovery-cmd is split by the quoting rules of
 * a shell, and refused where a shell would do more than split.
 *
 * All limits are checked when a command is read; replacing {pid}, {name}
 * and {lane} afterwards cannot fail and allocates nothing. A name comes from
 * the agent, and replaces as it is: a command that takes it as an argument of
 * its own should put it behind "--" or "=", since it may begin with a dash.
 *
 * Errors: -EINVAL (not a command) and -E2BIG (a limit), with fault filled in.
 * What a result holds after an error is not defined.
 */
#ifndef WATCH_ACT_COMMAND_H
#define WATCH_ACT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	COMMAND_ARGS = 64,         /* the program and its arguments, at most */
	COMMAND_TEXT_BYTES = 4096, /* of all words with their NULs */
	COMMAND_ROOM_BYTES = 8192, /* the same once all is replaced */
	COMMAND_NAME_BYTES = 64    /* the longest name with its NUL */
};

/* What is wrong, to be put behind the name of the option or file. */
struct command_fault {
	char text[256];
};

/* The words of a command. */
struct command_words {
	char *argv[COMMAND_ARGS + 1]; /* NULL-ended, into text */
	size_t argc;
	char text[COMMAND_TEXT_BYTES];
};

/* Split at blanks (space, tab, line ends); nothing else has a meaning. */
int command_split_blanks(
    const char *text, struct command_words *ret, struct command_fault *fault);

/*
 * Split as a shell does: blanks, '...', "..." and backslash. Refused are
 * | & ; < > ( ) ` $ and a line end outside quotes, $ and ` within double
 * quotes, and NAME=VALUE before the program. Patterns such as * are taken as
 * they stand. Line ends at the end of the text are passed over.
 */
int command_split_quoted(
    const char *text, struct command_words *ret, struct command_fault *fault);

/* Whether argv has a program and keeps to the limits with the longest pid and
 * name in it. */
int command_check(char *const argv[], struct command_fault *fault);

/* Where a command for one agent is put together. */
struct command_room {
	char *argv[COMMAND_ARGS + 2]; /* NULL-ended, into text */
	uint32_t template_bytes;      /* of argv, one separator between two */
	char text[COMMAND_ROOM_BYTES];
};

/* For whom a command is run. Names are cut at COMMAND_NAME_BYTES. */
struct command_subject {
	uint32_t pid;
	const char *name; /* "" unknown */
	const char *lane; /* "": for the process itself */
};

/*
 * Replace each {pid}, {name} and {lane} in the arguments behind the program; a
 * pid is appended when none of them holds {pid}. argv has passed
 * command_check().
 */
void command_expand(char *const argv[], const struct command_subject *subject,
    struct command_room *room);

/* Whether the n bytes of entry are KEY=VALUE with a key and without a NUL. */
bool command_env_is_valid(const char *entry, size_t n);

/* The environment of recovery commands. */
struct command_env;

/*
 * Entries (NULL-ended, or NULL) come over inherited, or, where that is NULL,
 * over PATH=/usr/bin:/bin; of two with one key the later counts. The strings
 * are borrowed for the life of the environment. 0, -EINVAL (an entry is not
 * valid) or -ENOMEM.
 */
int command_env_new(
    char *const *entries, char *const *inherited, struct command_env **ret);
void command_env_free(struct command_env *e); /* takes NULL */

/* Put in VARTA_AGENT_PID, VARTA_AGENT_NAME, VARTA_LANE and VARTA_REASON, which
 * win over entries. Returns the environment, good until the next call. */
char *const *command_env_set(struct command_env *e,
    const struct command_subject *subject, const char *reason);

#endif
