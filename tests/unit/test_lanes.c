/*
 * Lanes as an observer sees them: the memory, its records, and what a beat
 * writes.
 */
#include <errno.h>
#include <stdlib.h>

#include "support/lanes_fixture.h"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

/* Memory. */

static void
the_memory_is_sealed_and_has_its_full_size(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int seals;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	seals = fcntl(watcher.memory_fd, F_GET_SEALS);
	assert_int_equal(
	    seals & ~F_SEAL_EXEC, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(fstat(watcher.memory_fd, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, WATCHER_MEMORY_BYTES);
	assert_int_equal(ftruncate(watcher.memory_fd, LANE_PAGE_BYTES), -1);
}

static void
the_bytes_lie_where_the_layout_says(void **state)
{
	static const uint8_t zero[48];
	struct fixture *f = *state;
	struct varta_lane *lane;
	const uint8_t *record;
	uint32_t generation, threshold_ms;

	watch_and_open(f);
	assert_int_equal(varta_lane_open(f->agent, "worker-1", 250, &lane), 0);
	watcher_accept();

	assert_int_equal(watcher_head()->magic, LANE_MAGIC);
	assert_int_equal(watcher_head()->version, 1);
	assert_int_equal(watcher_head()->record_bytes, 64);
	assert_int_equal(watcher_head()->pages, 16);
	assert_int_equal(atomic_load(&watcher_head()->lanes), 1);
	assert_memory_equal(watcher_head()->zero, zero, sizeof(zero));

	record = watcher.memory + 64;
	assert_memory_equal(record, zero, 16); /* no beat yet */
	memcpy(&generation, record + 16, 4);
	assert_int_equal(generation, 1);
	memcpy(&threshold_ms, record + 20, 4);
	assert_int_equal(threshold_ms, 250);
	assert_memory_equal(record + 24, zero, 8);
	assert_string_equal((const char *)record + 32, "worker-1");
	assert_memory_equal(record + 40, zero, 24);
}

static void
a_page_costs_memory_from_its_first_lane_on(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char name[8];
	uint32_t i;

	if (sysconf(_SC_PAGESIZE) != LANE_PAGE_BYTES)
		skip();
	watch_and_open(f);
	for (i = 0; i < LANE_PAGE_RECORDS; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		(void)open_lane(f, name);
	}
	watcher_accept();
	assert_int_equal(fstat(watcher.memory_fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, LANE_PAGE_BYTES);
	(void)open_lane(f, "one more");
	assert_int_equal(fstat(watcher.memory_fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, 2 * LANE_PAGE_BYTES);
	assert_string_equal(
	    watcher_record(LANE_PAGE_RECORDS)->name, "one more");
	assert_int_equal(lane_record_offset(LANE_PAGE_RECORDS), 4096 + 64);
}

/* Opening and closing. */

static void
what_is_no_lane_is_refused(void **state)
{
	static const char long_name[] = "0123456789abcdef0123456789abcdef";
	struct fixture *f = *state;
	struct varta_lane *lane = NULL;

	listen_and_open(f);
	assert_int_equal(
	    varta_lane_open(NULL, "a", 1000, &lane), VARTA_ERR_CLOSED);
	assert_int_equal(
	    varta_lane_open(f->agent, NULL, 1000, &lane), VARTA_ERR_LANE_NAME);
	assert_int_equal(
	    varta_lane_open(f->agent, "", 1000, &lane), VARTA_ERR_LANE_NAME);
	assert_int_equal(varta_lane_open(f->agent, long_name, 1000, &lane),
	    VARTA_ERR_LANE_NAME);
	assert_int_equal(
	    varta_lane_open(f->agent, "a", 9, &lane), VARTA_ERR_LANE_THRESHOLD);
	assert_int_equal(
	    varta_lane_open(f->agent, "a", 0, &lane), VARTA_ERR_LANE_THRESHOLD);
	assert_null(lane);
	assert_null(f->agent->lanes);

	assert_int_equal(
	    varta_lane_open(f->agent, long_name + 1, 10, &lane), 0);
	assert_int_equal(
	    varta_lane_open(f->agent, "\xff\n", UINT32_MAX, &lane), 0);
}

static void
agents_over_a_network_have_no_lanes(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane = NULL;

	assert_int_equal(varta_open("udp:127.0.0.1:9", &f->agent), 0);
	assert_int_equal(
	    varta_lane_open(f->agent, "a", 1000, &lane), VARTA_ERR_UNSUPPORTED);
	assert_null(lane);
	assert_int_equal(varta_lanes_attach(f->agent), VARTA_ERR_UNSUPPORTED);
}

static void
calls_without_a_lane_do_nothing(void **state)
{
	(void)state;
	varta_lane_beat(NULL);
	varta_lane_idle(NULL);
	varta_lane_set_status(NULL, VARTA_OK);
	varta_lane_close(NULL);
	assert_int_equal(varta_lanes_attach(NULL), VARTA_ERR_CLOSED);
}

static void
open_lanes_of_an_agent_have_different_names(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane, *other = NULL;
	struct varta_agent *second;

	listen_and_open(f);
	lane = open_lane(f, "a");
	assert_int_equal(varta_lane_open(f->agent, "a", 1000, &other), -EEXIST);
	assert_null(other);
	(void)open_lane(f, "ab");
	(void)open_lane(f, "A");
	varta_lane_close(lane);
	(void)open_lane(f, "a");

	assert_int_equal(varta_open(f->path, &second), 0);
	assert_int_equal(varta_lane_open(second, "a", 1000, &other), 0);
	varta_close(second);
}

static void
records_are_used_again_the_lowest_first(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a, *b;

	watch_and_open(f);
	a = open_lane(f, "a");
	b = open_lane(f, "b");
	(void)open_lane(f, "c");
	watcher_accept();
	varta_lane_beat(b);
	varta_lane_set_status(b, VARTA_CRITICAL);
	varta_lane_close(b);
	assert_int_equal(generation_of(1), 2);
	assert_int_equal(beat_ns_of(1), 0);
	varta_lane_close(a);
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(atomic_load(&watcher_head()->lanes), 3);

	assert_int_equal(varta_lane_open(f->agent, "longer", 50, &a), 0);
	assert_int_equal(varta_lane_open(f->agent, "x", 2000, &b), 0);
	assert_int_equal(generation_of(0), 3);
	assert_string_equal(watcher_record(0)->name, "longer");
	assert_int_equal(generation_of(1), 3);
	assert_string_equal(watcher_record(1)->name, "x");
	assert_int_equal(watcher_record(1)->threshold_ms, 2000);
	assert_int_equal(atomic_load(&watcher_record(1)->status), VARTA_OK);
	assert_int_equal(beats_of(1), 0);
	assert_int_equal(atomic_load(&watcher_head()->lanes), 3);

	(void)open_lane(f, "d");
	assert_int_equal(atomic_load(&watcher_head()->lanes), 4);
	assert_int_equal(generation_of(3), 1);

	/* Nothing of the longer name is left behind. */
	varta_lane_close(a);
	(void)open_lane(f, "y");
	assert_memory_equal(watcher_record(0)->name, "y\0\0\0\0\0", 7);
}

static void
a_thousand_and_eight_lanes_are_all(void **state)
{
	struct fixture *f = *state;
	static struct varta_lane *lanes[LANES_MAX];
	struct varta_lane *more = NULL;
	char name[LANE_NAME_BYTES];
	uint32_t i;

	watch_and_open(f);
	for (i = 0; i < LANES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "lane %u", i);
		lanes[i] = open_lane(f, name);
	}
	assert_int_equal(i, 1008);
	assert_int_equal(
	    varta_lane_open(f->agent, "one more", 1000, &more), -ENOSPC);
	assert_null(more);

	watcher_accept();
	assert_int_equal(atomic_load(&watcher_head()->lanes), LANES_MAX);
	for (i = 0; i < LANES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "lane %u", i);
		assert_string_equal(watcher_record(i)->name, name);
		assert_int_equal(generation_of(i), 1);
	}
	varta_lane_beat(lanes[1007]);
	assert_int_equal(beats_of(1007), 1);

	varta_lane_close(lanes[500]);
	more = open_lane(f, "one more");
	assert_string_equal(watcher_record(500)->name, "one more");
	assert_int_equal(
	    varta_lane_open(f->agent, "two more", 1000, &more), -ENOSPC);
}

static void
closing_the_agent_ends_its_lanes_in_order(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;

	watch_and_open(f);
	a = open_lane(f, "a");
	varta_lane_close(open_lane(f, "b"));
	varta_lane_beat(a);
	varta_lane_beat(open_lane(f, "c"));
	watcher_accept();
	varta_close(f->agent);
	f->agent = NULL;
	assert_true(watcher_is_left());
	assert_int_equal(generation_of(0), 2);
	assert_int_equal(generation_of(1), 4);
	assert_int_equal(beat_ns_of(0), 0);
	assert_int_equal(beat_ns_of(1), 0);
}

/* Beats. */

static uint64_t
clock_ns(clockid_t id)
{
	return varta__clock_read_ns(id);
}

static void
a_beat_is_a_time_and_a_number(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *a;
	uint64_t before, i;

	watch_and_open(f);
	a = open_lane(f, "a");
	(void)open_lane(f, "b");
	watcher_accept();
	(void)watcher_bells();
	for (i = 1; i <= 100; i++) {
		before = clock_ns(CLOCK_MONOTONIC_COARSE);
		varta_lane_beat(a);
		assert_int_equal(beats_of(0), i);
		assert_true(beat_ns_of(0) >= before);
		assert_true(beat_ns_of(0) <= clock_ns(CLOCK_MONOTONIC_COARSE));
		clock_ahead_ns += NS_PER_MS;
	}
	assert_int_equal(beats_of(1), 0);
	assert_int_equal(beat_ns_of(1), 0);
	assert_int_equal(watcher_bells(), 0);
}

static void
the_exact_clock_is_for_thresholds_below_100_ms(void **state)
{
	static const struct {
		uint32_t threshold_ms;
		clockid_t clock;
		uint8_t flags;
	} cases[] = {
		{ 10, CLOCK_MONOTONIC, LANE_EXACT },
		{ 99, CLOCK_MONOTONIC, LANE_EXACT },
		{ 100, CLOCK_MONOTONIC_COARSE, 0 },
		{ 60000, CLOCK_MONOTONIC_COARSE, 0 },
	};
	struct fixture *f = *state;
	struct varta_lane *lane;
	uint64_t before;
	uint32_t i;
	char name[8];

	watch_and_open(f);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(varta_lane_open(f->agent, name,
				     cases[i].threshold_ms, &lane),
		    0);
		if (i == 0)
			watcher_accept();
		assert_int_equal(watcher_record(i)->flags, cases[i].flags);
		before = clock_ns(cases[i].clock);
		clock_last_id = -1;
		varta_lane_beat(lane);
		assert_int_equal(clock_last_id, cases[i].clock);
		assert_true(beat_ns_of(i) >= before);
		assert_true(beat_ns_of(i) <= clock_ns(cases[i].clock));
	}
}

static void
an_idle_lane_owes_nothing_until_it_beats(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane;

	watch_and_open(f);
	lane = open_lane(f, "a");
	watcher_accept();
	assert_int_equal(beat_ns_of(0), 0);
	varta_lane_beat(lane);
	assert_true(beat_ns_of(0) > 0);
	varta_lane_idle(lane);
	assert_int_equal(beat_ns_of(0), 0);
	assert_int_equal(beats_of(0), 1);
	assert_true(is_open(0));
	varta_lane_beat(lane);
	assert_true(beat_ns_of(0) > 0);
	assert_int_equal(beats_of(0), 2);
}

static void
a_clock_that_stands_at_0_does_not_make_a_lane_idle(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane;

	watch_and_open(f);
	lane = open_lane(f, "a");
	watcher_accept();
	fault_always(&fault_clock, EINVAL);
	varta_lane_beat(lane);
	assert_int_equal(beat_ns_of(0), 1);
}

static void
a_status_stays_until_another_is_set(void **state)
{
	static const unsigned bad[] = { 3, 4, 255, 256, UINT32_MAX };
	struct fixture *f = *state;
	struct varta_lane *lane;
	enum varta_status status;
	size_t i;

	watch_and_open(f);
	lane = open_lane(f, "a");
	watcher_accept();
	assert_int_equal(atomic_load(&watcher_record(0)->status), VARTA_OK);
	varta_lane_set_status(lane, VARTA_DEGRADED);
	varta_lane_beat(lane);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(&status, &bad[i], sizeof(status));
		varta_lane_set_status(lane, status);
		assert_int_equal(
		    atomic_load(&watcher_record(0)->status), VARTA_DEGRADED);
	}
	varta_lane_set_status(lane, VARTA_CRITICAL);
	assert_int_equal(
	    atomic_load(&watcher_record(0)->status), VARTA_CRITICAL);
	varta_lane_set_status(lane, VARTA_OK);
	assert_int_equal(atomic_load(&watcher_record(0)->status), VARTA_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANES_TEST(the_memory_is_sealed_and_has_its_full_size),
		LANES_TEST(the_bytes_lie_where_the_layout_says),
		LANES_TEST(a_page_costs_memory_from_its_first_lane_on),
		LANES_TEST(what_is_no_lane_is_refused),
		LANES_TEST(agents_over_a_network_have_no_lanes),
		LANES_TEST(calls_without_a_lane_do_nothing),
		LANES_TEST(open_lanes_of_an_agent_have_different_names),
		LANES_TEST(records_are_used_again_the_lowest_first),
		LANES_TEST(a_thousand_and_eight_lanes_are_all),
		LANES_TEST(closing_the_agent_ends_its_lanes_in_order),
		LANES_TEST(a_beat_is_a_time_and_a_number),
		LANES_TEST(the_exact_clock_is_for_thresholds_below_100_ms),
		LANES_TEST(an_idle_lane_owes_nothing_until_it_beats),
		LANES_TEST(a_clock_that_stands_at_0_does_not_make_a_lane_idle),
		LANES_TEST(a_status_stays_until_another_is_set),
	};

	return cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
