/*
 * Lanes where the system has none: every call says so, and agents go on.
 */
#include "support/agent_fixture.h"

static void
there_are_no_lanes(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane = NULL;

	listen_and_open(f);
	assert_int_equal(
	    varta_lane_open(f->agent, "a", 1000, &lane), VARTA_ERR_UNSUPPORTED);
	assert_null(lane);
	assert_int_equal(varta_lanes_attach(f->agent), VARTA_ERR_UNSUPPORTED);
	assert_int_equal(
	    varta_lane_open(NULL, "a", 1000, &lane), VARTA_ERR_CLOSED);
	assert_int_equal(varta_lanes_attach(NULL), VARTA_ERR_CLOSED);
	varta_lane_beat(lane);
	varta_lane_idle(lane);
	varta_lane_set_status(lane, VARTA_CRITICAL);
	varta_lane_close(lane);
}

static void
agents_beat_connect_anew_and_fork_as_ever(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	listener_close(&f->listener);
	listener_open(&f->listener, f->path);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
	assert_int_equal(varta_reconnect(f->agent), 0);
	child = fork();
	if (child == 0)
		_exit(beat(f) == VARTA_SENT ? 0 : 1);
	assert_int_equal(status_of(child), 0);
	assert_int_equal(take_nonce_of(f, child), 1);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_are_no_lanes),
		TEST(agents_beat_connect_anew_and_fork_as_ever),
	};

	return cmocka_run_group_tests_name("lanes_none", tests, NULL, NULL);
}
