/*
 * Sealed last words: what dying processes leave behind, which IVs they use, and
 * handlers that could not be installed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "secure/crash_sealed.c"
#include "support/dgram.h"
#include "support/fault.h"
#include "support/sealed.h"
#include "support/tmpdir.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, getentropy, (void *p, size_t n), (p, n))
FAULT(int, -1, sodium_init, (void), ())
FAULT(void *, NULL, sodium_malloc, (size_t n), (n))
FAULT(int, -1, sodium_mprotect_readwrite, (void *p), (p))
FAULT(int, -1, sodium_mprotect_readonly, (void *p), (p))
FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(ssize_t, -1, sendto,
    (int fd, const void *p, size_t n, int flags, const struct sockaddr *to,
	socklen_t len),
    (fd, p, n, flags, to, len))

enum { OWN_EXIT = 7, BOTH = VARTA_CRASH_FAULTS | VARTA_CRASH_TERMINATION };

struct fixture {
	struct udp observer;
	int fds;
};

static int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.fds = dgram_count_fds();
	*state = &f;
	return udp_open(&f.observer, AF_INET) ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	udp_close(&f->observer);
	return f->fds == dgram_count_fds() ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* For children: asserts of the runner are not for them. */
static void
must(bool holds)
{
	if (!holds)
		_exit(1);
}

static void
install_shared(const struct fixture *f)
{
	must(varta_secure_crash_handler_install_shared(
		 f->observer.address, sealed_key, BOTH) == 0);
}

static void
install_master(const struct fixture *f)
{
	must(varta_secure_crash_handler_install_master(
		 f->observer.address, sealed_key, BOTH) == 0);
}

static pid_t
start(void (*body)(const struct fixture *f), const struct fixture *f)
{
	const struct rlimit none = { 0, 0 };
	pid_t child = fork();

	assert_true(child >= 0);
	if (child != 0)
		return child;
	(void)signal(SIGSEGV, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)setrlimit(RLIMIT_CORE, &none);
	body(f);
	_exit(OWN_EXIT);
}

static void
assert_killed_by(pid_t child, int sig)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}

static void
assert_exits(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), OWN_EXIT);
}

static struct sealed
take_last_word(struct fixture *f, uint32_t payload)
{
	struct sealed got;

	sealed_take(&f->observer, &got);
	assert_int_equal(got.frame.status, VARTA_CRITICAL);
	assert_true(got.frame.nonce == VARTA_NONCE_TERMINAL);
	assert_true(got.frame.timestamp >= 1);
	assert_int_equal(got.frame.payload, payload);
	return got;
}

static bool
same_iv(const struct sealed *a, const struct sealed *b)
{
	return a->key_pid == b->key_pid && a->iv.counter == b->iv.counter &&
	       memcmp(a->iv.random, b->iv.random, SEAL_PREFIX_BYTES) == 0;
}

/* Dying. */

static void
die_with_a_shared_key(const struct fixture *f)
{
	install_shared(f);
	(void)raise(SIGSEGV);
}

static void
die_with_a_master_key(const struct fixture *f)
{
	install_master(f);
	(void)raise(SIGTERM);
}

static void
a_last_word_is_sealed_with_a_shared_key(void **state)
{
	struct fixture *f = *state;
	struct sealed got;
	pid_t child = start(die_with_a_shared_key, f);

	assert_killed_by(child, SIGSEGV);
	got = take_last_word(f, SIGSEGV);
	assert_int_equal(got.frame.pid, child);
	assert_int_equal(got.key_pid, 0);
	assert_int_equal(got.iv.counter, 0);
	assert_true(udp_is_empty(&f->observer));
}

static void
a_last_word_is_sealed_with_the_key_of_the_process(void **state)
{
	struct fixture *f = *state;
	struct sealed got;
	pid_t child = start(die_with_a_master_key, f);

	assert_killed_by(child, SIGTERM);
	got = take_last_word(f, SIGTERM);
	assert_int_equal(got.frame.pid, child);
	assert_int_equal(got.key_pid, child);
	assert_int_equal(got.iv.counter, 0);
}

/* IVs. */

static void
send_three(const struct fixture *f)
{
	uint32_t i;

	install_shared(f);
	for (i = 1; i <= 3; i++)
		must(varta_crash_frame_send(i) == VARTA_SENT);
}

static void
each_last_word_has_a_prefix_and_a_counter_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct sealed got[3];
	uint32_t i;

	assert_exits(start(send_three, f));
	for (i = 0; i < 3; i++) {
		got[i] = take_last_word(f, i + 1);
		assert_int_equal(got[i].iv.counter, i);
	}
	assert_memory_not_equal(
	    got[0].iv.random, got[1].iv.random, SEAL_PREFIX_BYTES);
	assert_memory_not_equal(
	    got[1].iv.random, got[2].iv.random, SEAL_PREFIX_BYTES);
	assert_true(got[0].frame.timestamp < got[1].frame.timestamp);
}

static void
fail_to_send_one(const struct fixture *f)
{
	install_shared(f);
	fault_nth(&fault_sendto, 1, EPERM);
	must(varta_crash_frame_send(1) == -EPERM);
	must(varta_crash_frame_send(2) == VARTA_SENT);
}

static void
a_last_word_that_was_not_sent_spends_its_counter(void **state)
{
	struct fixture *f = *state;

	assert_exits(start(fail_to_send_one, f));
	assert_int_equal(take_last_word(f, 2).iv.counter, 1);
	assert_true(udp_is_empty(&f->observer));
}

static void
use_up_the_counter(const struct fixture *f)
{
	install_shared(f);
	atomic_store(&counter, UINT32_MAX);
	must(varta_crash_frame_send(1) == VARTA_SENT);
	must(varta_crash_frame_send(2) == -EOVERFLOW);
	must(varta_crash_frame_send(3) == -EOVERFLOW);
}

static void
the_counter_never_wraps(void **state)
{
	struct fixture *f = *state;

	assert_exits(start(use_up_the_counter, f));
	assert_int_equal(take_last_word(f, 1).iv.counter, UINT32_MAX);
	assert_true(udp_is_empty(&f->observer));
}

static void
die_with_children(void)
{
	pid_t child;
	int status;

	child = fork();
	if (child == 0)
		(void)raise(SIGTERM);
	must(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		(void)syscall(SYS_kill, syscall(SYS_getpid), SIGTERM);
	must(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	(void)raise(SIGTERM);
}

static void
die_with_children_and_a_shared_key(const struct fixture *f)
{
	install_shared(f);
	die_with_children();
}

static void
die_with_children_and_a_master_key(const struct fixture *f)
{
	install_master(f);
	die_with_children();
}

static void
check_family(struct fixture *f, bool is_master)
{
	struct sealed got[3];
	size_t i;

	for (i = 0; i < 3; i++) {
		got[i] = take_last_word(f, SIGTERM);
		assert_int_equal(
		    got[i].key_pid, is_master ? got[i].frame.pid : 0);
	}
	assert_int_not_equal(got[0].frame.pid, got[1].frame.pid);
	assert_int_not_equal(got[1].frame.pid, got[2].frame.pid);
	assert_false(same_iv(&got[0], &got[1]));
	assert_false(same_iv(&got[1], &got[2]));
	assert_false(same_iv(&got[0], &got[2]));
}

static void
children_do_not_repeat_an_iv(void **state)
{
	struct fixture *f = *state;

	assert_killed_by(start(die_with_children_and_a_shared_key, f), SIGTERM);
	check_family(f, false);
	assert_killed_by(start(die_with_children_and_a_master_key, f), SIGTERM);
	check_family(f, true);
}

enum { TWINS = 20, TWIN_LOWEST = 30000 };

/* As clone3(2) wants it; <linux/sched.h> does not go with <sched.h>. */
struct clone_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal;
	uint64_t stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* A child with this number that says its last word. False: not permitted, or
 * the number is in use. */
static bool
send_as(pid_t number, uint32_t payload)
{
	struct clone_arguments arguments = { .exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&number,
		.set_tid_size = 1 };
	pid_t child;
	int status;

	child = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (child == 0)
		_exit(varta_crash_frame_send(payload) == VARTA_SENT ? 0 : 1);
	if (child < 0)
		return false;
	must(waitpid(child, &status, 0) == child && status == 0);
	return true;
}

static void
send_as_twins(const struct fixture *f)
{
	pid_t number = TWIN_LOWEST;
	unsigned sent = 0;

	install_shared(f);
	if (!send_as(number, 1))
		_exit(OWN_EXIT + 1);
	for (; sent < TWINS && number < 2 * TWIN_LOWEST; number++)
		sent += send_as(number, 1) && send_as(number, 2);
	must(sent == TWINS);
}

static void
children_of_one_number_do_not_repeat_an_iv(void **state)
{
	struct fixture *f = *state;
	struct sealed got[2];
	int status;
	pid_t child;
	size_t i;

	child = start(send_as_twins, f);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == OWN_EXIT + 1)
		skip(); /* needs the right to choose numbers */
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), OWN_EXIT);
	got[1] = take_last_word(f, 1);
	for (i = 0; i < TWINS; i++) {
		got[0] = take_last_word(f, 1);
		got[1] = take_last_word(f, 2);
		assert_int_equal(got[0].frame.pid, got[1].frame.pid);
		assert_false(same_iv(&got[0], &got[1]));
	}
}

enum { THREADS = 4, WORDS = 25 };

static void *
send_words(void *unused)
{
	int i;

	(void)unused;
	for (i = 0; i < WORDS; i++)
		must(varta_crash_frame_send(5) == VARTA_SENT);
	return NULL;
}

static void
send_from_threads(const struct fixture *f)
{
	pthread_t threads[THREADS];
	size_t i;

	install_master(f);
	for (i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, send_words, NULL) == 0);
	for (i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0);
}

static void
threads_that_die_together_do_not_repeat_an_iv(void **state)
{
	struct fixture *f = *state;
	static struct sealed got[THREADS * WORDS];
	size_t i, j;

	assert_exits(start(send_from_threads, f));
	for (i = 0; i < ARRAY_SIZE(got); i++) {
		got[i] = take_last_word(f, 5);
		for (j = 0; j < i; j++)
			assert_false(same_iv(&got[i], &got[j]));
	}
}

/* What runs in the handler. */

static void
count_calls_of_a_last_word(const struct fixture *f)
{
	install_master(f);
	fault_off(&fault_malloc);
	fault_off(&fault_sodium_malloc);
	fault_off(&fault_getentropy);
	fault_off(&fault_sodium_mprotect_readwrite);
	fault_off(&fault_sodium_mprotect_readonly);
	fault_off(&fault_socket);
	must(varta_crash_frame_send(1) == VARTA_SENT);
	must(fault_malloc.calls == 0 && fault_sodium_malloc.calls == 0);
	must(fault_getentropy.calls == 0 && fault_socket.calls == 0);
	must(fault_sodium_mprotect_readwrite.calls == 0);
	must(fault_sodium_mprotect_readonly.calls == 0);
}

static void
the_handler_computes_and_sends_and_calls_nothing_else(void **state)
{
	struct fixture *f = *state;

	assert_exits(start(count_calls_of_a_last_word, f));
	(void)take_last_word(f, 1);
}

static void
spoil_the_key(const struct fixture *f)
{
	install_shared(f);
	*(volatile uint8_t *)crash_keys[in_use]->key = 0;
}

static void
a_wild_write_does_not_spoil_the_last_word_on_itself(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(spoil_the_key, f);

	assert_killed_by(child, SIGSEGV);
	assert_int_equal(take_last_word(f, SIGSEGV).frame.pid, child);
}

/* Installing. */

static void
install_again_and_again(const struct fixture *f)
{
	const char *address = f->observer.address;
	uint32_t i;

	for (i = 1; i <= 9; i++) {
		if (i % 3 == 1)
			install_shared(f);
		else if (i % 3 == 2)
			install_master(f);
		else
			must(varta_crash_handler_install(address) == 0);
		must(varta_crash_frame_send(i) == VARTA_SENT);
	}
}

static void
the_install_that_was_last_counts(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[UDP_BYTES_MAX + 1];
	struct sealed got;
	ssize_t n;
	uint32_t i;

	assert_exits(start(install_again_and_again, f));
	for (i = 1; i <= 9; i++) {
		n = udp_take(&f->observer, 0, wire);
		if (i % 3 == 0) {
			assert_int_equal(n, VARTA_FRAME_BYTES);
			continue;
		}
		assert_true(sealed_open(wire, (size_t)n, &got));
		assert_int_equal(got.key_pid != 0, i % 3 == 2);
		assert_int_equal(got.frame.payload, i);
	}
}

static void
install_while_calls_fail(const struct fixture *f)
{
	static const struct {
		struct fault *fault;
		int error, result;
	} cases[] = {
		{ &fault_sodium_init, 0, -EIO },
		{ &fault_sodium_malloc, ENOMEM, -ENOMEM },
		{ &fault_sodium_mprotect_readwrite, EACCES, -EACCES },
		{ &fault_getentropy, ENOSYS, -ENOSYS },
		{ &fault_sodium_mprotect_readonly, ENOMEM, -ENOMEM },
		{ &fault_socket, EMFILE, -EMFILE },
	};
	const char *address = f->observer.address;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fault_nth(cases[i].fault, 1, cases[i].error);
		must(varta_secure_crash_handler_install_shared(
			 address, sealed_key, BOTH) == cases[i].result);
		must(varta_crash_frame_send(1) == VARTA_ERR_NO_CRASH_HANDLER);
	}
	install_shared(f);
	for (i = 0; i < ARRAY_SIZE(cases) - 1; i++) {
		fault_nth(cases[i].fault, 1, cases[i].error);
		must(varta_secure_crash_handler_install_master(
			 address, sealed_key, BOTH) == cases[i].result);
		must(varta_crash_frame_send(2) == VARTA_SENT);
	}
	install_master(f);
	must(varta_crash_frame_send(3) == VARTA_SENT);
}

static void
an_install_that_fails_leaves_what_was_there(void **state)
{
	struct fixture *f = *state;
	int i;

	assert_exits(start(install_while_calls_fail, f));
	for (i = 0; i < 5; i++)
		assert_int_equal(take_last_word(f, 2).key_pid, 0);
	assert_int_not_equal(take_last_word(f, 3).key_pid, 0);
}

static void
install_nonsense(const struct fixture *f)
{
	const char *address = f->observer.address;

	must(varta_secure_crash_handler_install_shared(address, NULL, BOTH) ==
	     -EINVAL);
	must(varta_secure_crash_handler_install_shared(
		 address, sealed_key, 0) == -EINVAL);
	must(varta_secure_crash_handler_install_master(
		 address, sealed_key, 4) == -EINVAL);
	must(varta_secure_crash_handler_install_master(
		 "/run/x", sealed_key, BOTH) == VARTA_ERR_UNSUPPORTED);
	must(varta_secure_crash_handler_install_master(
		 "udp:", sealed_key, BOTH) == VARTA_ERR_ADDRESS);
	must(varta_crash_frame_send(1) == VARTA_ERR_NO_CRASH_HANDLER);
}

static void
bad_arguments_install_nothing(void **state)
{
	assert_exits(start(install_nonsense, *state));
}

static void
install_from_files(const struct fixture *f)
{
	const char *address = f->observer.address;
	char hex[65];
	struct tmpdir dir;
	const char *path;
	int fd, i;

	tmpdir_init(&dir);
	path = tmpdir_path(&dir, "key");
	for (i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * (size_t)i, 3, "%02x", (unsigned)i);
	must(varta_secure_crash_handler_install_shared_file(
		 address, path, BOTH) == -ENOENT);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, hex, 64) == 64 && close(fd) == 0);
	must(varta_secure_crash_handler_install_shared_file(
		 address, path, BOTH) == 0);
	must(varta_crash_frame_send(1) == VARTA_SENT);
	must(varta_secure_crash_handler_install_master_file(
		 address, path, BOTH) == 0);
	must(varta_crash_frame_send(2) == VARTA_SENT);
	tmpdir_fini(&dir);
}

static void
keys_come_from_files_too(void **state)
{
	struct fixture *f = *state;

	assert_exits(start(install_from_files, f));
	assert_int_equal(take_last_word(f, 1).key_pid, 0);
	assert_int_not_equal(take_last_word(f, 2).key_pid, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_last_word_is_sealed_with_a_shared_key),
		TEST(a_last_word_is_sealed_with_the_key_of_the_process),
		TEST(each_last_word_has_a_prefix_and_a_counter_of_its_own),
		TEST(a_last_word_that_was_not_sent_spends_its_counter),
		TEST(the_counter_never_wraps),
		TEST(children_do_not_repeat_an_iv),
		TEST(children_of_one_number_do_not_repeat_an_iv),
		TEST(threads_that_die_together_do_not_repeat_an_iv),
		TEST(the_handler_computes_and_sends_and_calls_nothing_else),
		TEST(a_wild_write_does_not_spoil_the_last_word_on_itself),
		TEST(the_install_that_was_last_counts),
		TEST(an_install_that_fails_leaves_what_was_there),
		TEST(bad_arguments_install_nothing),
		TEST(keys_come_from_files_too),
	};

	return cmocka_run_group_tests_name("secure_crash", tests, NULL, NULL);
}
