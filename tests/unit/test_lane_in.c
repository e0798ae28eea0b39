/* Lanes as they come in, over real sockets: who attaches, what is refused, and
 * that no connection, place or descriptor is ever lost. */
#include "watch/intake/lane_in.h"

#include <grp.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "support/laneroom.h"

static uint64_t
refused(const struct laneroom *room, enum stats_lane why)
{
	return room->stats.lane_refused[why];
}

/* ---- who attaches ---- */

static void
an_agent_that_says_hello_is_news_with_its_name(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int fd = laneroom_attach(room, &place);

	assert_true(place < LANEROOM_PLACES);
	assert_int_equal(room->source.places, LANEROOM_PLACES);
	assert_int_equal(room->news[0].pid, getpid());
	assert_int_equal(room->news[0].uid, geteuid());
	assert_int_equal(room->news[0].gid, getegid());
	assert_true(room->source.is_there(room->source.ctx, place));
	assert_int_equal(laneroom_take(room), 0);
	assert_false(laneroom_is_ready(room));
	/* The memory's descriptor is not kept: the connection's is. */
	assert_int_equal(dgram_count_fds(), room->fds_before + 6);
	(void)close(fd);
}

static void
an_agent_may_take_its_time_to_say_hello(void **state)
{
	struct laneroom *room = *state;
	int fd = laneroom_connect(room);

	assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(laneroom_take(room), 0);
	laneroom_hello(room, fd);
	assert_true(laneroom_is_ready(room));
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].kind, LANE_ATTACHED);
	assert_int_equal(room->news[0].pid, getpid());
	(void)close(fd);
}

static void
the_memory_is_read_through_the_source(void **state)
{
	struct laneroom *room = *state;
	struct lane_record *r = lane_memfd_record(&room->memory, 0);
	struct lane_reading reading;
	uint32_t place;
	int fd = laneroom_attach(room, &place);
	void *ctx = room->source.ctx;

	assert_int_equal(room->source.records(ctx, place), 1);
	assert_int_equal(room->source.generation(ctx, place, 0), 1);
	assert_true(room->source.read(ctx, place, 0, &reading));
	assert_string_equal(reading.name, "worker");
	assert_int_equal(reading.threshold_ms, 100);
	assert_int_equal(reading.mark, 0);
	/* A beat of an hour ago, by the clock of lanes. */
	atomic_store(&r->beat_ns,
	    u64_sub_sat(clock_now_ns(CLOCK_SOURCE_MONOTONIC), 60 * NS_PER_S));
	assert_true(room->source.read(ctx, place, 0, &reading));
	assert_true(reading.age_ns >= 59 * NS_PER_S);
	(void)close(fd);
}

static void
an_agent_of_another_user_is_named_as_it_is(void **state)
{
	struct laneroom *room = *state;
	pid_t child;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(room->dir.path, 0755), 0);
	assert_int_equal(chmod(room->path, 0666), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (setgroups(0, NULL) < 0 || setgid(23456) < 0 ||
		    setuid(12345) < 0)
			_exit(1);
		laneroom_hello(room, laneroom_connect(room));
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].pid, child);
	assert_int_equal(room->news[0].uid, 12345);
	assert_int_equal(room->news[0].gid, 23456);
}

static void
an_agent_that_has_been_reaped_is_not_there(void **state)
{
	struct laneroom *room = *state;
	pid_t child = fork();
	int fd, probe, pidfd;
	socklen_t len = sizeof(pidfd);

	assert_true(child >= 0);
	if (child == 0) {
		laneroom_hello(room, laneroom_connect(room));
		_exit(0);
	}
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].pid, child);
	/* Does this kernel tell at all? */
	fd = laneroom_connect(room);
	probe = getsockopt(fd, SOL_SOCKET, 77 /* SO_PEERPIDFD */, &pidfd, &len);
	if (probe == 0) {
		(void)close(pidfd);
		assert_false(room->source.is_there(
		    room->source.ctx, room->news[0].place));
	}
	(void)close(fd);
}

/* ---- what is refused ---- */

/* Somebody says this and is dropped. */
static void
assert_is_dropped(struct laneroom *room, const char *text, size_t n, int attach,
    size_t copies)
{
	uint64_t before = refused(room, STATS_LANE_MEMORY);
	int fds = dgram_count_fds(), fd = laneroom_connect(room);

	laneroom_say(fd, text, n, attach, copies);
	assert_int_equal(laneroom_take(room), 0);
	assert_true(laneroom_is_dropped(fd));
	assert_int_equal(refused(room, STATS_LANE_MEMORY), before + 1);
	(void)close(fd);
	/* What is not memory is closed by a thread. */
	for (int i = 0; i < 5000 && dgram_count_fds() != fds; i++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(dgram_count_fds(), fds);
	assert_int_equal(laneroom_take(room), 0);
}

static void
any_other_hello_is_refused(void **state)
{
	const size_t n = sizeof(LANE_HELLO) - 1;
	struct laneroom *room = *state;
	int fd = room->memory.fd;

	assert_is_dropped(room, "varta-lanes-2", n, fd, 1);
	assert_is_dropped(room, LANE_HELLO, n - 1, fd, 1);
	/* With its NUL. */
	assert_is_dropped(room, LANE_HELLO, n + 1, fd, 1);
	assert_is_dropped(room, LANE_HELLO "-and-more-of-it", n + 15, fd, 1);
	assert_is_dropped(room, "", 0, fd, 1);
	assert_is_dropped(room, "", 0, -1, 0);
	assert_is_dropped(room, LANE_BELL, 1, -1, 0);
}

static void
a_hello_comes_with_one_descriptor_of_good_memory(void **state)
{
	const size_t n = sizeof(LANE_HELLO) - 1;
	struct laneroom *room = *state;
	struct lane_memfd unsealed = lane_memfd_raw(LANE_PAGE_BYTES);

	lane_memfd_write_head(&unsealed);
	assert_is_dropped(room, LANE_HELLO, n, -1, 0);
	assert_is_dropped(room, LANE_HELLO, n, room->memory.fd, 2);
	assert_is_dropped(room, LANE_HELLO, n, room->memory.fd, 3);
	assert_is_dropped(room, LANE_HELLO, n, room->memory.fd, DGRAM_FDS);
	assert_is_dropped(room, LANE_HELLO, n, unsealed.fd, 1);
	assert_is_dropped(room, LANE_HELLO, n, STDIN_FILENO, 1);
	assert_true(room->stats.injected_descriptors > 0);
	lane_memfd_free(&unsealed);
}

static void
who_goes_without_a_word_is_forgotten(void **state)
{
	struct laneroom *room = *state;
	int fds = dgram_count_fds(), fd;

	/* Before it was seen, and after. */
	fd = laneroom_connect(room);
	(void)close(fd);
	assert_int_equal(laneroom_take(room), 0);
	fd = laneroom_connect(room);
	assert_int_equal(laneroom_take(room), 0);
	(void)close(fd);
	assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(refused(room, STATS_LANE_MEMORY), 2);
	assert_int_equal(dgram_count_fds(), fds);
	assert_false(laneroom_is_ready(room));
}

/* ---- limits ---- */

static void
of_too_many_strangers_the_oldest_makes_room(void **state)
{
	struct laneroom *room = *state;
	int fds[LANE_IN_STRANGERS + 1];

	laneroom_close(room);
	assert_int_equal(laneroom_open_with(room, 0600, 200), 0);
	for (int i = 0; i <= LANE_IN_STRANGERS; i++) {
		fds[i] = laneroom_connect(room);
		if (i % 10 == 0)
			assert_int_equal(laneroom_take(room), 0);
	}
	while (laneroom_is_ready(room))
		assert_int_equal(laneroom_take(room), 0);
	assert_true(laneroom_is_dropped(fds[0]));
	assert_int_equal(refused(room, STATS_LANE_MEMORY), 1);
	for (int i = 1; i <= LANE_IN_STRANGERS; i++) {
		assert_false(laneroom_is_dropped(fds[i]));
		laneroom_hello(room, fds[i]);
	}
	/* All others are heard, and none of them twice. */
	for (int heard = 0; heard < LANE_IN_STRANGERS;) {
		size_t n = laneroom_take(room);

		assert_true(n > 0);
		heard += (int)n;
		assert_true(heard <= LANE_IN_STRANGERS);
	}
	assert_int_equal(laneroom_take(room), 0);
	for (int i = 0; i <= LANE_IN_STRANGERS; i++)
		(void)close(fds[i]);
}

static void
a_stranger_cannot_keep_the_last_place(void **state)
{
	struct laneroom *room = *state;
	int fds[LANEROOM_PLACES], fd;
	uint32_t place;

	for (int i = 0; i < LANEROOM_PLACES; i++)
		fds[i] = laneroom_connect(room);
	assert_int_equal(laneroom_take(room), 0);
	fd = laneroom_attach(room, &place);
	assert_true(laneroom_is_dropped(fds[0]));
	assert_false(laneroom_is_dropped(fds[1]));
	for (int i = 0; i < LANEROOM_PLACES; i++)
		(void)close(fds[i]);
	(void)close(fd);
}

static void
when_all_places_are_taken_others_are_refused(void **state)
{
	struct laneroom *room = *state;
	int fds[LANEROOM_PLACES], fd;
	uint32_t places[LANEROOM_PLACES], place;
	bool seen[LANEROOM_PLACES] = { false };

	for (int i = 0; i < LANEROOM_PLACES; i++) {
		fds[i] = laneroom_attach(room, &places[i]);
		assert_false(seen[places[i]]);
		seen[places[i]] = true;
	}
	fd = laneroom_connect(room);
	laneroom_hello(room, fd);
	assert_int_equal(laneroom_take(room), 0);
	assert_true(laneroom_is_dropped(fd));
	assert_int_equal(refused(room, STATS_LANE_ROOM), 1);
	(void)close(fd);
	/* One that is given up is there again. */
	room->source.drop(room->source.ctx, places[3]);
	assert_true(laneroom_is_dropped(fds[3]));
	fd = laneroom_attach(room, &place);
	assert_int_equal(place, places[3]);
	(void)close(fd);
	for (int i = 0; i < LANEROOM_PLACES; i++)
		(void)close(fds[i]);
}

/* From now on no descriptor can be made; give fds back with dup_undo(). */
static struct rlimit limit_before;
static int dups[64];
static size_t n_dups;

static void
use_up_descriptors(void)
{
	struct rlimit low;
	int fd;

	n_dups = 0;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
	low = limit_before;
	low.rlim_cur = (rlim_t)dgram_count_fds() + 20;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while ((fd = dup(STDIN_FILENO)) >= 0) {
		assert_true(n_dups < ARRAY_SIZE(dups));
		dups[n_dups++] = fd;
	}
	assert_int_equal(errno, EMFILE);
}

static void
give_descriptors_back(void)
{
	while (n_dups > 0)
		(void)close(dups[--n_dups]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static void
without_descriptors_each_connection_is_refused_once(void **state)
{
	struct laneroom *room = *state;
	int fds[20];
	uint32_t place;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = laneroom_connect(room);
	use_up_descriptors();
	while (laneroom_is_ready(room))
		assert_int_equal(laneroom_take(room), 0);
	assert_int_equal(refused(room, STATS_LANE_ROOM), ARRAY_SIZE(fds));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_true(laneroom_is_dropped(fds[i]));
	/* And nothing is amiss afterwards. */
	give_descriptors_back();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
	fds[0] = laneroom_attach(room, &place);
	(void)close(fds[0]);
}

static void
memory_that_finds_no_descriptor_is_refused(void **state)
{
	struct laneroom *room = *state;
	int fd = laneroom_connect(room);

	assert_int_equal(laneroom_take(room), 0);
	laneroom_hello(room, fd);
	use_up_descriptors();
	assert_int_equal(laneroom_take(room), 0);
	give_descriptors_back();
	assert_int_equal(refused(room, STATS_LANE_MEMORY), 1);
	assert_true(laneroom_is_dropped(fd));
	(void)close(fd);
}

/* ---- news of those that are attached ---- */

static void
bells_are_news_once(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int fd = laneroom_attach(room, &place);

	for (int i = 0; i < LANE_IN_MESSAGES - 1; i++)
		laneroom_bell(fd);
	assert_true(laneroom_is_ready(room));
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].kind, LANE_CHANGED);
	assert_int_equal(room->news[0].place, place);
	assert_int_equal(laneroom_take(room), 0);
	/* What they say does not matter. */
	laneroom_say(fd, "something else that is long", 27, -1, 0);
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].kind, LANE_CHANGED);
	(void)close(fd);
}

static void
a_peal_of_bells_comes_in_portions(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int fd = laneroom_attach(room, &place);
	size_t pieces = 0;

	for (int i = 0; i < 2 * LANE_IN_MESSAGES + 1; i++)
		laneroom_bell(fd);
	while (laneroom_is_ready(room)) {
		assert_int_equal(laneroom_take(room), 1);
		assert_int_equal(room->news[0].kind, LANE_CHANGED);
		pieces++;
	}
	assert_int_equal(pieces, 3);
	(void)close(fd);
}

/* The kernel refuses them, or takes them back; a message with some counts as
 * one. */
static void
descriptors_that_come_with_a_bell_are_not_taken(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int fd = laneroom_attach(room, &place), fds = dgram_count_fds();
	ssize_t n = dgram_send(fd, LANE_BELL, 1, STDIN_FILENO, 1);

	if (n < 0) {
		assert_int_equal(errno, EPERM);
		assert_int_equal(laneroom_take(room), 0);
		assert_int_equal(room->stats.injected_descriptors, 0);
	} else {
		laneroom_say(fd, LANE_BELL, 1, STDIN_FILENO, 5);
		assert_int_equal(laneroom_take(room), 1);
		assert_int_equal(room->stats.injected_descriptors, 2);
	}
	assert_int_equal(dgram_count_fds(), fds);
	(void)close(fd);
}

static void
the_end_of_a_connection_is_news_once_and_its_memory_stays(void **state)
{
	struct laneroom *room = *state;
	struct lane_reading reading;
	uint32_t place;
	int fds = dgram_count_fds(), fd = laneroom_attach(room, &place);

	laneroom_bell(fd);
	(void)close(fd);
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].kind, LANE_DETACHED);
	assert_int_equal(room->news[0].place, place);
	assert_int_equal(laneroom_take(room), 0);
	assert_false(laneroom_is_ready(room));
	assert_int_equal(dgram_count_fds(), fds);
	assert_true(room->source.read(room->source.ctx, place, 0, &reading));
	assert_string_equal(reading.name, "worker");
	room->source.drop(room->source.ctx, place);
	fd = laneroom_attach(room, &place);
	(void)close(fd);
}

static void
of_a_place_that_was_given_up_no_news_follow(void **state)
{
	struct laneroom *room = *state;
	uint32_t place;
	int fd = laneroom_attach(room, &place);

	laneroom_bell(fd);
	room->source.drop(room->source.ctx, place);
	assert_int_equal(laneroom_take(room), 0);
	assert_true(laneroom_is_dropped(fd));
	assert_false(laneroom_is_ready(room));
	(void)close(fd);
}

static void
one_call_brings_no_more_news_than_there_is_room_for(void **state)
{
	struct laneroom *room = *state;
	enum { AGENTS = 40 };
	int fds[AGENTS];
	size_t heard = 0, n;

	laneroom_close(room);
	assert_int_equal(laneroom_open_with(room, 0600, 2 * AGENTS), 0);
	for (int i = 0; i < AGENTS; i++) {
		fds[i] = laneroom_connect(room);
		laneroom_hello(room, fds[i]);
	}
	while ((n = laneroom_take(room)) > 0)
		heard += n;
	assert_int_equal(heard, AGENTS);
	/* Bells of all of them, and others that come. */
	for (int i = 0; i < AGENTS; i++)
		laneroom_bell(fds[i]);
	for (heard = 0; (n = laneroom_take(room)) > 0; heard += n)
		assert_true(n <= LANE_SOURCE_NEWS);
	assert_int_equal(heard, AGENTS);
	for (int i = 0; i < AGENTS; i++)
		(void)close(fds[i]);
	for (heard = 0; (n = laneroom_take(room)) > 0; heard += n)
		assert_int_equal(room->news[0].kind, LANE_DETACHED);
	assert_int_equal(heard, AGENTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANEROOM_TEST(an_agent_that_says_hello_is_news_with_its_name),
		LANEROOM_TEST(an_agent_may_take_its_time_to_say_hello),
		LANEROOM_TEST(the_memory_is_read_through_the_source),
		LANEROOM_TEST(an_agent_of_another_user_is_named_as_it_is),
		LANEROOM_TEST(an_agent_that_has_been_reaped_is_not_there),
		LANEROOM_TEST(any_other_hello_is_refused),
		LANEROOM_TEST(a_hello_comes_with_one_descriptor_of_good_memory),
		LANEROOM_TEST(who_goes_without_a_word_is_forgotten),
		LANEROOM_TEST(of_too_many_strangers_the_oldest_makes_room),
		LANEROOM_TEST(a_stranger_cannot_keep_the_last_place),
		LANEROOM_TEST(when_all_places_are_taken_others_are_refused),
		LANEROOM_TEST(
		    without_descriptors_each_connection_is_refused_once),
		LANEROOM_TEST(memory_that_finds_no_descriptor_is_refused),
		LANEROOM_TEST(bells_are_news_once),
		LANEROOM_TEST(a_peal_of_bells_comes_in_portions),
		LANEROOM_TEST(descriptors_that_come_with_a_bell_are_not_taken),
		LANEROOM_TEST(
		    the_end_of_a_connection_is_news_once_and_its_memory_stays),
		LANEROOM_TEST(of_a_place_that_was_given_up_no_news_follow),
		LANEROOM_TEST(
		    one_call_brings_no_more_news_than_there_is_room_for),
	};

	return cmocka_run_group_tests_name("lane_in", tests, NULL, NULL);
}
