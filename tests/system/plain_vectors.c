/*
 * The published vectors without a test library, so that any compiler for any
 * machine can build it: test_big_endian.py does. With -DWITH_SODIUM sealed
 * frames, too. Prints how many vectors it has checked, or ends by abort(3).
 */
#include <stdio.h>
#include <string.h>

#include <varta/frame.h>
#include <varta/varta.h>

#include "base/bytes.h"
#include "support/json.h"

static void
check(bool holds, const char *vector)
{
	if (holds)
		return;
	(void)fprintf(stderr, "failed: %.80s\n", vector);
	abort();
}

static uint8_t
status_of(const char *value)
{
	return json_is(value, "ok")         ? VARTA_OK
	       : json_is(value, "degraded") ? VARTA_DEGRADED
					    : VARTA_CRITICAL;
}

static void
check_round_trip(const char *v)
{
	const char *in = json_get(v, "inputs");
	uint8_t expected[VARTA_FRAME_BYTES], wire[VARTA_FRAME_BYTES];
	const struct varta_frame f = {
		.status = status_of(json_get(in, "status")),
		.pid = (uint32_t)json_u64(json_get(in, "pid")),
		.timestamp = json_u64(json_get(in, "timestamp")),
		.nonce = json_u64(json_get(in, "nonce")),
		.payload = (uint32_t)json_u64(json_get(in, "payload")),
	};
	struct varta_frame back;

	(void)json_hex(json_get(v, "expected_wire_hex"), expected, 32);
	check(varta_frame_encode(&f, wire) == 0, v);
	check(memcmp(wire, expected, sizeof(wire)) == 0, v);
	check(varta_frame_decode(wire, sizeof(wire), &back) == 0, v);
	check(back.status == f.status && back.pid == f.pid &&
		  back.timestamp == f.timestamp && back.nonce == f.nonce &&
		  back.payload == f.payload,
	    v);
}

static void
check_frame(const char *v)
{
	uint8_t wire[VARTA_FRAME_BYTES];
	struct varta_frame f;
	int r;

	if (json_is(json_get(v, "kind"), "encode_decode_roundtrip")) {
		check_round_trip(v);
		return;
	}
	(void)json_hex(json_get(v, "wire_hex"), wire, sizeof(wire));
	r = varta_frame_decode(wire, sizeof(wire), &f);
	check(json_is(json_get(v, "expected_decode_error"),
		  varta_frame_error_name(r)),
	    v);
}

#ifdef WITH_SODIUM
#include <sodium.h>

#include "secure/hkdf.h"
#include "secure/seal.h"

static void
check_seal(const char *v, bool is_master)
{
	uint8_t key[32], plain[32], expected[64], wire[64], back[32];
	struct seal_iv iv;
	uint32_t pid;

	(void)json_hex(
	    json_get(v, is_master ? "master_key_hex" : "key_hex"), key, 32);
	(void)json_hex(json_get(v, "plaintext_hex"), plain, 32);
	(void)json_hex(json_get(v, "iv_random_hex"), iv.random, 8);
	(void)json_hex(json_get(v, "expected_wire_hex"), expected, 64);
	iv.counter = (uint32_t)json_u64(json_get(v, "iv_counter"));
	if (is_master) {
		pid = (uint32_t)json_u64(json_get(v, "agent_pid"));
		hkdf_agent_key(key, pid, key);
		seal_master(key, pid, &iv, plain, wire);
		check(memcmp(wire, expected, 64) == 0, v);
		check(seal_open_master(key, wire, back), v);
	} else {
		seal_shared(key, &iv, plain, wire);
		check(memcmp(wire, expected, 60) == 0, v);
		check(seal_open_shared(key, wire, back), v);
	}
	check(memcmp(back, plain, 32) == 0, v);
}

static void
check_prefix(const char *v, bool is_panic)
{
	uint8_t salt[16], prefix[8], expected[8];

	(void)json_hex(
	    json_get(v, is_panic ? "salt_hex" : "session_salt_hex"), salt, 16);
	(void)json_hex(json_get(v, "expected_iv_prefix_hex"), expected, 8);
	if (is_panic)
		hkdf_panic_iv_prefix(salt,
		    (uint32_t)json_u64(json_get(v, "pid")),
		    json_u64(json_get(v, "timestamp")),
		    (uint32_t)json_u64(json_get(v, "iv_counter")), prefix);
	else
		hkdf_iv_prefix(salt,
		    (uint32_t)json_u64(json_get(v, "prefix_index")), prefix);
	check(memcmp(prefix, expected, sizeof(prefix)) == 0, v);
}

static bool
check_sealed(const char *v)
{
	const char *kind = json_get(v, "kind");

	if (json_is(kind, "shared_key_seal"))
		check_seal(v, false);
	else if (json_is(kind, "master_key_seal"))
		check_seal(v, true);
	else if (json_is(kind, "kdf_iv_prefix"))
		check_prefix(v, false);
	else if (json_is(kind, "kdf_panic_iv_prefix"))
		check_prefix(v, true);
	else
		return false;
	return true;
}
#else
static bool
check_sealed(const char *v)
{
	(void)v;
	return false;
}
#endif

int
main(int argc, char **argv)
{
	char *published = json_load(argc > 2 ? argv[1] : "");
	char *extra = json_load(argc > 2 ? argv[2] : "");
	const char *const sealed[] = { json_get(
					   published, "secure_frame_vectors"),
		json_get(extra, "kdf"), json_get(extra, "secure") };
	const char *frames = json_get(published, "frame_vectors"), *v;
	size_t i, k, n = 0, n_sealed = 0;

#ifdef WITH_SODIUM
	check(sodium_init() >= 0, "sodium_init");
#endif
	for (; (v = json_at(frames, n)) != NULL; n++)
		check_frame(v);
	for (k = 0; k < 3; k++)
		for (i = 0; (v = json_at(sealed[k], i)) != NULL; i++)
			n_sealed += check_sealed(v);
	(void)printf("%s: %zu frames, %zu sealed\n",
	    __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? "big" : "little", n,
	    n_sealed);
	free(published);
	free(extra);
	return 0;
}
