/* Rows of lanes: one series for each while agents have series by pid, none
 * otherwise, and names that cannot break the text. */
#include "support/metrics_fixture.h"

enum { LANE_SLOTS = 3000 };

/* pid 0 is a free slot. */
static struct lane_row lanes[LANE_SLOTS];
static char lane_names[LANE_SLOTS][32];
static uint32_t n_lane_slots, n_lane_looks;

static bool
lane(void *ctx, uint32_t slot, struct lane_row *ret)
{
	assert_null(ctx);
	assert_true(slot < n_lane_slots);
	n_lane_looks++;
	*ret = lanes[slot];
	return lanes[slot].pid != 0;
}

static uint32_t
lane_slots(void *ctx)
{
	assert_null(ctx);
	return n_lane_slots;
}

static int
setup(void **state)
{
	(void)fixture_setup(state);
	memset(lanes, 0, sizeof(lanes));
	n_lane_slots = n_lane_looks = 0;
	source.lane = lane;
	source.lane_slots = lane_slots;
	return 0;
}

static struct lane_row *
add_lane(uint32_t pid, const char *name)
{
	uint32_t slot = n_lane_slots++;

	(void)snprintf(lane_names[slot], sizeof(lane_names[0]), "%s", name);
	lanes[slot] = (struct lane_row){
		.pid = pid,
		.name = lane_names[slot],
		.beats = 70 + slot,
		.stalls = 2,
		.joined_ns = 1,
		.last_seen_ns = 3 * NS_PER_S,
		.status = AGENT_DEGRADED,
	};
	return &lanes[slot];
}

static void
each_lane_has_a_series_of_each_kind(void **state)
{
	(void)state;
	(void)add_lane(42, "writer");
	add_lane(42, "reader")->is_idle = true;
	add_lane(7, "writer")->status = AGENT_STALLED;
	(void)render(65536, 100, 5);
	assert_has("# TYPE varta_lane_beats_total counter");
	assert_has("varta_lane_beats_total{pid=\"42\",lane=\"writer\"} 70");
	assert_has("varta_lane_beats_total{pid=\"42\",lane=\"reader\"} 71");
	assert_has("varta_lane_beats_total{pid=\"7\",lane=\"writer\"} 72");
	assert_has("varta_lane_stalls_total{pid=\"42\",lane=\"writer\"} 2");
	assert_has("varta_lane_status{pid=\"42\",lane=\"writer\"} 1");
	assert_has("varta_lane_status{pid=\"7\",lane=\"writer\"} 3");
	assert_has("varta_lane_busy{pid=\"42\",lane=\"writer\"} 1");
	assert_has("varta_lane_busy{pid=\"42\",lane=\"reader\"} 0");
	assert_has("varta_lane_last_beat_timestamp_seconds{pid=\"42\","
		   "lane=\"writer\"} 3.000");
	assert_int_equal(count("lane=\""), 15);
}

static void
a_name_is_escaped_as_a_label(void **state)
{
	(void)state;
	(void)add_lane(1, "a\"b\\c\nd");
	(void)add_lane(2, "\x01\xff");
	(void)add_lane(3, "w\xc3\xb6rker");
	(void)render(65536, 100, 5);
	assert_has(
	    "varta_lane_stalls_total{pid=\"1\",lane=\"a\\\"b\\\\c\\nd\"} 2");
	assert_has("varta_lane_stalls_total{pid=\"2\",lane=\"\xef\xbf\xbd"
		   "\xef\xbf\xbd\"} 2");
	assert_has(
	    "varta_lane_stalls_total{pid=\"3\",lane=\"w\xc3\xb6rker\"} 2");
}

static void
the_longest_row_fits_into_the_smallest_piece(void **state)
{
	struct lane_row *row;
	char name[32];

	(void)state;
	memset(name, 1, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (uint32_t i = 0; i < 20; i++) {
		row = add_lane(UINT32_MAX - i, name);
		row->beats = UINT64_MAX;
		row->last_seen_ns = UINT64_MAX;
	}
	(void)render(METRICS_PIECE_MIN, 3, 5);
	assert_int_equal(count("varta_lane_beats_total{"), 20);
}

static void
free_slots_and_lanes_opened_later_have_none(void **state)
{
	(void)state;
	(void)add_lane(42, "writer");
	(void)add_lane(0, "free");
	add_lane(42, "later")->joined_ns = 6;
	add_lane(42, "now")->joined_ns = 5;
	(void)render(65536, 100, 5);
	assert_int_equal(count("varta_lane_beats_total{"), 2);
	assert_int_equal(count("\"later\""), 0);
}

static void
where_agents_have_no_series_by_pid_lanes_have_none(void **state)
{
	struct byname *names = byname_new();

	(void)state;
	assert_non_null(names);
	(void)add_lane(42, "writer");
	stats.lane_joins = 12;
	gauges.lanes = 1;
	gauges.lanes_max = 4096;
	source.series = METRICS_BY_NAME;
	source.names = names;
	(void)render(65536, 100, 5);
	assert_int_equal(count("lane=\""), 0);
	/* Their family is there, and so are their totals. */
	assert_has("# TYPE varta_lane_beats_total counter");
	assert_has("varta_lane_joins_total 12");
	source.series = METRICS_TOTALS;
	source.names = NULL;
	(void)render(65536, 100, 5);
	assert_int_equal(count("lane=\""), 0);
	assert_has("varta_lanes 1");
	assert_has("varta_lanes_max 4096");
	assert_int_equal(n_lane_looks, 0);
	byname_free(names);
}

static void
an_observer_without_lanes_has_their_families_empty(void **state)
{
	(void)state;
	source.lane = NULL;
	source.lane_slots = NULL;
	(void)render(65536, 100, 5);
	assert_int_equal(count("lane=\""), 0);
	assert_has("# TYPE varta_lane_status gauge");
	assert_has("varta_lanes_max 0");
}

static void
why_they_were_refused_or_stalled_is_counted(void **state)
{
	(void)state;
	for (int i = 0; i < STATS_LANE_COUNT; i++)
		stats.lane_refused[i] = (uint64_t)i + 1;
	stats.lane_stalls[STALL_SILENT] = 8;
	stats.lane_stalls[STALL_GONE] = 9;
	(void)render(65536, 100, 5);
	assert_has("varta_lanes_refused_total{reason=\"user\"} 1");
	assert_has("varta_lanes_refused_total{reason=\"memory\"} 2");
	assert_has("varta_lanes_refused_total{reason=\"agent\"} 3");
	assert_has("varta_lanes_refused_total{reason=\"record\"} 4");
	assert_has("varta_lanes_refused_total{reason=\"room\"} 5");
	assert_has("varta_lane_stalls_all_total{reason=\"silent\"} 8");
	assert_has("varta_lane_stalls_all_total{reason=\"gone\"} 9");
}

static void
openmetrics_names_counters_without_total(void **state)
{
	(void)state;
	format = METRICS_OPEN;
	(void)add_lane(42, "writer");
	(void)render(METRICS_PIECE_MIN, 7, 5);
	assert_has("# TYPE varta_lane_beats counter");
	assert_has("varta_lane_beats_total{pid=\"42\",lane=\"writer\"} 70");
	assert_has("# TYPE varta_lanes_refused counter");
	assert_has("# TYPE varta_lane_busy gauge");
	assert_int_equal(count("# EOF"), 1);
}

static void
no_call_looks_at_more_lanes_than_it_may(void **state)
{
	struct metrics_render *r;
	bool done = false;
	size_t len = 0;

	(void)state;
	for (uint32_t i = 0; i < LANE_SLOTS; i++)
		(void)add_lane(i + 1, "writer");
	r = metrics_render_new(&source, format, 5);
	assert_non_null(r);
	while (!done) {
		n_lane_looks = 0;
		len += metrics_render(r, text + len, 65536, 64, &done);
		assert_true(n_lane_looks <= 64);
	}
	text[len] = '\0';
	metrics_render_free(r);
	assert_int_equal(count("varta_lane_beats_total{"), LANE_SLOTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
		    each_lane_has_a_series_of_each_kind, setup),
		cmocka_unit_test_setup(a_name_is_escaped_as_a_label, setup),
		cmocka_unit_test_setup(
		    the_longest_row_fits_into_the_smallest_piece, setup),
		cmocka_unit_test_setup(
		    free_slots_and_lanes_opened_later_have_none, setup),
		cmocka_unit_test_setup(
		    where_agents_have_no_series_by_pid_lanes_have_none, setup),
		cmocka_unit_test_setup(
		    an_observer_without_lanes_has_their_families_empty, setup),
		cmocka_unit_test_setup(
		    why_they_were_refused_or_stalled_is_counted, setup),
		cmocka_unit_test_setup(
		    openmetrics_names_counters_without_total, setup),
		cmocka_unit_test_setup(
		    no_call_looks_at_more_lanes_than_it_may, setup),
	};

	return cmocka_run_group_tests_name("metrics_lanes", tests, NULL, NULL);
}
