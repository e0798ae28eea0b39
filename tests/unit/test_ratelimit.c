#include "watch/tell/ratelimit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/util.h"

enum { PER_S = 5, BURST = 10 };

static struct ratelimit *rl;
static bool evicted;

static void
begin(uint32_t per_s, uint32_t burst)
{
	const struct ratelimit_options options = {
		.per_s = per_s, .burst = burst, .seed = 0x1234567
	};

	rl = ratelimit_init(rl, &options);
}

static int
setup(void **state)
{
	(void)state;
	rl = malloc(ratelimit_size());
	if (rl == NULL)
		return -1;
	begin(PER_S, BURST);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free(rl);
	rl = NULL;
	return 0;
}

static struct ratelimit_key
host(uint32_t number)
{
	return (struct ratelimit_key){ .host = number };
}

static bool
take(uint32_t number, uint64_t now_ns)
{
	return ratelimit_take(rl, host(number), now_ns, &evicted);
}

static struct ratelimit_key
key_of(const char *text)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;

	memset(&a, 0, sizeof(a));
	if (strchr(text, ':') == NULL) {
		a.any.sa_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &a.in.sin_addr), 1);
	} else {
		a.any.sa_family = AF_INET6;
		assert_int_equal(
		    inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
	}
	return ratelimit_key_of(&a.any);
}

static bool
same(const char *a, const char *b)
{
	return ratelimit_key_equal(key_of(a), key_of(b));
}

static void
a_new_address_may_use_the_whole_burst_and_no_more(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < BURST; i++)
		assert_true(take(1, 0));
	assert_false(take(1, 0));
}

static void
the_bucket_fills_at_the_rate(void **state)
{
	uint64_t now_ns = 7 * NS_PER_S;
	int i;

	(void)state;
	for (i = 0; i < BURST; i++)
		assert_true(take(1, now_ns));
	assert_false(take(1, now_ns + NS_PER_S / PER_S - 1));
	assert_true(take(1, now_ns + NS_PER_S / PER_S));
	assert_false(take(1, now_ns + NS_PER_S / PER_S));

	now_ns += 100 * NS_PER_S;
	for (i = 0; i < BURST; i++)
		assert_true(take(1, now_ns));
	assert_false(take(1, now_ns));
}

static void
refused_requests_cost_nothing(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < BURST + 1000; i++)
		(void)take(1, 0);
	assert_true(take(1, NS_PER_S / PER_S));
}

static void
addresses_do_not_touch_each_other(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < BURST + 1; i++)
		(void)take(1, 0);
	assert_false(take(1, 0));
	assert_true(take(2, 0));
	assert_int_equal(ratelimit_count(rl), 2);
}

static void
a_rate_or_burst_of_zero_is_no_limit(void **state)
{
	int i;

	(void)state;
	begin(0, BURST);
	for (i = 0; i < 1000; i++)
		assert_true(take(1, 0));
	begin(PER_S, 0);
	for (i = 0; i < 1000; i++)
		assert_true(take(1, 0));
	assert_int_equal(ratelimit_count(rl), 0);
}

static void
a_clock_that_goes_back_delays_by_the_burst_at_most(void **state)
{
	uint64_t now_ns = 1000 * NS_PER_S;
	int i;

	(void)state;
	for (i = 0; i < BURST; i++)
		assert_true(take(1, now_ns));
	now_ns = 5 * NS_PER_S;
	assert_false(take(1, now_ns));
	assert_true(take(1, now_ns + NS_PER_S / PER_S));
}

static void
the_end_of_time_does_not_overflow(void **state)
{
	(void)state;
	assert_true(take(1, UINT64_MAX - 1));
	(void)take(1, UINT64_MAX);
	(void)take(2, UINT64_MAX);
	begin(UINT32_MAX, UINT32_MAX);
	assert_true(take(1, 0));
	(void)take(1, UINT64_MAX);
}

static void
silent_addresses_are_forgotten(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_true(take(i, 0));
	assert_true(take(1000, RATELIMIT_IDLE_S * NS_PER_S - 1));
	assert_int_equal(ratelimit_count(rl), 101);
	/* Each request removes two at most. */
	for (i = 0; i < 60; i++)
		assert_true(take(2000 + i, RATELIMIT_IDLE_S * NS_PER_S));
	assert_int_equal(ratelimit_count(rl), 61);
}

static void
in_a_full_table_the_longest_silent_makes_room(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < RATELIMIT_ADDRESSES; i++) {
		assert_true(take(i, i));
		assert_false(evicted);
	}
	/* Address 0 asks again, so 1 is now the longest silent. */
	assert_true(take(0, 2000));
	assert_false(evicted);
	assert_true(take(5000, 2001));
	assert_true(evicted);
	assert_int_equal(ratelimit_count(rl), RATELIMIT_ADDRESSES);

	assert_true(take(0, 2002));
	assert_false(evicted);
	assert_true(take(1, 2003));
	assert_true(evicted);
}

static void
random_requests_are_counted_as_by_a_plain_model(void **state)
{
	enum { HOSTS = 50 };
	uint64_t tokens[HOSTS], last[HOSTS] = { 0 }, now_ns = 0;
	const uint64_t interval = NS_PER_S / PER_S;
	struct prng prng;
	uint32_t at;
	int i;

	(void)state;
	for (at = 0; at < HOSTS; at++)
		tokens[at] = BURST * interval;
	prng_seed(&prng, 42);
	for (i = 0; i < 20000; i++) {
		bool want;

		now_ns += prng_below(&prng, interval / 10);
		at = (uint32_t)prng_below(&prng, HOSTS);
		tokens[at] =
		    u64_min(tokens[at] + now_ns - last[at], BURST * interval);
		last[at] = now_ns;
		want = tokens[at] >= interval;
		if (want)
			tokens[at] -= interval;
		assert_int_equal(take(at, now_ns), want);
	}
}

static void
addresses_count_by_host_or_by_network(void **state)
{
	struct sockaddr other = { .sa_family = AF_UNIX };

	(void)state;
	assert_true(same("127.0.0.1", "127.0.0.1"));
	assert_false(same("127.0.0.1", "127.0.0.2"));
	assert_true(same("10.1.2.3", "::ffff:10.1.2.3"));
	assert_true(same("2001:db8::1", "2001:db8::2"));
	assert_false(same("2001:db8:0:1::1", "2001:db8:0:2::1"));
	assert_false(same("::1", "0.0.0.1"));
	assert_false(same("0.0.0.0", "::"));
	assert_true(
	    ratelimit_key_equal(ratelimit_key_of(&other), key_of("::1")));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_address_may_use_the_whole_burst_and_no_more),
		TEST(the_bucket_fills_at_the_rate),
		TEST(refused_requests_cost_nothing),
		TEST(addresses_do_not_touch_each_other),
		TEST(a_rate_or_burst_of_zero_is_no_limit),
		TEST(a_clock_that_goes_back_delays_by_the_burst_at_most),
		TEST(the_end_of_time_does_not_overflow),
		TEST(silent_addresses_are_forgotten),
		TEST(in_a_full_table_the_longest_silent_makes_room),
		TEST(random_requests_are_counted_as_by_a_plain_model),
		TEST(addresses_count_by_host_or_by_network),
	};

	return cmocka_run_group_tests_name("ratelimit", tests, NULL, NULL);
}
