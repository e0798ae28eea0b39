/*
 * An HTTP server of our own in this process, served pass by pass by the test
 * on a made-up clock. For test programs of http.h, one instance each.
 */
#ifndef SUPPORT_HTTP_FIXTURE_H
#define SUPPORT_HTTP_FIXTURE_H

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/http_client.h"
#include "watch/tell/http.h"

enum { LOOPS_MAX = 100000 };

#define GET_METRICS "GET /metrics HTTP/1.1\r\nHost: varta\r\n"

static struct stats stats;
static struct metrics_gauges gauges;
static uint32_t n_agents;
static struct http *http;
static uint64_t now_ns;
static uint16_t port;

static inline bool
agent(void *ctx, uint32_t slot, struct agent_view *ret)
{
	(void)ctx;
	*ret = (struct agent_view){
		.pid = slot + 2, .beats = slot, .joined_ns = 1
	};
	return true;
}

/* The same, as rows. */
static inline bool
agent_row(void *ctx, uint32_t slot, struct agent_row *ret)
{
	struct agent_view view;

	if (!agent(ctx, slot, &view))
		return false;
	*ret = (struct agent_row){
		.beats = view.beats,
		.stalls = view.stalls,
		.last_seen_ns = view.last_seen_ns,
		.joined_ns = view.joined_ns,
		.pid = view.pid,
		.status = view.status,
	};
	return true;
}

static uint32_t
slots(void *ctx)
{
	(void)ctx;
	return n_agents;
}

static const struct metrics_source source = { .stats = &stats,
	.gauges = &gauges,
	.agent = agent,
	.row = agent_row,
	.slots = slots };

static inline struct http_options
plain_options(void)
{
	static struct sockaddr_in loopback = { .sin_family = AF_INET };

	loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return (struct http_options){
		.address = (const struct sockaddr *)&loopback,
		.address_len = sizeof(loopback),
		.scrape_budget_ns = NS_NEVER,
	};
}

static inline void
start(const struct http_options *options)
{
	struct http_fault fault;

	assert_int_equal(http_open(options, &source, &stats, &http, &fault), 0);
	assert_memory_equal(http_bound_address(http), "127.0.0.1:", 10);
	port = (uint16_t)atoi(http_bound_address(http) + 10);
	assert_int_not_equal(port, 0);
}

static inline int
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

static inline int
teardown(void **state)
{
	(void)state;
	http_close(http);
	return 0;
}

/* One pass, as the loop makes it: only when there is something to do. */
static inline bool
pass(void)
{
	struct pollfd fd = { .fd = http_fd(http), .events = POLLIN };

	if (poll(&fd, 1, 0) == 0 && http_next_ns(http, now_ns) > now_ns)
		return false;
	http_serve(http, now_ns);
	return true;
}

/* Passes until there is nothing to do for this moment. */
static inline void
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
static inline void
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

static inline void
request(struct http_client *c, const char *text)
{
	http_client_open(c, port, 1);
	assert_true(http_client_send(c, text, strlen(text)));
	serve_to_the_end(c);
}

/* A whole request; the answer has this status. */
static inline void
assert_status(const char *text, int status)
{
	struct http_client c;

	request(&c, text);
	assert_int_equal(http_client_status(&c), status);
	http_client_close(&c);
}

static inline void
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

static inline size_t
count(const char *text, const char *what)
{
	const size_t len = strlen(what);
	size_t n = 0;

	/* Not by strstr(): the sanitizer has it measure all of the rest. */
	for (; text != NULL && *text != '\0'; text++)
		n += *text == *what && strncmp(text, what, len) == 0;
	return n;
}

#endif
