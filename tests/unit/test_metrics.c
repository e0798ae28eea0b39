#include "watch/tell/metrics.h"

#include "base/log.h"
#include "support/fault.h"
#include "support/metrics_fixture.h"

FAULT(void *, NULL, malloc, (size_t size), (size))

enum { FAMILIES = 5 /* of agents */ };

static int
setup(void **state)
{
	fault_off(&fault_malloc);
	return fixture_setup(state);
}

static void
every_family_has_help_and_type_once_and_in_order(void **state)
{
	char head[256];
	const char *at = text, *name;
	size_t i;

	(void)state;
	(void)render(65536, 100, 0);
	for (i = 0; (name = metrics_family_name(i)) != NULL; i++) {
		(void)snprintf(head, sizeof(head), "# HELP %s ", name);
		assert_int_equal(count(head), 1);
		at = strstr(at, head);
		assert_non_null(at);
		(void)snprintf(head, sizeof(head), "# TYPE %s ", name);
		assert_int_equal(count(head), 1);
		at = strstr(at, head);
		assert_non_null(at);
	}
	assert_int_equal(count("# TYPE "), i);
}

static void
log_kinds_have_the_names_of_the_log(void **state)
{
	char line[128];
	int kind;

	(void)state;
	(void)render(65536, 100, 0);
	for (kind = 0; kind < LOG_KIND_COUNT; kind++) {
		(void)snprintf(line, sizeof(line),
		    "varta_log_suppressed_total{kind=\"%s\"} 0",
		    log_kind_names[kind]);
		assert_has(line);
	}
}

static void
values_come_from_their_counters(void **state)
{
	(void)state;
	stats.decode_errors[STATS_BAD_STATUS] = UINT64_MAX;
	stats.recovery[RECOVERY_SPAWNED] = 3;
	stats.recovery[RECOVERY_REAPED_NONZERO] = 4;
	stats.recovery[RECOVERY_REAP_FAILED] = 5;
	stats.recovery[RECOVERY_REFUSED_SOCKET_MODE_ONLY] = 6;
	stats.stalls[STALL_GONE] = 7;
	stats.late_gap_ns = 12345678901;
	gauges.started_ns = NS_PER_S;
	gauges.last_pass_wall_ms = 1700000000007;
	gauges.agents = 9;
	(void)render(65536, 100, 3456 * NS_PER_MS);
	assert_has("varta_decode_errors_total{kind=\"bad_status\"} "
		   "18446744073709551615");
	assert_has("varta_recovery_outcomes_total{outcome=\"spawned\"} 3");
	assert_has(
	    "varta_recovery_outcomes_total{outcome=\"reaped_nonzero\"} 9");
	assert_has("varta_recovery_outcomes_total{outcome=\"refused_socket_"
		   "mode_only\"} 6");
	assert_has(
	    "varta_recovery_refused_total{reason=\"socket_mode_only\"} 6");
	assert_has("varta_stalls_all_total{reason=\"gone\"} 7");
	assert_has("varta_observer_late_seconds_total 12.345678901");
	assert_has("varta_watch_uptime_seconds 2.456");
	assert_has("varta_watch_last_poll_loop_timestamp_seconds "
		   "1700000000.007");
	assert_has("varta_watch_pids_tracked 9");
}

static void
buckets_of_histograms_are_cumulative(void **state)
{
	struct stats_histogram *h = &stats.stage[STATS_STAGE_POLL];

	(void)state;
	h->buckets[0] = 2;
	h->buckets[3] = 5;
	h->buckets[8] = 1;
	h->sum_ns = 3 * NS_PER_S + 1;
	h->count = 8;
	(void)render(65536, 100, 0);
#define STAGE "varta_observer_stage_seconds"
	assert_has(STAGE "_bucket{stage=\"poll\",le=\"0.001\"} 2");
	assert_has(STAGE "_bucket{stage=\"poll\",le=\"0.01\"} 2");
	assert_has(STAGE "_bucket{stage=\"poll\",le=\"0.05\"} 7");
	assert_has(STAGE "_bucket{stage=\"poll\",le=\"1\"} 7");
	assert_has(STAGE "_bucket{stage=\"poll\",le=\"+Inf\"} 8");
	assert_has(STAGE "_sum{stage=\"poll\"} 3.000000001");
	assert_has(STAGE "_count{stage=\"poll\"} 8");
#undef STAGE
	assert_has("varta_observer_iteration_seconds_bucket{le=\"+Inf\"} 0");
	assert_has("varta_observer_iteration_seconds_sum 0.000000000");
	assert_has("varta_observer_iteration_seconds_count 0");
}

static void
an_agent_has_a_row_in_each_family_of_agents(void **state)
{
	(void)state;
	n_slots = 1;
	gauges.agents = 1;
	agents[0] = an_agent(UINT32_MAX);
	agents[0].beats = UINT64_MAX;
	agents[0].stalls = 2;
	agents[0].status = AGENT_STALLED;
	(void)render(65536, 100, 5);
	assert_has("varta_beats_total{pid=\"4294967295\"} "
		   "18446744073709551615");
	assert_has("varta_stalls_total{pid=\"4294967295\"} 2");
	assert_has("varta_status{pid=\"4294967295\"} 3");
	assert_has(
	    "varta_agent_last_beat_timestamp_seconds{pid=\"4294967295\"} "
	    "0.000");
	assert_has("varta_agent_info{pid=\"4294967295\",name=\"\",uid=\"0\","
		   "origin=\"network_unverified\"} 1");
	assert_int_equal(count("{pid="), FAMILIES);
}

static void
rows_go_by_pid_up_to_4096_agents(void **state)
{
	char *at = text;
	uint32_t i;

	(void)state;
	fill(4096);
	(void)render(65536, 100, 5);
	at = strstr(text, "varta_stalls_total{");
	for (i = 0; i < 4096; i++) {
		at = strchr(at, '"') + 1;
		assert_int_equal(strtoul(at, &at, 10), i + 2);
		at = strchr(at, '\n');
	}
	assert_int_equal(count("{pid="), FAMILIES * 4096);
}

static void
more_agents_go_in_the_order_of_the_table(void **state)
{
	char *at = text;
	uint32_t i;

	(void)state;
	fill(SLOTS_MAX);
	(void)render(65536, 100, 5);
	at = strstr(text, "varta_status{");
	for (i = 0; i < SLOTS_MAX; i++) {
		at = strchr(at, '"') + 1;
		assert_int_equal(strtoul(at, &at, 10), SLOTS_MAX + 1 - i);
		at = strchr(at, '\n');
	}
	assert_int_equal(count("{pid="), FAMILIES * SLOTS_MAX);
}

static void
a_gauge_that_is_too_low_does_no_harm(void **state)
{
	(void)state;
	fill(5000);
	gauges.agents = 1;
	(void)render(65536, 100, 5);
	assert_int_equal(count("varta_beats_total{pid="), 5000);
}

static void
the_size_of_pieces_does_not_change_the_text(void **state)
{
	static char whole[TEXT_MAX];
	static const size_t sizes[] = { METRICS_PIECE_MIN, 1025, 1500, 4096,
		65536 };
	size_t i;

	(void)state;
	fill(500);
	(void)render(1 << 20, UINT32_MAX, 5);
	strcpy(whole, text);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		(void)render(sizes[i], 7, 5);
		assert_string_equal(text, whole);
	}
}

static void
no_call_looks_at_more_agents_than_it_may(void **state)
{
	static const uint32_t numbers[] = { 3000, 6000 };
	struct metrics_render *r;
	bool done;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		fill(numbers[i]);
		r = metrics_render_new(&source, format, 5);
		assert_non_null(r);
		done = false;
		while (!done) {
			n_looks = 0;
			(void)metrics_render(r, text, 65536, 64, &done);
			assert_true(n_looks <= 64);
		}
		metrics_render_free(r);
	}
}

static void
agents_that_come_or_go_meanwhile_make_no_second_row(void **state)
{
	static const uint32_t numbers[] = { 100, 5000 };
	struct metrics_render *r;
	size_t i, n, len;
	bool done;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		fill(numbers[i]);
		r = metrics_render_new(&source, format, 5);
		assert_non_null(r);
		done = false;
		/* Until the first rows are out. */
		for (len = 0; strstr(text, "{pid=") == NULL; len += n) {
			n = metrics_render(r, text + len, 1024, 50, &done);
			text[len + n] = '\0';
		}
		/* The agent of slot 0 leaves, its pid comes back elsewhere,
		 * and another agent takes its slot. */
		agents[numbers[i] - 1] = agents[0];
		agents[numbers[i] - 1].joined_ns = 6;
		agents[0] = an_agent(60000);
		agents[0].joined_ns = 7;
		while (!done) {
			n = metrics_render(r, text + len, 65536, 50, &done);
			len += n;
		}
		text[len] = '\0';
		metrics_render_free(r);

		assert_int_equal(count("varta_status{pid="), numbers[i] - 2);
		assert_int_equal(count("{pid=\"60000\""), 0);
		assert_true(count("varta_beats_total{pid=\"5001\"}") <= 1);
		text[0] = '\0';
	}
}

static void
an_agent_that_leaves_meanwhile_is_left_out(void **state)
{
	struct metrics_render *r;
	size_t len = 0;
	bool done = false;

	(void)state;
	fill(10);
	r = metrics_render_new(&source, format, 5);
	assert_non_null(r);
	assert_int_equal(metrics_render(r, text, 65536, 100, &done), 0);
	agents[4].pid = 0;
	while (!done)
		len += metrics_render(r, text + len, 65536, 100, &done);
	text[len] = '\0';
	metrics_render_free(r);
	assert_int_equal(count("varta_beats_total{pid="), 9);
}

static void
counters_are_those_of_the_start(void **state)
{
	struct metrics_render *r;
	size_t len = 0;
	bool done = false;

	(void)state;
	stats.beats = 1;
	r = metrics_render_new(&source, format, 5);
	assert_non_null(r);
	stats.beats = 2;
	while (!done)
		len += metrics_render(r, text + len, 65536, 100, &done);
	text[len] = '\0';
	metrics_render_free(r);
	assert_has("varta_beats_all_total 1");
}

static void
no_memory_is_no_rendering(void **state)
{
	(void)state;
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_null(metrics_render_new(&source, format, 0));
	fault_off(&fault_malloc);
	metrics_render_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_family_has_help_and_type_once_and_in_order),
		TEST(log_kinds_have_the_names_of_the_log),
		TEST(values_come_from_their_counters),
		TEST(buckets_of_histograms_are_cumulative),
		TEST(an_agent_has_a_row_in_each_family_of_agents),
		TEST(rows_go_by_pid_up_to_4096_agents),
		TEST(more_agents_go_in_the_order_of_the_table),
		TEST(a_gauge_that_is_too_low_does_no_harm),
		TEST(the_size_of_pieces_does_not_change_the_text),
		TEST(no_call_looks_at_more_agents_than_it_may),
		TEST(agents_that_come_or_go_meanwhile_make_no_second_row),
		TEST(an_agent_that_leaves_meanwhile_is_left_out),
		TEST(counters_are_those_of_the_start),
		TEST(no_memory_is_no_rendering),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
