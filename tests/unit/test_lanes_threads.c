/*
 * Lanes that several threads use at the same time, while an observer reads.
 */
#include <pthread.h>

#define FIXTURE_REAL_CLOCK
#include "support/lanes_fixture.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct worker {
	pthread_t thread;
	struct varta_lane *lane;
	atomic_uint *running;
	bool may_idle;
};

static void *
work(void *arg)
{
	const struct worker *w = arg;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		varta_lane_beat(w->lane);
		varta_lane_set_status(w->lane, (enum varta_status)(i % 5));
		if (w->may_idle && i % 16 == 0)
			varta_lane_idle(w->lane);
	}
	(void)atomic_fetch_sub(w->running, 1);
	return NULL;
}

static void
start(struct worker *w, struct varta_lane *lane, atomic_uint *running)
{
	w->lane = lane;
	w->running = running;
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

/* One reading: a time that was, a status that is one. */
static void
look(const struct lane_record *record, uint64_t since_ns)
{
	uint64_t beat_ns = atomic_load(&record->beat_ns);

	assert_true(beat_ns == 0 || beat_ns >= since_ns);
	assert_true(beat_ns <= varta__clock_read_ns(CLOCK_MONOTONIC));
	assert_in_range(atomic_load(&record->status), VARTA_OK, VARTA_CRITICAL);
	assert_in_range(atomic_load(&record->beats), 0, THREADS * ROUNDS);
	assert_int_equal(atomic_load(&record->generation), 1);
}

static void
one_lane_takes_beats_of_four_threads(void **state)
{
	struct worker workers[THREADS] = { { .may_idle = true } };
	struct fixture *f = *state;
	atomic_uint running = THREADS;
	struct varta_lane *lane;
	uint64_t since_ns = varta__clock_ns();
	size_t i;

	watch_and_open(f);
	lane = open_lane(f, "pool");
	watcher_accept();
	for (i = 0; i < THREADS; i++)
		start(&workers[i], lane, &running);
	while (atomic_load(&running) > 0) {
		/* As the observer sees it, and under the eyes of the thread
		 * sanitizer, which knows memory by its address. */
		look(watcher_record(0), since_ns);
		look(lane->record, since_ns);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	assert_in_range(beats_of(0), ROUNDS, THREADS * ROUNDS);
	varta_lane_close(lane);
	assert_false(is_open(0));
}

static void
lanes_are_opened_and_closed_while_others_beat(void **state)
{
	struct worker workers[THREADS] = { { .may_idle = false } };
	struct fixture *f = *state;
	atomic_uint running = THREADS;
	char name[8];
	uint32_t i;

	watch_and_open(f);
	for (i = 0; i < THREADS; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		start(&workers[i], open_lane(f, name), &running);
	}
	watcher_accept();
	while (atomic_load(&running) > 0) {
		varta_lane_close(open_lane(f, "more"));
		assert_int_equal(varta_lanes_attach(f->agent), 0);
		(void)watcher_bells();
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		assert_int_equal(beats_of(i), ROUNDS);
		assert_int_equal(generation_of(i), 1);
	}
	assert_false(is_open(THREADS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANES_TEST(one_lane_takes_beats_of_four_threads),
		LANES_TEST(lanes_are_opened_and_closed_while_others_beat),
	};

	return cmocka_run_group_tests_name("lanes_threads", tests, NULL, NULL);
}
