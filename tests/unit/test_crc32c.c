/*
 * Every way to compute a CRC-32C, against the published vectors and against
 * the definition: one bit at a time.
 */
#include "lib/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/guard.h"
#include "support/json.h"

enum { LONGEST = 300 };

static uint32_t
crc_by_bits(const uint8_t *p, size_t n)
{
	uint32_t crc = UINT32_MAX;
	int bit;

	for (; n > 0; n--, p++) {
		crc ^= *p;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Any bytes will do, as long as they are the same in every run. */
static void
fill(uint8_t *p, size_t n)
{
	uint32_t x = 1;

	for (; n > 0; n--) {
		x = x * 1664525 + 1013904223;
		*p++ = (uint8_t)(x >> 24);
	}
}

static const struct varta__crc32c_way *
next_way(size_t *i)
{
	while (*i < varta__crc32c_ways_count) {
		const struct varta__crc32c_way *way = &varta__crc32c_ways[*i];

		++*i;
		if (way->is_available())
			return way;
	}
	return NULL;
}

static void
the_first_frame_of_a_program_is_right(void **state)
{
	uint8_t bytes[28];

	(void)state;
	fill(bytes, sizeof(bytes));
	assert_int_equal(
	    varta__crc32c_frame(load_le64(bytes), load_le64(bytes + 8),
		load_le64(bytes + 16), load_le32(bytes + 24)),
	    crc_by_bits(bytes, sizeof(bytes)));
}

static void
every_way_gives_the_published_values(void **state)
{
	char *text = json_load(VECTORS_DIR "/vlp-test-vectors.json");
	const char *all = json_get(text, "crc32c_vectors"), *vector;
	const struct varta__crc32c_way *way;
	uint8_t input[64], crc[4];
	size_t i, k, n;

	(void)state;
	for (i = 0; (vector = json_at(all, i)) != NULL; i++) {
		n = json_hex(
		    json_get(vector, "input_hex"), input, sizeof(input));
		assert_int_equal(json_hex(json_get(vector, "expected_crc_hex"),
				     crc, sizeof(crc)),
		    4);
		for (k = 0; (way = next_way(&k)) != NULL;)
			assert_int_equal(way->bytes(input, n),
			    (uint32_t)crc[0] << 24 | (uint32_t)crc[1] << 16 |
				(uint32_t)crc[2] << 8 | crc[3]);
	}
	assert_int_equal(i, 5);
	free(text);
}

static void
every_way_agrees_with_the_definition_at_every_length(void **state)
{
	const struct varta__crc32c_way *way;
	uint8_t bytes[LONGEST + 8];
	size_t k, n, start;

	(void)state;
	fill(bytes, sizeof(bytes));
	for (k = 0; (way = next_way(&k)) != NULL;)
		for (start = 0; start < 8; start++)
			for (n = 0; n <= LONGEST; n++)
				assert_int_equal(way->bytes(bytes + start, n),
				    crc_by_bits(bytes + start, n));
}

static void
every_single_bit_gives_what_the_definition_gives(void **state)
{
	const struct varta__crc32c_way *way;
	uint8_t bytes[28];
	size_t k, bit;

	(void)state;
	for (k = 0; (way = next_way(&k)) != NULL;)
		for (bit = 0; bit < 8 * sizeof(bytes); bit++) {
			memset(bytes, 0, sizeof(bytes));
			bytes[bit / 8] = (uint8_t)(1u << bit % 8);
			assert_int_equal(way->bytes(bytes, sizeof(bytes)),
			    crc_by_bits(bytes, sizeof(bytes)));
		}
}

static void
the_values_of_a_frame_give_the_crc_of_its_bytes(void **state)
{
	const struct varta__crc32c_way *way;
	uint8_t bytes[28 + 64];
	size_t i, k;

	(void)state;
	fill(bytes, sizeof(bytes));
	for (i = 0; i < 64; i++) {
		const uint8_t *p = bytes + i;
		uint32_t expected = crc_by_bits(p, 28);

		for (k = 0; (way = next_way(&k)) != NULL;)
			assert_int_equal(
			    way->frame(load_le64(p), load_le64(p + 8),
				load_le64(p + 16), load_le32(p + 24)),
			    expected);
		assert_int_equal(
		    varta__crc32c_frame(load_le64(p), load_le64(p + 8),
			load_le64(p + 16), load_le32(p + 24)),
		    expected);
	}
}

static void
nothing_outside_the_bytes_is_read(void **state)
{
	const struct varta__crc32c_way *way;
	uint8_t bytes[64];
	struct guard g;
	size_t k, n;

	(void)state;
	guard_init(&g, sizeof(bytes));
	fill(bytes, sizeof(bytes));
	for (k = 0; (way = next_way(&k)) != NULL;)
		for (n = 0; n <= sizeof(bytes); n++)
			assert_int_equal(
			    way->bytes(guard_copy(&g, bytes, n), n),
			    crc_by_bits(bytes, n));
	guard_fini(&g);
}

static void
the_best_available_way_is_used(void **state)
{
	const struct varta__crc32c_way *last =
	    &varta__crc32c_ways[varta__crc32c_ways_count - 1];
	uint8_t bytes[32];

	(void)state;
	fill(bytes, sizeof(bytes));
	assert_int_equal(varta__crc32c(bytes, sizeof(bytes)),
	    crc_by_bits(bytes, sizeof(bytes)));
	assert_true(last->is_available());
#ifdef CRC32C_HARDWARE
	assert_int_equal(atomic_load(&varta__crc32c_has_hardware),
	    varta__crc32c_ways[0].is_available());
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_frame_of_a_program_is_right),
		cmocka_unit_test(every_way_gives_the_published_values),
		cmocka_unit_test(
		    every_way_agrees_with_the_definition_at_every_length),
		cmocka_unit_test(
		    every_single_bit_gives_what_the_definition_gives),
		cmocka_unit_test(
		    the_values_of_a_frame_give_the_crc_of_its_bytes),
		cmocka_unit_test(nothing_outside_the_bytes_is_read),
		cmocka_unit_test(the_best_available_way_is_used),
	};

	return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
