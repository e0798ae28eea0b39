#include "watch/tell/http.h"

#include "support/http_fixture.h"

enum { AGENTS = 20000 };

#define TOKEN                                                                  \
	"00112233445566778899aabbccddeeff"                                     \
	"00112233445566778899AABBCCDDEEFF"

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
	assert_int_equal(count(c.in, "{pid="), 15000);
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
		assert_int_equal(count(c.in, "{pid="), 500);
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
a_target_may_be_a_whole_url(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_status(
	    "GET http://varta/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200);
	assert_status(
	    "GET HTTP://x:9/healthz?y HTTP/1.1\r\nHost: x\r\n\r\n", 200);
	assert_status("GET http://varta HTTP/1.1\r\nHost: x\r\n\r\n", 404);
	assert_status("GET http:///metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404);
	assert_status(
	    "GET ftp://varta/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404);
}

static void
a_path_does_not_end_at_a_nul(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_status("GET /metrics%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404);
	assert_status("GET /%6detrics HTTP/1.1\r\nHost: x\r\n\r\n", 200);
}

static void
what_http_does_not_allow_is_a_bad_request(void **state)
{
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_status("GET /healthz HTTP/1.1\r\n\r\n", 400);
	assert_status("GET /healthz HTTP/1.0\r\n\r\n", 200);
	assert_status(GET_METRICS "host: y\r\n\r\n", 400);
	assert_status(GET_METRICS "X : y\r\n\r\n", 400);
	assert_status(
	    GET_METRICS "Content-Length: 0\r\nContent-Length: 1\r\n\r\n", 400);
	assert_int_equal(stats.prom_requests, 5);
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
	assert_status("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200);
}

static void
health_needs_no_token(void **state)
{
	struct http_options options = plain_options();

	(void)state;
	options.has_token = true;
	start(&options);
	assert_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ok\n");
	gauges.started = true;
	assert_answer("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ok\n");
	assert_int_equal(stats.prom_auth_failures, 0);
}

static void
readiness_waits_for_the_start_and_for_a_while_after_a_gap(void **state)
{
	static const char text[] = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
	const struct http_options options = plain_options();

	(void)state;
	start(&options);
	assert_answer(text, 503, "\r\n\r\nstarting\n");
	gauges.started = true;
	assert_answer(text, 200, "\r\n\r\nok\n");
	gauges.late_until_ns = now_ns + 1;
	assert_answer(text, 503, "\r\n\r\nlate: ");
	assert_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ok\n");
	now_ns++;
	assert_answer(text, 200, "ok\n");
}

static void
openmetrics_is_given_to_those_who_ask_for_it(void **state)
{
	const struct http_options options = plain_options();
	struct http_client c;

	(void)state;
	n_agents = 3;
	gauges.agents = 3;
	start(&options);
	request(&c,
	    GET_METRICS "Accept: application/openmetrics-text;version=1.0.0,"
			"text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n");
	assert_int_equal(http_client_status(&c), 200);
	assert_non_null(strstr(c.in,
	    "Content-Type: application/openmetrics-text; version=1.0.0; "
	    "charset=utf-8\r\n"));
	assert_true(http_client_unchunk(&c));
	assert_string_equal(c.in + c.len - 6, "# EOF\n");
	http_client_close(&c);
	assert_answer(GET_METRICS "Accept: text/plain, */*;q=0.5\r\n\r\n", 200,
	    "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
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
		TEST(a_target_may_be_a_whole_url),
		TEST(a_path_does_not_end_at_a_nul),
		TEST(what_http_does_not_allow_is_a_bad_request),
		TEST(other_methods_are_refused_with_those_allowed),
		TEST(a_body_is_refused),
		TEST(headers_that_are_too_large_are_refused),
		TEST(what_is_no_http_is_refused_and_service_goes_on),
		TEST(health_needs_no_token),
		TEST(readiness_waits_for_the_start_and_for_a_while_after_a_gap),
		TEST(openmetrics_is_given_to_those_who_ask_for_it),
		TEST(metrics_need_the_token),
		TEST(a_new_token_takes_the_place_of_the_old_one),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
