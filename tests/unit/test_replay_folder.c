/*
 * The folder and the file of sessions: whose they may be, and what is damage.
 */
#include "support/replaydisk.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_observer_at_a_time_uses_a_folder),
		TEST(refuses_folders_and_files_that_others_may_change),
		TEST(a_damaged_file_is_refused),
		TEST(what_was_not_synced_may_be_missing_anywhere),
		TEST(what_was_synced_must_be_there_after_a_crash),
	};

	/* What is logged is not looked at here. */
	log_init("test", LOG_PLAIN, LOG_ERROR);
	return cmocka_run_group_tests_name("replay_folder", tests, NULL, NULL);
}
