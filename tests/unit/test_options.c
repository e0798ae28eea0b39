#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "watch/config.h"
#include "watch/options.h"
#include "watch/options_table.h"

static struct config config;
static struct options options;
static struct options_fault fault;

/* Parse arguments behind the two that are required. */
static int
parse(const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = { "varta-watch", "--socket", "/s",
		"--threshold-ms", "500", a, b, c, d, NULL };
	char *copy[ARRAY_SIZE(argv)];
	int argc = 0;

	memcpy(copy, argv, sizeof(copy));
	while (copy[argc] != NULL)
		argc++;
	fault.text[0] = '\0';
	return options_parse(argc, copy, &config, &options, &fault);
}

static void
refuses(const char *a, const char *b, const char *text)
{
	assert_true(parse(a, b, NULL, NULL) < 0);
	if (strcmp(fault.text, text) != 0)
		fail_msg("said \"%s\", not \"%s\"", fault.text, text);
}

static void
defaults_are_those_of_the_table(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL, NULL, NULL, NULL), 0);
	assert_string_equal(options.socket_path, "/s");
	assert_int_equal(options.threshold_ms, 500);
	assert_int_equal(options.socket_mode, 0600);
	assert_int_equal(options.tracker_capacity, 4096);
	assert_int_equal(options.max_beat_rate, 100);
	assert_int_equal(options.global_beat_rate, 5000);
	assert_int_equal(options.global_beat_burst, 10000);
	assert_int_equal(options.recovery_debounce_ms, 1000);
	assert_int_equal(options.recovery_timeout_ms, 0);
	assert_int_equal(options.shutdown_grace_ms, 5000);
	assert_int_equal(options.log_level, LOG_INFO);
	assert_false(options.shutdown_after_given);
	assert_false(options_has_recovery(&options));
}

static void
values_follow_or_stand_behind_an_equals_sign(void **state)
{
	(void)state;
	assert_int_equal(parse("--tracker-capacity", "10", NULL, NULL), 0);
	assert_int_equal(options.tracker_capacity, 10);
	assert_int_equal(parse("--tracker-capacity=11", NULL, NULL, NULL), 0);
	assert_int_equal(options.tracker_capacity, 11);
	/* The next argument is the value, whatever it looks like. */
	assert_int_equal(parse("--export-file", "--check", NULL, NULL), 0);
	assert_string_equal(options.export_file, "--check");
	assert_false(options.check);
}

static void
the_last_of_a_repeated_option_wins(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("--threshold-ms", "10", "--threshold-ms", "20"), 0);
	assert_int_equal(options.threshold_ms, 20);
}

static void
collecting_options_collect(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("--recovery-env", "A=1", "--recovery-env", "B="), 0);
	assert_int_equal(options.n_recovery_env, 2);
	assert_string_equal(options.recovery_env[1], "B=");
	assert_null(options.recovery_env[2]);
	assert_int_equal(parse("--allow-uid", "7", "--allow-uid", "root"), 0);
	assert_int_equal(options.allow_uids.n, 2);
	assert_int_equal(options.allow_uids.ids[0], 7);
	assert_int_equal(options.allow_uids.ids[1], 0);
}

static void
bad_values_are_named_with_their_reason(void **state)
{
	(void)state;
	refuses(
	    "--threshold-ms", "9", "--threshold-ms: '9': must be at least 10");
	refuses(
	    "--threshold-ms", "1s", "--threshold-ms: '1s': not a whole number");
	refuses(
	    "--threshold-ms", "-5", "--threshold-ms: '-5': not a whole number");
	refuses("--threshold-ms", "18446744073709551616",
	    "--threshold-ms: '18446744073709551616': too large for a whole "
	    "number of 64 bits");
	refuses("--tracker-capacity", "0",
	    "--tracker-capacity: '0': must be at least 1");
	refuses("--tracker-capacity", "1048577",
	    "--tracker-capacity: '1048577': must be at most 1048576");
	refuses("--socket-mode", "1777",
	    "--socket-mode: '1777': must be an octal mode of at most 0777");
	refuses("--log-format", "xml",
	    "--log-format: 'xml': must be one of plain, json");
	refuses(
	    "--recovery-env", "=x", "--recovery-env: '=x': must be KEY=VALUE");
	refuses("--allow-uid", "no such user",
	    "--allow-uid: 'no such user': no such user");
	refuses("--socket", "", "--socket: '': must not be empty");
}

static void
unknown_and_shortened_options_are_refused(void **state)
{
	(void)state;
	refuses("--frobnicate", NULL, "'--frobnicate': unknown option");
	refuses("--thresh", "100", "'--thresh': unknown option");
	refuses("-s", NULL, "'-s': unknown option");
	refuses("word", NULL, "'word': unknown option");
	refuses("--", NULL, "'--': unknown option");
	refuses("", NULL, "'': unknown option");
	refuses("--check=yes", NULL, "--check: takes no value");
	refuses("--export-file", NULL, "--export-file: needs a value PATH");
}

static void
removed_options_say_what_to_use(void **state)
{
	(void)state;
	refuses("--key-env", NULL,
	    "--key-env: was removed, use --key-file (a file of mode 0600) "
	    "instead");
	/* Their value is not even looked at. */
	refuses("--recovery-cmd-file", "/x",
	    "--recovery-cmd-file: was removed, use --recovery-exec-file "
	    "instead");
}

static void
addresses_are_numeric_with_a_port(void **state)
{
	static const char *const bad[] = { "localhost:80", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+1", "::1:80",
		"[::1]80", "[::1:80", ":80", "1.2.3.4:5:6", "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(parse("--prom-addr", bad[i], NULL, NULL) < 0);
	assert_int_equal(parse("--prom-addr", "127.0.0.1:0", NULL, NULL), 0);
	assert_true(options_address_is_loopback(&options.prom_addr));
	assert_int_equal(parse("--prom-addr", "[::1]:9100", NULL, NULL), 0);
	assert_true(options_address_is_loopback(&options.prom_addr));
	assert_int_equal(
	    ntohs(
		((struct sockaddr_in6 *)&options.prom_addr.storage)->sin6_port),
	    9100);
}

static void
combinations_that_cannot_be_are_refused(void **state)
{
	char *nothing[] = { (char[]){ "varta-watch" }, NULL };

	(void)state;
	assert_true(options_parse(1, nothing, &config, &options, &fault) < 0);
	assert_string_equal(fault.text, "--socket: is required");
	refuses(
	    "--prom-token-file", "/t", "--prom-token-file: needs --prom-addr");
	refuses("--prom-addr", "0.0.0.0:9100",
	    "--prom-addr: an address outside this host needs "
	    "--prom-token-file");
	refuses("--recovery-on-exit", NULL,
	    "--recovery-on-exit: needs --recovery-exec or "
	    "--recovery-exec-file");
	assert_true(parse("--recovery-exec", "a", "--recovery-cmd", "b") < 0);

	assert_int_equal(
	    parse("--self-watchdog-secs", "1", "--read-timeout-ms", "500"), 0);
	assert_true(
	    parse("--self-watchdog-secs", "1", "--read-timeout-ms", "501") < 0);
	assert_string_equal(fault.text,
	    "--read-timeout-ms: '501': must be at most 500 with "
	    "--self-watchdog-secs 1");
	assert_int_equal(
	    parse("--self-watchdog-secs", "2", "--read-timeout-ms", "1000"), 0);
}

static void
help_and_version_end_the_scan(void **state)
{
	(void)state;
	assert_int_equal(parse("--help", "--frobnicate", NULL, NULL), 0);
	assert_true(options.help);
	assert_int_equal(parse("--version", "--frobnicate", NULL, NULL), 0);
	assert_true(options.version);
	assert_true(parse("--frobnicate", "--help", NULL, NULL) < 0);
	assert_int_equal(parse("-h", NULL, NULL, NULL), 0);
	assert_true(options.help);
}

static void
lists_are_bounded(void **state)
{
	enum { N = 2 * (OPTIONS_IDS_MAX + 1) };
	char name[] = "varta-watch", flag[] = "--allow-gid", value[] = "5";
	char *argv[1 + N + 1];

	(void)state;
	argv[0] = name;
	for (int i = 0; i < N; i += 2) {
		argv[1 + i] = flag;
		argv[2 + i] = value;
	}
	argv[1 + N] = NULL;
	assert_true(options_parse(1 + N, argv, &config, &options, &fault) < 0);
	assert_string_equal(
	    fault.text, "--allow-gid: '5': given more than 64 times");
}

static void
every_row_of_the_table_is_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < options_table_count; i++) {
		const struct option_spec *spec = &options_table[i];

		assert_non_null(spec->name);
		assert_non_null(spec->help);
		if (spec->type == OPTION_CHOICE)
			assert_non_null(spec->choices);
		if (spec->type != OPTION_SWITCH && spec->type != OPTION_REMOVED)
			assert_non_null(spec->value);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(
			    spec->name, options_table[j].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_table),
		cmocka_unit_test(values_follow_or_stand_behind_an_equals_sign),
		cmocka_unit_test(the_last_of_a_repeated_option_wins),
		cmocka_unit_test(collecting_options_collect),
		cmocka_unit_test(bad_values_are_named_with_their_reason),
		cmocka_unit_test(unknown_and_shortened_options_are_refused),
		cmocka_unit_test(removed_options_say_what_to_use),
		cmocka_unit_test(addresses_are_numeric_with_a_port),
		cmocka_unit_test(combinations_that_cannot_be_are_refused),
		cmocka_unit_test(help_and_version_end_the_scan),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(every_row_of_the_table_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
