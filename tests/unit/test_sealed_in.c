/*
 * Sealed datagrams through the intake: what becomes a beat, what is counted.
 */
#include "watch/intake/sealed_in.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <sodium.h>
#include <varta/frame.h>

#include "base/bytes.h"
#include "base/util.h"
#include "secure/hkdf.h"
#include "support/fault.h"
#include "support/tmpdir.h"

FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))

enum { PID = 42, LONGEST = 72 };

static const uint8_t shared[32] = { 1 }, other[32] = { 2 }, master[32] = { 3 };

/* Datagrams that wait to be taken. */
struct queue {
	uint8_t bytes[2 * INTAKE_BATCH][LONGEST];
	uint32_t len[2 * INTAKE_BATCH];
	size_t n, taken;
};

struct world {
	struct tmpdir dir;
	struct queue queue;
	struct keyring *keys;
	struct replay *replay;
	struct sealed_in *sealed;
	struct stats stats;
	struct intake intake;
	struct intake_batch batch;
	uint64_t now_ns;
	uint64_t senders, sessions;
};

static int
take(void *ctx, struct datagram *ret, size_t max)
{
	struct queue *q = ctx;
	int n = 0;

	for (; q->taken < q->n && (size_t)n < max; q->taken++, n++)
		ret[n] = (struct datagram){ .bytes = q->bytes[q->taken],
			.len = q->len[q->taken] };
	if (q->taken == q->n)
		q->n = q->taken = 0;
	return n;
}

static uint64_t
now(void *ctx)
{
	return *(uint64_t *)ctx;
}

static const char *
put_key(struct tmpdir *t, const char *name, const uint8_t *keys, size_t n)
{
	const char *path = tmpdir_path(t, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (size_t i = 0; i < 32 * n; i++)
		assert_true(fprintf(f, "%02x%s", keys[i],
				i % 32 == 31 ? "\n" : "") > 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0600), 0);
	return path;
}

static struct keyring *
ring(struct world *w, const uint8_t *key, bool with_master)
{
	struct keyring_files files = {
		.key = put_key(&w->dir, "key", key, 1),
	};
	struct keyring_fault fault;
	struct keyring *k;

	if (with_master)
		files.master = put_key(&w->dir, "master", master, 1);
	if (keyring_new(&files, &k, &fault) < 0)
		fail_msg("%s", fault.text);
	return k;
}

static int
setup(void **state)
{
	const struct replay_options options = { .senders_max = 4,
		.gap_ns = 5 * NS_PER_S };
	const struct intake_policy policy = { .pid_max = 1 };
	struct world *w = calloc(1, sizeof(*w));
	struct sealed_in_options sealed = { .take = take,
		.take_ctx = &w->queue,
		.stats = &w->stats,
		.now_ns = now,
		.clock_ctx = &w->now_ns,
		.senders = &w->senders,
		.sessions = &w->sessions };
	struct intake_source source;

	tmpdir_init(&w->dir);
	w->keys = ring(w, shared, true);
	assert_int_equal(replay_new(&options, &w->replay), 0);
	sealed.keys = w->keys;
	sealed.replay = w->replay;
	w->sealed = sealed_in_new(&sealed);
	assert_non_null(w->sealed);
	source = sealed_in_source(w->sealed, false);
	intake_init(&w->intake, &source, &policy, &w->stats);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	sealed_in_free(w->sealed);
	replay_free(w->replay);
	keyring_free(w->keys);
	tmpdir_fini(&w->dir);
	free(w);
	return 0;
}

static void
put(struct world *w, const void *bytes, size_t n)
{
	struct queue *q = &w->queue;

	memcpy(q->bytes[q->n], bytes, n);
	q->len[q->n++] = (uint32_t)n;
}

static struct seal_iv
iv_of(uint8_t session, uint32_t counter)
{
	return (struct seal_iv){ .random = { session }, .counter = counter };
}

static void
frame(uint32_t pid, uint32_t n, uint8_t out[32])
{
	const struct varta_frame f = { .pid = pid, .nonce = (uint64_t)n + 1 };

	assert_int_equal(varta_frame_encode(&f, out), 0);
}

static void
put_shared(struct world *w, const uint8_t key[32], uint8_t session, uint32_t n)
{
	const struct seal_iv iv = iv_of(session, n);
	uint8_t plain[32], wire[60];

	frame(PID, n, plain);
	seal_shared(key, &iv, plain, wire);
	put(w, wire, sizeof(wire));
}

static void
put_master(struct world *w, uint32_t pid, uint8_t session, uint32_t n)
{
	const struct seal_iv iv = iv_of(session, n);
	uint8_t plain[32], key[32], wire[64];

	frame(pid, n, plain);
	hkdf_agent_key(master, pid, key);
	seal_master(key, pid, &iv, plain, wire);
	put(w, wire, sizeof(wire));
}

/* Take all that is there; beats of the last batch are in w->batch. */
static size_t
beats(struct world *w)
{
	size_t n = 0;

	do {
		intake_take(&w->intake, &w->batch);
		n += w->batch.n_beats;
	} while (w->batch.n_taken == INTAKE_BATCH);
	return n;
}

static void
sealed_frames_become_beats_of_their_key(void **state)
{
	struct world *w = *state;
	uint32_t sources[KEYRING_KEYS_MAX];
	const struct beat *b = w->batch.beats;

	assert_int_equal(keyring_sources(w->keys, sources), 2);
	put_shared(w, shared, 7, 0);
	put_master(w, PID, 7, 0);
	assert_int_equal(beats(w), 2);
	assert_true(b[0].id == ((uint64_t)sources[0] << 32 | PID));
	assert_true(b[1].id == ((uint64_t)sources[1] << 32 | PID));
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(b[i].pid, PID);
		assert_int_equal(b[i].nonce, 1);
		assert_int_equal(b[i].origin, ORIGIN_NETWORK_UNVERIFIED);
		assert_int_equal(b[i].uid, UINT32_MAX);
		assert_true(b[i].is_anew);
	}
	assert_int_equal(w->stats.secure_aead_attempts, 2);
	assert_int_equal(w->senders, 2);
	assert_int_equal(w->sessions, 2);
}

static void
the_operator_may_vouch_for_the_network(void **state)
{
	struct world *w = *state;

	w->intake.source = sealed_in_source(w->sealed, true);
	put_shared(w, shared, 7, 0);
	assert_int_equal(beats(w), 1);
	assert_int_equal(w->batch.beats[0].origin, ORIGIN_OPERATOR_ATTESTED);
}

static void
only_a_change_of_session_is_told_as_such(void **state)
{
	struct world *w = *state;

	put_shared(w, shared, 7, 0);
	put_shared(w, shared, 7, 1);
	put_shared(w, shared, 8, 0);
	put_shared(w, shared, 8, 1);
	put_shared(w, shared, 8, 2);
	assert_int_equal(beats(w), 5);
	assert_false(w->batch.beats[1].is_anew);
	assert_true(w->batch.beats[2].is_anew);
	assert_false(w->batch.beats[3].is_anew);
	assert_false(w->batch.beats[4].is_anew);
}

static void
other_lengths_are_counted_as_such(void **state)
{
	struct world *w = *state;
	uint8_t zeros[LONGEST] = { 0 };

	for (size_t n = 0; n <= LONGEST; n++)
		if (n != 60 && n != 64)
			put(w, zeros, n);
	assert_int_equal(beats(w), 0);
	assert_int_equal(w->stats.truncated_datagrams, LONGEST - 1);
	assert_int_equal(w->stats.secure_aead_attempts, 0);
	assert_int_equal(w->stats.frame_decrypt_failures, 0);
	assert_int_equal(w->batch.n_faults, 0);
}

static void
a_plain_frame_is_of_a_wrong_length_here(void **state)
{
	struct world *w = *state;
	uint8_t plain[32];

	frame(PID, 0, plain);
	put(w, plain, sizeof(plain));
	assert_int_equal(beats(w), 0);
	assert_int_equal(w->stats.truncated_datagrams, 1);
}

static void
what_no_key_opens_is_counted_and_makes_no_event(void **state)
{
	struct world *w = *state;

	put_shared(w, other, 7, 0);
	put_shared(w, shared, 7, 0);
	w->queue.bytes[1][59] ^= 1;
	put_master(w, PID, 7, 0);
	w->queue.bytes[2][0] ^= 1;
	assert_int_equal(beats(w), 0);
	assert_int_equal(w->batch.n_faults, 0);
	assert_int_equal(w->stats.frame_decrypt_failures, 3);
	assert_int_equal(w->stats.secure_aead_attempts, 3);
	assert_int_equal(replay_senders(w->replay), 0);
}

static void
what_does_not_decode_is_an_event_and_no_session(void **state)
{
	struct world *w = *state;
	const struct seal_iv iv = iv_of(7, 0);
	uint8_t plain[32], wire[60];

	frame(PID, 0, plain);
	plain[28] ^= 1; /* its own checksum */
	seal_shared(shared, &iv, plain, wire);
	put(w, wire, sizeof(wire));
	assert_int_equal(beats(w), 0);
	assert_int_equal(w->batch.n_faults, 1);
	assert_int_equal(w->batch.faults[0].kind, EVENT_DECODE);
	assert_int_equal(w->batch.faults[0].error, VARTA_ERR_BAD_CRC);
	assert_int_equal(replay_sessions(w->replay), 0);
	put_shared(w, shared, 7, 0);
	assert_int_equal(beats(w), 1);
}

static void
a_pid_that_no_host_has_leaves_no_session(void **state)
{
	struct world *w = *state;

	put_master(w, INTAKE_NETWORK_PID_MAX + 1, 7, 0);
	assert_int_equal(beats(w), 0);
	assert_int_equal(w->stats.pid_above_max, 1);
	assert_int_equal(replay_sessions(w->replay), 0);
}

static void
a_recorded_session_is_refused_in_any_order(void **state)
{
	struct world *w = *state;

	for (uint32_t n = 0; n < 20; n++)
		put_shared(w, shared, 7, n);
	assert_int_equal(beats(w), 20);
	for (uint32_t n = 20; n > 0; n--)
		put_shared(w, shared, 7, n - 1);
	for (uint32_t n = 0; n < 20; n += 3)
		put_shared(w, shared, 7, n);
	assert_int_equal(beats(w), 0);
	w->now_ns += 3600 * NS_PER_S;
	for (uint32_t n = 0; n < 20; n++)
		put_shared(w, shared, 7, n);
	assert_int_equal(beats(w), 0);
	assert_int_equal(w->stats.secure_replay_refused, 20 + 7 + 20);
}

static void
refusals_are_counted_by_cause(void **state)
{
	struct world *w = *state;

	for (uint32_t pid = 2; pid < 6; pid++)
		put_master(w, pid, 7, 0);
	put_master(w, 6, 7, 0);
	assert_int_equal(beats(w), 4);
	assert_int_equal(w->stats.sender_state_full, 1);
	for (uint8_t session = 10; session < 10 + REPLAY_BURST; session++)
		put_master(w, 2, session, 0);
	assert_int_equal(beats(w), REPLAY_BURST - 1);
	assert_int_equal(w->stats.session_refused[STATS_SESSION_TOO_OFTEN], 1);
	assert_int_equal(w->stats.secure_replay_refused, 0);
}

static void
full_batches_are_taken_one_after_the_other(void **state)
{
	struct world *w = *state;

	for (uint32_t n = 0; n < INTAKE_BATCH + 10; n++)
		if (n % 2 == 0)
			put_shared(w, shared, 7, n);
		else
			put_shared(w, other, 7, n);
	assert_int_equal(beats(w), (INTAKE_BATCH + 10) / 2);
	assert_int_equal(w->batch.n_taken, 10);
	assert_int_equal(w->stats.datagrams, INTAKE_BATCH + 10);
}

static void
sessions_outlive_a_change_of_keys(void **state)
{
	struct world *w = *state;
	struct keyring *fresh;

	put_shared(w, shared, 7, 0);
	put_master(w, PID, 7, 0);
	assert_int_equal(beats(w), 2);

	/* Another shared key, the same master key. */
	fresh = ring(w, other, true);
	sealed_in_set_keys(w->sealed, fresh);
	put_shared(w, shared, 7, 1);
	put_shared(w, other, 7, 0);
	put_master(w, PID, 7, 0);
	put_master(w, PID, 7, 1);
	assert_int_equal(beats(w), 2);
	assert_int_equal(w->stats.secure_replay_refused, 1);

	/* Back again: what was taken under the first key still was. */
	sealed_in_set_keys(w->sealed, w->keys);
	put_shared(w, shared, 7, 0);
	put_shared(w, shared, 7, 1);
	assert_int_equal(beats(w), 1);
	keyring_free(fresh);
}

static void
nothing_is_allocated_for_a_datagram(void **state)
{
	struct world *w = *state;

	for (uint32_t n = 0; n < 20; n++) {
		put_shared(w, shared, (uint8_t)(n / 5), n);
		put_master(w, 2 + n % 5, (uint8_t)n, n);
		put_shared(w, other, 7, n);
	}
	fault_always(&fault_malloc, ENOMEM);
	fault_always(&fault_calloc, ENOMEM);
	assert_true(beats(w) > 0);
	assert_int_equal(fault_malloc.calls + fault_calloc.calls, 0);
	fault_off(&fault_malloc);
	fault_off(&fault_calloc);
}

static void
bears_a_lack_of_memory_at_the_start(void **state)
{
	struct world *w = *state;
	const struct sealed_in_options options = { .keys = w->keys,
		.replay = w->replay };

	fault_nth(&fault_calloc, 1, ENOMEM);
	assert_null(sealed_in_new(&options));
	fault_off(&fault_calloc);
	sealed_in_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sealed_frames_become_beats_of_their_key),
		TEST(the_operator_may_vouch_for_the_network),
		TEST(only_a_change_of_session_is_told_as_such),
		TEST(other_lengths_are_counted_as_such),
		TEST(a_plain_frame_is_of_a_wrong_length_here),
		TEST(what_no_key_opens_is_counted_and_makes_no_event),
		TEST(what_does_not_decode_is_an_event_and_no_session),
		TEST(a_pid_that_no_host_has_leaves_no_session),
		TEST(a_recorded_session_is_refused_in_any_order),
		TEST(refusals_are_counted_by_cause),
		TEST(full_batches_are_taken_one_after_the_other),
		TEST(sessions_outlive_a_change_of_keys),
		TEST(nothing_is_allocated_for_a_datagram),
		TEST(bears_a_lack_of_memory_at_the_start),
	};

	return cmocka_run_group_tests_name("sealed_in", tests, NULL, NULL);
}
