/*
 * What lanes cost: no system call and no memory for a beat, two descriptors and
 * a few calls for the first lane; and each of these calls failing in turn.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "support/fault_fcntl.h"
#include "support/lanes_fixture.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n),
    (fd, to, n))
FAULT(ssize_t, -1, send, (int fd, const void *p, size_t n, int flags),
    (fd, p, n, flags))
FAULT(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags),
    (fd, m, flags))
FAULT(int, -1, close, (int fd), (fd))
FAULT(pid_t, -1, getpid, (void), ())
FAULT(int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
FAULT(int, -1, ftruncate64, (int fd, off_t n), (fd, n))
FAULT(int, -1, fallocate64, (int fd, int mode, off_t at, off_t n),
    (fd, mode, at, n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(void *, NULL, realloc, (void *p, size_t size), (p, size))
FAULT(void *, NULL, aligned_alloc, (size_t align, size_t size), (align, size))
FAULT(void *, MAP_FAILED, mmap64,
    (void *at, size_t n, int prot, int flags, int fd, off_t from),
    (at, n, prot, flags, fd, from))

static unsigned
allocations(void)
{
	return fault_malloc.calls + fault_calloc.calls + fault_realloc.calls +
	       fault_aligned_alloc.calls + fault_mmap64.calls;
}

static unsigned
system_calls(void)
{
	return fault_socket.calls + fault_connect.calls + fault_send.calls +
	       fault_sendmsg.calls + fault_close.calls + fault_getpid.calls +
	       fault_memfd_create.calls + fault_ftruncate64.calls +
	       fault_fallocate64.calls + fault_mmap64.calls + fault_fcntl.calls;
}

/* Beats. */

static void
a_beat_is_no_system_call_and_no_memory(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane;
	unsigned calls, memory, clock_reads, i;

	watch_and_open(f);
	lane = open_lane(f, "a");
	watcher_accept();
	calls = system_calls();
	memory = allocations();
	clock_reads = fault_clock.calls;
	for (i = 0; i < 10000; i++) {
		varta_lane_beat(lane);
		varta_lane_set_status(lane, (enum varta_status)(i % 4));
		if (i % 10 == 0)
			varta_lane_idle(lane);
	}
	assert_int_equal(system_calls(), calls);
	assert_int_equal(allocations(), memory);
	assert_int_equal(fault_clock.calls, clock_reads + 10000);
	assert_int_equal(beats_of(0), 10000);
}

/* Any call but read, write and exit ends the process. */
static void
be_confined(struct varta_lane *lane)
{
	int i;

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		(void)syscall(SYS_exit, 77);
	for (i = 0; i < 10000; i++) {
		varta_lane_beat(lane);
		varta_lane_set_status(lane, VARTA_DEGRADED);
	}
	varta_lane_idle(lane);
	varta_lane_beat(lane);
	(void)syscall(SYS_exit, 0);
}

static void
the_kernel_itself_sees_no_call(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane = NULL;
	pid_t child;
	int code;

	if (getenv("VARTA_VALGRIND") != NULL || getenv("VARTA_SANITIZED"))
		skip(); /* they make calls of their own */
	watch_and_open(f);
	child = fork();
	if (child == 0) {
		(void)varta_lane_open(f->agent, "a", 1000, &lane);
		be_confined(lane);
	}
	code = status_of(child);
	if (code == 77)
		skip();
	assert_int_equal(code, 0);
	watcher_accept();
	assert_int_equal(beats_of(0), 10001);
}

static void
a_beat_of_the_agent_is_still_one_call_with_lanes_attached(void **state)
{
	struct fixture *f = *state;
	unsigned calls;
	uint64_t i;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	for (i = 1; i <= 64; i++) {
		calls = system_calls();
		assert_int_equal(beat(f), VARTA_SENT);
		assert_int_equal(system_calls(), calls + 1);
		assert_int_equal(take_nonce_of(f, getpid()), i);
	}
}

static void
a_beat_of_the_agent_is_one_call_while_no_observer_of_lanes_is_due(void **state)
{
	struct fixture *f = *state;
	unsigned calls;

	clock_still_ns = 5 * NS_PER_S;
	listen_and_open(f);
	(void)open_lane(f, "a");
	calls = system_calls();
	assert_int_equal(beat(f), VARTA_SENT);
	assert_int_equal(system_calls(), calls + 1);
}

static void
what_a_beat_touches_lies_in_two_cache_lines_and_a_lane_in_one(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane;

	listen_and_open(f);
	lane = open_lane(f, "a");
	assert_true(offsetof(struct varta_agent, sent) + 8 <= 128);
	assert_int_equal(sizeof(struct varta_lane), 64);
	assert_int_equal((uintptr_t)lane % 64, 0);
}

/* Calls that fail. */

static void
check_open_fails(struct fixture *f, struct fault *fault, unsigned nth,
    int error, int expected)
{
	struct varta_lane *lane = NULL;
	int fds;

	assert_int_equal(varta_open(f->path, &f->agent), 0);
	fds = dgram_count_fds();
	fault_nth(fault, nth, error);
	assert_int_equal(varta_lane_open(f->agent, "a", 1000, &lane), expected);
	assert_null(lane);
	fault_off(fault);
	assert_int_equal(dgram_count_fds(), fds);

	/* The agent is as it was. */
	(void)open_lane(f, "a");
	watcher_accept();
	assert_true(is_open(0));
	assert_int_equal(atomic_load(&watcher_head()->lanes), 1);
	varta_close(f->agent);
	f->agent = NULL;
	watcher_hang_up();
}

static void
opening_fails_as_its_calls_fail(void **state)
{
	struct fixture *f = *state;

	watcher_listen(f->path, 8);
	listener_open(&f->listener, f->path);
	check_open_fails(f, &fault_calloc, 1, ENOMEM, -ENOMEM);
	check_open_fails(f, &fault_memfd_create, 1, EMFILE, -EMFILE);
	check_open_fails(f, &fault_memfd_create, 1, ENOSYS, -ENOSYS);
	check_open_fails(f, &fault_ftruncate64, 1, EINVAL, -EINVAL);
	check_open_fails(f, &fault_fcntl, 1, EPERM, -EPERM);
	check_open_fails(f, &fault_fallocate64, 1, ENOSPC, -ENOMEM);
	check_open_fails(f, &fault_fallocate64, 1, EINTR, -EINTR);
	check_open_fails(f, &fault_mmap64, 1, ENOMEM, -ENOMEM);
	check_open_fails(f, &fault_aligned_alloc, 1, ENOMEM, -ENOMEM);
}

static void
a_limit_of_file_sizes_is_an_error_and_no_signal(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane = NULL;
	struct rlimit before, low;

	watch_and_open(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	low = before;
	low.rlim_cur = WATCHER_MEMORY_BYTES - 1;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(varta_lane_open(f->agent, "a", 1000, &lane), -EFBIG);
	assert_null(lane);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	(void)open_lane(f, "a");
	watcher_accept();
}

static void
a_further_lane_fails_and_the_others_go_on(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane = NULL, *a;
	char name[8];
	uint32_t i;

	watch_and_open(f);
	a = open_lane(f, "a");
	watcher_accept();
	fault_nth(&fault_aligned_alloc, 1, ENOMEM);
	assert_int_equal(varta_lane_open(f->agent, "b", 1000, &lane), -ENOMEM);
	assert_null(lane);
	assert_false(is_open(1));
	assert_int_equal(watcher_bells(), 0);

	for (i = 1; i < LANE_PAGE_RECORDS; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		(void)open_lane(f, name);
	}
	fault_nth(&fault_fallocate64, 1, ENOSPC);
	assert_int_equal(varta_lane_open(f->agent, "b", 1000, &lane), -ENOMEM);
	assert_null(lane);
	(void)open_lane(f, "b");
	assert_string_equal(watcher_record(LANE_PAGE_RECORDS)->name, "b");
	(void)open_lane(f, "c");
	assert_int_equal(fault_fallocate64.calls, 2); /* each page once */
	varta_lane_beat(a);
	assert_int_equal(beats_of(0), 1);
}

static void
a_system_that_knows_no_seal_against_execution_has_lanes(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	fault_nth(&fault_memfd_create, 1, EINVAL);
	(void)open_lane(f, "a");
	assert_int_equal(fault_memfd_create.calls, 2);
	watcher_accept();
	assert_int_equal(fcntl(watcher.memory_fd, F_GET_SEALS),
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static void
check_attach_fails(struct fixture *f, struct fault *fault, int error)
{
	int fds = dgram_count_fds();

	fault_nth(fault, 1, error);
	assert_int_equal(varta_lanes_attach(f->agent), -error);
	assert_int_equal(dgram_count_fds(), fds);
	assert_int_equal(f->agent->lanes->connection_fd, -1);
	assert_int_not_equal(f->agent->attach_at_ns, NS_NEVER);
}

static void
attaching_fails_as_its_calls_fail(void **state)
{
	struct fixture *f = *state;

	listen_and_open(f);
	(void)open_lane(f, "a");
	watcher_listen(f->path, 8);
	check_attach_fails(f, &fault_socket, EMFILE);
	check_attach_fails(f, &fault_connect, EACCES);
	check_attach_fails(f, &fault_sendmsg, EPIPE);
	check_attach_fails(f, &fault_sendmsg, ETOOMANYREFS);
	assert_int_equal(varta_lanes_attach(f->agent), 0);
}

static void
a_lane_opens_though_attaching_fails_and_a_beat_makes_up_for_it(void **state)
{
	struct fault *faults[] = { &fault_socket, &fault_connect,
		&fault_sendmsg };
	struct fixture *f = *state;
	size_t i;

	watcher_listen(f->path, 8);
	listener_open(&f->listener, f->path);
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		assert_int_equal(varta_open(f->path, &f->agent), 0);
		fault_nth(faults[i], 1, EACCES);
		varta_lane_beat(open_lane(f, "a"));
		clock_ahead_ns += 20 * NS_PER_MS;
		assert_int_equal(beat(f), VARTA_SENT);
		/* Where only the hello failed, the first is an empty one. */
		if (faults[i] == &fault_sendmsg)
			(void)close(accept(watcher.listen_fd, NULL, NULL));
		watcher_accept();
		assert_int_equal(beats_of(0), 1);
		varta_close(f->agent);
		f->agent = NULL;
	}
}

static void
a_bell_that_cannot_be_rung_is_made_up_for_by_attaching_anew(void **state)
{
	struct fixture *f = *state;

	watch_and_open(f);
	(void)open_lane(f, "a");
	watcher_accept();
	fault_nth(&fault_send, 1, ENOMEM);
	(void)open_lane(f, "b");
	assert_true(watcher_is_left());
	watcher_accept();
	assert_true(is_open(0) && is_open(1));

	fault_nth(&fault_send, 1, EAGAIN);
	(void)open_lane(f, "c");
	assert_false(watcher_is_left());
	assert_true(is_open(2));
}

static void
the_memory_is_never_a_standard_descriptor(void **state)
{
	struct fixture *f = *state;
	struct varta_lane *lane = NULL;
	int saved = dup(STDIN_FILENO);

	watch_and_open(f);
	(void)close(STDIN_FILENO);
	fault_nth(&fault_fcntl, 1, EMFILE);
	assert_int_equal(varta_lane_open(f->agent, "a", 1000, &lane), -EMFILE);
	assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	(void)close(saved);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANES_TEST(a_beat_is_no_system_call_and_no_memory),
		LANES_TEST(the_kernel_itself_sees_no_call),
		LANES_TEST(
		    a_beat_of_the_agent_is_still_one_call_with_lanes_attached),
		LANES_TEST(
		    a_beat_of_the_agent_is_one_call_while_no_observer_of_lanes_is_due),
		LANES_TEST(
		    what_a_beat_touches_lies_in_two_cache_lines_and_a_lane_in_one),
		LANES_TEST(opening_fails_as_its_calls_fail),
		LANES_TEST(a_limit_of_file_sizes_is_an_error_and_no_signal),
		LANES_TEST(a_further_lane_fails_and_the_others_go_on),
		LANES_TEST(
		    a_system_that_knows_no_seal_against_execution_has_lanes),
		LANES_TEST(attaching_fails_as_its_calls_fail),
		LANES_TEST(
		    a_lane_opens_though_attaching_fails_and_a_beat_makes_up_for_it),
		LANES_TEST(
		    a_bell_that_cannot_be_rung_is_made_up_for_by_attaching_anew),
		LANES_TEST(the_memory_is_never_a_standard_descriptor),
	};

	return cmocka_run_group_tests_name("lanes_cost", tests, NULL, NULL);
}
