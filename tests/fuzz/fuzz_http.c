/*
 * Any bytes from a client that then has nothing more to say, against the real
 * server over the loopback: every connection ends, nothing is left of it, and
 * what is answered is an answer of HTTP.
 */
#include "watch/tell/http.h"

#include <poll.h>

#include "base/util.h"
#include "support/http_client.h"

enum {
	TEXT_MAX = 4096,
	PASSES_MAX = 10000,
	AGENTS = 3,
	ADDRESSES = 60000 /* so that no port is waited for */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct stats stats;
static struct metrics_gauges gauges = { .agents = AGENTS };
static struct http *http;
static uint64_t now_ns = 1;

static bool
agent(void *ctx, uint32_t slot, struct agent_view *ret)
{
	(void)ctx;
	*ret = (struct agent_view){ .pid = slot + 2, .name = "a\"b\n" };
	return true;
}

static bool
row(void *ctx, uint32_t slot, struct agent_row *ret)
{
	(void)ctx;
	*ret = (struct agent_row){ .pid = slot + 2 };
	return true;
}

static uint32_t
slots(void *ctx)
{
	(void)ctx;
	return AGENTS;
}

static uint16_t
open_server(void)
{
	static const struct metrics_source source = {
		.stats = &stats,
		.gauges = &gauges,
		.agent = agent,
		.row = row,
		.slots = slots,
	};
	static const struct sockaddr_in loopback = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = 0x0100007f,
	};
	const struct http_options options = {
		.address = (const struct sockaddr *)&loopback,
		.address_len = sizeof(loopback),
		.has_token = true,
		.scrape_budget_ns = NS_NEVER,
	};
	struct http_fault fault;
	int r = http_open(&options, &source, &stats, &http, &fault);

	assert(r == 0);
	(void)r;
	return (uint16_t)atoi(strrchr(http_bound_address(http), ':') + 1);
}

/* Passes until the server has ended the connection, at its deadline if the
 * request is never whole. */
static void
serve(struct http_client *c)
{
	struct pollfd fds[2] = { { .fd = http_fd(http), .events = POLLIN },
		{ .fd = c->fd, .events = POLLIN } };
	int i;

	for (i = 0; !c->ended; i++) {
		assert(i < PASSES_MAX);
		/* Over the loopback what is sent is there at once. */
		if (poll(fds, 2, 0) == 0 && http_next_ns(http, now_ns) > now_ns)
			now_ns += HTTP_DEADLINE_MS * NS_PER_MS;
		http_serve(http, now_ns);
		http_client_receive(c, SIZE_MAX);
	}
}

static void
check_answer(const struct http_client *c)
{
	static const int known[] = { 200, 400, 401, 404, 405, 408, 413, 414,
		417, 431, 500, 501, 503, 505 };
	bool is_known = false;
	size_t i;

	if (c->len == 0)
		return;
	assert(strncmp(c->in, "HTTP/1.", 7) == 0);
	for (i = 0; i < ARRAY_SIZE(known); i++)
		is_known |= http_client_status(c) == known[i];
	assert(is_known);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint16_t port;
	static unsigned run;
	struct http_client c;

	if (size > TEXT_MAX)
		return 0;
	if (port == 0)
		port = open_server();
	http_client_open(&c, port, 1 + run++ % ADDRESSES);
	(void)http_client_send(&c, (const char *)data, size);
	(void)shutdown(c.fd, SHUT_WR);
	serve(&c);
	check_answer(&c);
	http_client_close(&c);
	while (http_next_ns(http, now_ns) <= now_ns)
		http_serve(http, now_ns);
	assert(http_next_ns(http, now_ns) == NS_NEVER);
	return 0;
}
