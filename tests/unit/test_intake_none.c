/*
 * The intake as it is on systems that name no senders and have no recvmmsg(2),
 * built and run on this one.
 */
#include "watch/intake/intake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/dgram.h"
#include "support/fault.h"
#include "support/unixroom.h"
#include "watch/intake/credentials.h"
#include "watch/intake/datagram.h"

FAULT(
    ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))

enum { PID_MAX = 32768 };

struct bench {
	struct unixroom room;
	int fd;
	struct stats stats;
	struct intake intake;
	struct intake_batch got;
};

static int
setup(void **state)
{
	static struct bench b;
	const struct intake_policy policy = { .own_uid = UINT32_MAX - 1,
		.pid_max = PID_MAX,
		.refuse_pid_zero = true };
	struct intake_source source;

	fault_off(&fault_recvmsg);
	memset(&b, 0, sizeof(b));
	unixroom_init(&b.room);
	if (unixroom_open(&b.room) < 0)
		return -1;
	source = unix_in_source(b.room.u, &b.stats.injected_descriptors);
	intake_init(&b.intake, &source, &policy, &b.stats);
	b.fd = dgram_connect(b.room.path);
	*state = &b;
	return b.fd < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	fault_off(&fault_recvmsg);
	(void)close(b->fd);
	return unixroom_fini(&b->room);
}

static void
send_frame(struct bench *b, uint32_t pid, size_t len, size_t fds)
{
	uint8_t bytes[64] = { 0 };

	dgram_frame(pid, 1, bytes);
	assert_int_equal(dgram_send(b->fd, bytes, len, b->fd, fds), len);
}

static void
nobody_is_named(void **state)
{
	const struct intake_source source =
	    ((struct bench *)*state)->intake.source;

	assert_false(credentials_attested());
	assert_false(source.attested);
}

static void
a_frame_is_a_beat_of_the_socket_mode_only(void **state)
{
	struct bench *b = *state;

	/* Neither the uid nor the pid could be checked. */
	send_frame(b, 4242, 32, 0);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 1);
	assert_int_equal(b->got.beats[0].pid, 4242);
	assert_int_equal(b->got.beats[0].origin, ORIGIN_SOCKET_MODE_ONLY);
	assert_int_equal(b->got.beats[0].uid, UINT32_MAX);
	assert_int_equal(b->got.beats[0].gid, UINT32_MAX);
}

static void
a_pid_above_the_ceiling_is_dropped_and_counted(void **state)
{
	struct bench *b = *state;

	send_frame(b, PID_MAX + 1, 32, 0);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_taken, 1);
	assert_int_equal(b->got.n_beats + b->got.n_faults, 0);
	assert_int_equal(b->stats.pid_above_max, 1);
}

static void
a_batch_is_taken_one_by_one(void **state)
{
	struct bench *b = *state;
	uint32_t i;

	for (i = 0; i < 5; i++)
		send_frame(b, 100 + i, 32, 0);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 5);
	for (i = 0; i < 5; i++)
		assert_int_equal(b->got.beats[i].pid, 100 + i);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_taken, 0);
	assert_int_equal(b->stats.batches, 1);
}

static void
wrong_lengths_are_counted_only(void **state)
{
	struct bench *b = *state;

	send_frame(b, 100, 31, 0);
	send_frame(b, 100, 33, 0);
	send_frame(b, 100, 64, 0);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_taken, 3);
	assert_int_equal(b->got.n_beats + b->got.n_faults, 0);
	assert_int_equal(b->stats.truncated_datagrams, 3);
}

static void
descriptors_are_closed_here_too(void **state)
{
	struct bench *b = *state;
	int before = dgram_count_fds();

	send_frame(b, 100, 32, 2);
	send_frame(b, 101, 32, DGRAM_FDS);
	send_frame(b, 102, 32, 0);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 2);
	assert_int_equal(b->got.n_faults, 1);
	assert_int_equal(b->got.faults[0].kind, EVENT_CTRUNC);
	assert_int_equal(b->got.faults[0].uid, UINT32_MAX);
	assert_int_equal(dgram_count_fds(), before);
	assert_in_range(b->stats.injected_descriptors, 3, DGRAM_FDS);
}

static void
an_error_after_some_success_loses_nothing(void **state)
{
	struct bench *b = *state;

	send_frame(b, 100, 32, 0);
	send_frame(b, 101, 32, 0);
	fault_nth(&fault_recvmsg, 2, EIO);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 1);
	assert_int_equal(b->got.n_faults, 0);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 1);
	assert_int_equal(b->got.beats[0].pid, 101);
}

static void
an_error_at_once_is_a_fault_and_a_signal_is_none(void **state)
{
	struct bench *b = *state;

	send_frame(b, 100, 32, 0);
	fault_nth(&fault_recvmsg, 1, EIO);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_faults, 1);
	assert_int_equal(b->got.faults[0].error, -EIO);
	assert_false(b->got.faults[0].consumed);
	fault_nth(&fault_recvmsg, 1, EINTR);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 1);
	assert_int_equal(b->got.n_faults, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nobody_is_named),
		CASE(a_frame_is_a_beat_of_the_socket_mode_only),
		CASE(a_pid_above_the_ceiling_is_dropped_and_counted),
		CASE(a_batch_is_taken_one_by_one),
		CASE(wrong_lengths_are_counted_only),
		CASE(descriptors_are_closed_here_too),
		CASE(an_error_after_some_success_loses_nothing),
		CASE(an_error_at_once_is_a_fault_and_a_signal_is_none),
	};

	return cmocka_run_group_tests_name("intake_none", tests, NULL, NULL);
}
