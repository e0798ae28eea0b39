/*
 * No key and IV ever seal two frames.
 *
 * First sessions alone, against a model that counts frames with one number.
 * Then real agents: a tree of processes made by fork(2) and by clone(2) past
 * the C library beats over UDP, with sends that fail, reconnects and prefixes
 * that run out, and all that arrives is opened and compared. VARTA_SEED gives
 * the seed.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/prng.h"
#include "support/sealed_fixture.h"

enum {
	ROUNDS = 20000,
	DEPTH_MAX = 4, /* generations of processes */
	STEPS = 24,    /* of each process */
	CHILDREN_MAX = 3,
	SEEN_MAX = 20000
};

static struct prng random_state;

/* Sessions. */

/* IVs of a prefix: all counters but the highest. */
#define PREFIX_IVS UINT64_C(0xffffffff)
#define SESSION_IVS (PREFIX_IVS << 32)

static void
put_at(struct session *s, uint64_t position)
{
	s->prefix_index = (uint32_t)(position / PREFIX_IVS);
	s->iv.counter = (uint32_t)(position % PREFIX_IVS);
	hkdf_iv_prefix(s->salt, s->prefix_index, s->iv.random);
}

static void
assert_is_at(const struct session *s, uint64_t position)
{
	uint8_t prefix[SEAL_PREFIX_BYTES];

	hkdf_iv_prefix(s->salt, (uint32_t)(position / PREFIX_IVS), prefix);
	assert_memory_equal(s->iv.random, prefix, sizeof(prefix));
	assert_true(s->iv.counter == position % PREFIX_IVS);
}

/* Near the end of a prefix, of the session, or anywhere. */
static uint64_t
random_position(void)
{
	uint64_t x = prng_u64(&random_state);

	switch (x % 4) {
	case 0:
		return (x >> 32) * PREFIX_IVS + PREFIX_IVS - 1 - (x >> 8) % 4;
	case 1:
		return SESSION_IVS - 1 - (x >> 8) % 4;
	default:
		return x % SESSION_IVS;
	}
}

static void
a_session_is_a_counter_of_frames_sent(void **state)
{
	uint8_t salt[HKDF_SALT_BYTES] = { 0 };
	struct session s;
	uint64_t position = 0;
	int i;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		if (i % 8 == 0) {
			salt[0] = (uint8_t)i;
			session_begin(&s, salt);
			position = random_position();
			put_at(&s, position);
		}
		if (position == SESSION_IVS) {
			assert_false(session_prepare(&s));
			continue;
		}
		assert_true(session_prepare(&s));
		assert_is_at(&s, position);
		if (prng_below(&random_state, 3) > 0) {
			session_commit(&s);
			position++;
		}
	}
}

/* Agents. */

struct seen {
	uint32_t key_pid; /* the key: 0 is the shared one */
	struct seal_iv iv;
};

static struct seen seen[SEEN_MAX];
static size_t n_seen;

/* The tree shares counts: of frames that were sent and that were taken, so that
 * nobody sends more than the socket holds. */
struct tally {
	_Atomic uint32_t sent;
	_Atomic uint32_t taken;
};

enum { UNREAD_MAX = 64 };

static struct tally *tally;

static int
compare_seen(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct seen));
}

static void
take_one(struct fixture *f)
{
	struct sealed got;

	sealed_take(&f->observer, &got);
	assert_true(n_seen < SEEN_MAX);
	memset(&seen[n_seen], 0, sizeof(seen[n_seen]));
	seen[n_seen].key_pid = got.key_pid;
	seen[n_seen].iv = got.iv;
	n_seen++;
	atomic_fetch_add(&tally->taken, 1);
}

static void
take_all(struct fixture *f)
{
	while (atomic_load(&tally->taken) < atomic_load(&tally->sent))
		take_one(f);
}

static void
assert_all_different(void)
{
	size_t i;

	print_message("# %zu frames\n", n_seen);
	qsort(seen, n_seen, sizeof(seen[0]), compare_seen);
	for (i = 1; i < n_seen; i++)
		assert_true(compare_seen(&seen[i - 1], &seen[i]) < 0);
}

static void
step(struct fixture *f)
{
	uint32_t *counter = &f->inside->session.iv.counter;
	uint64_t x = prng_u64(&random_state);

	switch (x % 10) {
	case 0:
		fault_nth(&fault_send, 1, x & 64 ? EAGAIN : ECONNREFUSED);
		break;
	case 1:
		fault_nth(&fault_send, 1, x & 64 ? EINVAL : EINTR);
		break;
	case 2:
		(void)varta_reconnect(f->agent);
		break;
	case 3: /* only ever forward */
		*counter = (uint32_t)u64_max(*counter, UINT32_MAX - 1);
		break;
	default:
		break;
	}
	while (
	    atomic_load(&tally->sent) > atomic_load(&tally->taken) + UNREAD_MAX)
		(void)sched_yield();
	if (beat(f) == VARTA_SENT)
		atomic_fetch_add(&tally->sent, 1);
	fault_off(&fault_send);
}

/* In the first process; the others end with a code of their own. */
static bool
wait_and_take(struct fixture *f, pid_t child)
{
	struct pollfd ready = { .fd = f->observer.fd, .events = POLLIN };
	int status;
	pid_t ended;

	while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
		take_all(f);
		(void)poll(&ready, 1, 5);
	}
	return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool
wait_only(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static bool live(struct fixture *f, unsigned depth);

static bool
have_a_child(struct fixture *f, unsigned depth)
{
	pid_t pid;

	if (prng_below(&random_state, 2) == 0)
		pid = fork();
	else
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		prng_seed(&random_state,
		    prng_u64(&random_state) ^ (uint64_t)getpid());
		_exit(live(f, depth + 1) ? 0 : 1);
	}
	if (pid < 0)
		return false;
	return depth == 0 ? wait_and_take(f, pid) : wait_only(pid);
}

/* Beat, and have children that do the same, except in the last generation. */
static bool
live(struct fixture *f, unsigned depth)
{
	unsigned children = 0;
	int i;

	for (i = 0; i < STEPS; i++) {
		step(f);
		if (depth == 0)
			take_all(f);
		if (depth == DEPTH_MAX || children == CHILDREN_MAX ||
		    prng_below(&random_state, 6) != 0)
			continue;
		children++;
		if (!have_a_child(f, depth))
			return false;
	}
	return true;
}

static void
check_tree(struct fixture *f)
{
	atomic_store(&tally->sent, 0);
	atomic_store(&tally->taken, 0);
	n_seen = 0;
	assert_true(live(f, 0));
	take_all(f);
	assert_true(udp_is_empty(&f->observer));
	assert_all_different();
}

static void
no_iv_is_used_twice_with_a_shared_key(void **state)
{
	struct fixture *f = *state;

	open_shared(f);
	check_tree(f);
}

static void
no_iv_is_used_twice_with_a_master_key(void **state)
{
	struct fixture *f = *state;

	open_master(f);
	check_tree(f);
}

static int
start(void **state)
{
	const char *given = getenv("VARTA_SEED");
	uint64_t seed =
	    given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	(void)state;
	print_message("# VARTA_SEED=%llu\n", (unsigned long long)seed);
	prng_seed(&random_state, seed);
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return tally == MAP_FAILED || secret_init() < 0 ? -1 : 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_is_a_counter_of_frames_sent),
		TEST(no_iv_is_used_twice_with_a_shared_key),
		TEST(no_iv_is_used_twice_with_a_master_key),
	};

	return cmocka_run_group_tests_name("prop_session", tests, start, NULL);
}
