/*
 * A small HTTP client for tests that run server and client in one thread:
 * nothing here blocks, the caller lets the server work in between.
 */
#ifndef SUPPORT_HTTP_CLIENT_H
#define SUPPORT_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct http_client {
	int fd;
	bool ended; /* the server closed, or reset */
	bool was_reset;
	char *in; /* all that came, NUL-ended */
	size_t len, size;
};

/* Connect to 127.0.0.1 from 127.0.0.host. A full backlog is an error. */
static inline void
http_client_open(struct http_client *c, uint16_t port, unsigned host)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000000U | host) };
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int receive_bytes = 65536;
	int r;

	*c = (struct http_client){ .size = 4096 };
	c->in = calloc(1, c->size);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(c->in != NULL && c->fd >= 0);
	r = setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
	    sizeof(receive_bytes));
	assert(r == 0);
	r = bind(c->fd, (const struct sockaddr *)&from, sizeof(from));
	assert(r == 0);
	r = connect(c->fd, (const struct sockaddr *)&to, sizeof(to));
	assert(r == 0);
	r = fcntl(c->fd, F_SETFL, O_NONBLOCK);
	assert(r == 0);
	(void)r;
}

static inline void
http_client_close(struct http_client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	free(c->in);
	c->in = NULL;
}

/* Close so that the server sees a reset. */
static inline void
http_client_reset(struct http_client *c)
{
	const struct linger now = { .l_onoff = 1 };

	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	http_client_close(c);
}

/* Send n bytes, which must fit into the socket. False when it is closed. */
static inline bool
http_client_send(struct http_client *c, const char *text, size_t n)
{
	return send(c->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Take what is there, at most max bytes. */
static inline void
http_client_receive(struct http_client *c, size_t max)
{
	ssize_t n;

	while (!c->ended && max > 0) {
		if (c->size - c->len < 65536) {
			c->size += 1 << 20;
			c->in = realloc(c->in, c->size);
			assert(c->in != NULL);
		}
		n = recv(c->fd, c->in + c->len, max < 65535 ? max : 65535, 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			c->ended = true;
			c->was_reset = n < 0;
			return;
		}
		c->len += (size_t)n;
		max -= (size_t)n;
		c->in[c->len] = '\0';
	}
}

/* The status of the answer, or 0. */
static inline int
http_client_status(const struct http_client *c)
{
	return strncmp(c->in, "HTTP/1.", 7) == 0 && c->len > 12
		   ? atoi(c->in + 9)
		   : 0;
}

/* Where the body begins, or NULL. */
static inline char *
http_client_body(const struct http_client *c)
{
	char *end = strstr(c->in, "\r\n\r\n");

	return end == NULL ? NULL : end + 4;
}

/* Undo the chunked coding of the body in place. False when it is not whole. */
static inline bool
http_client_unchunk(struct http_client *c)
{
	char *in = http_client_body(c), *out = in;
	unsigned long n;

	while (in != NULL) {
		n = strtoul(in, &in, 16);
		if (strncmp(in, "\r\n", 2) != 0)
			return false;
		in += 2;
		if (n == 0) {
			*out = '\0';
			c->len = (size_t)(out - c->in);
			return strcmp(in, "\r\n") == 0;
		}
		if ((size_t)(c->in + c->len - in) < n + 2)
			return false;
		memmove(out, in, n);
		out += n;
		in += n + 2;
	}
	return false;
}

#endif
