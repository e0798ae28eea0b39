/*
 * The frame codec against a plain model that reads the protocol page line by
 * line: one byte at a time, the CRC one bit at a time. Inputs are random
 * bytes, and valid frames with a few bytes changed and the CRC often repaired,
 * so that every check is reached. VARTA_SEED gives the seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <varta/frame.h>
#include <varta/varta.h>

enum { ROUNDS = 200000 };

static uint64_t random_state;

/* splitmix64 */
static uint64_t
random_u64(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Values near the limits of a field are as likely as all the others. */
static uint64_t
random_field(void)
{
	uint64_t x = random_u64();

	switch (x % 4) {
	case 0:
		return x >> 32 & 3;
	case 1:
		return UINT64_MAX - (x >> 32 & 3);
	case 2:
		return x >> 32 & 0xffffffff;
	default:
		return x;
	}
}

static uint64_t
model_get(const uint8_t *p, int n)
{
	uint64_t x = 0;

	while (n-- > 0)
		x = x * 256 + p[n];
	return x;
}

static void
model_put(uint8_t *p, int n, uint64_t x)
{
	for (; n > 0; n--, x /= 256)
		*p++ = (uint8_t)(x % 256);
}

static uint32_t
model_crc(const uint8_t *p)
{
	uint32_t crc = UINT32_MAX;
	int i;

	for (i = 0; i < 28 * 8; i++) {
		unsigned bit = p[i / 8] >> i % 8 & 1;

		crc = crc >> 1 ^ ((crc & 1) != bit ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static int
model_decode(const uint8_t *p, struct varta_frame *f)
{
	f->status = p[3];
	f->pid = (uint32_t)model_get(p + 4, 4);
	f->timestamp = model_get(p + 8, 8);
	f->nonce = model_get(p + 16, 8);
	f->payload = (uint32_t)model_get(p + 24, 4);

	if (p[0] != 0x56 || p[1] != 0x41)
		return VARTA_ERR_BAD_MAGIC;
	if (p[2] != 2)
		return VARTA_ERR_BAD_VERSION;
	if (model_get(p + 28, 4) != model_crc(p))
		return VARTA_ERR_BAD_CRC;
	if (f->status > 3)
		return VARTA_ERR_BAD_STATUS;
	if (f->status == 3)
		return VARTA_ERR_STALL_ON_WIRE;
	if (f->pid == 0 || f->pid == 1)
		return VARTA_ERR_BAD_PID;
	if (f->timestamp == UINT64_MAX)
		return VARTA_ERR_BAD_TIMESTAMP;
	if (f->nonce == UINT64_MAX && f->status != 2)
		return VARTA_ERR_BAD_NONCE;
	return 0;
}

static void
random_wire(uint8_t *p)
{
	model_put(p, 2, 0x4156);
	p[2] = 2;
	p[3] = (uint8_t)(random_field() & 0xff);
	model_put(p + 4, 4, random_field());
	model_put(p + 8, 8, random_field());
	model_put(p + 16, 8, random_field());
	model_put(p + 24, 4, random_field());
	if (random_u64() % 8 == 0)
		p[random_u64() % VARTA_FRAME_BYTES] = (uint8_t)random_u64();
	model_put(p + 28, 4, model_crc(p));
	if (random_u64() % 8 == 0)
		p[random_u64() % VARTA_FRAME_BYTES] ^=
		    (uint8_t)(1u << random_u64() % 8);
}

static void
assert_same(const struct varta_frame *a, const struct varta_frame *b)
{
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->pid, b->pid);
	assert_true(a->timestamp == b->timestamp);
	assert_true(a->nonce == b->nonce);
	assert_int_equal(a->payload, b->payload);
}

static void
decoding_gives_what_the_model_gives(void **state)
{
	uint8_t wire[VARTA_FRAME_BYTES], again[VARTA_FRAME_BYTES];
	struct varta_frame f, expected;
	unsigned seen[9] = { 0 };
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		random_wire(wire);
		r = model_decode(wire, &expected);
		assert_int_equal(varta_frame_decode(wire, sizeof(wire), &f), r);
		seen[r == 0 ? 0 : -5000 - r]++;
		if (r != 0)
			continue;
		assert_same(&f, &expected);
		assert_int_equal(varta_frame_encode(&f, again), 0);
		assert_memory_equal(again, wire, sizeof(wire));
	}
	for (i = 0; i < 9; i++)
		assert_true(seen[i] > 0);
}

static void
what_is_encoded_is_decoded_and_what_is_refused_would_be(void **state)
{
	uint8_t wire[VARTA_FRAME_BYTES], model[VARTA_FRAME_BYTES];
	struct varta_frame f, back;
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		f.status = (uint8_t)(random_field() & 0xff);
		f.pid = (uint32_t)random_field();
		f.timestamp = random_field();
		f.nonce = random_field();
		f.payload = (uint32_t)random_field();

		model_put(model, 4, 0x024156);
		model[3] = f.status;
		model_put(model + 4, 4, f.pid);
		model_put(model + 8, 8, f.timestamp);
		model_put(model + 16, 8, f.nonce);
		model_put(model + 24, 4, f.payload);
		model_put(model + 28, 4, model_crc(model));

		r = varta_frame_encode(&f, wire);
		assert_int_equal(r, model_decode(model, &back));
		if (r == 0)
			assert_memory_equal(wire, model, sizeof(wire));
	}
}

static int
choose_seed(void **state)
{
	const char *given = getenv("VARTA_SEED");

	(void)state;
	random_state =
	    given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	(void)printf("# VARTA_SEED=%llu\n", (unsigned long long)random_state);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decoding_gives_what_the_model_gives),
		cmocka_unit_test(
		    what_is_encoded_is_decoded_and_what_is_refused_would_be),
	};

	return cmocka_run_group_tests_name(
	    "prop_frame", tests, choose_seed, NULL);
}
