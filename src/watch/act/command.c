#include "watch/act/command.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

static const char blanks[] = " \t\n\v\f\r";
static const char operators[] = "|&;<>()`$\n";
static const char hint[] = "there is no shell here: quote it, or put the "
			   "command into a script and run that";

enum { PID_DIGITS = 10, REASON_BYTES = 32 };

struct splitter {
	const char *at;
	struct command_words *words;
	struct command_fault *fault;
	size_t used; /* bytes of words->text */
};

static int
fail(struct command_fault *fault, int error, const char *what)
{
	(void)snprintf(fault->text, sizeof(fault->text), "%s", what);
	return error;
}

static int
refuse_char(const struct splitter *s, char c, const char *where)
{
	char shown[8];

	(void)text_escape(&c, 1, shown, sizeof(shown));
	(void)snprintf(s->fault->text, sizeof(s->fault->text), "'%s' %s: %s",
	    shown, where, hint);
	return -EINVAL;
}

static int
put(struct splitter *s, char c)
{
	char what[64];

	if (s->used < sizeof(s->words->text)) {
		s->words->text[s->used++] = c;
		return 0;
	}
	(void)snprintf(
	    what, sizeof(what), "longer than %d bytes", COMMAND_TEXT_BYTES - 1);
	return fail(s->fault, -E2BIG, what);
}

static int
begin_word(struct splitter *s)
{
	char what[64];

	if (s->words->argc < COMMAND_ARGS) {
		s->words->argv[s->words->argc++] = s->words->text + s->used;
		return 0;
	}
	(void)snprintf(what, sizeof(what), "more than %d words", COMMAND_ARGS);
	return fail(s->fault, -E2BIG, what);
}

static void
begin(struct splitter *s, const char *text, struct command_words *words,
    struct command_fault *fault)
{
	*s = (struct splitter){ .words = words, .fault = fault };
	s->at = text + strspn(text, blanks);
	words->argc = 0;
}

static int
finish(const struct splitter *s)
{
	s->words->argv[s->words->argc] = NULL;
	return command_check(s->words->argv, s->fault);
}

int
command_split_blanks(
    const char *text, struct command_words *ret, struct command_fault *fault)
{
	struct splitter s;
	size_t n;
	int r;

	begin(&s, text, ret, fault);
	while (*s.at != '\0') {
		r = begin_word(&s);
		for (n = strcspn(s.at, blanks); r == 0 && n > 0; n--)
			r = put(&s, *s.at++);
		if (r == 0)
			r = put(&s, '\0');
		if (r < 0)
			return r;
		s.at += strspn(s.at, blanks);
	}
	return finish(&s);
}

/* The text behind an opening single quote, and the closing one. */
static int
take_single(struct splitter *s)
{
	int r;

	for (s->at++; *s->at != '\''; s->at++) {
		if (*s->at == '\0')
			return fail(
			    s->fault, -EINVAL, "a single quote is not closed");
		r = put(s, *s->at);
		if (r < 0)
			return r;
	}
	s->at++;
	return 0;
}

static int
take_double(struct splitter *s)
{
	int r;

	for (s->at++; *s->at != '"'; s->at++) {
		if (*s->at == '\0')
			return fail(
			    s->fault, -EINVAL, "a double quote is not closed");
		if (*s->at == '$' || *s->at == '`')
			return refuse_char(s, *s->at, "in double quotes");
		/* Before any other character a backslash stands for itself. */
		if (*s->at == '\\' && s->at[1] != '\0' &&
		    strchr("\\\"$`", s->at[1]) != NULL)
			s->at++;
		r = put(s, *s->at);
		if (r < 0)
			return r;
	}
	s->at++;
	return 0;
}

static int
take_escaped(struct splitter *s)
{
	s->at++;
	if (*s->at == '\0' || *s->at == '\n')
		return fail(s->fault, -EINVAL,
		    "a backslash stands at the end of a line");
	return put(s, *s->at++);
}

static int
take_word(struct splitter *s)
{
	int r = begin_word(s);

	while (r == 0 && *s->at != '\0' && strchr(blanks, *s->at) == NULL) {
		if (*s->at == '\'')
			r = take_single(s);
		else if (*s->at == '"')
			r = take_double(s);
		else if (*s->at == '\\')
			r = take_escaped(s);
		else if (strchr(operators, *s->at) != NULL)
			r = refuse_char(s, *s->at, "outside quotes");
		else
			r = put(s, *s->at++);
	}
	return r < 0 ? r : put(s, '\0');
}

/* NAME=VALUE before the program, which a shell takes as a variable. */
static int
refuse_assignment(const struct splitter *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	size_t n = strspn(s->at, letters);

	if (n == 0 || s->at[n] != '=' || (*s->at >= '0' && *s->at <= '9'))
		return 0;
	(void)snprintf(s->fault->text, sizeof(s->fault->text),
	    "'%.*s=' before the program: give variables with --recovery-env",
	    n < 64 ? (int)n : 64, s->at);
	return -EINVAL;
}

int
command_split_quoted(
    const char *text, struct command_words *ret, struct command_fault *fault)
{
	struct splitter s;
	size_t n;
	int r;

	begin(&s, text, ret, fault);
	r = refuse_assignment(&s);
	while (r == 0 && *s.at != '\0') {
		r = take_word(&s);
		n = strspn(s.at, blanks);
		if (r == 0 && s.at[n] != '\0' && memchr(s.at, '\n', n) != NULL)
			r = refuse_char(&s, '\n', "outside quotes");
		s.at += n;
	}
	return r < 0 ? r : finish(&s);
}

/* What stands at a place in an argument. */
enum piece { PIECE_CHAR = 0, PIECE_PID, PIECE_NAME, PIECE_LANE };

static const size_t piece_bytes[] = { 1, sizeof("{pid}") - 1,
	sizeof("{name}") - 1, sizeof("{lane}") - 1 };

static enum piece
piece_at(const char *p)
{
	if (strncmp(p, "{pid}", piece_bytes[PIECE_PID]) == 0)
		return PIECE_PID;
	if (strncmp(p, "{name}", piece_bytes[PIECE_NAME]) == 0)
		return PIECE_NAME;
	if (strncmp(p, "{lane}", piece_bytes[PIECE_LANE]) == 0)
		return PIECE_LANE;
	return PIECE_CHAR;
}

static bool
holds_pid(char *const argv[])
{
	size_t i;

	for (i = 1; argv[i] != NULL; i++) {
		if (strstr(argv[i], "{pid}") != NULL)
			return true;
	}
	return false;
}

/* Bytes with the NUL, the longest values put in. */
static size_t
longest(const char *argument)
{
	size_t n = 1;
	enum piece piece;
	const char *p;

	for (p = argument; *p != '\0'; p += piece_bytes[piece]) {
		piece = piece_at(p);
		switch (piece) {
		case PIECE_CHAR:
			n++;
			break;
		case PIECE_PID:
			n += PID_DIGITS;
			break;
		case PIECE_NAME:
		case PIECE_LANE:
			n += COMMAND_NAME_BYTES - 1;
			break;
		}
	}
	return n;
}

int
command_check(char *const argv[], struct command_fault *fault)
{
	size_t argc, bytes = 0;
	char what[96];

	if (argv[0] == NULL || argv[0][0] == '\0')
		return fail(fault, -EINVAL, "no program is named");
	bytes = strlen(argv[0]) + 1;
	for (argc = 1; argv[argc] != NULL; argc++) {
		if (argc == COMMAND_ARGS) {
			(void)snprintf(what, sizeof(what), "more than %d words",
			    COMMAND_ARGS);
			return fail(fault, -E2BIG, what);
		}
		bytes += longest(argv[argc]);
	}
	if (!holds_pid(argv))
		bytes += PID_DIGITS + 1;
	if (bytes <= COMMAND_ROOM_BYTES)
		return 0;
	(void)snprintf(what, sizeof(what),
	    "may grow to %zu bytes with pid and name, %d is the limit", bytes,
	    COMMAND_ROOM_BYTES);
	return fail(fault, -E2BIG, what);
}

/* Put what stands at p into out; returns the end of that. */
static char *
put_piece(char *out, enum piece piece, const char *p,
    const struct command_subject *subject)
{
	switch (piece) {
	case PIECE_CHAR:
		*out++ = *p;
		break;
	case PIECE_PID:
		out += text_format_u64(subject->pid, out);
		break;
	case PIECE_NAME:
		out = mempcpy(out, subject->name,
		    strnlen(subject->name, COMMAND_NAME_BYTES - 1));
		break;
	case PIECE_LANE:
		out = mempcpy(out, subject->lane,
		    strnlen(subject->lane, COMMAND_NAME_BYTES - 1));
		break;
	}
	return out;
}

void
command_expand(char *const argv[], const struct command_subject *subject,
    struct command_room *room)
{
	char *out = room->text;
	enum piece piece;
	const char *p;
	size_t i;

	for (i = 0; argv[i] != NULL; i++) {
		room->argv[i] = out;
		for (p = argv[i]; *p != '\0'; p += piece_bytes[piece]) {
			piece = i == 0 ? PIECE_CHAR : piece_at(p);
			out = put_piece(out, piece, p, subject);
		}
		*out++ = '\0';
	}
	if (!holds_pid(argv)) {
		room->argv[i++] = out;
		out = put_piece(out, PIECE_PID, NULL, subject);
		*out++ = '\0';
	}
	room->argv[i] = NULL;
	assert(out <= room->text + sizeof(room->text));
	/* Each argument has a NUL; the last one separates nothing. */
	room->template_bytes = (uint32_t)(out - room->text) - 1;
}

bool
command_env_is_valid(const char *entry, size_t n)
{
	const char *equals = memchr(entry, '=', n);

	return equals != NULL && equals != entry &&
	       memchr(entry, '\0', n) == NULL;
}

struct command_env {
	size_t n;
	char pid[sizeof("VARTA_AGENT_PID=") + PID_DIGITS];
	char name[sizeof("VARTA_AGENT_NAME=") + COMMAND_NAME_BYTES];
	char lane[sizeof("VARTA_LANE=") + COMMAND_NAME_BYTES];
	char reason[sizeof("VARTA_REASON=") + REASON_BYTES];
	char *envp[]; /* NULL-ended */
};

static size_t
count(char *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

/* Take over an earlier entry with the same key, or append. */
static void
add(struct command_env *e, char *entry)
{
	size_t key_bytes = strcspn(entry, "=") + 1, i;

	for (i = 0; i < e->n; i++) {
		if (strncmp(e->envp[i], entry, key_bytes) == 0)
			break;
	}
	e->envp[i] = entry;
	if (i == e->n)
		e->n++;
}

int
command_env_new(
    char *const *entries, char *const *inherited, struct command_env **ret)
{
	static const struct command_subject nobody = { 0, "", "" };
	static char default_path[] = "PATH=/usr/bin:/bin";
	size_t n_entries = count(entries), n_inherited = count(inherited), i;
	struct command_env *e;

	for (i = 0; i < n_entries; i++) {
		if (!command_env_is_valid(entries[i], strlen(entries[i])))
			return -EINVAL;
	}
	/* PATH, the four of ours and the NULL at the end. */
	e = calloc(
	    1, sizeof(*e) + (n_entries + n_inherited + 6) * sizeof(e->envp[0]));
	if (e == NULL)
		return -ENOMEM;
	if (inherited == NULL)
		add(e, default_path);
	for (i = 0; i < n_inherited; i++)
		add(e, inherited[i]);
	for (i = 0; i < n_entries; i++)
		add(e, entries[i]);

	(void)command_env_set(e, &nobody, "");
	add(e, e->pid);
	add(e, e->name);
	add(e, e->lane);
	add(e, e->reason);
	*ret = e;
	return 0;
}

void
command_env_free(struct command_env *e)
{
	free(e);
}

char *const *
command_env_set(struct command_env *e, const struct command_subject *subject,
    const char *reason)
{
	(void)snprintf(
	    e->pid, sizeof(e->pid), "VARTA_AGENT_PID=%u", subject->pid);
	(void)snprintf(e->name, sizeof(e->name), "VARTA_AGENT_NAME=%.*s",
	    COMMAND_NAME_BYTES - 1, subject->name);
	(void)snprintf(e->lane, sizeof(e->lane), "VARTA_LANE=%.*s",
	    COMMAND_NAME_BYTES - 1, subject->lane);
	(void)snprintf(e->reason, sizeof(e->reason), "VARTA_REASON=%s", reason);
	return e->envp;
}
