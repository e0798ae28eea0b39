#include "watch/act/command.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/fault.h"

FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

static struct command_words words;
static struct command_fault fault;
static struct command_room room;

/* The words of argv with a bar between two. */
static const char *
joined(char *const argv[])
{
	static char text[2 * COMMAND_ROOM_BYTES];
	size_t len = 0, i;

	text[0] = '\0';
	for (i = 0; argv[i] != NULL; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
		    i > 0 ? "|" : "", argv[i]);
	return text;
}

static void
splits_at_blanks_and_knows_no_quotes(void **state)
{
	(void)state;
	assert_int_equal(
	    command_split_blanks(" \t/bin/x  'a b'\n$c\r\n", &words, &fault),
	    0);
	assert_int_equal(words.argc, 4);
	assert_string_equal(joined(words.argv), "/bin/x|'a|b'|$c");
}

static void
splits_as_a_shell_does(void **state)
{
	static const char *const cases[][2] = {
		{ "a b  c", "a|b|c" },
		{ "  a\t'b c' ", "a|b c" },
		{ "a 'b''c'd", "a|bcd" },
		{ "a \"b c\"d", "a|b cd" },
		{ "a '' \"\"", "a||" },
		{ "a \\'b\\ c", "a|'b c" },
		{ "a 'b\\c' \"d\\e\" \"\\\"\\\\\\$\\`\"",
		    "a|b\\c|d\\e|\"\\$`" },
		{ "a '$HOME' '`x`;|&<>()'", "a|$HOME|`x`;|&<>()" },
		{ "a \\$x \\; \\|", "a|$x|;||" },
		{ "a 'b\nc'\n", "a|b\nc" },
		{ "\n\na b\n \n", "a|b" },
		{ "a B=c", "a|B=c" },
		{ "./1=a --x={pid}", "./1=a|--x={pid}" },
		{ "1=a", "1=a" },
		{ "'A'=b c", "A=b|c" },
		{ "a *?[x]~#!", "a|*?[x]~#!" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
		    command_split_quoted(cases[i][0], &words, &fault), 0);
		assert_string_equal(joined(words.argv), cases[i][1]);
	}
}

static void
refuses_what_only_a_shell_could_do(void **state)
{
	static const char *const cases[][2] = {
		{ "a | b", "'|'" },
		{ "a&", "'&'" },
		{ "a; b", "';'" },
		{ "a <b", "'<'" },
		{ "a 2>b", "'>'" },
		{ "(a)", "'('" },
		{ "a)", "')'" },
		{ "a `b`", "'`'" },
		{ "a $b", "'$'" },
		{ "a\nb", "'\\n'" },
		{ "a \n \n b", "'\\n'" },
		{ "a \"$b\"", "'$' in double quotes" },
		{ "a \"`b`\"", "'`' in double quotes" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
		    command_split_quoted(cases[i][0], &words, &fault), -EINVAL);
		assert_ptr_equal(strstr(fault.text, cases[i][1]), fault.text);
		assert_non_null(strstr(fault.text, "there is no shell"));
	}
}

static void
refuses_a_variable_before_the_program(void **state)
{
	(void)state;
	assert_int_equal(
	    command_split_quoted(" A_1=b c", &words, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "'A_1='"));
	assert_non_null(strstr(fault.text, "--recovery-env"));
}

static void
refuses_text_that_is_not_finished(void **state)
{
	static const char *const cases[] = { "a 'b", "a \"b", "a b\\",
		"a \"b\\", "a b\\\n" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
		    command_split_quoted(cases[i], &words, &fault), -EINVAL);
}

static void
refuses_a_command_without_a_program(void **state)
{
	static const char *const cases[] = { "", "  \n\t", "'' a" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
		    command_split_quoted(cases[i], &words, &fault), -EINVAL);
		assert_string_equal(fault.text, "no program is named");
	}
	assert_int_equal(command_split_blanks(" ", &words, &fault), -EINVAL);
}

static void
refuses_more_words_than_there_is_room_for(void **state)
{
	char text[2 * COMMAND_ARGS + 3];
	int i;

	(void)state;
	for (i = 0; i < COMMAND_ARGS + 1; i++)
		memcpy(text + 2 * i, "a ", 3);
	assert_int_equal(command_split_blanks(text, &words, &fault), -E2BIG);
	assert_string_equal(fault.text, "more than 64 words");
	assert_int_equal(command_split_quoted(text, &words, &fault), -E2BIG);
	text[2 * COMMAND_ARGS] = '\0';
	assert_int_equal(command_split_blanks(text, &words, &fault), 0);
	assert_int_equal(words.argc, COMMAND_ARGS);
	assert_int_equal(command_split_quoted(text, &words, &fault), 0);
}

static void
refuses_more_bytes_than_there_is_room_for(void **state)
{
	char text[COMMAND_TEXT_BYTES + 8];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(command_split_blanks(text, &words, &fault), -E2BIG);
	assert_int_equal(command_split_quoted(text, &words, &fault), -E2BIG);
	assert_string_equal(fault.text, "longer than 4095 bytes");
	text[0] = '\'';
	assert_int_equal(command_split_quoted(text, &words, &fault), -E2BIG);
	text[0] = '"';
	assert_int_equal(command_split_quoted(text, &words, &fault), -E2BIG);
	text[COMMAND_TEXT_BYTES] = '\0';
	assert_int_equal(command_split_blanks(text, &words, &fault), -E2BIG);
	text[COMMAND_TEXT_BYTES - 1] = '\0';
	assert_int_equal(command_split_blanks(text, &words, &fault), 0);
}

static void
refuses_what_could_grow_past_its_room(void **state)
{
	char text[COMMAND_TEXT_BYTES];
	size_t len;

	(void)state;
	/* 63 bytes for each name: 129 of them fit, 130 do not. */
	len = (size_t)snprintf(text, sizeof(text), "a {pid} ");
	while (len < 8 + 6 * 129) {
		memcpy(text + len, "{name}", 7);
		len += 6;
	}
	assert_int_equal(command_split_blanks(text, &words, &fault), 0);
	memcpy(text + len, "{name}", 7);
	assert_int_equal(command_split_blanks(text, &words, &fault), -E2BIG);
	assert_non_null(strstr(fault.text, "8192 is the limit"));
}

static void
a_list_of_arguments_is_checked_as_well(void **state)
{
	char a[] = "a", empty[] = "";
	char *argv[COMMAND_ARGS + 2] = { empty, NULL };
	int i;

	(void)state;
	assert_int_equal(command_check(argv, &fault), -EINVAL);
	for (i = 0; i <= COMMAND_ARGS; i++)
		argv[i] = a;
	assert_int_equal(command_check(argv, &fault), -E2BIG);
	argv[COMMAND_ARGS] = NULL;
	assert_int_equal(command_check(argv, &fault), 0);
}

static const char *
expanded(const char *text, uint32_t pid, const char *name)
{
	assert_int_equal(command_split_blanks(text, &words, &fault), 0);
	command_expand(
	    words.argv, &(struct command_subject){ pid, name, "db" }, &room);
	return joined(room.argv);
}

static void
pid_and_name_are_put_into_arguments(void **state)
{
	(void)state;
	assert_string_equal(
	    expanded("/bin/x {pid} -n={name}", 42, "web"), "/bin/x|42|-n=web");
	assert_string_equal(
	    expanded("x {pid}{pid}-{name}{name}", 7, "w"), "x|77-ww");
	assert_string_equal(
	    expanded("x {PID} {pid {pid}", 7, ""), "x|{PID}|{pid|7");
}

static void
the_name_of_a_lane_is_put_into_arguments(void **state)
{
	(void)state;
	assert_string_equal(
	    expanded("x {pid} -l={lane} {lane}s", 42, "web"), "x|42|-l=db|dbs");
	assert_string_equal(
	    expanded("/x/{lane} {lane", 7, ""), "/x/{lane}|{lane|7");
}

static void
a_pid_that_nobody_asked_for_comes_last(void **state)
{
	(void)state;
	assert_string_equal(expanded("x a", 42, "web"), "x|a|42");
	assert_string_equal(expanded("x {name}", 42, "web"), "x|web|42");
	assert_string_equal(expanded("x", 4294967295U, ""), "x|4294967295");
}

static void
the_name_of_the_program_is_left_alone(void **state)
{
	(void)state;
	assert_string_equal(
	    expanded("/x/{pid}/{name} a", 42, "web"), "/x/{pid}/{name}|a|42");
}

static void
what_a_name_holds_is_not_replaced_again(void **state)
{
	(void)state;
	assert_string_equal(
	    expanded("x {name} a", 42, "{pid}{name}"), "x|{pid}{name}|a|42");
	assert_string_equal(
	    expanded("x {name}", 42, "a b'$(c)"), "x|a b'$(c)|42");
}

static void
a_name_that_is_too_long_is_cut(void **state)
{
	char name[COMMAND_NAME_BYTES + 8];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)expanded("x {name} {pid}", 1, name);
	assert_int_equal(strlen(room.argv[1]), COMMAND_NAME_BYTES - 1);
}

static void
the_template_is_as_long_as_its_words_and_what_separates_them(void **state)
{
	(void)state;
	(void)expanded("/bin/x a {pid}", 42, "");
	assert_int_equal(room.template_bytes, strlen("/bin/x a 42"));
	(void)expanded("/bin/true", 42, "");
	assert_int_equal(room.template_bytes, strlen("/bin/true 42"));
}

static void
the_largest_command_fits_when_expanded(void **state)
{
	char arg[] = "a", pid[] = "{pid}";
	char *argv[COMMAND_ARGS + 1];
	int i;

	(void)state;
	for (i = 0; i < COMMAND_ARGS; i++)
		argv[i] = arg;
	argv[COMMAND_ARGS] = NULL;
	command_expand(
	    argv, &(struct command_subject){ UINT32_MAX, "", "" }, &room);
	assert_string_equal(room.argv[COMMAND_ARGS], "4294967295");
	assert_null(room.argv[COMMAND_ARGS + 1]);
	argv[1] = pid;
	command_expand(
	    argv, &(struct command_subject){ UINT32_MAX, "", "" }, &room);
	assert_null(room.argv[COMMAND_ARGS]);
}

static void
an_entry_has_a_key_and_a_value_and_no_nul(void **state)
{
	(void)state;
	assert_true(command_env_is_valid("A=b", 3));
	assert_true(command_env_is_valid("A=", 2));
	assert_true(command_env_is_valid("A==", 3));
	assert_false(command_env_is_valid("=b", 2));
	assert_false(command_env_is_valid("A", 1));
	assert_false(command_env_is_valid("", 0));
	assert_false(command_env_is_valid("A=b\0c", 5));
	assert_false(command_env_is_valid("A\0=", 3));
}

static const char *
environment(char *const *entries, char *const *inherited)
{
	struct command_env *e;
	const char *text;

	assert_int_equal(command_env_new(entries, inherited, &e), 0);
	text = joined(command_env_set(
	    e, &(struct command_subject){ 42, "web", "db" }, "gone"));
	command_env_free(e);
	return text;
}

#define OURS                                                                   \
	"VARTA_AGENT_PID=42|VARTA_AGENT_NAME=web|VARTA_LANE=db|"               \
	"VARTA_REASON=gone"

static void
a_path_is_all_that_there_is_by_default(void **state)
{
	(void)state;
	assert_string_equal(
	    environment(NULL, NULL), "PATH=/usr/bin:/bin|" OURS);
}

static void
entries_come_over_the_default_and_the_later_counts(void **state)
{
	char path[] = "PATH=/x", a1[] = "A=1", a2[] = "A=2", ab[] = "AB=3";
	char *const entries[] = { path, a1, ab, a2, NULL };

	(void)state;
	assert_string_equal(
	    environment(entries, NULL), "PATH=/x|A=2|AB=3|" OURS);
}

static void
entries_come_over_what_is_inherited(void **state)
{
	char path[] = "PATH=/y", home[] = "HOME=/h", a[] = "HOME=/a";
	char stray[] = "STRAY";
	char *const inherited[] = { path, home, stray, NULL };
	char *const entries[] = { a, NULL };
	char *const nothing[] = { NULL };

	(void)state;
	assert_string_equal(
	    environment(entries, inherited), "PATH=/y|HOME=/a|STRAY|" OURS);
	assert_string_equal(environment(NULL, nothing), OURS);
}

static void
nobody_can_speak_for_the_observer(void **state)
{
	char pid[] = "VARTA_AGENT_PID=1", reason[] = "VARTA_REASON=x";
	char *const entries[] = { pid, NULL };
	char *const inherited[] = { reason, NULL };

	(void)state;
	assert_string_equal(environment(entries, inherited),
	    "VARTA_REASON=gone|VARTA_AGENT_PID=42|VARTA_AGENT_NAME=web|"
	    "VARTA_LANE=db");
}

static void
a_bad_entry_or_no_memory_gives_no_environment(void **state)
{
	char bad[] = "=1";
	char *const entries[] = { bad, NULL };
	struct command_env *e = NULL;

	(void)state;
	assert_int_equal(command_env_new(entries, NULL, &e), -EINVAL);
	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_int_equal(command_env_new(NULL, NULL, &e), -ENOMEM);
	fault_off(&fault_calloc);
	assert_null(e);
	command_env_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_at_blanks_and_knows_no_quotes),
		cmocka_unit_test(splits_as_a_shell_does),
		cmocka_unit_test(refuses_what_only_a_shell_could_do),
		cmocka_unit_test(refuses_a_variable_before_the_program),
		cmocka_unit_test(refuses_text_that_is_not_finished),
		cmocka_unit_test(refuses_a_command_without_a_program),
		cmocka_unit_test(refuses_more_words_than_there_is_room_for),
		cmocka_unit_test(refuses_more_bytes_than_there_is_room_for),
		cmocka_unit_test(refuses_what_could_grow_past_its_room),
		cmocka_unit_test(a_list_of_arguments_is_checked_as_well),
		cmocka_unit_test(pid_and_name_are_put_into_arguments),
		cmocka_unit_test(the_name_of_a_lane_is_put_into_arguments),
		cmocka_unit_test(a_pid_that_nobody_asked_for_comes_last),
		cmocka_unit_test(the_name_of_the_program_is_left_alone),
		cmocka_unit_test(what_a_name_holds_is_not_replaced_again),
		cmocka_unit_test(a_name_that_is_too_long_is_cut),
		cmocka_unit_test(
		    the_template_is_as_long_as_its_words_and_what_separates_them),
		cmocka_unit_test(the_largest_command_fits_when_expanded),
		cmocka_unit_test(an_entry_has_a_key_and_a_value_and_no_nul),
		cmocka_unit_test(a_path_is_all_that_there_is_by_default),
		cmocka_unit_test(
		    entries_come_over_the_default_and_the_later_counts),
		cmocka_unit_test(entries_come_over_what_is_inherited),
		cmocka_unit_test(nobody_can_speak_for_the_observer),
		cmocka_unit_test(a_bad_entry_or_no_memory_gives_no_environment),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
