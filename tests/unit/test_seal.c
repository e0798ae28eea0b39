/*
 * Sealed frames: published bytes, and that nothing but what was sealed opens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>
#include <varta/frame.h>

#include "base/bytes.h"
#include "base/util.h"
#include "secure/hkdf.h"
#include "secure/seal.h"
#include "support/guard.h"
#include "support/json.h"

static const uint8_t zeros[SEAL_PLAIN_BYTES];
static const struct seal_iv iv = {
	.random = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 },
	.counter = 0x01020304,
};
static uint8_t key[32];
static uint8_t plain[SEAL_PLAIN_BYTES];

static int
start(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(key); i++) {
		key[i] = (uint8_t)i;
		plain[i] = (uint8_t)(0xa5 ^ i);
	}
	return sodium_init() < 0 ? -1 : 0;
}

static size_t
get_hex(const char *v, const char *name, uint8_t *out, size_t size)
{
	return json_hex(json_get(v, name), out, size);
}

static void
get_iv(const char *v, struct seal_iv *ret)
{
	assert_int_equal(
	    get_hex(v, "iv_random_hex", ret->random, sizeof(ret->random)),
	    SEAL_PREFIX_BYTES);
	ret->counter = (uint32_t)json_u64(json_get(v, "iv_counter"));
}

static void
check_shared(const char *v)
{
	uint8_t k[32], in[32], expected[60], wire[60], back[32];
	struct seal_iv i, clear;

	(void)get_hex(v, "key_hex", k, sizeof(k));
	(void)get_hex(v, "plaintext_hex", in, sizeof(in));
	assert_int_equal(
	    get_hex(v, "expected_wire_hex", expected, sizeof(expected)),
	    SEAL_SHARED_BYTES);
	get_iv(v, &i);

	seal_shared(k, &i, in, wire);
	assert_memory_equal(wire, expected, sizeof(wire));
	assert_true(seal_open_shared(k, expected, back));
	assert_memory_equal(back, in, sizeof(in));
	seal_shared_iv(expected, &clear);
	assert_memory_equal(clear.random, i.random, sizeof(i.random));
	assert_int_equal(clear.counter, i.counter);
}

static void
check_master(const char *v)
{
	uint8_t master[32], k[32], expected_key[32];
	uint8_t in[32], expected[64], wire[64], back[32];
	uint32_t pid = (uint32_t)json_u64(json_get(v, "agent_pid")), clear_pid;
	struct seal_iv i, clear;

	(void)get_hex(v, "master_key_hex", master, sizeof(master));
	(void)get_hex(v, "derived_agent_key_hex", expected_key, 32);
	(void)get_hex(v, "plaintext_hex", in, sizeof(in));
	assert_int_equal(
	    get_hex(v, "expected_wire_hex", expected, sizeof(expected)),
	    SEAL_MASTER_BYTES);
	get_iv(v, &i);

	hkdf_agent_key(master, pid, k);
	assert_memory_equal(k, expected_key, sizeof(k));
	seal_master(k, pid, &i, in, wire);
	assert_memory_equal(wire, expected, sizeof(wire));
	assert_true(seal_open_master(k, expected, back));
	assert_memory_equal(back, in, sizeof(in));
	seal_master_iv(expected, &clear_pid, &clear);
	assert_int_equal(clear_pid, pid);
	assert_memory_equal(clear.random, i.random, sizeof(i.random));
	assert_int_equal(clear.counter, i.counter);
}

/* What a receiver has to refuse, and at which step. */
static void
check_refusal(const char *v)
{
	uint8_t master[32], k[32], wire[64], back[32];
	struct varta_frame frame;
	struct seal_iv i;
	uint32_t pid;

	(void)get_hex(v, "master_key_hex", master, sizeof(master));
	assert_int_equal(
	    get_hex(v, "wire_hex", wire, sizeof(wire)), SEAL_MASTER_BYTES);
	seal_master_iv(wire, &pid, &i);
	hkdf_agent_key(master, pid, k);
	if (json_is(json_get(v, "expected"), "AuthError")) {
		memset(back, 0xff, sizeof(back));
		assert_false(seal_open_master(k, wire, back));
		assert_memory_equal(back, zeros, sizeof(back));
		return;
	}
	assert_true(json_is(json_get(v, "expected"), "PidMismatch"));
	assert_true(seal_open_master(k, wire, back));
	assert_int_equal(varta_frame_decode(back, sizeof(back), &frame), 0);
	assert_int_not_equal(frame.pid, pid);
}

static bool
check_vector(const char *v)
{
	const char *kind = json_get(v, "kind");

	if (json_is(kind, "shared_key_seal"))
		check_shared(v);
	else if (json_is(kind, "master_key_seal"))
		check_master(v);
	else if (json_is(kind, "open_error"))
		check_refusal(v);
	else
		return false;
	return true;
}

static size_t
check_all(const char *path, const char *array)
{
	char *text = json_load(path);
	const char *all = json_get(text, array), *vector;
	size_t i, n = 0;

	for (i = 0; (vector = json_at(all, i)) != NULL; i++)
		n += check_vector(vector);
	free(text);
	return n;
}

static void
published_frames_are_sealed_and_opened_as_published(void **state)
{
	(void)state;
	assert_int_equal(check_all(VECTORS_DIR "/vlp-test-vectors.json",
			     "secure_frame_vectors"),
	    2);
	assert_int_equal(
	    check_all(VECTORS_DIR "/extra-vectors.json", "secure"), 8);
}

static void
the_published_last_word_has_the_derived_prefix(void **state)
{
	char *text = json_load(VECTORS_DIR "/extra-vectors.json");
	const char *all = json_get(text, "secure"), *v;
	uint8_t salt[16], prefix[8], expected[8];
	size_t i = 0;

	(void)state;
	while ((v = json_at(all, i++)) != NULL &&
	       !json_is(json_get(v, "id"), "secure-panic-frame"))
		;
	assert_non_null(v);
	(void)get_hex(v, "panic_salt_hex", salt, sizeof(salt));
	(void)get_hex(v, "iv_random_hex", expected, sizeof(expected));
	hkdf_panic_iv_prefix(salt, 2, 999, 0, prefix);
	assert_memory_equal(prefix, expected, sizeof(prefix));
	free(text);
}

static void
one_flipped_bit_anywhere_is_noticed(void **state)
{
	uint8_t shared[SEAL_SHARED_BYTES], master[SEAL_MASTER_BYTES], out[32];
	size_t bit;

	(void)state;
	seal_shared(key, &iv, plain, shared);
	for (bit = 0; bit < 8 * sizeof(shared); bit++) {
		shared[bit / 8] ^= (uint8_t)(1 << bit % 8);
		memset(out, 0xff, sizeof(out));
		assert_false(seal_open_shared(key, shared, out));
		assert_memory_equal(out, zeros, sizeof(out));
		shared[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	seal_master(key, 77, &iv, plain, master);
	for (bit = 0; bit < 8 * sizeof(master); bit++) {
		master[bit / 8] ^= (uint8_t)(1 << bit % 8);
		memset(out, 0xff, sizeof(out));
		assert_false(seal_open_master(key, master, out));
		assert_memory_equal(out, zeros, sizeof(out));
		master[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void
another_key_opens_nothing(void **state)
{
	uint8_t shared[SEAL_SHARED_BYTES], master[SEAL_MASTER_BYTES];
	uint8_t other[32], out[32];
	size_t bit;

	(void)state;
	seal_shared(key, &iv, plain, shared);
	seal_master(key, 77, &iv, plain, master);
	for (bit = 0; bit < 8 * sizeof(key); bit++) {
		memcpy(other, key, sizeof(key));
		other[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(seal_open_shared(other, shared, out));
		assert_false(seal_open_master(other, master, out));
	}
}

/* The tail of a master frame is no shared frame: the pid is bound to it. */
static void
the_two_forms_are_not_taken_for_each_other(void **state)
{
	uint8_t master[SEAL_MASTER_BYTES], shared[SEAL_SHARED_BYTES], out[32];

	(void)state;
	seal_master(key, 77, &iv, plain, master);
	memcpy(shared, master + 4, sizeof(shared));
	assert_false(seal_open_shared(key, shared, out));

	seal_shared(key, &iv, plain, shared);
	store_le32(master, 0);
	memcpy(master + 4, shared, sizeof(shared));
	assert_false(seal_open_master(key, master, out));
}

static void
exactly_the_bytes_of_a_frame_are_touched(void **state)
{
	struct guard in, out, back;

	(void)state;
	guard_init(&in, 64);
	guard_init(&out, 64);
	guard_init(&back, 64);
	seal_shared(guard_copy(&in, key, sizeof(key)), &iv, plain,
	    guard_end(&out, SEAL_SHARED_BYTES));
	assert_true(seal_open_shared(
	    key, guard_end(&out, SEAL_SHARED_BYTES), guard_end(&back, 32)));
	assert_memory_equal(guard_end(&back, 32), plain, 32);

	seal_master(key, 9, &iv, guard_copy(&in, plain, sizeof(plain)),
	    guard_start(&out));
	assert_true(
	    seal_open_master(key, guard_start(&out), guard_start(&back)));
	assert_memory_equal(guard_start(&back), plain, 32);
	guard_fini(&in);
	guard_fini(&out);
	guard_fini(&back);
}

static void
a_frame_may_lie_at_any_address(void **state)
{
	uint8_t bytes[SEAL_MASTER_BYTES + 8], out[32];
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		seal_master(key, 9, &iv, plain, bytes + i);
		assert_true(seal_open_master(key, bytes + i, out));
		assert_memory_equal(out, plain, sizeof(out));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    published_frames_are_sealed_and_opened_as_published),
		cmocka_unit_test(
		    the_published_last_word_has_the_derived_prefix),
		cmocka_unit_test(one_flipped_bit_anywhere_is_noticed),
		cmocka_unit_test(another_key_opens_nothing),
		cmocka_unit_test(the_two_forms_are_not_taken_for_each_other),
		cmocka_unit_test(exactly_the_bytes_of_a_frame_are_touched),
		cmocka_unit_test(a_frame_may_lie_at_any_address),
	};

	return cmocka_run_group_tests_name("seal", tests, start, NULL);
}
