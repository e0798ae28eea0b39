#include "watch/tell/http.h"

#include "support/http_fixture.h"

enum { AGENTS = 20000 };

static void
too_many_requests_of_one_address_are_refused(void **state)
{
	struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	options.rate_per_s = 1;
	options.rate_burst = 2;
	start(&options);
	assert_status(GET_METRICS "\r\n", 200);
	assert_status(GET_METRICS "\r\n", 200);
	assert_answer(GET_METRICS "\r\n", 429, "Retry-After: 1\r\n");
	assert_int_equal(stats.prom_dropped[STATS_PROM_RATE_LIMIT], 1);

	http_client_open(&c, port, 2);
	assert_true(http_client_send(
	    &c, GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	serve_to_the_end(&c);
	assert_int_equal(http_client_status(&c), 200);
	http_client_close(&c);

	now_ns += NS_PER_S;
	assert_status(GET_METRICS "\r\n", 200);
	assert_int_equal(stats.prom_dropped[STATS_PROM_RATE_LIMIT], 1);
}

static void
a_crowd_of_addresses_is_served_and_counted(void **state)
{
	static const char text[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	struct http_options options = plain_options();
	struct http_client c;
	unsigned i;

	(void)state;
	options.rate_per_s = 1;
	options.rate_burst = 1;
	start(&options);
	for (i = 1; i <= 1026; i++) {
		http_client_open(&c, port, i);
		assert_true(http_client_send(&c, text, strlen(text)));
		serve_to_the_end(&c);
		assert_int_equal(http_client_status(&c), 200);
		http_client_close(&c);
	}
	assert_int_equal(stats.prom_dropped[STATS_PROM_IP_TABLE_FULL], 2);
	assert_int_equal(stats.prom_dropped[STATS_PROM_RATE_LIMIT], 0);
}

static void
a_client_that_sends_byte_by_byte_is_cut_off(void **state)
{
	const struct http_options options = plain_options();
	const uint64_t end_ns = now_ns + HTTP_DEADLINE_MS * NS_PER_MS;
	static const char text[] = "GET /metrics HTTP/1.1\r\nX: ";
	struct http_client c;
	size_t i;

	(void)state;
	start(&options);
	http_client_open(&c, port, 1);
	settle();
	assert_int_equal(http_next_ns(http, now_ns), end_ns);
	for (i = 0; now_ns < end_ns - 1; i++) {
		assert_true(
		    http_client_send(&c, i < strlen(text) ? &text[i] : "x", 1));
		settle();
		http_client_receive(&c, SIZE_MAX);
		assert_false(c.ended);
		assert_int_equal(http_next_ns(http, now_ns), end_ns);
		now_ns = u64_min(now_ns + 100 * NS_PER_MS, end_ns - 1);
	}

	now_ns = end_ns;
	serve_to_the_end(&c);
	assert_int_equal(http_client_status(&c), 0);
	http_client_close(&c);
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
}

static void
a_client_that_does_not_read_is_cut_off(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;
	int i;

	(void)state;
	n_agents = AGENTS;
	gauges.agents = AGENTS;
	start(&options);
	http_client_open(&c, port, 1);
	assert_true(http_client_send(
	    &c, GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	/* The socket fills; then there is nothing to do until the deadline,
	 * and a few bytes read do not change that deadline. */
	for (i = 0; i < 5; i++) {
		settle();
		assert_int_equal(http_next_ns(http, now_ns),
		    5 * NS_PER_S + HTTP_DEADLINE_MS * NS_PER_MS);
		http_client_receive(&c, 100);
		now_ns += NS_PER_S;
	}
	now_ns += HTTP_DEADLINE_MS * NS_PER_MS;
	serve_to_the_end(&c);
	assert_false(http_client_unchunk(&c));
	http_client_close(&c);
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
}

static void
nothing_is_due_without_connections(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
	assert_false(pass());
	assert_status(GET_METRICS "\r\n", 200);
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
	assert_false(pass());
}

static void
beyond_the_limit_the_longest_silent_ones_are_closed(void **state)
{
	enum { CLIENTS = HTTP_CONNECTIONS + 6 };
	const struct http_options options = plain_options();
	struct http_client c[CLIENTS];
	size_t i;

	(void)state;
	start(&options);
	for (i = 0; i < CLIENTS; i++) {
		http_client_open(&c[i], port, (unsigned)(i / 12) + 1);
		settle();
	}
	for (i = 0; i < CLIENTS; i++) {
		http_client_receive(&c[i], SIZE_MAX);
		assert_int_equal(c[i].ended, i < 6);
	}
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 6);

	/* Those inside are served, and make room. */
	assert_true(http_client_send(
	    &c[6], GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	serve_to_the_end(&c[6]);
	assert_int_equal(http_client_status(&c[6]), 200);
	http_client_close(&c[7]);
	settle();
	assert_status(GET_METRICS "\r\n", 200);
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 6);
	for (i = 0; i < CLIENTS; i++)
		http_client_close(&c[i]);
	settle();
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
}

static void
one_address_gets_its_share_of_connections(void **state)
{
	enum { CLIENTS = HTTP_CONNECTIONS_PER_ADDRESS + 4 };
	const struct http_options options = plain_options();
	struct http_client c[CLIENTS], other;
	size_t i;

	(void)state;
	start(&options);
	http_client_open(&other, port, 2);
	for (i = 0; i < CLIENTS; i++) {
		http_client_open(&c[i], port, 1);
		settle();
	}
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 4);
	/* Others do not make room for it. */
	assert_true(http_client_send(
	    &other, GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	serve_to_the_end(&other);
	assert_int_equal(http_client_status(&other), 200);
	http_client_close(&other);
	for (i = 0; i < CLIENTS; i++)
		http_client_close(&c[i]);
}

/* Both come in one pass, and the request lies there already. */
static void
who_has_asked_does_not_make_room_for_who_is_silent(void **state)
{
	enum { CLIENTS = HTTP_CONNECTIONS_PER_ADDRESS };
	const struct http_options options = plain_options();
	struct http_client asks, c[CLIENTS];
	size_t i;

	(void)state;
	start(&options);
	http_client_open(&asks, port, 1);
	assert_true(http_client_send(
	    &asks, GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	for (i = 0; i < CLIENTS; i++)
		http_client_open(&c[i], port, 1);
	serve_to_the_end(&asks);
	assert_int_equal(http_client_status(&asks), 200);
	http_client_close(&asks);
	for (i = 0; i < CLIENTS; i++)
		http_client_close(&c[i]);
}

/* They are bounded by the limit of requests, and by their deadline. */
static void
who_is_being_answered_makes_no_room(void **state)
{
	enum { CLIENTS = HTTP_CONNECTIONS_PER_ADDRESS };
	const struct http_options options = plain_options();
	struct http_client c[CLIENTS + 1];
	size_t i;

	(void)state;
	n_agents = AGENTS;
	gauges.agents = AGENTS;
	start(&options);
	for (i = 0; i < CLIENTS; i++) {
		http_client_open(&c[i], port, 1);
		assert_true(http_client_send(
		    &c[i], GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
		settle();
	}
	http_client_open(&c[CLIENTS], port, 1);
	serve_to_the_end(&c[CLIENTS]);
	assert_int_equal(http_client_status(&c[CLIENTS]), 0);
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 1);
	for (i = 0; i < CLIENTS; i++) {
		serve_to_the_end(&c[i]);
		assert_true(http_client_unchunk(&c[i]));
		http_client_close(&c[i]);
	}
	http_client_close(&c[CLIENTS]);
}

static void
a_reset_in_the_middle_of_a_body_does_no_harm(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;
	int i;

	(void)state;
	n_agents = AGENTS;
	gauges.agents = AGENTS;
	start(&options);
	for (i = 0; i < 20; i++) {
		http_client_open(&c, port, 1);
		assert_true(http_client_send(
		    &c, GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
		while (c.len == 0) {
			(void)pass();
			http_client_receive(&c, 1000);
		}
		http_client_reset(&c);
		settle();
	}
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
	n_agents = 1;
	assert_status(GET_METRICS "\r\n", 200);
}

static void
a_client_that_comes_and_goes_is_no_request(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	start(&options);
	http_client_open(&c, port, 1);
	http_client_close(&c);
	settle();
	http_client_open(&c, port, 1);
	http_client_reset(&c);
	settle();
	assert_int_equal(stats.prom_requests, 0);
	assert_true(http_next_ns(http, now_ns) == NS_NEVER);
}

static void
a_large_scrape_is_spread_over_passes(void **state)
{
	struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	options.scrape_budget_ns = 0;
	n_agents = AGENTS;
	gauges.agents = AGENTS;
	start(&options);
	request(&c, GET_METRICS "\r\n");
	assert_true(http_client_unchunk(&c));
	http_client_close(&c);
	/* Every pass is longer than a budget of nothing. */
	assert_true(stats.scrape_budget_exceeded > 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(too_many_requests_of_one_address_are_refused),
		TEST(a_crowd_of_addresses_is_served_and_counted),
		TEST(a_client_that_sends_byte_by_byte_is_cut_off),
		TEST(a_client_that_does_not_read_is_cut_off),
		TEST(nothing_is_due_without_connections),
		TEST(beyond_the_limit_the_longest_silent_ones_are_closed),
		TEST(one_address_gets_its_share_of_connections),
		TEST(who_has_asked_does_not_make_room_for_who_is_silent),
		TEST(who_is_being_answered_makes_no_room),
		TEST(a_reset_in_the_middle_of_a_body_does_no_harm),
		TEST(a_client_that_comes_and_goes_is_no_request),
		TEST(a_large_scrape_is_spread_over_passes),
	};

	return cmocka_run_group_tests_name("http_limits", tests, NULL, NULL);
}
