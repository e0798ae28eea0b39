/*
 * HTTP: /metrics, /healthz and /readyz on libmicrohttpd's own epoll
 * descriptor, driven by the loop, without threads. On a TCP address, or on a
 * Unix socket, where the kernel says who asks and no token is needed.
 *
 * Bounded: connections in all and per address, memory of a connection, an
 * absolute deadline from its start that no byte extends, and the work of one
 * http_serve(). Built as empty functions where HTTP is disabled.
 */
#ifndef WATCH_TELL_HTTP_H
#define WATCH_TELL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "watch/stats.h"
#include "watch/tell/local.h"
#include "watch/tell/metrics.h"

enum {
	HTTP_CONNECTIONS = 64,
	HTTP_CONNECTIONS_PER_ADDRESS = 16,
	HTTP_CONNECTION_BYTES = 65536, /* request, headers, a piece */
	HTTP_DEADLINE_MS = 10000,
	/* Of http_serve(), unless one step is longer: so much later a stall
	 * may be told while a scrape is under way. */
	HTTP_PASS_US = 500,
	HTTP_ACCEPTS_A_PASS = 32,
	HTTP_ACCEPT_PAUSE_MS = 1000, /* after running out of descriptors */
	HTTP_TOKEN_BYTES = 32
};

struct http_options {
	/* Serve here instead of at address: connections of our own user and
	 * of root, any number of them from one; borrowed. NULL: none. */
	const struct local *local;
	const struct sockaddr *address;
	socklen_t address_len;
	bool has_token;
	uint8_t token[HTTP_TOKEN_BYTES];
	uint32_t rate_per_s; /* requests of one address; 0: no limit */
	uint32_t rate_burst; /* 0: no limit */
	uint64_t scrape_budget_ns;
};

struct http;

struct http_fault {
	char text[256];
};

/* True when HTTP was built in. */
bool http_is_available(void);

/* Bind and listen. 0 or -errno with fault filled in. source is copied, what it
 * points to is borrowed. */
int http_open(const struct http_options *options,
    const struct metrics_source *source, struct stats *stats, struct http **ret,
    struct http_fault *fault);
void http_close(struct http *h); /* takes NULL */

/* From now on this token is asked for. */
void http_set_token(
    struct http *h, const uint8_t token[static HTTP_TOKEN_BYTES]);

/* The address bound, "127.0.0.1:9100" or "[::1]:9100"; port 0 is resolved. Of
 * a Unix socket its path. */
const char *http_bound_address(const struct http *h);

/* Readable when http_serve() has work. */
int http_fd(const struct http *h);

/*
 * Do what is ready, for about HTTP_PASS_US; what is left then is counted and
 * http_next_ns() asks for another pass at once. now_ns is the observer's time.
 * Beyond the limits the connection that has been silent longest is closed, or
 * the new one when all have asked; that is counted as drained.
 */
void http_serve(struct http *h, uint64_t now_ns);

/* When http_serve() must run without readiness (time-outs, bodies under way);
 * NS_NEVER when nothing is pending. */
uint64_t http_next_ns(const struct http *h, uint64_t now_ns);

#endif
