/*
 * What a beat costs: calls of the system, and memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "support/agent_fixture.h"
#include "support/fault_fcntl.h"

FAULT(ssize_t, -1, send, (int fd, const void *p, size_t n, int flags),
    (fd, p, n, flags))
FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n),
    (fd, to, n))
FAULT(int, -1, close, (int fd), (fd))
FAULT(pid_t, -1, getpid, (void), ())
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(void *, NULL, malloc, (size_t size), (size))
FAULT(void *, NULL, realloc, (void *p, size_t size), (p, size))
FAULT(void *, MAP_FAILED, mmap64,
    (void *at, size_t n, int prot, int flags, int fd, off_t from),
    (at, n, prot, flags, fd, from))
FAULT(int, -1, madvise, (void *at, size_t n, int advice), (at, n, advice))

static unsigned
allocations(void)
{
	return fault_malloc.calls + fault_calloc.calls + fault_realloc.calls +
	       fault_mmap64.calls;
}

static unsigned
calls_of_all_but_send(void)
{
	return fault_socket.calls + fault_connect.calls + fault_close.calls +
	       fault_getpid.calls + fault_fcntl.calls + fault_mmap64.calls +
	       fault_madvise.calls;
}

static void
a_beat_that_is_sent_is_one_system_call(void **state)
{
	struct fixture *f = *state;
	unsigned before;
	uint64_t i;

	listen_and_open(f);
	fault_off(&fault_send);
	before = calls_of_all_but_send();
	for (i = 1; i <= 64; i++) {
		unsigned clock_reads = fault_clock.calls;

		assert_int_equal(beat(f), VARTA_SENT);
		assert_int_equal(fault_send.calls, i);
		/* By the vDSO, which is not a system call. */
		assert_int_equal(fault_clock.calls, clock_reads + 1);
		assert_int_equal(calls_of_all_but_send(), before);
		assert_int_equal(take_nonce_of(f, getpid()), i);
		before = calls_of_all_but_send();
	}
	assert_int_equal(counters(f).fork_recoveries, 0);
}

static void
without_an_observer_a_beat_is_no_system_call(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	assert_int_equal(varta_open(f->path, &f->agent), 0);
	assert_int_equal(beat(f), VARTA_DROPPED_NO_OBSERVER);
	before = calls_of_all_but_send() + fault_send.calls;
	assert_int_equal(beat(f), VARTA_DROPPED_NO_OBSERVER);
	assert_int_equal(calls_of_all_but_send() + fault_send.calls, before);
}

static void
ten_thousand_beats_of_all_outcomes_allocate_nothing(void **state)
{
	struct fixture *f = *state;
	struct varta_counters c;
	struct varta_frame frame;
	unsigned before;
	int i;

	listen_and_open(f);
	before = allocations();
	for (i = 0; i < 10000; i++) {
		if (i % 1000 == 600)
			fault_nth(&fault_send, 1, EACCES);
		if (i % 1000 == 700)
			listener_close(&f->listener);
		if (i % 1000 == 800)
			listener_open(&f->listener, f->path);
		clock_ahead_ns += NS_PER_MS;
		(void)varta_beat(f->agent, (enum varta_status)(i % 3), 0);
		if (i % 1000 < 500)
			while (
			    listener_take(&f->listener, MSG_DONTWAIT, &frame))
				;
	}
	assert_int_equal(allocations(), before);

	c = counters(f);
	assert_int_equal(c.failed, 10);
	assert_true(c.dropped_queue_full > 0 && c.dropped_peer_gone > 0);
	assert_true(c.dropped_no_observer > 0 && c.reconnects == 10);
	assert_int_equal(c.sent + c.failed + c.dropped_queue_full +
			     c.dropped_peer_gone + c.dropped_no_observer,
	    10000);
	assert_int_equal(c.fork_recoveries, 0);
}

static void
an_agent_is_one_allocation(void **state)
{
	struct fixture *f = *state;
	unsigned before = allocations();

	assert_int_equal(varta_open(f->path, &f->agent), 0);
	assert_int_equal(allocations(), before + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_beat_that_is_sent_is_one_system_call),
		TEST(without_an_observer_a_beat_is_no_system_call),
		TEST(ten_thousand_beats_of_all_outcomes_allocate_nothing),
		TEST(an_agent_is_one_allocation),
	};

	return cmocka_run_group_tests_name("agent_cost", tests, NULL, NULL);
}
