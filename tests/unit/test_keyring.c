/*
 * Key files, and which frames their keys open.
 */
#include "watch/intake/keyring.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <sodium.h>
#include <varta/frame.h>

#include "base/util.h"
#include "secure/hkdf.h"
#include "secure/secret.h"
#include "support/fault.h"
#include "support/json.h"
#include "support/tmpdir.h"
#include "watch/event.h"

FAULT(void *, NULL, sodium_malloc, (size_t n), (n))
FAULT(int, -1, sodium_init, (void), ())
FAULT(int, -1, sodium_mlock, (void *const p, const size_t n), (p, n))

enum { PID = 42 };

static const char hex_a[] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char hex_b[] =
    "FFfefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0";
static const struct seal_iv iv = { .random = { 1, 2, 3 }, .counter = 4 };

static uint8_t key_a[32], key_b[32];

/* A secret file with this text. */
static const char *
put(struct tmpdir *t, const char *name, const char *text)
{
	const char *path = tmpdir_path(t, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0600), 0);
	return path;
}

static struct keyring *
ring(const struct keyring_files *files)
{
	struct keyring_fault fault;
	struct keyring *k = NULL;

	if (keyring_new(files, &k, &fault) < 0)
		fail_msg("%s", fault.text);
	return k;
}

static void
refuses(const struct keyring_files *files, int error, const char *word)
{
	struct keyring_fault fault;
	struct keyring *k = NULL;
	int r = keyring_new(files, &k, &fault);

	if (r != error)
		fail_msg("%d: %s", r, r < 0 ? fault.text : "");
	if (strstr(fault.text, word) == NULL)
		fail_msg("no '%s' in: %s", word, fault.text);
	/* Never a part of a key. */
	assert_null(strstr(fault.text, "0001020304"));
	assert_null(k);
}

static void
a_frame(uint32_t pid, uint8_t out[32])
{
	const struct varta_frame frame = { .nonce = 1, .pid = pid };

	assert_int_equal(varta_frame_encode(&frame, out), 0);
}

static bool
opens_shared(struct keyring *k, const uint8_t key[32])
{
	struct keyring_opened opened;
	uint8_t plain[32], wire[60];
	bool did;

	a_frame(PID, plain);
	seal_shared(key, &iv, plain, wire);
	did = keyring_open(k, wire, sizeof(wire), &opened);
	if (did) {
		assert_memory_equal(opened.plain, plain, sizeof(plain));
		assert_int_equal(opened.iv.counter, iv.counter);
		assert_memory_equal(opened.iv.random, iv.random, 8);
	}
	assert_int_equal(opened.attempts, keyring_shared_count(k));
	return did;
}

static void
seal_for(
    const uint8_t master[32], uint32_t pid, uint32_t inner, uint8_t wire[64])
{
	uint8_t agent[32], plain[32];

	a_frame(inner, plain);
	hkdf_agent_key(master, pid, agent);
	seal_master(agent, pid, &iv, plain, wire);
}

static bool
opens_master(struct keyring *k, const uint8_t master[32], uint32_t pid)
{
	struct keyring_opened opened;
	uint8_t wire[64];
	bool did;

	seal_for(master, pid, pid, wire);
	did = keyring_open(k, wire, sizeof(wire), &opened);
	assert_int_equal(opened.attempts, keyring_has_master(k));
	return did;
}

static void
one_key_with_comments_and_blanks_around_it(void **state)
{
	char text[200];
	struct keyring *k;

	(void)snprintf(
	    text, sizeof(text), "# the key\r\n\n \t%s \r\n\n#\n", hex_a);
	k = ring(&(struct keyring_files){ .key = put(*state, "k", text) });
	assert_int_equal(keyring_shared_count(k), 1);
	assert_false(keyring_has_master(k));
	assert_true(opens_shared(k, key_a));
	assert_false(opens_shared(k, key_b));
	assert_false(opens_master(k, key_a, PID));
	keyring_free(k);
}

static void
a_file_without_a_newline_at_its_end_is_whole(void **state)
{
	struct keyring *k;

	k = ring(&(struct keyring_files){ .key = put(*state, "k", hex_a),
	    .master = put(*state, "m", hex_b) });
	assert_true(opens_shared(k, key_a));
	assert_true(opens_master(k, key_b, PID));
	keyring_free(k);
}

static void
accepted_keys_open_as_well_and_alone(void **state)
{
	char text[200];
	struct keyring *k;

	(void)snprintf(text, sizeof(text), "%s\n%s\n", hex_b, hex_a);
	k = ring(&(struct keyring_files){ .accepted = put(*state, "a", text) });
	assert_true(opens_shared(k, key_a));
	assert_true(opens_shared(k, key_b));
	keyring_free(k);
}

static void
a_key_given_twice_is_kept_once(void **state)
{
	char text[200];
	struct keyring *k;

	(void)snprintf(text, sizeof(text), "%s\n%s\n", hex_b, hex_a);
	k = ring(&(struct keyring_files){ .key = put(*state, "k", hex_a),
	    .accepted = put(*state, "a", text) });
	assert_int_equal(keyring_shared_count(k), 2);
	keyring_free(k);
}

static void
eight_shared_keys_and_no_more(void **state)
{
	char text[9 * 66 + 1] = "";
	struct keyring *k;

	for (unsigned i = 0; i < 8; i++)
		(void)snprintf(text + i * 65, sizeof(text) - i * 65,
		    "%062x%02x\n", 0, i + 1);
	k = ring(&(struct keyring_files){ .accepted = put(*state, "a", text),
	    .master = put(*state, "m", hex_b) });
	assert_int_equal(keyring_shared_count(k), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_true(
		    opens_shared(k, (uint8_t[32]){ [31] = (uint8_t)(i + 1) }));
	keyring_free(k);
	refuses(&(struct keyring_files){ .key = put(*state, "k", hex_a),
		    .accepted = put(*state, "a", text) },
	    -EINVAL, "8 keys, with the one of --key-file more than 8");
}

static void
refuses_what_is_no_key(void **state)
{
	static const char *const bad[] = { "x", "00", "0x00",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
		"1",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
		"1"
		"f0",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
		"1g",
		"000102030405060708090a0b0c0d0e0f "
		"101112131415161718191a1b1c1d1e"
		"1f" };
	struct tmpdir *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "# one\n%s\n", bad[i]);
		refuses(&(struct keyring_files){ .key = put(t, "k", text) },
		    -EINVAL, "line 2");
		refuses(
		    &(struct keyring_files){ .master = put(t, "m", bad[i]) },
		    -EINVAL, "64 hexadecimal digits");
	}
	refuses(&(struct keyring_files){ .key = put(t, "k", "\n# none\n") },
	    -EINVAL, "no key in it");
	refuses(&(struct keyring_files){ .accepted = put(t, "a", "") }, -EINVAL,
	    "no key in it");
	refuses(&(struct keyring_files){ .master = put(t, "m", "# a\n") },
	    -EINVAL, "no key in it");
}

static void
the_key_file_has_exactly_one(void **state)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%s\n%s\n", hex_a, hex_b);
	refuses(&(struct keyring_files){ .key = put(*state, "k", text) },
	    -EINVAL, "2 keys, need one");
	refuses(&(struct keyring_files){ .master = put(*state, "m", text) },
	    -EINVAL, "2 keys, need one");
	(void)snprintf(text, sizeof(text), "# ours\n%s\n", hex_a);
	refuses(&(struct keyring_files){ .master = put(*state, "m", text) },
	    -EINVAL, "no comments");
}

static void
files_are_held_to_the_rules_of_secrets(void **state)
{
	struct tmpdir *t = *state;
	const char *path = put(t, "k", hex_a);

	assert_int_equal(chmod(path, 0644), 0);
	refuses(&(struct keyring_files){ .key = path }, -EACCES, "mode 0644");
	refuses(&(struct keyring_files){ .accepted = path }, -EACCES,
	    "--accepted-key-file");
	refuses(&(struct keyring_files){ .master = path }, -EACCES,
	    "--master-key-file");
	refuses(&(struct keyring_files){ .master = tmpdir_path(t, "none") },
	    -ENOENT, "none");
}

static void
the_pid_in_front_is_the_pid_inside(void **state)
{
	struct keyring *k =
	    ring(&(struct keyring_files){ .master = put(*state, "m", hex_a) });
	struct keyring_opened opened;
	uint8_t wire[64];

	assert_true(opens_master(k, key_a, PID));
	seal_for(key_a, PID, PID + 1, wire);
	/* Derived, and from among those that are kept. */
	assert_false(keyring_open(k, wire, sizeof(wire), &opened));
	assert_false(keyring_open(k, wire, sizeof(wire), &opened));
	seal_for(key_a, PID + 2, PID, wire);
	assert_false(keyring_open(k, wire, sizeof(wire), &opened));
	assert_true(opens_master(k, key_a, PID));
	keyring_free(k);
}

static void
more_agents_than_keys_are_kept_of_are_all_opened(void **state)
{
	struct keyring *k =
	    ring(&(struct keyring_files){ .master = put(*state, "m", hex_a) });

	for (unsigned round = 0; round < 2; round++)
		for (uint32_t pid = 2; pid < 2 + 3 * KEYRING_AGENTS; pid += 7)
			assert_true(opens_master(k, key_a, pid));
	assert_false(opens_master(k, key_b, PID));
	keyring_free(k);
}

static void
frames_are_tried_with_keys_of_their_kind_only(void **state)
{
	struct keyring *k =
	    ring(&(struct keyring_files){ .key = put(*state, "k", hex_a),
		.master = put(*state, "m", hex_b) });
	uint8_t wire[64], plain[32], agent[32];
	struct keyring_opened opened;

	/* A shared key over a frame in the form of a master key. */
	a_frame(PID, plain);
	seal_master(key_a, PID, &iv, plain, wire);
	assert_false(keyring_open(k, wire, 64, &opened));
	assert_int_equal(opened.attempts, 1);
	/* A derived key over one in the form of a shared key. */
	hkdf_agent_key(key_b, PID, agent);
	assert_false(opens_shared(k, agent));
	keyring_free(k);
}

static void
every_changed_bit_is_refused(void **state)
{
	struct keyring *k =
	    ring(&(struct keyring_files){ .key = put(*state, "k", hex_a),
		.master = put(*state, "m", hex_b) });
	struct keyring_opened opened;
	uint8_t plain[32], shared[60], master[64];

	a_frame(PID, plain);
	seal_shared(key_a, &iv, plain, shared);
	for (size_t bit = 0; bit < 8 * sizeof(shared); bit++) {
		shared[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(keyring_open(k, shared, sizeof(shared), &opened));
		shared[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(keyring_open(k, shared, sizeof(shared), &opened));
	seal_for(key_b, PID, PID, master);
	assert_true(keyring_open(k, master, sizeof(master), &opened));
	for (size_t bit = 0; bit < 8 * sizeof(master); bit++) {
		master[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(keyring_open(k, master, sizeof(master), &opened));
		master[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	keyring_free(k);
}

static void
a_source_stands_for_a_key_whatever_its_file(void **state)
{
	uint32_t one[KEYRING_KEYS_MAX], other[KEYRING_KEYS_MAX];
	char text[200];
	struct keyring *k, *l;
	struct keyring_opened opened;
	uint8_t plain[32], wire[60];

	(void)snprintf(text, sizeof(text), "%s\n%s\n", hex_b, hex_a);
	k = ring(&(struct keyring_files){ .key = put(*state, "k", hex_a),
	    .master = put(*state, "m", hex_a) });
	l = ring(&(struct keyring_files){ .accepted = put(*state, "a", text) });
	assert_int_equal(keyring_sources(k, one), 2);
	assert_int_equal(keyring_sources(l, other), 2);
	assert_int_equal(one[0], other[1]);
	assert_int_not_equal(one[0], one[1]); /* the same key, another use */
	assert_int_equal(one[0], secret_fingerprint(key_a));
	assert_int_equal(one[1], secret_fingerprint(key_a) | SOURCE_MASTER);
	assert_int_equal(other[0], secret_fingerprint(key_b));
	assert_int_not_equal(other[0], other[1]);
	a_frame(PID, plain);
	seal_shared(key_a, &iv, plain, wire);
	assert_true(keyring_open(l, wire, sizeof(wire), &opened));
	assert_int_equal(opened.source, one[0]);
	for (size_t i = 0; i < 2; i++)
		assert_true(one[i] > 1 && other[i] > 1);
	keyring_free(k);
	keyring_free(l);
}

static void
published_frames_are_opened(void **state)
{
	struct keyring *k =
	    ring(&(struct keyring_files){ .key = put(*state, "k", hex_a),
		.master = put(*state, "m", hex_a) });
	char *text = json_load(VECTORS_DIR "/extra-vectors.json");
	unsigned opened = 0, refused = 0;
	const char *v;

	for (size_t i = 0; (v = json_at(json_get(text, "secure"), i)) != NULL;
	     i++) {
		struct keyring_opened o;
		uint8_t wire[64], plain[32];
		size_t n;

		if (json_is(json_get(v, "kind"), "open_error")) {
			n = json_hex(
			    json_get(v, "wire_hex"), wire, sizeof(wire));
			assert_false(keyring_open(k, wire, n, &o));
			refused++;
			continue;
		}
		n = json_hex(
		    json_get(v, "expected_wire_hex"), wire, sizeof(wire));
		assert_true(keyring_open(k, wire, n, &o));
		(void)json_hex(
		    json_get(v, "plaintext_hex"), plain, sizeof(plain));
		assert_memory_equal(o.plain, plain, sizeof(plain));
		opened++;
	}
	free(text);
	assert_int_equal(opened, 5);
	assert_int_equal(refused, 3);
	keyring_free(k);
}

static void
a_ring_that_cannot_be_guarded_is_not_made(void **state)
{
	const struct keyring_files files = { .key = put(*state, "k", hex_a) };
	struct keyring *k;

	fault_nth(&fault_sodium_malloc, 1, ENOMEM);
	refuses(&files, -ENOMEM, "memory");
	fault_nth(&fault_sodium_init, 1, EIO);
	refuses(&files, -ENOSYS, "libsodium");
	fault_nth(&fault_sodium_mlock, 1, EPERM);
	k = ring(&files);
	assert_false(keyring_lock(k));
	assert_true(keyring_lock(k));
	keyring_free(k);
	k = ring(&files);
	keyring_free(k);
	keyring_free(NULL);
}

static int
start(void **state)
{
	size_t len;

	if (sodium_init() < 0 ||
	    sodium_hex2bin(key_a, 32, hex_a, 64, NULL, &len, NULL) < 0 ||
	    sodium_hex2bin(key_b, 32, hex_b, 64, NULL, &len, NULL) < 0)
		return -1;
	return tmpdir_setup(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_key_with_comments_and_blanks_around_it),
		cmocka_unit_test(a_file_without_a_newline_at_its_end_is_whole),
		cmocka_unit_test(accepted_keys_open_as_well_and_alone),
		cmocka_unit_test(a_key_given_twice_is_kept_once),
		cmocka_unit_test(eight_shared_keys_and_no_more),
		cmocka_unit_test(refuses_what_is_no_key),
		cmocka_unit_test(the_key_file_has_exactly_one),
		cmocka_unit_test(files_are_held_to_the_rules_of_secrets),
		cmocka_unit_test(the_pid_in_front_is_the_pid_inside),
		cmocka_unit_test(
		    more_agents_than_keys_are_kept_of_are_all_opened),
		cmocka_unit_test(frames_are_tried_with_keys_of_their_kind_only),
		cmocka_unit_test(every_changed_bit_is_refused),
		cmocka_unit_test(a_source_stands_for_a_key_whatever_its_file),
		cmocka_unit_test(published_frames_are_opened),
		cmocka_unit_test(a_ring_that_cannot_be_guarded_is_not_made),
	};

	return cmocka_run_group_tests_name(
	    "keyring", tests, start, tmpdir_teardown);
}
