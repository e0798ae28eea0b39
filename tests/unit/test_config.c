#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/config.h"
#include "watch/options_table.h"
#include "watch/setup.h"

static char path[] = "/tmp/varta-config-XXXXXX";
static struct config config;
static struct options options;
static struct options_fault fault;

static void
write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int
read_text(const char *text)
{
	write_file(text);
	options_set_defaults(&options);
	fault.text[0] = '\0';
	return config_read(path, &options, &config, &fault);
}

/* The fault is FILE:LINE: and then text. */
static void
refuses(const char *text, int line, const char *reason)
{
	char expected[512];

	assert_true(read_text(text) < 0);
	(void)snprintf(
	    expected, sizeof(expected), "%s:%d: %s", path, line, reason);
	if (strcmp(expected, fault.text) != 0)
		fail_msg("said \"%s\", not \"%s\"", fault.text, expected);
}

static int
make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int
remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void
options_are_set_by_their_names(void **state)
{
	(void)state;
	assert_int_equal(
	    read_text("# a comment\n"
		      "socket = /s\nthreshold_ms = 700 // so long\n"
		      "socket_mode = 0660\nlog_format = json\n"
		      "recovery_on_exit = yes\n"
		      "prom_addr = \"127.0.0.1:9100\"\n"
		      "allow_uid = { 7, \"root\" }\n"
		      "recovery_env = {\"A=1\", \"B=2 3\"}\n"),
	    0);
	assert_string_equal(options.socket_path, "/s");
	assert_int_equal(options.threshold_ms, 700);
	assert_int_equal(options.socket_mode, 0660);
	assert_int_equal(options.log_format, LOG_JSON);
	assert_true(options.recovery_on_exit);
	assert_true(options.prom_addr.given);
	assert_int_equal(options.allow_uids.n, 2);
	assert_int_equal(options.allow_uids.ids[1], 0);
	assert_int_equal(options.n_recovery_env, 2);
	assert_string_equal(options.recovery_env[1], "B=2 3");
}

static void
agents_are_rules_in_their_order(void **state)
{
	const struct rule *first, *second;

	(void)state;
	assert_int_equal(read_text("agent \"in gest\" {\n comm = ingestd\n"
				   " threshold_ms = 500\n grace_ms = 2000\n"
				   " recovery_exec = \"/bin/x {pid}\"\n}\n"
				   "agent web { user = root exe = /usr/bin/w "
				   "unit = \"w.service\" }\n"),
	    0);
	assert_int_equal(config.rules.n, 2);
	first = &config.rules.list[0];
	second = &config.rules.list[1];
	assert_string_equal(first->name, "in gest");
	assert_string_equal(first->comm, "ingestd");
	assert_int_equal(first->threshold_ms, 500);
	assert_int_equal(first->grace_ms, 2000);
	assert_string_equal(first->recovery_exec, "/bin/x {pid}");
	assert_false(first->has_uid);
	assert_true(second->has_uid);
	assert_int_equal(second->uid, 0);
	assert_string_equal(second->exe, "/usr/bin/w");
	assert_string_equal(second->unit, "w.service");
	assert_true(config.rules.want_exe);
	assert_true(config.rules.want_unit);
}

static void
a_section_may_be_for_lanes(void **state)
{
	(void)state;
	assert_int_equal(read_text("agent a { comm = x }\n"
				   "agent writer { lane = \"the writer\" "
				   "comm = x threshold_ms = 20 "
				   "recovery_exec = \"/bin/x {lane}\" }\n"),
	    0);
	assert_true(config.rules.want_lane);
	assert_null(config.rules.list[0].lane);
	assert_string_equal(config.rules.list[1].lane, "the writer");
	assert_int_equal(config.rules.list[1].threshold_ms, 20);
	/* The lane alone is enough; the next file begins anew. */
	assert_int_equal(read_text("agent w { lane = w }\n"), 0);
	assert_true(config.rules.want_lane);
	assert_int_equal(read_text("agent a { comm = x }\n"), 0);
	assert_false(config.rules.want_lane);
}

static void
what_is_wrong_about_a_lane_is_refused(void **state)
{
	(void)state;
	assert_true(read_text("agent w { lane = \"\" }\n") < 0);
	assert_non_null(strstr(fault.text, "lane: must not be empty"));
	assert_true(read_text("agent w {\n lane = w\n grace_ms = 5\n}\n") < 0);
	assert_non_null(strstr(fault.text, "a lane has no grace_ms"));
	assert_true(
	    read_text("agent w {\n lane = w\n threshold_ms = 9\n}\n") < 0);
	assert_true(read_text("agent w { threshold_ms = 20 }\n") < 0);
	assert_non_null(
	    strstr(fault.text, "needs one of comm, exe, unit, user, lane"));
}

static void
whatever_is_wrong_is_named_with_its_line(void **state)
{
	(void)state;
	refuses("\nfrob = 1\n", 2, "no such option 'frob'");
	refuses(
	    "threshold_ms = 5\n", 1, "threshold_ms: '5': must be at least 10");
	refuses("threshold_ms = 50\nthreshold_ms = 60\n", 2,
	    "threshold_ms: given twice");
	refuses("log_format = xml\n", 1,
	    "log_format: 'xml': must be one of plain, json");
	refuses("recovery_on_exit = maybe\n", 1,
	    "recovery_on_exit: 'maybe': must be true or false");
	refuses("allow_uid = { 1,\n no-such-user }\n", 2,
	    "allow_uid: 'no-such-user': no such user");
	refuses("agent x { }\n", 1,
	    "x: an agent needs one of comm, exe, unit, user, lane");
	refuses("agent x {\n comm = \"\"\n}\n", 3, "comm: must not be empty");
	refuses("agent x { comm = a threshold_ms = 1 }\n", 1,
	    "agent 'x': threshold_ms: '1': must be at least 10");
	refuses("agent x { comm = a frob = 1 }\n", 1, "no such option 'frob'");
	refuses("agent x {comm = a}\nagent x {comm = b}\n", 2,
	    "found duplicate title 'x'");
	refuses("agent a-name-of-more-than-thirty-one-bytes {comm = b}\n", 1,
	    "agent: a name has 1 to 31 bytes");
	refuses("help = true\n", 1, "no such option 'help'");
	refuses("config = /x\n", 1, "no such option 'config'");
	refuses("key_env = x\n", 1, "no such option 'key_env'");
	refuses("}\n", 1, "unexpected closing brace");
	refuses("agent x {\n comm = a\n", 2, "the file ends inside a section");
	refuses("threshold_ms", 1,
	    "missing equal sign after option 'threshold_ms'");
	refuses("agent x {\n comm = a\n} }", 3, "unexpected closing brace");
}

static void
its_limits_are_stated(void **state)
{
	static char text[2 * CONFIG_TEXT_BYTES];
	size_t len = 0;

	(void)state;
	for (int i = 0; i <= RULES_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "agent a%d {comm = b}\n", i);
	refuses(text, RULES_MAX + 1, "agent: more sections than are taken");
	memset(text, 'x', CONFIG_TEXT_BYTES + 10);
	memcpy(text, "socket = ", 9);
	text[CONFIG_TEXT_BYTES + 10] = '\0';
	refuses(text, 1, "socket: too much text in this file");
}

static void
a_file_that_others_may_write_is_refused(void **state)
{
	(void)state;
	assert_int_equal(chmod(path, 0664), 0);
	assert_true(read_text("socket = /s\n") < 0);
	assert_non_null(strstr(fault.text, "writable by its owner alone"));
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(read_text("socket = /s\n"), 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_true(config_read("/dev/null", &options, &config, &fault) < 0);
	assert_string_equal(fault.text, "/dev/null: not a regular file");
	assert_true(config_read("/no/such", &options, &config, &fault) < 0);
}

static void
what_is_dumped_reads_back_as_the_same(void **state)
{
	char *first = NULL, *second = NULL;
	size_t n;
	FILE *f;

	(void)state;
	assert_int_equal(
	    read_text("socket = \"/a \\\"b\\\"\"\nthreshold_ms = 70\n"
		      "allow_gid = {1, 2}\nprom_addr = \"[::1]:9100\"\n"
		      "recovery_exec = \"/bin/sh -c \\${HOME}\"\n"
		      "agent \"x\" { comm = \"a b\" user = 0 grace_ms = 5 }"),
	    0);
	f = open_memstream(&first, &n);
	assert_non_null(f);
	config_dump(&options, &config, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(read_text(first), 0);
	assert_string_equal(options.socket_path, "/a \"b\"");
	assert_string_equal(options.recovery_exec, "/bin/sh -c ${HOME}");
	f = open_memstream(&second, &n);
	assert_non_null(f);
	config_dump(&options, &config, f);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static struct setup *
setup_of(const char *text, const char *more, const char *value)
{
	static char name[] = "varta-watch", flag[] = "--config";
	static char extra[2][64];
	char *argv[] = { name, flag, path, extra[0], extra[1], NULL };
	struct setup *s = NULL;

	write_file(text);
	(void)snprintf(extra[0], sizeof(extra[0]), "%s", more);
	(void)snprintf(extra[1], sizeof(extra[1]), "%s", value);
	if (setup_new(more[0] != '\0' ? 5 : 3, argv, &s, &fault) < 0)
		fail_msg("%s", fault.text);
	if (setup_read(s, &fault) < 0)
		fail_msg("%s", fault.text);
	return s;
}

static void
flags_win_over_the_file(void **state)
{
	struct setup *s = setup_of(
	    "socket = /s\nthreshold_ms = 700\n", "--threshold-ms", "900");

	(void)state;
	assert_string_equal(s->options.socket_path, "/s");
	assert_int_equal(s->options.threshold_ms, 900);
	setup_free(s);
}

static void
each_agent_has_its_own_command_or_that_of_all(void **state)
{
	struct setup *s =
	    setup_of("socket = /s\nthreshold_ms = 700\n"
		     "recovery_exec = \"/bin/all\"\n"
		     "agent a {comm = a recovery_exec = \"/bin/a x\"}\n"
		     "agent b {comm = b}\n",
		"", "");
	const struct rules *rules = &s->config.rules;

	(void)state;
	assert_true(commands_are_given(s->commands));
	assert_string_equal(
	    commands_for(s->commands, rules, NULL)->argv[0], "/bin/all");
	assert_string_equal(
	    commands_for(s->commands, rules, &rules->list[0])->argv[0],
	    "/bin/a");
	assert_string_equal(
	    commands_for(s->commands, rules, &rules->list[1])->argv[0],
	    "/bin/all");
	setup_free(s);
	s = setup_of("socket = /s\nthreshold_ms = 700\n"
		     "agent a {comm = a recovery_exec = \"/bin/a\"}\n",
	    "", "");
	assert_true(commands_are_given(s->commands));
	assert_null(commands_for(s->commands, &s->config.rules, NULL));
	setup_free(s);
}

static void
what_needs_a_restart_is_named(void **state)
{
	struct setup *now = setup_of(
	    "socket = /s\nthreshold_ms = 700\nmax_beat_rate = 5\n", "", "");
	struct setup *next = setup_of("socket = /s\nthreshold_ms = 800\n"
				      "max_beat_rate = 5\nlog_level = debug\n"
				      "allow_uid = {3}\nagent a {comm = a}\n",
	    "", "");

	(void)state;
	assert_int_equal(setup_compare(now, next, &fault), 0);
	setup_free(next);
	next = setup_of("socket = /t\nthreshold_ms = 700\n", "", "");
	assert_true(setup_compare(now, next, &fault) < 0);
	assert_non_null(
	    strstr(fault.text, ":1: socket: cannot be changed while running"));
	setup_free(next);
	next = setup_of("socket = /s\nthreshold_ms = 700\nmax_beat_rate = 5\n"
			"recovery_exec = /bin/x\n",
	    "", "");
	assert_true(setup_compare(now, next, &fault) < 0);
	setup_free(next);
	setup_free(now);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_set_by_their_names),
		cmocka_unit_test(agents_are_rules_in_their_order),
		cmocka_unit_test(a_section_may_be_for_lanes),
		cmocka_unit_test(what_is_wrong_about_a_lane_is_refused),
		cmocka_unit_test(whatever_is_wrong_is_named_with_its_line),
		cmocka_unit_test(its_limits_are_stated),
		cmocka_unit_test(a_file_that_others_may_write_is_refused),
		cmocka_unit_test(what_is_dumped_reads_back_as_the_same),
		cmocka_unit_test(flags_win_over_the_file),
		cmocka_unit_test(each_agent_has_its_own_command_or_that_of_all),
		cmocka_unit_test(what_needs_a_restart_is_named),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
