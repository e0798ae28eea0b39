/*
 * Sessions on disk: nothing that counted is taken again after any end, and a
 * disk that fails stops nobody.
 */
#include "watch/intake/replay_store.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "support/replaydisk.h"

static void
what_was_taken_before_a_clean_end_is_not_taken_after_it(void **state)
{
	struct world *w = *state;

	for (uint32_t n = 0; n < 10; n++)
		assert_true(takes(w, PID, A, n));
	for (uint32_t n = 0; n < 10; n++)
		assert_true(takes(w, PID, B, n));
	halt(w);
	assert_int_equal(boot(w), 0);
	for (uint32_t n = 0; n < 100; n++)
		assert_false(takes(w, PID, A, n));
	for (uint32_t n = 0; n < 10; n++)
		assert_false(takes(w, PID, B, n));
	assert_true(takes(w, PID, B, 10));
}

static void
what_was_taken_before_a_crash_is_not_taken_after_it(void **state)
{
	struct world *w = *state;
	uint32_t n;

	for (n = 0; n < 10; n++)
		assert_true(takes(w, PID, A, n));
	for (n = 0; n < 10; n++)
		assert_true(takes(w, PID, B, n));
	crash(w);
	assert_int_equal(boot(w), 0);
	for (n = 0; n < 100; n++)
		assert_false(takes(w, PID, A, n));
	for (n = 0; n < 10; n++)
		assert_false(takes(w, PID, B, n));
	while (n < 2000 && !takes(w, PID, B, n))
		n++;
	assert_true(n < 2000);
}

static void
many_senders_and_starts_leave_a_small_file(void **state)
{
	struct world *w = *state;
	struct stat st;

	for (uint32_t start = 0; start < 20; start++) {
		for (uint32_t pid = 2; pid < 2 + SENDERS; pid++)
			for (uint32_t n = 0; n < 5; n++)
				assert_true(takes(w, pid, 1000 + start, n));
		w->box.now_ns += REPLAY_REFILL_S * NS_PER_S;
		if (start % 3 == 0)
			crash(w);
		else
			halt(w);
		assert_int_equal(boot(w), 0);
	}
	assert_int_equal(stat(tmpdir_path(&w->dir, "sessions"), &st), 0);
	assert_int_equal(st.st_size, PLACES_END + 20 * SENDERS * 24);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static const uint64_t told_sessions[] = { A, B, C };

/* Runs in a child that is killed at some step: what it has handed on is noted
 * in shared memory, and must be refused afterwards. */
struct tale {
	unsigned steps_left;
	uint32_t taken[3]; /* frames of each session */
	unsigned session;  /* in which the agent is */
	bool is_through;
};

static void
tell(struct world *w, struct tale *t)
{
	steps_left = &t->steps_left;
	if (boot(w) < 0)
		_exit(1);
	for (unsigned s = 0; s < 3; s++)
		for (uint32_t n = 0; n < 4; n++) {
			t->session = s;
			/* Counted before it is asked: it may be on disk. */
			if (!takes(w, PID, told_sessions[s], n))
				_exit(2);
			t->taken[s] = n + 1;
		}
	halt(w);
	t->is_through = true;
	_exit(0);
}

static void
check_tale(struct world *w, const struct tale *t, unsigned step)
{
	uint32_t n;

	for (unsigned s = 0; s < 3; s++)
		for (n = 0; n < t->taken[s]; n++)
			if (takes(w, PID, told_sessions[s], n))
				fail_msg("step %u: frame %u of session %u was "
					 "taken again",
				    step, n, s);
	/* The agent has noticed nothing, and goes on. */
	n = t->taken[t->session];
	while (n < 100 && !takes(w, PID, told_sessions[t->session], n))
		n++;
	if (n == 100)
		fail_msg("step %u: a living agent is not heard any more", step);
}

static void
nothing_is_taken_twice_and_nobody_lost_wherever_it_is_killed(void **state)
{
	struct world *w = *state;
	struct tale *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned killed = 0;

	assert_ptr_not_equal(t, MAP_FAILED);
	halt(w);
	for (unsigned step = 1; !t->is_through; step++) {
		struct world fresh = { 0 };
		int status;
		pid_t pid;

		assert_true(step < 500);
		tmpdir_init(&fresh.dir);
		fresh.box = w->box;
		*t = (struct tale){ .steps_left = step };
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			tell(&fresh, t);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFSIGNALED(status))
			killed++;
		else
			assert_int_equal(WEXITSTATUS(status), 0);
		if (boot(&fresh) < 0)
			fail_msg("step %u: %s", step, fresh.fault.text);
		check_tale(&fresh, t, step);
		halt(&fresh);
		tmpdir_fini(&fresh.dir);
	}
	assert_true(killed > 25);
	(void)munmap(t, sizeof(*t));
}

static void
a_disk_that_fails_stops_nobody_and_is_tried_again(void **state)
{
	struct world *w = *state;

	fault_always(&fault_pwrite64, ENOSPC);
	for (uint32_t n = 0; n < 5; n++)
		assert_true(takes(w, PID, A, n));
	for (uint32_t n = 0; n < 5; n++)
		assert_true(takes(w, PID + 1, B, n));
	assert_true(w->stats.state_errors > 0);
	/* Not with each beat: a disk that fails may be slow, too. */
	fault_off(&fault_pwrite64);
	w->box.now_ns += REPLAY_STORE_RETRY_S * NS_PER_S;
	/* In portions: a large memory must not hold up the loop. */
	for (uint32_t n = 0; n < 40; n++)
		assert_true(takes(w, PID + 2, C, n));
	crash(w);
	assert_int_equal(boot(w), 0);
	for (uint32_t n = 0; n < 5; n++) {
		assert_false(takes(w, PID, A, n));
		assert_false(takes(w, PID + 1, B, n));
	}
	assert_false(takes(w, PID + 2, C, 0));
}

static void
a_disk_that_comes_back_at_the_end_still_gets_everything(void **state)
{
	struct world *w = *state;

	fault_always(&fault_pwrite64, EIO);
	for (uint32_t n = 0; n < 5; n++)
		assert_true(takes(w, PID, A, n));
	fault_off(&fault_pwrite64);
	halt(w);
	assert_int_equal(boot(w), 0);
	for (uint32_t n = 0; n < 5; n++)
		assert_false(takes(w, PID, A, n));
	assert_true(takes(w, PID, A, 5));
}

static void
each_single_failure_to_write_is_made_good(void **state)
{
	struct world *w = *state;

	for (unsigned i = 1; i < 12; i++) {
		uint64_t prefix = 100 + i;

		fault_nth(&fault_pwrite64, i % 3 + 1, EIO);
		for (uint32_t n = 0; n < 5; n++)
			assert_true(takes(w, PID, prefix, n));
		fault_off(&fault_pwrite64);
		w->box.now_ns += REPLAY_REFILL_S * NS_PER_S;
		for (uint32_t n = 5; n < 40; n++)
			assert_true(takes(w, PID, prefix, n));
		crash(w);
		assert_int_equal(boot(w), 0);
		for (uint32_t n = 0; n < 40; n++)
			assert_false(takes(w, PID, prefix, n));
	}
}

static void
a_sync_that_fails_is_told(void **state)
{
	struct world *w = *state;
	unsigned i;

	fault_always(&fault_fdatasync, EIO);
	/* The thread takes its time; it is asked for every new session. */
	for (i = 0; i < 10000 && w->stats.state_errors == 0; i++) {
		w->box.now_ns += REPLAY_REFILL_S * NS_PER_S;
		(void)takes(w, PID, 1000 + i, 0);
		(void)usleep(100);
	}
	assert_true(w->stats.state_errors > 0);
	/* The thread looks at the fault until it has ended. */
	halt(w);
	fault_off(&fault_fdatasync);
}

static void
starting_bears_every_failure(void **state)
{
	struct {
		struct fault *fault;
		int error;
		unsigned calls;
	} const faults[] = {
		{ &fault_flock, EIO, 1 },
		{ &fault_fstat64, EIO, 2 },
		{ &fault_read, EIO, 1 },
		{ &fault_write, ENOSPC, 1 },
		{ &fault_fsync, EIO, 2 },
		{ &fault_renameat, EROFS, 1 },
		{ &fault_malloc, ENOMEM, 2 },
		{ &fault_calloc, ENOMEM, 6 },
		{ &fault_pthread_create, EAGAIN, 1 },
	};
	struct world *w = *state;

	for (uint32_t n = 0; n < 5; n++)
		assert_true(takes(w, PID, A, n));
	halt(w);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		for (unsigned call = 1; call <= faults[i].calls; call++) {
			int r;

			/* Those of replaybox_make() are not the store's. */
			if (faults[i].fault == &fault_calloc && call >= 2 &&
			    call <= 4)
				continue;
			fault_nth(faults[i].fault, call, faults[i].error);
			r = boot(w);
			fault_off(faults[i].fault);
			if (r != -faults[i].error)
				fail_msg("fault %zu, call %u: %d", i, call, r);
			assert_string_not_equal(w->fault.text, "");
		}
	assert_int_equal(boot(w), 0);
	for (uint32_t n = 0; n < 5; n++)
		assert_false(takes(w, PID, A, n));
	assert_true(takes(w, PID, A, 5));
	halt(w);
	assert_int_equal(unlink(tmpdir_path(&w->dir, "sessions")), 0);
	fault_nth(&fault_getentropy, 1, ENOSYS);
	assert_int_equal(boot(w), -ENOSYS);
	assert_int_equal(boot(w), 0);
}

static void
more_sessions_than_there_is_room_for_are_refused(void **state)
{
	struct world *w = *state;

	for (uint32_t i = 0; i < SENDERS; i++)
		assert_true(takes(w, 100 + i, A, 0));
	halt(w);
	/* Senders without a place are closed, not forgotten. */
	w->box.options.senders_max = 2;
	assert_int_equal(boot(w), 0);
	assert_int_equal(replay_senders(w->box.replay), 2);
	for (uint32_t i = 0; i < SENDERS; i++)
		assert_false(takes(w, 100 + i, A, 0));
	halt(w);
	w->box.options.senders_max = SENDERS;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_taken_before_a_clean_end_is_not_taken_after_it),
		TEST(what_was_taken_before_a_crash_is_not_taken_after_it),
		TEST(many_senders_and_starts_leave_a_small_file),
		TEST(
		    nothing_is_taken_twice_and_nobody_lost_wherever_it_is_killed),
		TEST(a_disk_that_fails_stops_nobody_and_is_tried_again),
		TEST(a_disk_that_comes_back_at_the_end_still_gets_everything),
		TEST(each_single_failure_to_write_is_made_good),
		TEST(a_sync_that_fails_is_told),
		TEST(starting_bears_every_failure),
		TEST(more_sessions_than_there_is_room_for_are_refused),
	};

	/* What is logged is not looked at here. */
	log_init("test", LOG_PLAIN, LOG_ERROR);
	return cmocka_run_group_tests_name("replay_store", tests, NULL, NULL);
}
