/* OpenMetrics, fine histograms, and who an agent is. */
#include "support/metrics_fixture.h"

static int
setup(void **state)
{
	(void)fixture_setup(state);
	format = METRICS_OPEN;
	return 0;
}

static void
it_ends_in_eof_and_only_there(void **state)
{
	static const size_t sizes[] = { METRICS_PIECE_MIN, 1500, 65536 };
	size_t i, len;

	(void)state;
	fill(100);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		len = render(sizes[i], 7, 5);
		assert_string_equal(text + len - 6, "# EOF\n");
		assert_int_equal(count("# EOF"), 1);
	}
	format = METRICS_CLASSIC;
	(void)render(65536, 7, 5);
	assert_int_equal(count("# EOF"), 0);
}

static void
a_counter_is_named_without_total_and_sampled_with_it(void **state)
{
	(void)state;
	fill(1);
	(void)render(65536, 7, 5);
	assert_has("# TYPE varta_beats counter");
	assert_has("varta_beats_total{pid=\"2\"} 20");
	assert_has("# TYPE varta_io_errors counter");
	assert_has("varta_io_errors_total 0");
	assert_int_equal(count("_total counter"), 0);
	/* What has no _total cannot be a counter there. */
	assert_has("# TYPE varta_recovery_duration_ns_sum unknown");
	assert_has("varta_recovery_duration_ns_sum 0");
	assert_has("# TYPE varta_recovery_duration_count counter");
}

static void
units_are_told_where_names_end_in_them(void **state)
{
	(void)state;
	(void)render(65536, 7, 5);
	assert_has("# UNIT varta_observer_iteration_seconds seconds");
	assert_has("# UNIT varta_observer_late_seconds seconds");
	assert_has("# UNIT varta_observer_uds_rcvbuf_bytes bytes");
	assert_has("# UNIT varta_watch_uptime_seconds seconds");
	assert_int_equal(count("# UNIT varta_io_errors"), 0);
	format = METRICS_CLASSIC;
	(void)render(65536, 7, 5);
	assert_int_equal(count("# UNIT"), 0);
}

static void
bounds_are_floats_there_and_as_in_the_reference_elsewhere(void **state)
{
#define STAGE "varta_observer_stage_seconds_bucket{stage=\"poll\","
	(void)state;
	(void)render(65536, 7, 5);
	assert_has(STAGE "le=\"0.5\"} 0");
	assert_has(STAGE "le=\"1.0\"} 0");
	assert_has(STAGE "le=\"+Inf\"} 0");
	assert_has("varta_beat_interval_seconds_bucket{le=\"5e-05\"} 0");
	assert_has("varta_beat_interval_seconds_bucket{le=\"10.0\"} 0");
	format = METRICS_CLASSIC;
	(void)render(65536, 7, 5);
	assert_has(STAGE "le=\"1\"} 0");
	assert_has("varta_beat_interval_seconds_bucket{le=\"10\"} 0");
#undef STAGE
}

static void
who_an_agent_is_stands_in_labels(void **state)
{
	(void)state;
	fill(2);
	agents[0].name = "a \"b\"\\\nc";
	agents[0].uid = 1000;
	agents[0].origin = ORIGIN_KERNEL_ATTESTED;
	agents[1].uid = UINT32_MAX;
	agents[1].origin = ORIGIN_SOCKET_MODE_ONLY;
	(void)render(65536, 7, 5);
	assert_has("# TYPE varta_agent info");
	assert_has("varta_agent_info{pid=\"3\",name=\"a \\\"b\\\"\\\\\\nc\","
		   "uid=\"1000\",origin=\"kernel_attested\"} 1");
	assert_has("varta_agent_info{pid=\"2\",name=\"\",uid=\"unknown\","
		   "origin=\"socket_mode_only\"} 1");
	format = METRICS_CLASSIC;
	(void)render(65536, 7, 5);
	assert_has("# TYPE varta_agent_info gauge");
	assert_int_equal(count("varta_agent_info{"), 2);
}

static void
a_last_beat_has_its_time_on_the_wall(void **state)
{
#define LAST "varta_agent_last_beat_timestamp_seconds{pid="
	(void)state;
	fill(3);
	gauges.last_pass_wall_ms = 1700000000500;
	gauges.last_pass_ns = 100 * NS_PER_S;
	agents[0].last_seen_ns = 99 * NS_PER_S;
	agents[1].last_seen_ns = 100 * NS_PER_S + 250 * NS_PER_MS;
	agents[2].last_seen_ns = 0;
	(void)render(65536, 7, 200 * NS_PER_S);
	assert_has(LAST "\"4\"} 1699999999.500");
	assert_has(LAST "\"3\"} 1700000000.750");
	assert_has(LAST "\"2\"} 1699999900.500");
	gauges.last_pass_wall_ms = 0; /* no such time */
	(void)render(65536, 7, 200 * NS_PER_S);
	assert_has(LAST "\"4\"} 0.000");
#undef LAST
}

static void
fine_histograms_have_their_own_bounds_and_long_sums(void **state)
{
	struct stats_fine *h = &stats.beat_interval;

	(void)state;
	h->buckets[0] = 1;
	h->buckets[12] = 4;
	h->buckets[17] = 2;
	/* 2^63 of 1,024 ns: no number of nanoseconds of 64 bits. */
	h->sum_1024ns = UINT64_C(1) << 63;
	stats_fine_add(&stats.stall_lateness, 300 * NS_PER_US);
	stats_fine_add(&stats.recovery_latency, 20 * NS_PER_S);
	(void)render(65536, 7, 5);
#define NAME "varta_beat_interval_seconds"
	assert_has(NAME "_bucket{le=\"5e-05\"} 1");
	assert_has(NAME "_bucket{le=\"0.25\"} 1");
	assert_has(NAME "_bucket{le=\"0.5\"} 5");
	assert_has(NAME "_bucket{le=\"10.0\"} 5");
	assert_has(NAME "_bucket{le=\"+Inf\"} 7");
	assert_has(NAME "_sum 9444732965739.290427392");
	assert_has(NAME "_count 7");
#undef NAME
	assert_int_equal(
	    count("varta_beat_interval_seconds_bucket{"), STATS_FINE_BUCKETS);
	assert_has("varta_stall_lateness_seconds_bucket{le=\"0.00025\"} 0");
	assert_has("varta_stall_lateness_seconds_bucket{le=\"0.0005\"} 1");
	assert_has("varta_stall_lateness_seconds_sum 0.000300032");
	assert_has("varta_recovery_latency_seconds_bucket{le=\"10.0\"} 0");
	assert_has("varta_recovery_latency_seconds_count 1");
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_ends_in_eof_and_only_there),
		TEST(a_counter_is_named_without_total_and_sampled_with_it),
		TEST(units_are_told_where_names_end_in_them),
		TEST(bounds_are_floats_there_and_as_in_the_reference_elsewhere),
		TEST(who_an_agent_is_stands_in_labels),
		TEST(a_last_beat_has_its_time_on_the_wall),
		TEST(fine_histograms_have_their_own_bounds_and_long_sums),
	};

	return cmocka_run_group_tests_name("metrics_open", tests, NULL, NULL);
}
