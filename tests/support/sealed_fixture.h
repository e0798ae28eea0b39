/*
 * A sealed agent with its insides open, and an observer for it. Works as setup
 * and teardown of a cmocka test, which fails when a descriptor is left open or
 * a secret is not given back. The transport itself is included: the test
 * program says "secure/agent_sealed.c" through this header.
 *
 * Needs -Wl,--wrap= of socket, connect, send, getentropy, sodium_init,
 * sodium_malloc, sodium_free, sodium_mprotect_noaccess and
 * sodium_mprotect_readonly.
 */
#ifndef SUPPORT_SEALED_FIXTURE_H
#define SUPPORT_SEALED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "secure/agent_sealed.c"
#include "support/dgram.h"
#include "support/fault.h"
#include "support/sealed.h"

FAULT(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
FAULT(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n),
    (fd, to, n))
FAULT(int, -1, getentropy, (void *p, size_t n), (p, n))
FAULT(int, -1, sodium_init, (void), ())
FAULT(void *, NULL, sodium_malloc, (size_t n), (n))
FAULT(int, -1, sodium_mprotect_noaccess, (void *p), (p))
FAULT(int, -1, sodium_mprotect_readonly, (void *p), (p))

/* send(2) fails, or says that it took a part; nothing is sent then. */
static struct fault fault_send;
static ssize_t send_takes; /* 0: all */
ssize_t __real_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);

ssize_t
__wrap_send(int fd, const void *p, size_t n, int flags)
{
	if (fault_hits(&fault_send))
		return -1;
	return send_takes != 0 ? send_takes : __real_send(fd, p, n, flags);
}

static unsigned secrets_freed;
static unsigned secrets_failed; /* the test counts those it made fail */
void __real_sodium_free(void *p);
void __wrap_sodium_free(void *p);

void
__wrap_sodium_free(void *p)
{
	secrets_freed += p != NULL;
	__real_sodium_free(p);
}

struct fixture {
	struct udp observer;
	struct varta_agent *agent;
	struct sealed_agent *inside;
	int fds;
};

static inline int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.fds = dgram_count_fds();
	fault_off(&fault_getentropy);
	fault_off(&fault_sodium_malloc);
	secrets_freed = 0;
	secrets_failed = 0;
	send_takes = 0;
	*state = &f;
	return udp_open(&f.observer, AF_INET) ? 0 : -1;
}

static inline void
no_more_faults(void)
{
	fault_off(&fault_socket);
	fault_off(&fault_connect);
	fault_off(&fault_send);
	fault_off(&fault_getentropy);
	fault_off(&fault_sodium_init);
	fault_off(&fault_sodium_mprotect_noaccess);
	fault_off(&fault_sodium_mprotect_readonly);
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;

	no_more_faults();
	varta_close(f->agent);
	udp_close(&f->observer);
	if (fault_sodium_malloc.calls - secrets_failed != secrets_freed)
		return -1;
	return f->fds == dgram_count_fds() ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline void
open_shared(struct fixture *f)
{
	assert_int_equal(varta_secure_open_shared(
			     f->observer.address, sealed_key, &f->agent),
	    0);
	f->inside = f->agent->transport;
}

static inline void
open_master(struct fixture *f)
{
	assert_int_equal(varta_secure_open_master(
			     f->observer.address, sealed_key, &f->agent),
	    0);
	f->inside = f->agent->transport;
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

/* Beat, and see it arrive with this nonce and this counter. */
static inline struct seal_iv
beat_with(struct fixture *f, uint64_t nonce, uint32_t counter)
{
	struct sealed got;

	assert_int_equal(beat(f), VARTA_SENT);
	sealed_take(&f->observer, &got);
	assert_int_equal(got.frame.pid, getpid());
	assert_int_equal(got.frame.nonce, nonce);
	assert_int_equal(got.iv.counter, counter);
	return got.iv;
}

static inline void
assert_same_prefix(const struct seal_iv *a, const struct seal_iv *b)
{
	assert_memory_equal(a->random, b->random, SEAL_PREFIX_BYTES);
}

static inline void
assert_other_prefix(const struct seal_iv *a, const struct seal_iv *b)
{
	assert_memory_not_equal(a->random, b->random, SEAL_PREFIX_BYTES);
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

#endif
