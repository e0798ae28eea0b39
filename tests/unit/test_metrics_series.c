/* Series of agents by name, and none at all. */
#include "support/metrics_fixture.h"

static struct byname *names;

static int
setup(void **state)
{
	(void)fixture_setup(state);
	names = byname_new();
	source.series = METRICS_BY_NAME;
	source.names = names;
	return names == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	byname_free(names);
	return 0;
}

/* n agents, of two names in turn. */
static void
fill_names(uint32_t n)
{
	uint32_t i;

	fill(n);
	for (i = 0; i < n; i++) {
		agents[i].name = i % 2 == 0 ? "even" : "odd";
		agents[i].beats = 10;
		agents[i].stalls = 1;
		agents[i].status = AGENT_OK;
	}
}

static void
agents_of_one_name_are_one_series(void **state)
{
	(void)state;
	fill_names(7);
	agents[0].status = AGENT_CRITICAL;
	agents[0].last_seen_ns = 3 * NS_PER_S;
	(void)render(65536, 3, 5);
	assert_has("varta_beats_total{name=\"even\"} 40");
	assert_has("varta_beats_total{name=\"odd\"} 30");
	assert_has("varta_stalls_total{name=\"even\"} 4");
	assert_has("varta_status{name=\"even\"} 2");
	assert_has("varta_status{name=\"odd\"} 0");
	assert_has("varta_agent_last_beat_timestamp_seconds{name=\"even\"} "
		   "3.000");
	assert_int_equal(count("{name="), 8);
	assert_int_equal(count("pid="), 0);
	assert_int_equal(count("(others)"), 0);
}

static void
counters_stay_when_agents_go_and_gauges_do_not(void **state)
{
	(void)state;
	fill_names(2);
	byname_keep(names, &agents[0]);
	agents[0].pid = 0;
	(void)render(65536, 100, 5);
	assert_has("varta_beats_total{name=\"even\"} 10");
	assert_has("varta_stalls_total{name=\"even\"} 1");
	assert_int_equal(count("varta_status{"), 1);
	assert_int_equal(count("varta_agent_last_beat_timestamp_seconds{"), 1);
}

static void
the_number_of_series_is_bounded(void **state)
{
	static char many[SLOTS_MAX][8];
	uint32_t i;

	(void)state;
	fill_names(SLOTS_MAX);
	for (i = 0; i < SLOTS_MAX; i++) {
		(void)snprintf(many[i], sizeof(many[i]), "%u", i);
		agents[i].name = many[i];
	}
	(void)render(METRICS_PIECE_MIN, 2048, 5);
	assert_int_equal(count("varta_beats_total{"), BYNAME_ROWS);
	assert_int_equal(count("varta_status{"), BYNAME_ROWS);
	assert_has("varta_beats_total{name=\"0\"} 10");
	assert_has("varta_beats_total{name=\"1023\"} 10");
	assert_has("varta_beats_total{name=\"(others)\"} 189760");
}

static void
no_call_looks_at_more_agents_than_it_may(void **state)
{
	struct metrics_render *r;
	bool done = false;

	(void)state;
	fill_names(6000);
	r = metrics_render_new(&source, format, 5);
	assert_non_null(r);
	while (!done) {
		n_looks = 0;
		(void)metrics_render(r, text, 65536, 64, &done);
		assert_true(n_looks <= 64);
	}
	metrics_render_free(r);
}

static void
no_series_of_agents_leaves_their_families_empty(void **state)
{
	(void)state;
	source.series = METRICS_TOTALS;
	source.names = NULL;
	fill_names(10);
	stats.beats = 100;
	(void)render(65536, 100, 5);
	assert_int_equal(n_looks, 0);
	assert_int_equal(count("name="), 0);
	assert_int_equal(count("pid="), 0);
	assert_has("# TYPE varta_beats_total counter");
	assert_has("# TYPE varta_agent_info gauge");
	assert_has("varta_beats_all_total 100");
	assert_has("varta_watch_pids_tracked 10");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(agents_of_one_name_are_one_series),
		TEST(counters_stay_when_agents_go_and_gauges_do_not),
		TEST(the_number_of_series_is_bounded),
		TEST(no_call_looks_at_more_agents_than_it_may),
		TEST(no_series_of_agents_leaves_their_families_empty),
	};

	return cmocka_run_group_tests_name("metrics_series", tests, NULL, NULL);
}
