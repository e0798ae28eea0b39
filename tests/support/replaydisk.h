/*
 * Sessions on a disk that fails as it is told to, and the observer's memory
 * over them, for tests: started, ended, killed at any step.
 */
#ifndef SUPPORT_REPLAYDISK_H
#define SUPPORT_REPLAYDISK_H

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
#include <sys/stat.h>
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
		replay_store_close(w->store, NS_NEVER);
		replay_free(w->box.replay);
		w->store = NULL;
		w->box.replay = NULL;
	}
	return r;
}

static void
halt(struct world *w)
{
	replay_store_close(w->store, NS_NEVER);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
