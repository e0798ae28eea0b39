/*
 * Agents in processes that fork, with and without pages that the kernel wipes.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "support/agent_fixture.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(void *, MAP_FAILED, mmap64,
    (void *at, size_t n, int prot, int flags, int fd, off_t from),
    (at, n, prot, flags, fd, from))
FAULT(int, -1, madvise, (void *at, size_t n, int advice), (at, n, advice))
FAULT(int, ENOMEM, pthread_atfork,
    (void (*prepare)(void), void (*parent)(void), void (*child)(void)),
    (prepare, parent, child))

/* Where pages cannot be wiped; before any other test has mapped one. */

static void
an_agent_that_could_not_notice_forks_is_not_opened(void **state)
{
	struct fixture *f = *state;

	fault_nth(&fault_madvise, 1, EINVAL);
	fault_nth(&fault_pthread_atfork, 1, ENOMEM);
	assert_int_equal(varta_open(f->path, &f->agent), -ENOMEM);
	assert_null(f->agent);
	assert_int_equal(fault_madvise.calls, 1);
}

static void
check_fork_without_wiped_page(struct fixture *f)
{
	pid_t child;

	listen_and_open(f);
	assert_true(f->agent->lineage.compare_pid);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(beat(f), VARTA_SENT);

	child = fork();
	if (child == 0)
		_exit(beat(f) == VARTA_SENT && counters(f).fork_recoveries == 1
			  ? 0
			  : 1);
	assert_int_equal(status_of(child), 0);
	assert_int_equal(beat(f), VARTA_SENT);

	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
	assert_int_equal(take_nonce_of(f, child), 1);
	assert_int_equal(take_nonce_of(f, getpid()), 3);
}

static void
forks_are_noticed_where_pages_cannot_be_wiped(void **state)
{
	fault_nth(&fault_madvise, 1, EINVAL);
	check_fork_without_wiped_page(*state);
}

static void
forks_are_noticed_where_no_page_can_be_had(void **state)
{
	fault_nth(&fault_mmap64, 1, ENOMEM);
	check_fork_without_wiped_page(*state);
}

/* Forks. */

static void
a_child_beats_for_itself_and_the_parent_goes_on(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(beat(f), VARTA_SENT);
	child = fork();
	if (child == 0)
		_exit(beat(f) == VARTA_SENT && beat(f) == VARTA_SENT &&
			      counters(f).fork_recoveries == 1 &&
			      counters(f).sent == 4
			  ? 0
			  : 1);
	assert_int_equal(status_of(child), 0);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(counters(f).fork_recoveries, 0);

	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(take_nonce_of(f, getpid()), 2);
	assert_int_equal(take_nonce_of(f, child), 1);
	assert_int_equal(take_nonce_of(f, child), 2);
	assert_int_equal(take_nonce_of(f, getpid()), 3);
}

static void
a_fork_past_the_c_library_is_noticed(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		_exit(beat(f) == VARTA_SENT ? 0 : 1);
	assert_int_equal(status_of(child), 0);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(take_nonce_of(f, child), 1);
}

static void
a_grandchild_of_a_silent_child_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct varta_frame frame;
	pid_t child;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	child = fork();
	if (child == 0) {
		pid_t grandchild = fork();
		int status;

		if (grandchild == 0)
			_exit(beat(f) == VARTA_SENT &&
				      counters(f).fork_recoveries == 1
				  ? 0
				  : 1);
		_exit(waitpid(grandchild, &status, 0) == grandchild &&
			      status == 0 && beat(f) == VARTA_SENT &&
			      counters(f).fork_recoveries == 1
			  ? 0
			  : 1);
	}
	assert_int_equal(status_of(child), 0);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_true(listener_take(&f->listener, 0, &frame));
	assert_int_not_equal(frame.pid, child);
	assert_int_equal(frame.nonce, 1);
	assert_int_equal(take_nonce_of(f, child), 1);
}

static void
a_child_gets_a_socket_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct listener old;
	pid_t child;

	/* The parent's connection still works, the path leads elsewhere. */
	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(unlink(f->path), 0);
	old = f->listener;
	listener_open(&f->listener, f->path);
	child = fork();
	if (child == 0)
		_exit(beat(f) == VARTA_SENT ? 0 : 1);
	assert_int_equal(status_of(child), 0);
	assert_int_equal(take_nonce_of(f, child), 1);
	(void)close(old.fd);
}

static void
a_child_without_an_observer_drops_and_finds_it_later(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	listener_close(&f->listener);
	child = fork();
	if (child == 0) {
		if (beat(f) != VARTA_DROPPED_NO_OBSERVER)
			_exit(1);
		listener_open(&f->listener, f->path);
		clock_ahead_ns += 10 * NS_PER_MS;
		_exit(beat(f) == VARTA_SENT &&
			      take_nonce_of(f, getpid()) == 1 &&
			      counters(f).fork_recoveries == 1
			  ? 0
			  : 2);
	}
	assert_int_equal(status_of(child), 0);
}

static void
a_child_that_gets_no_socket_fails_until_it_does(void **state)
{
	struct fixture *f = *state;
	pid_t child;

	listen_and_open(f);
	assert_int_equal(beat(f), VARTA_SENT);
	child = fork();
	if (child == 0) {
		fault_nth(&fault_socket, 1, EMFILE);
		if (beat(f) != -EMFILE || counters(f).fork_recoveries != 0)
			_exit(1);
		_exit(beat(f) == VARTA_SENT ? 0 : 2);
	}
	assert_int_equal(status_of(child), 0);
	assert_int_equal(take_nonce_of(f, getpid()), 1);
	assert_int_equal(take_nonce_of(f, child), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_agent_that_could_not_notice_forks_is_not_opened),
		TEST(forks_are_noticed_where_pages_cannot_be_wiped),
		TEST(forks_are_noticed_where_no_page_can_be_had),
		TEST(a_child_beats_for_itself_and_the_parent_goes_on),
		TEST(a_fork_past_the_c_library_is_noticed),
		TEST(a_grandchild_of_a_silent_child_is_noticed),
		TEST(a_child_gets_a_socket_of_its_own),
		TEST(a_child_without_an_observer_drops_and_finds_it_later),
		TEST(a_child_that_gets_no_socket_fails_until_it_does),
	};

	return cmocka_run_group_tests_name("agent_fork", tests, NULL, NULL);
}
