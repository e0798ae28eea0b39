#include "watch/intake/intake.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/dgram.h"
#include "watch/intake/datagram.h"

enum { OWN_UID = 1000, OWN_GID = 1001, PID = 4242, PID_MAX = 32768 };

/* A source that gives what it was told to, once. */
struct script {
	struct datagram datagrams[INTAKE_BATCH];
	uint8_t bytes[INTAKE_BATCH][40];
	size_t n;
	int error;
};

struct bench {
	struct script script;
	struct intake_policy policy;
	struct stats stats;
	struct intake intake;
	struct intake_batch got;
};

static int
take_script(void *ctx, struct datagram *ret, size_t max)
{
	struct script *s = ctx;
	int n = (int)s->n;

	assert_true(s->n <= max);
	if (s->error != 0)
		return s->error;
	memcpy(ret, s->datagrams, s->n * sizeof(*ret));
	s->n = 0;
	return n;
}

static struct bench *
bench_new(bool attested)
{
	static struct bench b;
	struct intake_source source = {
		.take = take_script, .ctx = &b.script, .attested = attested
	};

	memset(&b, 0, sizeof(b));
	b.policy.own_uid = OWN_UID;
	b.policy.pid_max = PID_MAX;
	b.policy.refuse_pid_zero = true;
	intake_init(&b.intake, &source, &b.policy, &b.stats);
	return &b;
}

/* One more datagram: a good one, which the caller may spoil. */
static struct datagram *
add(struct bench *b, uint32_t pid)
{
	struct script *s = &b->script;
	struct datagram *d = &s->datagrams[s->n];

	dgram_frame(pid, s->n + 1, s->bytes[s->n]);
	*d = (struct datagram){
		.bytes = s->bytes[s->n],
		.len = INTAKE_FRAME_BYTES,
		.pid = pid,
		.uid = OWN_UID,
		.gid = OWN_GID,
		.flags = DATAGRAM_HAS_CREDENTIALS,
	};
	s->n++;
	return d;
}

static uint8_t *
bytes_of_last(struct bench *b)
{
	return b->script.bytes[b->script.n - 1];
}

static void
assert_one_fault(struct bench *b, enum event_kind kind, int error)
{
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_taken, 1);
	assert_int_equal(b->got.n_beats, 0);
	assert_int_equal(b->got.n_faults, 1);
	assert_int_equal(b->got.faults[0].kind, kind);
	assert_int_equal(b->got.faults[0].error, error);
	assert_true(b->got.faults[0].consumed);
}

static void
assert_one_beat(struct bench *b)
{
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats, 1);
	assert_int_equal(b->got.n_faults, 0);
}

static void
a_good_frame_is_a_beat_with_all_its_fields(void **state)
{
	struct bench *b = bench_new(true);
	const struct beat *beat = &b->got.beats[0];

	(void)state;
	add(b, PID);
	assert_one_beat(b);
	assert_int_equal(beat->id, PID);
	assert_int_equal(beat->pid, PID);
	assert_int_equal(beat->nonce, 1);
	assert_int_equal(beat->timestamp, 1000);
	assert_int_equal(beat->payload, 7);
	assert_int_equal(beat->uid, OWN_UID);
	assert_int_equal(beat->gid, OWN_GID);
	assert_int_equal(beat->status, AGENT_OK);
	assert_int_equal(beat->origin, ORIGIN_KERNEL_ATTESTED);
	assert_int_equal(b->stats.datagrams, 1);
	assert_int_equal(b->stats.batches, 1);
}

static void
a_batch_is_sorted_into_beats_and_faults(void **state)
{
	struct bench *b = bench_new(true);
	size_t i;

	(void)state;
	for (i = 0; i < INTAKE_BATCH; i++) {
		add(b, PID + (uint32_t)i);
		if (i % 4 == 1)
			bytes_of_last(b)[0] = 'X';
		if (i % 4 == 2)
			b->script.datagrams[i].len = 33;
	}
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_taken, INTAKE_BATCH);
	assert_int_equal(b->got.n_beats, INTAKE_BATCH / 2);
	assert_int_equal(b->got.n_faults, INTAKE_BATCH / 4);
	assert_int_equal(b->got.beats[1].pid, PID + 3);
	assert_int_equal(b->stats.datagrams, INTAKE_BATCH);
	assert_int_equal(b->stats.truncated_datagrams, INTAKE_BATCH / 4);
	assert_int_equal(b->stats.batches, 1);
}

static void
nothing_queued_counts_no_batch(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	b->got.n_beats = b->got.n_faults = b->got.n_taken = 9;
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats + b->got.n_faults + b->got.n_taken, 0);
	assert_int_equal(b->stats.batches, 0);
}

static void
every_fault_of_a_batch_has_a_place(void **state)
{
	struct bench *b = bench_new(true);
	size_t i;

	(void)state;
	for (i = 0; i < INTAKE_BATCH; i++)
		add(b, PID)->uid = OWN_UID + 1;
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_faults, INTAKE_BATCH);
	assert_int_equal(b->stats.uid_refused, INTAKE_BATCH);
}

static void
a_failing_call_is_one_fault_that_took_nothing(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	b->script.error = -ENOMEM;
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_taken, 0);
	assert_int_equal(b->got.n_faults, 1);
	assert_int_equal(b->got.faults[0].kind, EVENT_IO);
	assert_int_equal(b->got.faults[0].error, -ENOMEM);
	assert_int_equal(b->got.faults[0].uid, UINT32_MAX);
	assert_false(b->got.faults[0].consumed);
	assert_int_equal(b->stats.io_errors, 1);
	assert_int_equal(b->stats.datagrams, 0);
}

static void
signals_and_empty_queues_never_surface(void **state)
{
	static const int errors[] = { -EINTR, -EAGAIN, -EWOULDBLOCK };
	struct bench *b = bench_new(true);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		b->script.error = errors[i];
		intake_take(&b->intake, &b->got);
		assert_int_equal(b->got.n_faults, 0);
		assert_int_equal(b->stats.io_errors, 0);
	}
}

static void
wrong_lengths_are_counted_and_no_fault(void **state)
{
	static const uint32_t lens[] = { 0, 1, 31, 33, 34, 40, 64, 65536 };
	struct bench *b = bench_new(true);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		add(b, PID)->len = lens[i];
		intake_take(&b->intake, &b->got);
		assert_int_equal(b->got.n_taken, 1);
		assert_int_equal(b->got.n_beats + b->got.n_faults, 0);
		assert_int_equal(b->stats.truncated_datagrams, i + 1);
	}
	assert_int_equal(b->stats.io_errors, 0);
}

/* Each check comes before the next one: the datagram fails this one and all
 * that follow. */

static struct datagram *
add_all_wrong(struct bench *b)
{
	struct datagram *d = add(b, PID);

	d->flags = DATAGRAM_CTRUNC;
	d->len = 31;
	d->uid = OWN_UID + 1;
	d->pid = 0;
	memset(bytes_of_last(b), 0, INTAKE_FRAME_BYTES);
	return d;
}

static void
cut_off_control_data_is_seen_before_a_wrong_length(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	add_all_wrong(b);
	assert_one_fault(b, EVENT_CTRUNC, -EBADMSG);
	assert_int_equal(b->stats.ctrl_truncated, 1);
	assert_int_equal(b->stats.truncated_datagrams, 0);
	assert_int_equal(b->stats.io_errors, 0);
}

static void
a_wrong_length_is_seen_before_missing_credentials(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	add_all_wrong(b)->flags = 0;
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_faults, 0);
	assert_int_equal(b->stats.truncated_datagrams, 1);
	assert_int_equal(b->stats.credentials_missing, 0);
}

static void
missing_credentials_are_a_fault_before_the_uid_is_looked_at(void **state)
{
	struct bench *b = bench_new(true);
	struct datagram *d = add_all_wrong(b);

	(void)state;
	d->flags = 0;
	d->len = INTAKE_FRAME_BYTES;
	assert_one_fault(b, EVENT_IO, -EBADMSG);
	assert_int_equal(b->got.faults[0].uid, UINT32_MAX);
	assert_int_equal(b->stats.credentials_missing, 1);
	assert_int_equal(b->stats.io_errors, 1);
	assert_int_equal(b->stats.uid_refused, 0);
}

static void
a_strangers_uid_is_refused_even_with_pid_zero(void **state)
{
	struct bench *b = bench_new(true);
	struct datagram *d = add_all_wrong(b);

	(void)state;
	d->flags = DATAGRAM_HAS_CREDENTIALS;
	d->len = INTAKE_FRAME_BYTES;
	assert_one_fault(b, EVENT_IO, -EACCES);
	assert_int_equal(b->got.faults[0].uid, OWN_UID + 1);
	assert_int_equal(b->stats.uid_refused, 1);
	assert_int_equal(b->stats.io_errors, 1);
	assert_int_equal(b->stats.pid_zero_refused, 0);
}

static void
pid_zero_of_the_kernel_is_refused_before_the_frame_is_read(void **state)
{
	struct bench *b = bench_new(true);
	struct datagram *d = add_all_wrong(b);

	(void)state;
	d->flags = DATAGRAM_HAS_CREDENTIALS;
	d->len = INTAKE_FRAME_BYTES;
	d->uid = OWN_UID;
	assert_one_fault(b, EVENT_IO, -EPERM);
	assert_int_equal(b->stats.pid_zero_refused, 1);
	assert_int_equal(b->stats.io_errors, 1);
	assert_int_equal(b->stats.decode_errors[STATS_BAD_MAGIC], 0);
}

static void
a_bad_frame_is_seen_before_a_wrong_pid(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	add(b, PID)->pid = PID + 1;
	bytes_of_last(b)[0] = 'X';
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_MAGIC);
	assert_int_equal(b->got.faults[0].uid, OWN_UID);
	assert_int_equal(b->stats.decode_errors[STATS_BAD_MAGIC], 1);
	assert_int_equal(b->stats.frame_auth_failures, 0);
	assert_int_equal(b->stats.io_errors, 0);
}

static void
a_frame_of_another_pid_than_the_senders_is_a_mismatch(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	add(b, PID)->pid = PID + 1;
	assert_one_fault(b, EVENT_MISMATCH, 0);
	assert_int_equal(b->got.faults[0].claimed_pid, PID);
	assert_int_equal(b->got.faults[0].uid, OWN_UID);
	assert_int_equal(b->stats.frame_auth_failures, 1);
}

static void
each_uid_and_gid_of_the_lists_may_beat_and_no_other(void **state)
{
	struct intake_source source;
	struct bench *b = bench_new(true);
	struct datagram *d;
	uint32_t i;

	(void)state;
	for (i = 0; i < INTAKE_POLICY_IDS; i++) {
		b->policy.allowed_uids[i] = 2000 + i;
		b->policy.allowed_gids[i] = 3000 + i;
	}
	b->policy.n_allowed_uids = INTAKE_POLICY_IDS;
	b->policy.n_allowed_gids = INTAKE_POLICY_IDS;
	source = b->intake.source;
	intake_init(&b->intake, &source, &b->policy, &b->stats);

	for (i = 0; i < INTAKE_POLICY_IDS; i++) {
		add(b, PID)->uid = 2000 + i;
		assert_one_beat(b);
		assert_int_equal(b->got.beats[0].uid, 2000 + i);
		d = add(b, PID);
		d->uid = 5000;
		d->gid = 3000 + i;
		assert_one_beat(b);
	}
	/* A gid is not a uid, nor the other way round. */
	d = add(b, PID);
	d->uid = 3000;
	d->gid = 2000;
	assert_one_fault(b, EVENT_IO, -EACCES);
	add(b, PID)->uid = 2000 + INTAKE_POLICY_IDS;
	assert_one_fault(b, EVENT_IO, -EACCES);
	add(b, PID)->uid = 0;
	assert_one_fault(b, EVENT_IO, -EACCES);
	assert_int_equal(b->stats.uid_refused, 3);
}

static void
pid_zero_where_it_may_pass_is_trusted_less_and_bounded(void **state)
{
	struct intake_source source;
	struct bench *b = bench_new(true);

	(void)state;
	b->policy.refuse_pid_zero = false;
	source = b->intake.source;
	intake_init(&b->intake, &source, &b->policy, &b->stats);

	add(b, PID_MAX)->pid = 0;
	assert_one_beat(b);
	assert_int_equal(b->got.beats[0].origin, ORIGIN_SOCKET_MODE_ONLY);
	assert_int_equal(b->got.beats[0].uid, OWN_UID);
	add(b, PID_MAX + 1)->pid = 0;
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats + b->got.n_faults, 0);
	assert_int_equal(b->stats.pid_above_max, 1);
}

static void
a_pid_above_the_ceiling_passes_where_the_kernel_names_it(void **state)
{
	struct bench *b = bench_new(true);

	(void)state;
	add(b, PID_MAX + 5);
	assert_one_beat(b);
	assert_int_equal(b->stats.pid_above_max, 0);
}

static void
a_source_without_names_gives_beats_of_the_socket_mode(void **state)
{
	struct bench *b = bench_new(false);
	struct datagram *d;

	(void)state;
	d = add(b, PID);
	d->flags = 0;
	d->pid = 0;
	d->uid = 77;
	d->gid = 78;
	assert_one_beat(b);
	assert_int_equal(b->got.beats[0].origin, ORIGIN_SOCKET_MODE_ONLY);
	assert_int_equal(b->got.beats[0].uid, UINT32_MAX);
	assert_int_equal(b->got.beats[0].gid, UINT32_MAX);
	/* Whatever stands in the datagram, nobody vouches for it. */
	add(b, PID)->pid = PID + 1;
	assert_one_beat(b);
	assert_int_equal(b->got.beats[0].origin, ORIGIN_SOCKET_MODE_ONLY);

	add(b, PID_MAX + 1);
	intake_take(&b->intake, &b->got);
	assert_int_equal(b->got.n_beats + b->got.n_faults, 0);
	assert_int_equal(b->stats.pid_above_max, 1);
}

/* A frame whose checksum is right, with one byte or field changed. */
static void
spoil(uint8_t *frame, size_t at, uint8_t value)
{
	uint32_t crc = UINT32_MAX;
	size_t i;
	int bit;

	frame[at] = value;
	for (i = 0; i < 28; i++) {
		crc ^= frame[i];
		for (bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^
			      ((crc & 1) != 0 ? UINT32_C(0x82F63B78) : 0);
	}
	store_le32(frame + 28, ~crc);
}

static void
each_decode_error_has_a_counter_of_its_own(void **state)
{
	struct bench *b = bench_new(true);
	size_t i;

	(void)state;
	add(b, PID);
	spoil(bytes_of_last(b), 1, 'B');
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_MAGIC);
	add(b, PID);
	spoil(bytes_of_last(b), 2, 1);
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_VERSION);
	add(b, PID);
	bytes_of_last(b)[24] ^= 1;
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_CRC);
	add(b, PID);
	spoil(bytes_of_last(b), 3, 4);
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_STATUS);
	add(b, PID);
	spoil(bytes_of_last(b), 3, 3);
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_STALL_ON_WIRE);
	add(b, 2);
	spoil(bytes_of_last(b), 4, 1);
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_PID);
	add(b, PID);
	memset(bytes_of_last(b) + 8, 0xff, 8);
	spoil(bytes_of_last(b), 8, 0xff);
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_TIMESTAMP);
	add(b, PID);
	memset(bytes_of_last(b) + 16, 0xff, 8);
	spoil(bytes_of_last(b), 16, 0xff);
	assert_one_fault(b, EVENT_DECODE, VARTA_ERR_BAD_NONCE);
	for (i = 0; i < STATS_DECODE_COUNT; i++)
		assert_int_equal(b->stats.decode_errors[i], 1);
}

/* In a pid namespace of its own: read what the test sends from outside. */
static int
read_as_another_namespace(int fd)
{
	static struct datagram_reader reader;
	static struct intake_batch got;
	static struct intake in;
	struct stats stats = { 0 };
	uint64_t n_injected = 0;
	struct intake_source source = {
		.take = datagram_reader_take, .ctx = &reader, .attested = true
	};
	struct intake_policy policy = { .own_uid = geteuid(),
		.pid_max = PID_MAX,
		.refuse_pid_zero = true };

	datagram_reader_init(&reader, fd, &n_injected);
	intake_init(&in, &source, &policy, &stats);
	intake_take(&in, &got);
	return got.n_taken == 1 && got.n_beats == 0 &&
		       stats.pid_zero_refused == 1
		   ? 0
		   : 1;
}

static void
a_sender_outside_our_pid_namespace_is_refused(void **state)
{
	uint8_t frame[INTAKE_FRAME_BYTES];
	pid_t outer, inner;
	int fds[2], status = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	assert_int_equal(credentials_enable(fds[1]), 0);
	dgram_frame((uint32_t)getpid(), 1, frame);
	assert_int_equal(dgram_send(fds[0], frame, sizeof(frame), -1, 0), 32);

	outer = fork();
	assert_true(outer >= 0);
	if (outer == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(77);
		inner = fork();
		if (inner == 0)
			_exit(read_as_another_namespace(fds[1]));
		if (inner < 0 || waitpid(inner, &status, 0) != inner)
			_exit(2);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
	}
	assert_int_equal(waitpid(outer, &status, 0), outer);
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# needs the right to make a pid namespace\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_frame_is_a_beat_with_all_its_fields),
		cmocka_unit_test(a_batch_is_sorted_into_beats_and_faults),
		cmocka_unit_test(nothing_queued_counts_no_batch),
		cmocka_unit_test(every_fault_of_a_batch_has_a_place),
		cmocka_unit_test(a_failing_call_is_one_fault_that_took_nothing),
		cmocka_unit_test(signals_and_empty_queues_never_surface),
		cmocka_unit_test(wrong_lengths_are_counted_and_no_fault),
		cmocka_unit_test(
		    cut_off_control_data_is_seen_before_a_wrong_length),
		cmocka_unit_test(
		    a_wrong_length_is_seen_before_missing_credentials),
		cmocka_unit_test(
		    missing_credentials_are_a_fault_before_the_uid_is_looked_at),
		cmocka_unit_test(a_strangers_uid_is_refused_even_with_pid_zero),
		cmocka_unit_test(
		    pid_zero_of_the_kernel_is_refused_before_the_frame_is_read),
		cmocka_unit_test(a_bad_frame_is_seen_before_a_wrong_pid),
		cmocka_unit_test(
		    a_frame_of_another_pid_than_the_senders_is_a_mismatch),
		cmocka_unit_test(
		    each_uid_and_gid_of_the_lists_may_beat_and_no_other),
		cmocka_unit_test(
		    pid_zero_where_it_may_pass_is_trusted_less_and_bounded),
		cmocka_unit_test(
		    a_pid_above_the_ceiling_passes_where_the_kernel_names_it),
		cmocka_unit_test(
		    a_source_without_names_gives_beats_of_the_socket_mode),
		cmocka_unit_test(each_decode_error_has_a_counter_of_its_own),
		cmocka_unit_test(a_sender_outside_our_pid_namespace_is_refused),
	};

	return cmocka_run_group_tests_name("intake", tests, NULL, NULL);
}
