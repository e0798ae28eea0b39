/*
 * Sealed agents: what is on the wire, which IV seals it, forks, and every call
 * failing in turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "support/sealed_fixture.h"
#include "support/tmpdir.h"

/* Allocations of our own; those of secrets are counted by the fixture. */
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(void *, NULL, malloc, (size_t size), (size))

/* The wire. */

static void
a_shared_beat_is_60_bytes_that_the_key_opens(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[UDP_BYTES_MAX + 1];
	struct sealed got;

	open_shared(f);
	assert_int_equal(
	    varta_beat(f->agent, VARTA_DEGRADED, 0xfeedf00d), VARTA_SENT);
	assert_int_equal(udp_take(&f->observer, 0, wire), SEAL_SHARED_BYTES);
	assert_true(sealed_open(wire, SEAL_SHARED_BYTES, &got));
	assert_int_equal(got.frame.pid, getpid());
	assert_int_equal(got.frame.status, VARTA_DEGRADED);
	assert_int_equal(got.frame.payload, 0xfeedf00d);
	assert_int_equal(got.frame.nonce, 1);
	assert_int_equal(got.iv.counter, 0);
	assert_true(udp_is_empty(&f->observer));
}

static void
a_master_beat_is_64_bytes_for_this_process(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[UDP_BYTES_MAX + 1];
	struct sealed got;

	open_master(f);
	assert_int_equal(varta_beat(f->agent, VARTA_CRITICAL, 9), VARTA_SENT);
	assert_int_equal(udp_take(&f->observer, 0, wire), SEAL_MASTER_BYTES);
	assert_true(sealed_open(wire, SEAL_MASTER_BYTES, &got));
	assert_int_equal(got.key_pid, getpid());
	assert_int_equal(got.frame.status, VARTA_CRITICAL);
	assert_int_equal(got.frame.payload, 9);
	assert_int_equal(got.frame.nonce, 1);
	assert_int_equal(got.iv.counter, 0);
}

static void
counters_and_nonces_rise_together_within_a_session(void **state)
{
	struct fixture *f = *state;
	struct seal_iv first, iv;
	uint32_t i;

	open_shared(f);
	first = beat_with(f, 1, 0);
	for (i = 1; i < 50; i++) {
		iv = beat_with(f, i + 1, i);
		assert_same_prefix(&first, &iv);
	}
}

static void
an_agent_opened_anew_begins_anew(void **state)
{
	struct fixture *f = *state;
	struct seal_iv first, second;

	open_shared(f);
	(void)beat_with(f, 1, 0);
	first = beat_with(f, 2, 1);
	varta_close(f->agent);
	open_shared(f);
	second = beat_with(f, 1, 0);
	assert_other_prefix(&first, &second);
}

/* What spends an IV. */

static void
a_frame_that_was_not_sent_spends_no_iv(void **state)
{
	static const struct {
		int error, outcome;
	} cases[] = {
		{ EAGAIN, VARTA_DROPPED_QUEUE_FULL },
		{ ENOBUFS, VARTA_DROPPED_QUEUE_FULL },
		{ ECONNREFUSED, VARTA_DROPPED_NO_OBSERVER },
		{ EPIPE, VARTA_DROPPED_PEER_GONE },
		{ ENOSPC, VARTA_DROPPED_STORAGE_FULL },
		{ EPERM, -EPERM },
		{ EHOSTUNREACH, -EHOSTUNREACH },
	};
	struct fixture *f = *state;
	struct seal_iv first, iv;
	size_t i;

	open_shared(f);
	first = beat_with(f, 1, 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fault_nth(&fault_send, 1, cases[i].error);
		assert_int_equal(beat(f), cases[i].outcome);
	}
	assert_true(udp_is_empty(&f->observer));
	iv = beat_with(f, 2, 1);
	assert_same_prefix(&first, &iv);
	assert_int_equal(fault_getentropy.calls, 1);
}

static void
a_send_that_is_repeated_repeats_its_iv(void **state)
{
	struct fixture *f = *state;

	open_master(f);
	(void)beat_with(f, 1, 0);
	fault_nth(&fault_send, 1, EINTR);
	(void)beat_with(f, 2, 1);
	fault_nth(&fault_send, 1, EINVAL); /* our address has changed */
	(void)beat_with(f, 3, 2);
	(void)beat_with(f, 4, 3);
	assert_true(udp_is_empty(&f->observer));
}

static void
a_reconnect_after_drops_is_a_new_session(void **state)
{
	struct fixture *f = *state;
	struct seal_iv first, second;

	open_shared(f);
	varta_set_reconnect_after(f->agent, 1);
	first = beat_with(f, 1, 0);
	fault_nth(&fault_send, 1, ECONNREFUSED);
	second = beat_with(f, 2, 0);
	assert_other_prefix(&first, &second);
	assert_int_equal(counters(f).reconnects, 1);
}

static void
the_highest_counter_is_never_sent(void **state)
{
	struct fixture *f = *state;
	struct seal_iv before, after;

	open_shared(f);
	f->inside->session.iv.counter = UINT32_MAX - 1;
	before = beat_with(f, 1, UINT32_MAX - 1);
	fault_nth(&fault_send, 1, EAGAIN);
	assert_int_equal(beat(f), VARTA_DROPPED_QUEUE_FULL);
	after = beat_with(f, 2, 0);
	assert_other_prefix(&before, &after);
	assert_int_equal(f->inside->session.prefix_index, 1);
	assert_int_equal(fault_getentropy.calls, 1);
	after = beat_with(f, 3, 1);
}

static void
a_session_without_ivs_needs_entropy_or_fails(void **state)
{
	struct fixture *f = *state;
	struct session *s;
	struct seal_iv last, fresh;

	open_master(f);
	s = &f->inside->session;
	s->prefix_index = UINT32_MAX;
	s->iv.counter = UINT32_MAX - 1;
	last = beat_with(f, 1, UINT32_MAX - 1);

	fault_nth(&fault_getentropy, 1, EIO);
	assert_int_equal(beat(f), -EIO);
	assert_int_equal(s->prefix_index, UINT32_MAX);
	assert_int_equal(s->iv.counter, UINT32_MAX);
	fault_nth(&fault_sodium_mprotect_readonly, 1, ENOMEM);
	assert_int_equal(beat(f), -ENOMEM);
	assert_int_equal(s->iv.counter, UINT32_MAX);
	assert_true(udp_is_empty(&f->observer));

	fresh = beat_with(f, 2, 0);
	assert_other_prefix(&last, &fresh);
	assert_int_equal(s->prefix_index, 0);
}

/* As many bytes as a plain frame has are no whole frame here. */
static void
a_part_of_a_frame_is_a_failure_and_spends_no_iv(void **state)
{
	struct fixture *f = *state;
	ssize_t part;

	open_shared(f);
	(void)beat_with(f, 1, 0);
	for (part = 1; part < SEAL_SHARED_BYTES; part++) {
		send_takes = part;
		assert_int_equal(beat(f), VARTA_ERR_SHORT_WRITE);
	}
	send_takes = 0;
	(void)beat_with(f, 2, 1);
}

/* What a beat may cost. */

static void
beats_take_no_entropy_and_no_memory(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[UDP_BYTES_MAX + 1];
	unsigned before;
	int i;

	open_shared(f);
	fault_off(&fault_getentropy);
	before =
	    fault_malloc.calls + fault_calloc.calls + fault_sodium_malloc.calls;
	for (i = 0; i < 10000; i++) {
		if (i % 100 == 50)
			fault_nth(&fault_send, 1, EACCES);
		if (i % 100 == 60)
			fault_nth(&fault_send, 1, ECONNREFUSED);
		if (i % 1000 == 700)
			f->inside->session.iv.counter = UINT32_MAX;
		(void)beat(f);
		(void)udp_take(&f->observer, MSG_DONTWAIT, wire);
	}
	assert_int_equal(fault_getentropy.calls, 0);
	assert_int_equal(
	    fault_malloc.calls + fault_calloc.calls + fault_sodium_malloc.calls,
	    before);
	assert_int_equal(counters(f).sent, 9800);
	assert_int_equal(f->inside->session.prefix_index, 10);
}

/* Reconnecting. */

static void
a_reconnect_is_a_new_session_with_the_nonce_going_on(void **state)
{
	struct fixture *f = *state;
	struct seal_iv first, second;

	open_master(f);
	(void)beat_with(f, 1, 0);
	first = beat_with(f, 2, 1);
	assert_int_equal(varta_reconnect(f->agent), 0);
	second = beat_with(f, 3, 0);
	assert_other_prefix(&first, &second);
}

static void
a_reconnect_that_fails_leaves_the_session(void **state)
{
	struct fixture *f = *state;
	struct fault *const faults[] = { &fault_getentropy, &fault_socket,
		&fault_connect, &fault_sodium_mprotect_readonly };
	struct seal_iv first, iv;
	in_port_t port;
	size_t i;

	open_master(f);
	first = beat_with(f, 1, 0);
	port = f->observer.from_port;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		fault_nth(faults[i], 1, EPERM);
		assert_int_equal(varta_reconnect(f->agent), -EPERM);
		iv = beat_with(f, (uint64_t)i + 2, (uint32_t)i + 1);
		assert_same_prefix(&first, &iv);
		assert_int_equal(f->observer.from_port, port);
	}
}

static void
a_network_that_comes_late_finds_the_session_as_it_was(void **state)
{
	struct fixture *f = *state;

	fault_always(&fault_connect, ENETUNREACH);
	open_shared(f);
	assert_int_equal(beat(f), -ENETUNREACH);
	assert_int_equal(beat(f), -ENETUNREACH);
	fault_off(&fault_connect);
	fault_off(&fault_getentropy);
	(void)beat_with(f, 1, 0);
	(void)beat_with(f, 2, 1);
	assert_int_equal(fault_getentropy.calls, 0);
}

/* Forks. */

static void
expect_child(struct fixture *f, pid_t child, struct seal_iv *ret_iv)
{
	struct sealed got;

	sealed_take(&f->observer, &got);
	assert_int_equal(got.frame.pid, child);
	assert_int_equal(got.frame.nonce, 1);
	assert_int_equal(got.iv.counter, 0);
	assert_true(got.key_pid == 0 || got.key_pid == (uint32_t)child);
	*ret_iv = got.iv;
}

static void
check_child(struct fixture *f, pid_t (*start)(void))
{
	struct seal_iv before, childs, after;
	pid_t child;

	before = beat_with(f, 1, 0);
	child = start();
	if (child == 0)
		_exit(beat(f) == VARTA_SENT && counters(f).fork_recoveries == 1
			  ? 0
			  : 1);
	assert_int_equal(status_of(child), 0);
	expect_child(f, child, &childs);
	assert_other_prefix(&before, &childs);
	after = beat_with(f, 2, 1);
	assert_same_prefix(&before, &after);
}

static pid_t
start_by_fork(void)
{
	return fork();
}

static pid_t
start_past_the_c_library(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void
a_child_has_a_session_of_its_own(void **state)
{
	struct fixture *f = *state;

	open_shared(f);
	check_child(f, start_by_fork);
}

static void
a_child_has_a_key_of_its_own_from_a_master_key(void **state)
{
	struct fixture *f = *state;

	open_master(f);
	check_child(f, start_by_fork);
}

static void
a_fork_past_the_c_library_is_noticed(void **state)
{
	struct fixture *f = *state;

	open_master(f);
	check_child(f, start_past_the_c_library);
}

static void
a_child_without_entropy_sends_nothing(void **state)
{
	struct fixture *f = *state;
	struct seal_iv parents, childs;
	pid_t child;

	open_shared(f);
	parents = beat_with(f, 1, 0);
	child = fork();
	if (child == 0) {
		fault_always(&fault_getentropy, ENOSYS);
		if (beat(f) != -ENOSYS || beat(f) != -ENOSYS)
			_exit(1);
		fault_off(&fault_getentropy);
		_exit(beat(f) == VARTA_SENT ? 0 : 2);
	}
	assert_int_equal(status_of(child), 0);
	expect_child(f, child, &childs);
	assert_other_prefix(&parents, &childs);
	assert_true(udp_is_empty(&f->observer));
}

/* As after a fork in a signal handler in the middle of a beat: the check of
 * libvarta lies behind, that of the transport ahead. */
static void
a_fork_in_the_middle_of_a_beat_is_noticed_at_the_sealing(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[VARTA_FRAME_BYTES];
	struct seal_iv parents;
	struct sealed got;
	pid_t child;

	open_shared(f);
	dgram_frame((uint32_t)getpid(), 5, frame);
	parents = beat_with(f, 1, 0);
	child = fork();
	if (child == 0) {
		fault_nth(&fault_getentropy, 1, EIO);
		if (sealed_send(f->inside, frame) != -EIO)
			_exit(1);
		_exit(
		    sealed_send(f->inside, frame) == VARTA_FRAME_BYTES ? 0 : 2);
	}
	assert_int_equal(status_of(child), 0);
	sealed_take(&f->observer, &got);
	assert_int_equal(got.iv.counter, 0);
	assert_other_prefix(&parents, &got.iv);
}

/* Secrets. */

static char *
memory_flags_of(const void *p)
{
	static char line[512];
	FILE *maps = fopen("/proc/self/smaps", "r");
	unsigned long from, to, at = (unsigned long)(uintptr_t)p;
	bool is_it = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_it = from <= at && at < to;
		if (is_it && strncmp(line, "VmFlags:", 8) == 0)
			break;
	}
	(void)fclose(maps);
	assert_true(is_it);
	return line;
}

static void
keys_are_left_out_of_cores(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	open_master(f);
	assert_non_null(strstr(memory_flags_of(f->inside->key), " dd"));
	assert_non_null(strstr(memory_flags_of(f->inside->master), " dd"));
	child = fork();
	if (child == 0)
		_exit(beat(f) == VARTA_SENT &&
			      strstr(memory_flags_of(f->inside->key), " dd") !=
				  NULL
			  ? 0
			  : 1);
	assert_int_equal(status_of(child), 0);
}

static void
a_master_key_cannot_be_read_between_derivations(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t child;

	open_master(f);
	(void)beat_with(f, 1, 0);
	assert_int_equal(varta_reconnect(f->agent), 0);
	fault_nth(&fault_socket, 1, EMFILE);
	assert_int_equal(varta_reconnect(f->agent), -EMFILE);
	child = fork();
	if (child == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		_exit(*(volatile uint8_t *)f->inside->master);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

/* Opening. */

static void
what_cannot_be_opened_says_why(void **state)
{
	struct fixture *f = *state;
	const char *address = f->observer.address;

	assert_int_equal(
	    varta_secure_open_shared(address, NULL, &f->agent), -EINVAL);
	assert_int_equal(
	    varta_secure_open_shared("/run/x", sealed_key, &f->agent),
	    VARTA_ERR_UNSUPPORTED);
	assert_int_equal(
	    varta_secure_open_master("udp:x", sealed_key, &f->agent),
	    VARTA_ERR_ADDRESS);
	fault_nth(&fault_sodium_init, 1, 0);
	assert_int_equal(
	    varta_secure_open_shared(address, sealed_key, &f->agent), -EIO);
	assert_null(f->agent);
}

static void
every_call_of_an_open_may_fail(void **state)
{
	static const struct {
		struct fault *fault;
		unsigned nth;
		int error;
	} cases[] = {
		{ &fault_sodium_malloc, 1, ENOMEM },
		{ &fault_sodium_malloc, 2, ENOMEM },
		{ &fault_sodium_mprotect_noaccess, 1, EACCES },
		{ &fault_getentropy, 1, ENOSYS },
		{ &fault_sodium_mprotect_readonly, 1, EACCES },
		{ &fault_socket, 1, EMFILE },
		{ &fault_connect, 1, EACCES },
	};
	struct fixture *f = *state;
	unsigned made = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fault_off(&fault_sodium_malloc);
		fault_nth(cases[i].fault, cases[i].nth, cases[i].error);
		assert_int_equal(varta_secure_open_master(f->observer.address,
				     sealed_key, &f->agent),
		    -cases[i].error);
		assert_null(f->agent);
		made += fault_sodium_malloc.calls;
	}
	assert_int_equal(secrets_freed, made - 2);
	fault_off(&fault_sodium_malloc);
	secrets_freed = 0;
	open_master(f);
	(void)beat_with(f, 1, 0);
}

static const char *
key_file(struct tmpdir *dir, const char *name, const char *text, mode_t mode)
{
	const char *path = tmpdir_path(dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	return path;
}

#define KEY_HEX                                                                \
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void
keys_come_from_files_too(void **state)
{
	struct fixture *f = *state;
	struct tmpdir dir;

	tmpdir_init(&dir);
	assert_int_equal(
	    varta_secure_open_shared_file(f->observer.address,
		key_file(&dir, "shared", "# a\n" KEY_HEX "\n", 0600),
		&f->agent),
	    0);
	(void)beat_with(f, 1, 0);
	varta_close(f->agent);
	assert_int_equal(
	    varta_secure_open_master_file(f->observer.address,
		key_file(&dir, "master", KEY_HEX "\n", 0400), &f->agent),
	    0);
	(void)beat_with(f, 1, 0);
	tmpdir_fini(&dir);
}

static void
a_file_that_others_can_read_opens_nothing(void **state)
{
	struct fixture *f = *state;
	const char *address = f->observer.address;
	struct tmpdir dir;

	tmpdir_init(&dir);
	assert_int_equal(varta_secure_open_shared_file(address,
			     key_file(&dir, "open", KEY_HEX, 0644), &f->agent),
	    -EACCES);
	assert_int_equal(
	    varta_secure_open_master_file(address,
		key_file(&dir, "comment", "# a\n" KEY_HEX, 0600), &f->agent),
	    VARTA_ERR_KEY);
	assert_int_equal(varta_secure_open_master_file(
			     address, tmpdir_path(&dir, "none"), &f->agent),
	    -ENOENT);
	fault_nth(&fault_sodium_init, 1, 0);
	assert_int_equal(varta_secure_open_master_file(
			     address, tmpdir_path(&dir, "none"), &f->agent),
	    -EIO);
	fault_nth(&fault_sodium_malloc, 1, ENOMEM);
	secrets_freed = 0;
	secrets_failed = 1;
	assert_int_equal(varta_secure_open_master_file(
			     address, tmpdir_path(&dir, "open"), &f->agent),
	    -ENOMEM);
	assert_null(f->agent);
	tmpdir_fini(&dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_shared_beat_is_60_bytes_that_the_key_opens),
		TEST(a_master_beat_is_64_bytes_for_this_process),
		TEST(counters_and_nonces_rise_together_within_a_session),
		TEST(an_agent_opened_anew_begins_anew),
		TEST(a_frame_that_was_not_sent_spends_no_iv),
		TEST(a_send_that_is_repeated_repeats_its_iv),
		TEST(a_reconnect_after_drops_is_a_new_session),
		TEST(the_highest_counter_is_never_sent),
		TEST(a_session_without_ivs_needs_entropy_or_fails),
		TEST(a_part_of_a_frame_is_a_failure_and_spends_no_iv),
		TEST(beats_take_no_entropy_and_no_memory),
		TEST(a_reconnect_is_a_new_session_with_the_nonce_going_on),
		TEST(a_reconnect_that_fails_leaves_the_session),
		TEST(a_network_that_comes_late_finds_the_session_as_it_was),
		TEST(a_child_has_a_session_of_its_own),
		TEST(a_child_has_a_key_of_its_own_from_a_master_key),
		TEST(a_fork_past_the_c_library_is_noticed),
		TEST(a_child_without_entropy_sends_nothing),
		TEST(a_fork_in_the_middle_of_a_beat_is_noticed_at_the_sealing),
		TEST(keys_are_left_out_of_cores),
		TEST(a_master_key_cannot_be_read_between_derivations),
		TEST(what_cannot_be_opened_says_why),
		TEST(every_call_of_an_open_may_fail),
		TEST(keys_come_from_files_too),
		TEST(a_file_that_others_can_read_opens_nothing),
	};

	return cmocka_run_group_tests_name("secure_agent", tests, NULL, NULL);
}
