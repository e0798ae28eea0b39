/*
 * The last word: each test has children that really die, an observer that must
 * hear of it, and a look at how they ended.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "support/crash_fixture.h"

/* Deaths. */

static int signal_to_raise;

static void
raise_a_signal(const struct fixture *f)
{
	install_all(f);
	(void)raise(signal_to_raise);
}

static void
every_deadly_signal_is_reported_and_kills_as_before(void **state)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
		SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		pid_t child;

		signal_to_raise = signals[i];
		child = start(raise_a_signal, f);
		assert_killed_by(child, signals[i]);
		assert_last_word(&f->listener, child, (uint32_t)signals[i]);
	}
}

static void
write_where_nothing_is(const struct fixture *f)
{
	volatile char *p =
	    mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	install(f);
	*p = 1;
}

static void
a_real_fault_is_reported_and_kills(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(write_where_nothing_is, f);

	assert_killed_by(child, SIGSEGV);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
read_past_the_end_of_a_file(const struct fixture *f)
{
	char path[160];
	volatile char *p;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/empty", f->dir.path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	install(f);
	must(*p == 0);
}

static void
a_file_that_shrank_is_reported_and_kills(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(read_past_the_end_of_a_file, f);

	assert_killed_by(child, SIGBUS);
	assert_last_word(&f->listener, child, SIGBUS);
}

static volatile unsigned depth;

/* Not optimized into a loop: the array is used after the call. */
__attribute__((noinline)) static unsigned
fill_the_stack(unsigned n)
{
	volatile char room[4096];

	room[n % sizeof(room)] = (char)n;
	if (n == UINT32_MAX)
		return 0;
	depth = n;
	return fill_the_stack(n + 1) + (unsigned char)room[n % sizeof(room)];
}

static void
overflow_the_stack(const struct fixture *f)
{
	install(f);
	(void)fill_the_stack(1);
}

static void
a_stack_overflow_is_reported(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(overflow_the_stack, f);

	assert_killed_by(child, SIGSEGV);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
call_abort(const struct fixture *f)
{
	install(f);
	abort();
}

static void
an_abort_is_reported_once(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(call_abort, f);

	assert_killed_by(child, SIGABRT);
	assert_last_word(&f->listener, child, SIGABRT);
}

static void
wait_for_the_end(const struct fixture *f)
{
	install_all(f);
	must(varta_crash_frame_send(0) == VARTA_SENT);
	for (;;)
		(void)pause();
}

static void
a_signal_from_another_process_kills_as_before(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(wait_for_the_end, f);

	assert_last_word(&f->listener, child, 0); /* it is installed */
	assert_int_equal(kill(child, SIGTERM), 0);
	assert_killed_by(child, SIGTERM);
	assert_last_word(&f->listener, child, SIGTERM);
}

static void
stop_unasked(const struct fixture *f)
{
	install(f);
	(void)raise(SIGTERM);
}

static void
stopping_is_no_crash_unless_that_is_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_killed_by(start(stop_unasked, f), SIGTERM);
	assert_true(listener_is_empty(&f->listener));
}

static void
end_well(const struct fixture *f)
{
	install_all(f);
}

static void
an_orderly_end_sends_nothing(void **state)
{
	struct fixture *f = *state;

	assert_exits_with(start(end_well, f), OWN_EXIT);
	assert_true(listener_is_empty(&f->listener));
}

/* The observer. */

static void
install_without_an_observer(const struct fixture *f)
{
	must(rename(f->path, f->other_path) == 0);
	install(f);
	must(varta_crash_frame_send(0) == VARTA_DROPPED_NO_OBSERVER);
	must(rename(f->other_path, f->path) == 0);
	(void)raise(SIGSEGV);
}

static void
an_observer_that_comes_after_the_install_is_told(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(install_without_an_observer, f);

	assert_killed_by(child, SIGSEGV);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
die_after_the_observer_has_changed(const struct fixture *f)
{
	install(f);
	must(rename(f->other_path, f->path) == 0);
	(void)raise(SIGSEGV);
}

static void
a_restarted_observer_is_told(void **state)
{
	struct fixture *f = *state;
	struct listener restarted;
	pid_t child;

	listener_open(&restarted, f->other_path);
	child = start(die_after_the_observer_has_changed, f);
	assert_killed_by(child, SIGSEGV);
	assert_last_word(&restarted, child, SIGSEGV);
	assert_true(listener_is_empty(&f->listener));
	listener_close(&restarted);
}

static void
die_without_an_observer(const struct fixture *f)
{
	must(unlink(f->path) == 0);
	raise_a_signal(f);
}

static void
without_an_observer_the_end_is_the_same(void **state)
{
	struct fixture *f = *state;

	signal_to_raise = SIGFPE;
	assert_killed_by(start(die_without_an_observer, f), SIGFPE);
}

static void
install_twice(const struct fixture *f)
{
	int fds;

	install(f);
	fds = dgram_count_fds();
	must(varta_crash_handler_install(f->other_path) == 0);
	must(dgram_count_fds() == fds);
	(void)raise(SIGSEGV);
}

static void
the_address_of_the_later_install_counts(void **state)
{
	struct fixture *f = *state;
	struct listener other;
	pid_t child;

	listener_open(&other, f->other_path);
	child = start(install_twice, f);
	assert_killed_by(child, SIGSEGV);
	assert_last_word(&other, child, SIGSEGV);
	assert_true(listener_is_empty(&f->listener));
	listener_close(&other);
}

/* The program around it. */

static void
die_with_all_descriptors_closed(const struct fixture *f)
{
	int fd;

	install(f);
	for (fd = 3; fd < 64; fd++)
		(void)close(fd);
	(void)raise(SIGSEGV);
}

static void
a_program_that_closed_the_socket_still_has_its_last_word(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(die_with_all_descriptors_closed, f);

	assert_killed_by(child, SIGSEGV);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
die_with_another_file_in_place_of_the_socket(const struct fixture *f)
{
	int fd;

	install(f);
	for (fd = 3; fd < 64; fd++)
		(void)dup2(STDIN_FILENO, fd);
	(void)raise(SIGSEGV);
}

static void
a_program_that_reused_the_descriptor_still_has_its_last_word(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(die_with_another_file_in_place_of_the_socket, f);

	assert_killed_by(child, SIGSEGV);
	assert_last_word(&f->listener, child, SIGSEGV);
}

static void
die_in_a_child_of_its_own(const struct fixture *f)
{
	pid_t child;
	int status;

	install(f);
	must(varta_crash_frame_send((uint32_t)getpid()) == VARTA_SENT);
	child = fork();
	if (child == 0)
		(void)raise(SIGSEGV);
	must(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static void
a_child_has_a_last_word_in_its_own_name(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(die_in_a_child_of_its_own, f);
	struct varta_frame first, last;

	assert_exits_with(child, OWN_EXIT);
	assert_true(listener_take(&f->listener, 0, &first));
	assert_true(listener_take(&f->listener, 0, &last));
	assert_int_equal(first.pid, child);
	assert_int_not_equal(last.pid, child);
	assert_int_equal(last.payload, SIGSEGV);
	assert_true(last.timestamp > first.timestamp);
}

static void
send_by_hand(const struct fixture *f)
{
	must(varta_crash_frame_send(1) == VARTA_ERR_NO_CRASH_HANDLER);
	install(f);
	errno = EDOM;
	must(varta_crash_frame_send(0xfeedf00d) == VARTA_SENT);
	must(errno == EDOM);
	must(unlink(f->path) == 0);
	must(varta_crash_frame_send(2) == VARTA_DROPPED_NO_OBSERVER);
	must(errno == EDOM);
}

static void
handlers_of_others_can_send_the_last_word(void **state)
{
	struct fixture *f = *state;
	pid_t child = start(send_by_hand, f);

	assert_exits_with(child, OWN_EXIT);
	assert_last_word(&f->listener, child, 0xfeedf00d);
}

static void
fill_the_queue(const struct fixture *f)
{
	int r;

	install(f);
	do
		r = varta_crash_frame_send(0);
	while (r == VARTA_SENT);
	must(r == VARTA_DROPPED_QUEUE_FULL);
	(void)raise(SIGSEGV);
}

static void
a_full_queue_does_not_hold_up_the_end(void **state)
{
	struct fixture *f = *state;

	assert_killed_by(start(fill_the_queue, f), SIGSEGV);
}

/* Timestamps. */

static void
timestamps_rise_whatever_the_clock_does(void **state)
{
	static const uint64_t elapsed[] = { 0, 0, 100, 100, 50, 101, 103 };
	static const uint64_t expected[] = { 1, 2, 100, 101, 102, 103, 104 };
	_Atomic uint64_t last = 0;
	uint64_t got;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(elapsed); i++) {
		assert_int_equal(
		    varta__terminal_timestamp(&last, elapsed[i], &got), 0);
		assert_int_equal(got, expected[i]);
	}
}

static void
timestamps_end_below_the_reserved_one(void **state)
{
	_Atomic uint64_t last = UINT64_MAX - 2;
	uint64_t got = 0;

	(void)state;
	assert_int_equal(varta__terminal_timestamp(&last, 5, &got), 0);
	assert_true(got == UINT64_MAX - 1);
	assert_int_equal(varta__terminal_timestamp(&last, 5, &got), -EOVERFLOW);
	assert_true(got == UINT64_MAX - 1);
	last = 1;
	assert_int_equal(
	    varta__terminal_timestamp(&last, UINT64_MAX, &got), -EOVERFLOW);
	assert_int_equal(last, 1);
}

enum { CLAIMERS = 4, CLAIMS = 1000 };

static _Atomic uint64_t shared_last;

static void *
claim(void *arg)
{
	uint64_t *claims = arg;
	size_t i;

	for (i = 0; i < CLAIMS; i++)
		if (varta__terminal_timestamp(&shared_last, 0, &claims[i]) < 0)
			claims[i] = 0;
	return NULL;
}

static void
threads_never_get_the_same_timestamp(void **state)
{
	static uint64_t claims[CLAIMERS][CLAIMS];
	static bool seen[CLAIMERS * CLAIMS + 1];
	pthread_t threads[CLAIMERS];
	size_t i, k;

	(void)state;
	for (i = 0; i < CLAIMERS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, claim, claims[i]), 0);
	for (i = 0; i < CLAIMERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (i = 0; i < CLAIMERS; i++)
		for (k = 0; k < CLAIMS; k++) {
			assert_in_range(claims[i][k], 1, CLAIMERS * CLAIMS);
			assert_false(seen[claims[i][k]]);
			seen[claims[i][k]] = true;
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_deadly_signal_is_reported_and_kills_as_before),
		TEST(a_real_fault_is_reported_and_kills),
		TEST(a_file_that_shrank_is_reported_and_kills),
		TEST(a_stack_overflow_is_reported),
		TEST(an_abort_is_reported_once),
		TEST(a_signal_from_another_process_kills_as_before),
		TEST(stopping_is_no_crash_unless_that_is_asked_for),
		TEST(an_orderly_end_sends_nothing),
		TEST(an_observer_that_comes_after_the_install_is_told),
		TEST(a_restarted_observer_is_told),
		TEST(without_an_observer_the_end_is_the_same),
		TEST(the_address_of_the_later_install_counts),
		TEST(a_program_that_closed_the_socket_still_has_its_last_word),
		TEST(
		    a_program_that_reused_the_descriptor_still_has_its_last_word),
		TEST(a_child_has_a_last_word_in_its_own_name),
		TEST(handlers_of_others_can_send_the_last_word),
		TEST(a_full_queue_does_not_hold_up_the_end),
		TEST(timestamps_rise_whatever_the_clock_does),
		TEST(timestamps_end_below_the_reserved_one),
		TEST(threads_never_get_the_same_timestamp),
	};

	return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
