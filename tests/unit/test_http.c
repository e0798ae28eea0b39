#include "watch/tell/http.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/http_client.h"

enum { AGENTS = 20000, LOOPS_MAX = 100000 };

#define TOKEN                                                                  \
	"00112233445566778899aabbccddeeff"                                     \
	"00112233445566778899AABBCCDDEEFF"
#define GET_METRICS "GET /metrics HTTP/1.1\r\nHost: varta\r\n"

static struct stats stats;
static struct metrics_gauges gauges;
static uint32_t n_agents;
static struct http *http;
static uint64_t now_ns;
static uint16_t port;

static bool
agent(void *ctx, uint32_t slot, struct agent_view *ret)
{
	(void)ctx;
	*ret = (struct agent_view){
		.pid = slot + 2, .beats = slot, .joined_ns = 1
	};
	return true;
}

static uint32_t
slots(void *ctx)
{
	(void)ctx;
	return n_agents;
}

static const struct metrics_source source = {
	.stats = &stats, .gauges = &gauges, .agent = agent, .slots = slots
};

static const struct sockaddr_in loopback = { .sin_family = AF_INET,
	.sin_addr.s_addr = 0x0100007f };

static struct http_options
plain_options(void)
{
	return (struct http_options){
		.address = (const struct sockaddr *)&loopback,
		.address_len = sizeof(loopback),
		.scrape_budget_ns = NS_NEVER,
	};
}

static void
start(const struct http_options *options)
{
	struct http_fault fault;

	assert_int_equal(http_open(options, &source, &stats, &http, &fault), 0);
	assert_memory_equal(http_bound_address(http), "127.0.0.1:", 10);
	port = (uint16_t)atoi(http_bound_address(http) + 10);
	assert_int_not_equal(port, 0);
}

static int
setup(void **state)
{
	(void)state;
	memset(&stats, 0, sizeof(stats));
	memset(&gauges, 0, sizeof(gauges));
	n_agents = 0;
	now_ns = 5 * NS_PER_S;
	http = NULL;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	http_close(http);
	return 0;
}

/* One pass, as the loop makes it: only when there is something to do. */
static bool
pass(void)
{
	struct pollfd fd = { .fd = http_fd(http), .events = POLLIN };

	if (poll(&fd, 1, 0) == 0 && http_next_ns(http, now_ns) > now_ns)
		return false;
	http_serve(http, now_ns);
	return true;
}

/* Passes until there is nothing to do for this moment. */
static void
settle(void)
{
	int i;

	for (i = 0; pass(); i++)
		assert_true(i < LOOPS_MAX);
}

/*
 * Serve until the server ends the connection. Waiting is for the kernel to
 * carry a byte over the loopback, never for time to pass.
 */
static void
serve_to_the_end(struct http_client *c)
{
	struct pollfd fds[2] = { { .fd = http_fd(http), .events = POLLIN },
		{ .fd = c->fd, .events = POLLIN } };
	int i;

	for (i = 0; !c->ended; i++) {
		assert_true(i < LOOPS_MAX);
		settle();
		assert_true(poll(fds, 2, 5000) > 0);
		http_client_receive(c, SIZE_MAX);
	}
	settle();
}

static void
request(struct http_client *c, const char *text)
{
	http_client_open(c, port, 1);
	assert_true(http_client_send(c, text, strlen(text)));
	serve_to_the_end(c);
}

/* A whole request; the answer has this status. */
static void
assert_status(const char *text, int status)
{
	struct http_client c;

	request(&c, text);
	assert_int_equal(http_client_status(&c), status);
	http_client_close(&c);
}

static void
assert_answer(const char *text, int status, const char *header)
{
	struct http_client c;

	request(&c, text);
	assert_int_equal(http_client_status(&c), status);
	if (strstr(c.in, header) == NULL)
		print_error("not there: %s\nin: %s\n", header, c.in);
	assert_non_null(strstr(c.in, header));
	http_client_close(&c);
}

static size_t
count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what)) != NULL) {
		n++;
		text++;
	}
	return n;
}

static void
a_scrape_of_many_agents_is_whole(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;
	const char *body;

	(void)state;
	n_agents = AGENTS;
	gauges.agents = AGENTS;
	start(&options);
	request(&c, GET_METRICS "\r\n");
	assert_int_equal(http_client_status(&c), 200);
	assert_non_null(strstr(c.in,
	    "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	assert_true(http_client_unchunk(&c));
	body = http_client_body(&c);
	assert_int_equal(count(body, "varta_beats_total{pid="), AGENTS);
	assert_int_equal(count(body, "varta_stalls_total{pid="), AGENTS);
	assert_int_equal(count(body, "varta_status{pid="), AGENTS);
	assert_non_null(strstr(body, "\nvarta_status{pid=\"20001\"} 0\n"));
	assert_non_null(strstr(body, "\nvarta_prom_requests_total 1\n"));
	assert_int_equal(c.in[c.len - 1], '\n');
	http_client_close(&c);
}

static void
http_1_0_gets_a_whole_body_without_chunks(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	n_agents = 3000;
	gauges.agents = 3000;
	start(&options);
	request(&c, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_int_equal(http_client_status(&c), 200);
	assert_null(strstr(c.in, "chunked"));
	assert_memory_equal(http_client_body(&c), "# HELP ", 7);
	assert_int_equal(count(c.in, "{pid="), 9000);
	assert_non_null(strstr(c.in, "\nvarta_prom_requests_total 1\n"));
	assert_false(c.was_reset);
	http_client_close(&c);
}

static void
a_request_with_large_headers_gets_a_whole_body(void **state)
{
	const struct http_options options = plain_options();
	static char text[HTTP_CONNECTION_BYTES];
	struct http_client c;
	size_t rest, n;

	(void)state;
	n_agents = 100;
	gauges.agents = 100;
	start(&options);
	/* So little memory is left that a body goes in pieces of less than a
	 * line. */
	for (rest = 2000; rest >= 300; rest -= 50) {
		n = (size_t)snprintf(text, sizeof(text), GET_METRICS "X: ");
		memset(text + n, 'x', sizeof(text) - rest - n);
		n = sizeof(text) - rest;
		memcpy(text + n, "\r\n\r\n", 5);
		request(&c, text);
		assert_int_equal(http_client_status(&c), 200);
		assert_true(http_client_unchunk(&c));
		assert_int_equal(count(c.in, "{pid="), 300);
		http_client_close(&c);
	}
}

static void
head_gets_headers_only(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	start(&options);
	request(&c, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(http_client_status(&c), 200);
	assert_non_null(strstr(c.in, "Content-Type: text/plain"));
	assert_string_equal(http_client_body(&c), "");
	http_client_close(&c);
}

static void
other_paths_are_not_found(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_status("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404);
	assert_status("GET /metricsx HTTP/1.1\r\nHost: x\r\n\r\n", 404);
	assert_status("GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200);
	assert_status("POST /x HTTP/1.1\r\nHost: x\r\n\r\n", 404);
}

static void
other_methods_are_refused_with_those_allowed(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_answer("POST /metrics HTTP/1.1\r\nHost: x\r\n"
		      "Content-Length: 3\r\n\r\nabc",
	    405, "Allow: GET, HEAD\r\n");
	assert_answer("DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405,
	    "Allow: GET, HEAD\r\n");
}

static void
a_body_is_refused(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_status(GET_METRICS "Content-Length: 3\r\n\r\nabc", 413);
	assert_status(GET_METRICS "Content-Length: 99999999999\r\n\r\n", 413);
	assert_status(
	    GET_METRICS "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413);
	assert_status(GET_METRICS "Content-Length: 0\r\n\r\n", 200);
}

static void
headers_that_are_too_large_are_refused(void **state)
{
	const struct http_options options = plain_options();
	static char text[2 * HTTP_CONNECTION_BYTES];
	size_t n;

	(void)state;
	start(&options);
	n = (size_t)snprintf(text, sizeof(text), GET_METRICS "X: ");
	memset(text + n, 'x', sizeof(text) - n - 5);
	memcpy(text + sizeof(text) - 5, "\r\n\r\n", 5);
	assert_status(text, 431);
	assert_status("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
}

static void
what_is_no_http_is_refused_and_service_goes_on(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	start(&options);
	request(&c, "\x16\x03\x01\x02\x03\r\n\r\n\r\n");
	assert_int_not_equal(http_client_status(&c), 200);
	http_client_close(&c);
	assert_int_equal(stats.prom_requests, 0);
	assert_status("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
}

static void
health_needs_no_token(void **state)
{
	struct http_options options = plain_options();

	(void)state;
	options.has_token = true;
	start(&options);
	assert_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ok\n");
	assert_answer("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ok\n");
	assert_int_equal(stats.prom_auth_failures, 0);
}

static void
metrics_need_the_token(void **state)
{
	struct http_options options = plain_options();
	size_t i;

	(void)state;
	options.has_token = true;
	for (i = 0; i < HTTP_TOKEN_BYTES; i++)
		options.token[i] = (uint8_t)(i % 16 * 0x11);
	start(&options);
	assert_status(
	    GET_METRICS "Authorization: Bearer " TOKEN "\r\n\r\n", 200);
	assert_status(
	    GET_METRICS "authorization: bearer " TOKEN "\r\n\r\n", 200);
	assert_int_equal(stats.prom_auth_failures, 0);

	assert_answer(GET_METRICS "\r\n", 401,
	    "WWW-Authenticate: Bearer realm=\"varta\"\r\n");
	assert_status(
	    GET_METRICS "Authorization: Bearer " TOKEN "0\r\n\r\n", 401);
	assert_status(GET_METRICS "Authorization: Bearer 00\r\n\r\n", 401);
	assert_status(GET_METRICS "Authorization:\r\n\r\n", 401);
	assert_status(GET_METRICS "Authorization: Basic " TOKEN "\r\n"
				  "Authorization: Bearer " TOKEN "\r\n\r\n",
	    401);
	assert_int_equal(stats.prom_auth_failures, 5);
}

static void
a_new_token_takes_the_place_of_the_old_one(void **state)
{
	static const uint8_t zeros[HTTP_TOKEN_BYTES];
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_status(GET_METRICS "\r\n", 200);
	http_set_token(http, zeros);
	assert_status(GET_METRICS "\r\n", 401);
	assert_status(GET_METRICS
	    "Authorization: Bearer 00000000000000000000000000000000"
	    "00000000000000000000000000000000\r\n\r\n",
	    200);
}

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
beyond_the_limit_connections_are_closed_and_counted(void **state)
{
	enum { CLIENTS = HTTP_CONNECTIONS + 6 };
	const struct http_options options = plain_options();
	struct http_client c[CLIENTS];
	size_t i, n_ended = 0;

	(void)state;
	start(&options);
	for (i = 0; i < CLIENTS; i++) {
		http_client_open(&c[i], port, (unsigned)(i / 14) + 1);
		settle();
	}
	for (i = 0; i < CLIENTS; i++) {
		http_client_receive(&c[i], SIZE_MAX);
		n_ended += c[i].ended;
		assert_int_equal(c[i].ended, i >= HTTP_CONNECTIONS);
	}
	assert_int_equal(n_ended, 6);
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 6);

	/* Those inside are served, and make room. */
	assert_true(http_client_send(
	    &c[0], GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	serve_to_the_end(&c[0]);
	assert_int_equal(http_client_status(&c[0]), 200);
	http_client_close(&c[1]);
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
	for (i = 0; i < CLIENTS; i++) {
		http_client_open(&c[i], port, 1);
		settle();
	}
	assert_int_equal(stats.prom_dropped[STATS_PROM_DRAIN], 4);
	http_client_open(&other, port, 2);
	assert_true(http_client_send(
	    &other, GET_METRICS "\r\n", strlen(GET_METRICS "\r\n")));
	serve_to_the_end(&other);
	assert_int_equal(http_client_status(&other), 200);
	http_client_close(&other);
	for (i = 0; i < CLIENTS; i++)
		http_client_close(&c[i]);
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
		TEST(a_scrape_of_many_agents_is_whole),
		TEST(http_1_0_gets_a_whole_body_without_chunks),
		TEST(a_request_with_large_headers_gets_a_whole_body),
		TEST(head_gets_headers_only),
		TEST(other_paths_are_not_found),
		TEST(other_methods_are_refused_with_those_allowed),
		TEST(a_body_is_refused),
		TEST(headers_that_are_too_large_are_refused),
		TEST(what_is_no_http_is_refused_and_service_goes_on),
		TEST(health_needs_no_token),
		TEST(metrics_need_the_token),
		TEST(a_new_token_takes_the_place_of_the_old_one),
		TEST(too_many_requests_of_one_address_are_refused),
		TEST(a_crowd_of_addresses_is_served_and_counted),
		TEST(a_client_that_sends_byte_by_byte_is_cut_off),
		TEST(a_client_that_does_not_read_is_cut_off),
		TEST(nothing_is_due_without_connections),
		TEST(beyond_the_limit_connections_are_closed_and_counted),
		TEST(one_address_gets_its_share_of_connections),
		TEST(a_reset_in_the_middle_of_a_body_does_no_harm),
		TEST(a_client_that_comes_and_goes_is_no_request),
		TEST(a_large_scrape_is_spread_over_passes),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
