/*
 * The frame codec: published vectors, order of checks, limits of every field,
 * and no byte read that was not given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <varta/frame.h>
#include <varta/varta.h>

#include "base/util.h"
#include "lib/wire.h"
#include "support/guard.h"
#include "support/json.h"

static const struct varta_frame valid = {
	.timestamp = 0x0123456789abcdef,
	.nonce = 0xfedcba9876543210,
	.pid = 0xdeadbeef,
	.payload = 0x13579bdf,
	.status = VARTA_DEGRADED,
};

static void
assert_frames_equal(const struct varta_frame *a, const struct varta_frame *b)
{
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->pid, b->pid);
	assert_true(a->timestamp == b->timestamp);
	assert_true(a->nonce == b->nonce);
	assert_int_equal(a->payload, b->payload);
}

static int
decode(const uint8_t wire[VARTA_FRAME_BYTES])
{
	struct varta_frame f;

	return varta_frame_decode(wire, VARTA_FRAME_BYTES, &f);
}

/* A frame with any fields, and a CRC that is right. */
static int
decode_fields(uint32_t status, uint32_t pid, uint64_t timestamp, uint64_t nonce)
{
	uint8_t wire[VARTA_FRAME_BYTES];

	wire_put(wire, status, pid, timestamp, nonce, 7);
	return decode(wire);
}

static uint8_t
status_of_name(const char *value)
{
	if (json_is(value, "ok"))
		return VARTA_OK;
	if (json_is(value, "degraded"))
		return VARTA_DEGRADED;
	assert_true(json_is(value, "critical"));
	return VARTA_CRITICAL;
}

static void
check_round_trip(const char *vector)
{
	const char *in = json_get(vector, "inputs");
	uint8_t expected[VARTA_FRAME_BYTES], wire[VARTA_FRAME_BYTES];
	struct varta_frame f, back;

	f.status = status_of_name(json_get(in, "status"));
	f.pid = (uint32_t)json_u64(json_get(in, "pid"));
	f.timestamp = json_u64(json_get(in, "timestamp"));
	f.nonce = json_u64(json_get(in, "nonce"));
	f.payload = (uint32_t)json_u64(json_get(in, "payload"));
	assert_int_equal(json_hex(json_get(vector, "expected_wire_hex"),
			     expected, sizeof(expected)),
	    VARTA_FRAME_BYTES);

	assert_int_equal(varta_frame_encode(&f, wire), 0);
	assert_memory_equal(wire, expected, VARTA_FRAME_BYTES);
	assert_int_equal(
	    varta_frame_decode(expected, VARTA_FRAME_BYTES, &back), 0);
	assert_frames_equal(&back, &f);
}

static void
check_decode_error(const char *vector, const char *error)
{
	uint8_t wire[VARTA_FRAME_BYTES];

	assert_int_equal(
	    json_hex(json_get(vector, "wire_hex"), wire, sizeof(wire)),
	    VARTA_FRAME_BYTES);
	assert_true(json_is(error, varta_frame_error_name(decode(wire))));
}

static void
published_frames_come_out_as_published(void **state)
{
	char *text = json_load(VECTORS_DIR "/vlp-test-vectors.json");
	const char *all = json_get(text, "frame_vectors"), *vector;
	size_t i;

	(void)state;
	for (i = 0; (vector = json_at(all, i)) != NULL; i++) {
		if (json_is(
			json_get(vector, "kind"), "encode_decode_roundtrip"))
			check_round_trip(vector);
		else
			check_decode_error(
			    vector, json_get(vector, "expected_decode_error"));
	}
	assert_int_equal(i, 15);
	free(text);
}

static void
a_frame_of_protocol_1_is_of_another_version(void **state)
{
	char *text = json_load(VECTORS_DIR "/extra-vectors.json");
	const char *vector = json_at(json_get(text, "v01_frames"), 0);

	(void)state;
	check_decode_error(vector, json_get(vector, "expected_v02_error"));
	free(text);
}

static void
any_other_length_is_refused_before_a_byte_is_read(void **state)
{
	struct varta_frame f = valid;
	struct guard g;
	size_t n;

	(void)state;
	guard_init(&g, 64);
	for (n = 0; n <= 64; n++) {
		uint8_t *p = guard_end(&g, n);

		memset(p, 0, n);
		if (n != VARTA_FRAME_BYTES)
			assert_int_equal(
			    varta_frame_decode(p, n, &f), VARTA_ERR_BAD_LENGTH);
	}
	assert_int_equal(varta_frame_decode(NULL, 0, &f), VARTA_ERR_BAD_LENGTH);
	assert_frames_equal(&f, &valid);
	guard_fini(&g);
}

static void
exactly_32_bytes_are_read_and_written(void **state)
{
	struct varta_frame f;
	struct guard g;

	(void)state;
	guard_init(&g, VARTA_FRAME_BYTES);
	assert_int_equal(
	    varta_frame_encode(&valid, guard_end(&g, VARTA_FRAME_BYTES)), 0);
	assert_int_equal(varta_frame_decode(guard_end(&g, VARTA_FRAME_BYTES),
			     VARTA_FRAME_BYTES, &f),
	    0);
	assert_frames_equal(&f, &valid);

	assert_int_equal(varta_frame_encode(&valid, guard_start(&g)), 0);
	assert_int_equal(
	    varta_frame_decode(guard_start(&g), VARTA_FRAME_BYTES, &f), 0);
	assert_frames_equal(&f, &valid);
	guard_fini(&g);
}

static void
a_frame_may_lie_at_any_address(void **state)
{
	uint8_t bytes[VARTA_FRAME_BYTES + 8];
	struct varta_frame f;
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		assert_int_equal(varta_frame_encode(&valid, bytes + i), 0);
		assert_int_equal(
		    varta_frame_decode(bytes + i, VARTA_FRAME_BYTES, &f), 0);
		assert_frames_equal(&f, &valid);
	}
}

static void
one_flipped_bit_is_always_noticed(void **state)
{
	uint8_t wire[VARTA_FRAME_BYTES];
	struct varta_frame f = valid;
	size_t bit;

	(void)state;
	assert_int_equal(varta_frame_encode(&valid, wire), 0);
	for (bit = 0; bit < 8 * sizeof(wire); bit++) {
		int expected = bit < 16   ? VARTA_ERR_BAD_MAGIC
			       : bit < 24 ? VARTA_ERR_BAD_VERSION
					  : VARTA_ERR_BAD_CRC;

		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(
		    varta_frame_decode(wire, sizeof(wire), &f), expected);
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_frames_equal(&f, &valid);
}

static void
the_first_failing_check_names_the_error(void **state)
{
	uint8_t wire[VARTA_FRAME_BYTES];
	uint64_t max = UINT64_MAX;

	(void)state;
	/* All is wrong, and is then put right from the front. */
	memset(wire, 0xff, sizeof(wire));
	assert_int_equal(decode(wire), VARTA_ERR_BAD_MAGIC);
	wire[0] = 0x56;
	assert_int_equal(decode(wire), VARTA_ERR_BAD_MAGIC);
	wire[1] = 0x41;
	assert_int_equal(decode(wire), VARTA_ERR_BAD_VERSION);
	wire[2] = 2;
	assert_int_equal(decode(wire), VARTA_ERR_BAD_CRC);
	assert_int_equal(decode_fields(255, 0, max, max), VARTA_ERR_BAD_STATUS);
	assert_int_equal(decode_fields(4, 0, max, max), VARTA_ERR_BAD_STATUS);
	assert_int_equal(
	    decode_fields(3, 0, max, max), VARTA_ERR_STALL_ON_WIRE);
	assert_int_equal(decode_fields(1, 0, max, max), VARTA_ERR_BAD_PID);
	assert_int_equal(decode_fields(1, 1, max, max), VARTA_ERR_BAD_PID);
	assert_int_equal(
	    decode_fields(1, 2, max, max), VARTA_ERR_BAD_TIMESTAMP);
	assert_int_equal(
	    decode_fields(1, 2, max - 1, max), VARTA_ERR_BAD_NONCE);
	assert_int_equal(
	    decode_fields(0, 2, max - 1, max), VARTA_ERR_BAD_NONCE);
	assert_int_equal(decode_fields(1, 2, max - 1, max - 1), 0);
	assert_int_equal(decode_fields(2, 2, max - 1, max), 0);
}

static void
the_encoder_refuses_what_a_decoder_would_refuse(void **state)
{
	static const struct {
		struct varta_frame frame;
		int error;
	} cases[] = {
		{ { 1, 1, 2, 0, 255 }, VARTA_ERR_BAD_STATUS },
		{ { 1, 1, 2, 0, 4 }, VARTA_ERR_BAD_STATUS },
		{ { 1, 1, 2, 0, 3 }, VARTA_ERR_STALL_ON_WIRE },
		{ { 1, 1, 0, 0, 0 }, VARTA_ERR_BAD_PID },
		{ { 1, 1, 1, 0, 0 }, VARTA_ERR_BAD_PID },
		{ { UINT64_MAX, 1, 2, 0, 0 }, VARTA_ERR_BAD_TIMESTAMP },
		{ { 1, UINT64_MAX, 2, 0, 0 }, VARTA_ERR_BAD_NONCE },
		{ { 1, UINT64_MAX, 2, 0, 1 }, VARTA_ERR_BAD_NONCE },
	};
	uint8_t untouched[VARTA_FRAME_BYTES] = { 0 };
	uint8_t wire[VARTA_FRAME_BYTES] = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
		    varta_frame_encode(&cases[i].frame, wire), cases[i].error);
		assert_memory_equal(wire, untouched, sizeof(wire));
	}
}

static void
the_extremes_of_every_field_travel(void **state)
{
	static const struct varta_frame frames[] = {
		{ 0, 0, 2, 0, VARTA_OK },
		{ UINT64_MAX - 1, UINT64_MAX - 1, UINT32_MAX, UINT32_MAX,
		    VARTA_DEGRADED },
		{ UINT64_MAX - 1, VARTA_NONCE_TERMINAL, UINT32_MAX, UINT32_MAX,
		    VARTA_CRITICAL },
		{ 0, 5, 2, 0, VARTA_CRITICAL },
	};
	uint8_t wire[VARTA_FRAME_BYTES];
	struct varta_frame back;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(frames); i++) {
		assert_int_equal(varta_frame_encode(&frames[i], wire), 0);
		assert_int_equal(
		    varta_frame_decode(wire, sizeof(wire), &back), 0);
		assert_frames_equal(&back, &frames[i]);
	}
}

static void
names_of_errors_are_those_of_the_protocol(void **state)
{
	static const char *const names[] = { "BadMagic", "BadVersion", "BadCrc",
		"BadStatus", "StallOnWire", "BadPid", "BadTimestamp",
		"BadNonce" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		assert_string_equal(
		    varta_frame_error_name(-5001 - (int)i), names[i]);
	assert_string_equal(
	    varta_frame_error_name(VARTA_ERR_BAD_LENGTH), "Unknown");
	assert_string_equal(varta_frame_error_name(0), "Unknown");
	assert_string_equal(varta_frame_error_name(-1), "Unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_frames_come_out_as_published),
		cmocka_unit_test(a_frame_of_protocol_1_is_of_another_version),
		cmocka_unit_test(
		    any_other_length_is_refused_before_a_byte_is_read),
		cmocka_unit_test(exactly_32_bytes_are_read_and_written),
		cmocka_unit_test(a_frame_may_lie_at_any_address),
		cmocka_unit_test(one_flipped_bit_is_always_noticed),
		cmocka_unit_test(the_first_failing_check_names_the_error),
		cmocka_unit_test(
		    the_encoder_refuses_what_a_decoder_would_refuse),
		cmocka_unit_test(the_extremes_of_every_field_travel),
		cmocka_unit_test(names_of_errors_are_those_of_the_protocol),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
