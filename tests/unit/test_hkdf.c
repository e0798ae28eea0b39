/*
 * Derivations: published values first, then what every derivation promises.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "base/util.h"
#include "secure/hkdf.h"
#include "support/guard.h"
#include "support/json.h"

static uint8_t ikm[32];
static uint8_t salt[16];

static int
start(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ikm); i++)
		ikm[i] = (uint8_t)i;
	for (i = 0; i < sizeof(salt); i++)
		salt[i] = (uint8_t)(i + 1);
	return sodium_init() < 0 ? -1 : 0;
}

/* Test case 3 of RFC 5869, the one without salt and info. */
static void
the_value_of_the_rfc_comes_out(void **state)
{
	static const uint8_t expected[42] = { 0x8d, 0xa4, 0xe7, 0x75, 0xa5,
		0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c, 0x5a,
		0x31, 0xb8, 0xa1, 0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3,
		0x45, 0x4e, 0x5f, 0x3c, 0x73, 0x8d, 0x2d, 0x9d, 0x20, 0x13,
		0x95, 0xfa, 0xa4, 0xb6, 0x1a, 0x96, 0xc8 };
	uint8_t key[22], out[42];

	(void)state;
	memset(key, 0x0b, sizeof(key));
	hkdf_sha256(key, sizeof(key), NULL, 0, out, sizeof(out));
	assert_memory_equal(out, expected, sizeof(out));
}

static void
check_bytes(const char *vector, const char *name, const uint8_t *got, size_t n)
{
	uint8_t expected[64];

	assert_int_equal(
	    json_hex(json_get(vector, name), expected, sizeof(expected)), n);
	assert_memory_equal(got, expected, n);
}

static bool
check_derivation(const char *v)
{
	const char *kind = json_get(v, "kind");
	uint8_t in[32], out[32];

	if (json_is(kind, "kdf_agent_key")) {
		(void)json_hex(json_get(v, "master_key_hex"), in, sizeof(in));
		hkdf_agent_key(
		    in, (uint32_t)json_u64(json_get(v, "agent_id")), out);
		check_bytes(v, "expected_okm_hex", out, 32);
	} else if (json_is(kind, "kdf_epoch_key")) {
		(void)json_hex(json_get(v, "agent_key_hex"), in, sizeof(in));
		hkdf_epoch_key(in, json_u64(json_get(v, "epoch")), out);
		check_bytes(v, "expected_okm_hex", out, 32);
	} else if (json_is(kind, "kdf_iv_prefix")) {
		(void)json_hex(json_get(v, "session_salt_hex"), in, 16);
		hkdf_iv_prefix(
		    in, (uint32_t)json_u64(json_get(v, "prefix_index")), out);
		check_bytes(v, "expected_iv_prefix_hex", out, 8);
	} else if (json_is(kind, "kdf_panic_iv_prefix")) {
		(void)json_hex(json_get(v, "salt_hex"), in, 16);
		hkdf_panic_iv_prefix(in, (uint32_t)json_u64(json_get(v, "pid")),
		    json_u64(json_get(v, "timestamp")),
		    (uint32_t)json_u64(json_get(v, "iv_counter")), out);
		check_bytes(v, "expected_iv_prefix_hex", out, 8);
	} else {
		return false;
	}
	return true;
}

static size_t
check_all(const char *path, const char *array)
{
	char *text = json_load(path);
	const char *all = json_get(text, array), *vector;
	size_t i, n = 0;

	for (i = 0; (vector = json_at(all, i)) != NULL; i++)
		n += check_derivation(vector);
	free(text);
	return n;
}

static void
published_derivations_come_out_as_published(void **state)
{
	(void)state;
	assert_int_equal(check_all(VECTORS_DIR "/vlp-test-vectors.json",
			     "secure_frame_vectors"),
	    3);
	assert_int_equal(
	    check_all(VECTORS_DIR "/extra-vectors.json", "kdf"), 4);
}

static void
every_length_is_the_start_of_the_longest(void **state)
{
	static uint8_t longest[HKDF_OUT_MAX];
	struct guard g;
	size_t n;

	(void)state;
	hkdf_sha256(
	    ikm, sizeof(ikm), salt, sizeof(salt), longest, sizeof(longest));
	guard_init(&g, 128);
	for (n = 1; n <= 128; n++) {
		uint8_t *out = guard_end(&g, n);

		hkdf_sha256(ikm, sizeof(ikm), salt, sizeof(salt), out, n);
		assert_memory_equal(out, longest, n);
	}
	guard_fini(&g);
}

static void
every_input_changes_a_panic_prefix(void **state)
{
	uint8_t base[8], other[8], salt_b[16];

	(void)state;
	memcpy(salt_b, salt, sizeof(salt));
	salt_b[15] ^= 1;
	hkdf_panic_iv_prefix(salt, 42, 1000, 7, base);
	hkdf_panic_iv_prefix(salt_b, 42, 1000, 7, other);
	assert_memory_not_equal(base, other, sizeof(base));
	hkdf_panic_iv_prefix(salt, 43, 1000, 7, other);
	assert_memory_not_equal(base, other, sizeof(base));
	hkdf_panic_iv_prefix(salt, 42, 1000 + (UINT64_C(1) << 63), 7, other);
	assert_memory_not_equal(base, other, sizeof(base));
	hkdf_panic_iv_prefix(salt, 42, 1000, 7 + (UINT32_C(1) << 31), other);
	assert_memory_not_equal(base, other, sizeof(base));
}

static void
derived_keys_are_apart_from_their_parents_and_from_each_other(void **state)
{
	uint8_t a[32], b[32], epoch[32];

	(void)state;
	hkdf_agent_key(ikm, 1000, a);
	hkdf_agent_key(ikm, 1001, b);
	hkdf_epoch_key(ikm, 1000, epoch);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, ikm, sizeof(a));
	assert_memory_not_equal(a, epoch, sizeof(a));
	hkdf_agent_key(ikm, 1000, b);
	assert_memory_equal(a, b, sizeof(a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_value_of_the_rfc_comes_out),
		cmocka_unit_test(published_derivations_come_out_as_published),
		cmocka_unit_test(every_length_is_the_start_of_the_longest),
		cmocka_unit_test(every_input_changes_a_panic_prefix),
		cmocka_unit_test(
		    derived_keys_are_apart_from_their_parents_and_from_each_other),
	};

	return cmocka_run_group_tests_name("hkdf", tests, start, NULL);
}
