/*
 * Frames of version 1: what is taken of them, and from whom.
 */
#include "watch/intake/v01.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <varta/varta.h>

#include "base/bytes.h"
#include "base/util.h"
#include "support/json.h"
#include "watch/intake/intake.h"

enum { PID = 1234, UID = 1000 };

static void
golden(uint8_t wire[32])
{
	char *text = json_load(VECTORS_DIR "/extra-vectors.json");

	assert_int_equal(
	    json_hex(
		json_get(json_at(json_get(text, "v01_frames"), 0), "wire_hex"),
		wire, 32),
	    32);
	free(text);
}

static void
the_published_frame_is_understood(void **state)
{
	struct varta_frame frame;
	uint8_t wire[32];

	(void)state;
	golden(wire);
	assert_true(v01_is(wire));
	assert_int_equal(v01_decode(wire, &frame), 0);
	assert_int_equal(frame.status, VARTA_OK);
	assert_int_equal(frame.pid, 0xdeadbeef);
	assert_true(frame.timestamp == UINT64_C(0x0123456789abcdef));
	assert_int_equal(frame.nonce, 1);
	assert_int_equal(frame.payload, 0x42);
}

static void
of_the_payload_the_low_half_is_kept(void **state)
{
	struct varta_frame frame;
	uint8_t wire[32];

	(void)state;
	golden(wire);
	store_le64(wire + 24, UINT64_C(0x1122334455667788));
	assert_int_equal(v01_decode(wire, &frame), 0);
	assert_int_equal(frame.payload, 0x55667788);
}

static void
what_no_frame_may_say_is_refused_in_the_order_of_version_2(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
		size_t bytes;
		int error;
	} faults[] = {
		{ 16, UINT64_MAX, 8, VARTA_ERR_BAD_NONCE },
		{ 8, UINT64_MAX, 8, VARTA_ERR_BAD_TIMESTAMP },
		{ 4, 1, 4, VARTA_ERR_BAD_PID },
		{ 4, 0, 4, VARTA_ERR_BAD_PID },
		{ 3, 3, 1, VARTA_ERR_STALL_ON_WIRE },
		{ 3, 4, 1, VARTA_ERR_BAD_STATUS },
		{ 3, 255, 1, VARTA_ERR_BAD_STATUS },
	};
	struct varta_frame frame = { .pid = 7 };
	uint8_t wire[32];

	(void)state;
	golden(wire);
	/* Each fault comes on top of those before it. */
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		uint8_t bytes[8];

		store_le64(bytes, faults[i].value);
		memcpy(wire + faults[i].at, bytes, faults[i].bytes);
		assert_int_equal(v01_decode(wire, &frame), faults[i].error);
		assert_int_equal(frame.pid, 7);
	}
	golden(wire);
	wire[3] = VARTA_CRITICAL;
	store_le64(wire + 16, UINT64_MAX);
	assert_int_equal(v01_decode(wire, &frame), 0);
}

static void
other_versions_are_not_of_this_kind(void **state)
{
	uint8_t wire[32];

	(void)state;
	golden(wire);
	wire[2] = 2;
	assert_false(v01_is(wire));
	wire[2] = 1;
	wire[0] = 0;
	assert_false(v01_is(wire));
}

/* One datagram through an intake. */
struct one {
	uint8_t wire[32];
	uint32_t pid; /* that the kernel names */
};

static int
take_one(void *ctx, struct datagram *ret, size_t max)
{
	struct one *one = ctx;

	assert_true(max >= 1);
	*ret = (struct datagram){ .bytes = one->wire,
		.len = 32,
		.pid = one->pid,
		.uid = UID,
		.gid = UID,
		.flags = DATAGRAM_HAS_CREDENTIALS };
	return 1;
}

static void
through_intake(struct one *one, bool accept, bool attested,
    struct intake_batch *ret, struct stats *stats)
{
	static struct intake in;
	const struct intake_policy policy = {
		.own_uid = UID, .pid_max = 4194304, .accept_v01 = accept
	};
	const struct intake_source source = {
		.take = take_one, .ctx = one, .attested = attested
	};

	*stats = (struct stats){ 0 };
	intake_init(&in, &source, &policy, stats);
	intake_take(&in, ret);
}

static void
only_senders_whom_the_kernel_names_and_if_asked_for(void **state)
{
	static struct intake_batch batch;
	struct one one = { .pid = PID };
	struct stats stats;

	(void)state;
	golden(one.wire);
	store_le32(one.wire + 4, PID);
	through_intake(&one, true, true, &batch, &stats);
	assert_int_equal(batch.n_beats, 1);
	assert_int_equal(batch.beats[0].payload, 0x42);
	assert_int_equal(batch.beats[0].origin, ORIGIN_KERNEL_ATTESTED);
	assert_int_equal(stats.v01_frames, 1);

	through_intake(&one, false, true, &batch, &stats);
	assert_int_equal(batch.n_beats, 0);
	assert_int_equal(stats.decode_errors[STATS_BAD_VERSION], 1);
	assert_int_equal(stats.v01_frames, 0);

	through_intake(&one, true, false, &batch, &stats);
	assert_int_equal(batch.n_beats, 0);
	assert_int_equal(stats.decode_errors[STATS_BAD_VERSION], 1);

	one.pid = PID + 1;
	through_intake(&one, true, true, &batch, &stats);
	assert_int_equal(batch.n_beats, 0);
	assert_int_equal(stats.frame_auth_failures, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_frame_is_understood),
		cmocka_unit_test(of_the_payload_the_low_half_is_kept),
		cmocka_unit_test(
		    what_no_frame_may_say_is_refused_in_the_order_of_version_2),
		cmocka_unit_test(other_versions_are_not_of_this_kind),
		cmocka_unit_test(
		    only_senders_whom_the_kernel_names_and_if_asked_for),
	};

	return cmocka_run_group_tests_name("v01", tests, NULL, NULL);
}
