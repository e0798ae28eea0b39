/*
 * Sessions on disk: nothing that counted is taken again after any end, and a
 * disk that fails stops nobody.
 */
#include "watch/intake/replay_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/fault.h"
#include "support/replaybox.h"
#include "support/tmpdir.h"
#include "watch/intake/replay_disk.h"

enum { PID = 42, SENDERS = 8, PLACES_END = 48 + SENDERS * 2 * 72 };
enum { A = 0xa1, B = 0xb2, C = 0xc3 };

/* Every call that changes the disk, counted; the one chosen kills us. */
static unsigned *steps_left;

static void
step(void)
{
	if (steps_left != NULL && --*steps_left == 0)
		(void)raise(SIGKILL);
}

#define STEP_FAULT(type, failed, name, params, args)                           \
	type __real_##name params;                                             \
	type __wrap_##name params;                                             \
	static struct fault fault_##name;                                      \
	type __wrap_##name params                                              \
	{                                                                      \
		type ret;                                                      \
		step();                                                        \
		if (fault_hits(&fault_##name))                                 \
			return failed;                                         \
		ret = __real_##name args;                                      \
		step();                                                        \
		return ret;                                                    \
	}

STEP_FAULT(ssize_t, -1, write, (int fd, const void *p, size_t n), (fd, p, n))
STEP_FAULT(ssize_t, -1, pwrite64, (int fd, const void *p, size_t n, off_t at),
    (fd, p, n, at))
STEP_FAULT(int, -1, fsync, (int fd), (fd))
STEP_FAULT(int, -1, renameat, (int a, const char *b, int c, const char *d),
    (a, b, c, d))
STEP_FAULT(int, -1, unlinkat, (int a, const char *b, int c), (a, b, c))
FAULT(int, -1, fdatasync, (int fd), (fd))
FAULT(int, -1, flock, (int fd, int how), (fd, how))
FAULT(int, -1, fstat64, (int fd, struct stat *st), (fd, st))
FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(void *, NULL, calloc, (size_t n, size_t size), (n, size))
FAULT(ssize_t, -1, read, (int fd, void *p, size_t n), (fd, p, n))
FAULT(int, -1, getentropy, (void *p, size_t n), (p, n))
FAULT(int, EAGAIN, pthread_create,
    (pthread_t * t, const pthread_attr_t *a, void *(*run)(void *), void *ctx),
    (t, a, run, ctx))

/* An observer's memory with its disk. */
struct world {
	struct tmpdir dir;
	struct replaybox box;
	struct replay_store *store;
	struct stats stats;
	struct replay_store_fault fault;
};

static int
boot(struct world *w)
{
	int r = replay_store_open(w->dir.path, &w->store, &w->fault);

	if (r < 0)
		return r;
	memcpy(w->box.options.hash_key, replay_store_hash_key(w->store),
	    sizeof(w->box.options.hash_key));
	w->box.replay = replaybox_make(&w->box.options);
	r = replay_store_start(
	    w->store, w->box.replay, &w->stats, w->box.now_ns, &w->fault);
	if (r < 0) {
		replay_store_close(w->store);
		replay_free(w->box.replay);
		w->store = NULL;
		w->box.replay = NULL;
	}
	return r;
}

static void
halt(struct world *w)
{
	replay_store_close(w->store);
	replay_free(w->box.replay);
	w->store = NULL;
	w->box.replay = NULL;
}

/* The process ends without a word: the last ones of halt() are taken back. */
static void
crash(struct world *w)
{
	static char bytes[1 << 20];
	const char *path = tmpdir_path(&w->dir, "sessions");
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(bytes, 1, sizeof(bytes), f);
	(void)fclose(f);
	halt(w);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static bool
takes(struct world *w, uint32_t pid, uint64_t prefix, uint32_t n)
{
	struct replay_frame f = replaybox_frame(pid, prefix, n);
	enum replay_verdict v = replay_check(w->box.replay, &f, w->box.now_ns);

	replay_store_save(w->store, w->box.now_ns);
	return v == REPLAY_TAKEN || v == REPLAY_TAKEN_ANEW;
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	tmpdir_init(&w->dir);
	replaybox_init(&w->box, SENDERS);
	replaybox_fini(&w->box);
	w->box.replay = NULL;
	*state = w;
	return boot(w);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	if (w->store != NULL)
		halt(w);
	tmpdir_fini(&w->dir);
	free(w);
	return 0;
}

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
one_observer_at_a_time_uses_a_folder(void **state)
{
	struct world *w = *state;
	struct replay_store *second;

	assert_int_equal(
	    replay_store_open(w->dir.path, &second, &w->fault), -EBUSY);
	assert_non_null(strstr(w->fault.text, "another observer"));
	halt(w);
	assert_int_equal(boot(w), 0);
}

static void
refuses_folders_and_files_that_others_may_change(void **state)
{
	struct world *w = *state;
	char path[128];

	halt(w);
	assert_int_equal(chmod(w->dir.path, 0770), 0);
	assert_int_equal(boot(w), -EACCES);
	assert_int_equal(chmod(w->dir.path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/sessions", w->dir.path);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(boot(w), -EACCES);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(boot(w), -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(boot(w), -EACCES);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(boot(w), 0);
	halt(w);
	/* The folder itself is a link, or a file. */
	(void)snprintf(path, sizeof(path), "%s.link", w->dir.path);
	assert_int_equal(symlink(w->dir.path, path), 0);
	assert_int_equal(replay_store_open(path, &w->store, &w->fault), -ELOOP);
	assert_non_null(strstr(w->fault.text, "symbolic link, not followed"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(
	    replay_store_open("/dev/null", &w->store, &w->fault), -ENOTDIR);
	w->store = NULL;
	tmpdir_fini(&w->dir);
	assert_int_equal(boot(w), -ENOENT);
	assert_int_equal(mkdir(w->dir.path, 0700), 0);
}

/* Change one byte of the file; at PLACES_END and on, of the sessions. */
static void
spoil(struct world *w, off_t at)
{
	int fd = open(tmpdir_path(&w->dir, "sessions"), O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(__real_pwrite64(fd, &byte, 1, at), 1);
	(void)close(fd);
}

static void
a_damaged_file_is_refused(void **state)
{
	struct world *w = *state;
	const char *path;
	struct stat st;

	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t n = 0; n < 3; n++)
			assert_true(takes(w, PID + i, A, n));
	halt(w);
	path = tmpdir_path(&w->dir, "sessions");
	spoil(w, 0);
	assert_int_equal(boot(w), -EINVAL);
	assert_non_null(strstr(w->fault.text, "is not a file of sessions"));
	spoil(w, 0);
	spoil(w, 20);
	assert_int_equal(boot(w), -EINVAL);
	spoil(w, 20);
	/* The second of four sessions. */
	spoil(w, PLACES_END + 24 + 9);
	assert_int_equal(boot(w), -EINVAL);
	assert_non_null(strstr(w->fault.text, "damaged at session 1"));
	spoil(w, PLACES_END + 24 + 9);
	/* The last one is not there, wholly or in part. */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, PLACES_END + 4 * 24);
	assert_int_equal(truncate(path, st.st_size - 24), 0);
	assert_int_equal(boot(w), -EINVAL);
	assert_non_null(strstr(w->fault.text, "cut off at session 3 of 4"));
	assert_int_equal(truncate(path, st.st_size - 5), 0);
	assert_int_equal(boot(w), -EINVAL);
}

/* Power is lost before anything was synced: of what was appended since the
 * start, the disk has what it happened to write first. */
static void
what_was_not_synced_may_be_missing_anywhere(void **state)
{
	struct world *w = *state;

	assert_true(takes(w, PID, A, 0));
	halt(w);
	fault_always(&fault_fdatasync, EIO);
	assert_int_equal(boot(w), 0);
	for (uint32_t i = 1; i < 6; i++)
		assert_true(takes(w, PID + i, A, 0));
	crash(w);
	fault_off(&fault_fdatasync);
	/* The third of six is not there, and the last one in part. */
	spoil(w, PLACES_END + 2 * 24 + 9);
	assert_int_equal(
	    truncate(tmpdir_path(&w->dir, "sessions"), PLACES_END + 6 * 24 - 5),
	    0);
	assert_int_equal(boot(w), 0);
	/* Their senders' own places have them, too. */
	for (uint32_t i = 0; i < 6; i++)
		assert_false(takes(w, PID + i, A, 0));
	halt(w);
	/* The one that was there before is on disk for certain. */
	spoil(w, PLACES_END + 9);
	assert_int_equal(boot(w), -EINVAL);
	spoil(w, PLACES_END + 9);
	assert_int_equal(boot(w), 0);
}

/* A session says how many were synced before it, so that a loss of these is
 * seen as well, however the observer ended. */
static void
what_was_synced_must_be_there_after_a_crash(void **state)
{
	struct world *w = *state;
	uint32_t n;

	for (n = 0; w->store->n_synced < 5 && n < 10000; n++) {
		w->box.now_ns += REPLAY_REFILL_S * NS_PER_S;
		(void)takes(w, PID, 1000 + n, 0);
		(void)usleep(100); /* the thread takes its time */
	}
	assert_true(n < 10000);
	(void)takes(w, PID, A, 0);
	crash(w);
	spoil(w, PLACES_END + 4 * 24 + 9);
	assert_int_equal(boot(w), -EINVAL);
	assert_non_null(strstr(w->fault.text, "damaged at session 4"));
	spoil(w, PLACES_END + 4 * 24 + 9);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
		TEST(one_observer_at_a_time_uses_a_folder),
		TEST(refuses_folders_and_files_that_others_may_change),
		TEST(a_damaged_file_is_refused),
		TEST(what_was_not_synced_may_be_missing_anywhere),
		TEST(what_was_synced_must_be_there_after_a_crash),
		TEST(more_sessions_than_there_is_room_for_are_refused),
	};

	/* What is logged is not looked at here. */
	log_init("test", LOG_PLAIN, LOG_ERROR);
	return cmocka_run_group_tests_name("replay_store", tests, NULL, NULL);
}
