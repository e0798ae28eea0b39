/*
 * An agent and an observer for it, in a folder of their own. Works as setup and
 * teardown of a cmocka test, which fails when a descriptor is left open. Needs
 * -Wl,--wrap=clock_gettime, except with FIXTURE_REAL_CLOCK.
 */
#ifndef SUPPORT_AGENT_FIXTURE_H
#define SUPPORT_AGENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/util.h"
#include "lib/lib.h"
#include "support/dgram.h"
#include "support/fault.h"
#include "support/listener.h"
#include "support/tmpdir.h"

/* The real clock, moved on by what the test wants; with FIXTURE_REAL_CLOCK the
 * real one alone, which any thread may read. */
#ifndef FIXTURE_REAL_CLOCK
static uint64_t clock_ahead_ns;
static uint64_t clock_still_ns; /* not 0: in place of the real one */
static struct fault fault_clock;
static clockid_t clock_last_id; /* what was read last */
int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ns;

	clock_last_id = id;
	if (fault_hits(&fault_clock) || __real_clock_gettime(id, ts) < 0)
		return -1;
	ns = (uint64_t)ts->tv_sec * NS_PER_S + (uint64_t)ts->tv_nsec;
	if (clock_still_ns != 0)
		ns = clock_still_ns;
	ns += clock_ahead_ns;
	ts->tv_sec = (time_t)(ns / NS_PER_S);
	ts->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}
#endif

struct fixture {
	struct tmpdir dir;
	char path[128];
	struct listener listener;
	struct varta_agent *agent;
	int fds;
};

static inline int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	tmpdir_init(&f.dir);
	(void)snprintf(f.path, sizeof(f.path), "%s/varta.sock", f.dir.path);
	f.listener.fd = -1;
	f.fds = dgram_count_fds();
	*state = &f;
	return 0;
}

/* Nothing may be left open. */
static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	varta_close(f->agent);
	if (f->listener.fd >= 0)
		listener_close(&f->listener);
	tmpdir_fini(&f->dir);
	return f->fds == dgram_count_fds() ? 0 : -1;
}

static inline void
listen_and_open(struct fixture *f)
{
	listener_open(&f->listener, f->path);
	assert_int_equal(varta_open(f->path, &f->agent), 0);
}

static inline int
beat(struct fixture *f)
{
	return varta_beat(f->agent, VARTA_OK, 0);
}

static inline struct varta_counters
counters(const struct fixture *f)
{
	struct varta_counters c;

	varta_counters_get(f->agent, &c);
	return c;
}

/* Takes a frame and gives its nonce; 0 where there is none. */
static inline uint64_t
take_nonce_of(const struct fixture *f, pid_t pid)
{
	struct varta_frame frame;

	if (!listener_take(&f->listener, 0, &frame))
		return 0;
	assert_int_equal(frame.pid, pid);
	return frame.nonce;
}

static inline int
status_of(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
