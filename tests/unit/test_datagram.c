#include "watch/intake/datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/dgram.h"
#include "support/fault.h"

FAULT(int, -1, recvmmsg,
    (int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *t),
    (fd, m, n, flags, t))

/* A pair of sockets, the reading one with credentials switched on. */
struct pair {
	int send_fd;
	int read_fd;
	uint64_t n_injected;
	struct datagram_reader reader;
	struct datagram got[INTAKE_BATCH];
};

static int
setup(void **state)
{
	static struct pair p;
	int fds[2];

	fault_off(&fault_recvmmsg);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	p.send_fd = fds[0];
	p.read_fd = fds[1];
	p.n_injected = 0;
	if (credentials_enable(p.read_fd) < 0)
		return -1;
	datagram_reader_init(&p.reader, p.read_fd, &p.n_injected);
	*state = &p;
	return 0;
}

static int
teardown(void **state)
{
	struct pair *p = *state;

	(void)close(p->send_fd);
	(void)close(p->read_fd);
	return 0;
}

static int
take(struct pair *p)
{
	return datagram_reader_take(&p->reader, p->got, INTAKE_BATCH);
}

static void
assert_from_us(const struct datagram *d)
{
	assert_int_equal(d->flags, DATAGRAM_HAS_CREDENTIALS);
	assert_int_equal(d->pid, getpid());
	assert_int_equal(d->uid, geteuid());
	assert_int_equal(d->gid, getegid());
}

static void
nothing_queued_is_no_error_and_does_not_block(void **state)
{
	assert_int_equal(take(*state), 0);
}

static void
a_batch_comes_in_order_with_the_sender_of_each(void **state)
{
	struct pair *p = *state;
	uint8_t i;

	for (i = 0; i < 5; i++)
		assert_int_equal(dgram_send(p->send_fd, &i, 1, -1, 0), 1);
	assert_int_equal(take(p), 5);
	for (i = 0; i < 5; i++) {
		assert_int_equal(p->got[i].len, 1);
		assert_int_equal(p->got[i].bytes[0], i);
		assert_from_us(&p->got[i]);
	}
	assert_int_equal(p->n_injected, 0);
}

static void
no_more_than_asked_for_is_taken(void **state)
{
	struct pair *p = *state;
	uint8_t i;

	for (i = 0; i < 5; i++)
		assert_int_equal(dgram_send(p->send_fd, &i, 1, -1, 0), 1);
	assert_int_equal(datagram_reader_take(&p->reader, p->got, 2), 2);
	assert_int_equal(datagram_reader_take(&p->reader, p->got, SIZE_MAX), 3);
	assert_int_equal(p->got[0].bytes[0], 2);
}

static void
lengths_are_true_even_where_the_buffer_is_shorter(void **state)
{
	static const size_t lens[] = { 0, 1, 31, 32, 33, 40, 72, 73, 2000 };
	struct pair *p = *state;
	uint8_t bytes[2000];
	size_t i;

	memset(bytes, 0x5a, sizeof(bytes));
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		assert_int_equal(
		    dgram_send(p->send_fd, bytes, lens[i], -1, 0), lens[i]);
		assert_int_equal(take(p), 1);
		assert_int_equal(p->got[0].len, lens[i]);
		assert_from_us(&p->got[0]);
	}
}

static void
descriptors_slipped_in_are_closed_and_counted(void **state)
{
	struct pair *p = *state;
	int before = dgram_count_fds();

	assert_int_equal(dgram_send(p->send_fd, "x", 1, p->send_fd, 1), 1);
	assert_int_equal(dgram_send(p->send_fd, "y", 1, p->send_fd, 3), 1);
	assert_int_equal(dgram_send(p->send_fd, "z", 1, -1, 0), 1);
	assert_int_equal(take(p), 3);
	assert_int_equal(dgram_count_fds(), before);
	assert_int_equal(p->n_injected, 4);
	assert_from_us(&p->got[0]);
	assert_from_us(&p->got[1]);
	assert_from_us(&p->got[2]);
}

static void
descriptors_are_closed_when_control_data_is_cut_off(void **state)
{
	struct pair *p = *state;
	int before = dgram_count_fds();

	assert_int_equal(
	    dgram_send(p->send_fd, "x", 1, p->send_fd, DGRAM_FDS), 1);
	assert_int_equal(take(p), 1);
	assert_true((p->got[0].flags & DATAGRAM_CTRUNC) != 0);
	assert_int_equal(dgram_count_fds(), before);
	assert_in_range(p->n_injected, 1, DGRAM_FDS - 1);
}

static void
a_cut_off_datagram_leaves_the_next_its_whole_room(void **state)
{
	struct pair *p = *state;

	assert_int_equal(
	    dgram_send(p->send_fd, "x", 1, p->send_fd, DGRAM_FDS), 1);
	assert_int_equal(take(p), 1);
	assert_int_equal(dgram_send(p->send_fd, "y", 1, p->send_fd, 10), 1);
	assert_int_equal(take(p), 1);
	assert_from_us(&p->got[0]);
}

static void
without_the_option_there_are_no_credentials(void **state)
{
	struct pair *p = *state;
	const int off = 0;

	assert_int_equal(
	    setsockopt(p->read_fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off)),
	    0);
	assert_int_equal(dgram_send(p->send_fd, "x", 1, -1, 0), 1);
	assert_int_equal(take(p), 1);
	assert_int_equal(p->got[0].flags, 0);
	assert_int_equal(p->got[0].pid, 0);
	assert_int_equal(p->got[0].uid, UINT32_MAX);
	assert_int_equal(p->got[0].gid, UINT32_MAX);
}

static void
a_signal_during_the_call_is_not_seen(void **state)
{
	struct pair *p = *state;

	assert_int_equal(dgram_send(p->send_fd, "x", 1, -1, 0), 1);
	fault_nth(&fault_recvmmsg, 1, EINTR);
	assert_int_equal(take(p), 1);
	assert_int_equal(fault_recvmmsg.calls, 2);
}

static void
a_failing_call_gives_its_error_and_loses_nothing(void **state)
{
	struct pair *p = *state;

	assert_int_equal(dgram_send(p->send_fd, "x", 1, -1, 0), 1);
	fault_nth(&fault_recvmmsg, 1, ENOMEM);
	assert_int_equal(take(p), -ENOMEM);
	assert_int_equal(take(p), 1);
}

/* Nobody asks for them; a later kernel may send them all the same. */
static void
a_pidfd_beside_the_credentials_is_closed_as_well(void **state)
{
	enum { PASSPIDFD = 76 }; /* SO_PASSPIDFD, Linux 6.5 */
	struct pair *p = *state;
	const int on = 1;
	int before = dgram_count_fds();

	if (setsockopt(p->read_fd, SOL_SOCKET, PASSPIDFD, &on, sizeof(on)) <
	    0) {
		print_message("# needs SO_PASSPIDFD, Linux 6.5\n");
		skip();
	}
	assert_int_equal(dgram_send(p->send_fd, "x", 1, -1, 0), 1);
	assert_int_equal(take(p), 1);
	assert_from_us(&p->got[0]);
	assert_int_equal(dgram_count_fds(), before);
	assert_int_equal(p->n_injected, 1);
}

static void
a_pidfd_record_counts_as_a_descriptor(void **state)
{
	const struct cmsg_record pidfd = { .level = SOL_SOCKET, .type = 4 };
	const struct cmsg_record rights = { .level = SOL_SOCKET,
		.type = SCM_RIGHTS };
	const struct cmsg_record other = { .level = SOL_SOCKET,
		.type = SCM_CREDENTIALS };

	(void)state;
	assert_true(credentials_is_descriptors(&pidfd));
	assert_true(credentials_is_descriptors(&rights));
	assert_false(credentials_is_descriptors(&other));
}

static void
credentials_too_short_to_be_some_are_passed_over(void **state)
{
	static const uint8_t data[sizeof(struct ucred)];
	struct cmsg_record record = { .level = SOL_SOCKET,
		.type = SCM_CREDENTIALS,
		.data = data,
		.len = sizeof(data) - 1 };
	struct datagram d = { .uid = 5 };

	(void)state;
	credentials_take_record(&record, &d);
	assert_int_equal(d.flags, 0);
	assert_int_equal(d.uid, 5);
	record.len++;
	credentials_take_record(&record, &d);
	assert_int_equal(d.flags, DATAGRAM_HAS_CREDENTIALS);
	assert_int_equal(d.uid, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_queued_is_no_error_and_does_not_block),
		CASE(a_batch_comes_in_order_with_the_sender_of_each),
		CASE(no_more_than_asked_for_is_taken),
		CASE(lengths_are_true_even_where_the_buffer_is_shorter),
		CASE(descriptors_slipped_in_are_closed_and_counted),
		CASE(descriptors_are_closed_when_control_data_is_cut_off),
		CASE(a_cut_off_datagram_leaves_the_next_its_whole_room),
		CASE(without_the_option_there_are_no_credentials),
		CASE(a_signal_during_the_call_is_not_seen),
		CASE(a_failing_call_gives_its_error_and_loses_nothing),
		CASE(a_pidfd_beside_the_credentials_is_closed_as_well),
		CASE(a_pidfd_record_counts_as_a_descriptor),
		CASE(credentials_too_short_to_be_some_are_passed_over),
	};

	return cmocka_run_group_tests_name("datagram", tests, NULL, NULL);
}
