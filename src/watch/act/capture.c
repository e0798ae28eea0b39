#include "watch/act/capture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "base/util.h"

#define NONE UINT32_MAX

/* The longest escape, \xHH, is four bytes for one. */
enum { ESCAPED_BYTES = CAPTURE_KEPT * 4 + 1 };

struct ring {
	uint64_t written;
	uint32_t next_free;
	char bytes[CAPTURE_KEPT];
};

struct capture_pool {
	uint64_t limit;
	uint32_t free;
	struct ring rings[CAPTURE_RINGS];
	char chunk[CAPTURE_CHUNK];
	char straight[CAPTURE_KEPT];
	char escaped[ESCAPED_BYTES];
};

size_t
capture_pool_size(void)
{
	return sizeof(struct capture_pool);
}

struct capture_pool *
capture_pool_init(void *mem, uint64_t limit)
{
	struct capture_pool *p = mem;
	uint32_t i;

	p->limit = limit;
	p->free = 0;
	for (i = 0; i < CAPTURE_RINGS; i++)
		p->rings[i].next_free = i + 1 < CAPTURE_RINGS ? i + 1 : NONE;
	return p;
}

void
capture_begin(struct capture_pool *p, struct capture *c, const int fds[2])
{
	memset(c, 0, sizeof(*c));
	c->fds[0] = fds[0];
	c->fds[1] = fds[1];
	c->ring = p->free;
	if (c->ring == NONE)
		return;
	p->free = p->rings[c->ring].next_free;
	p->rings[c->ring].written = 0;
}

static void
keep(struct ring *ring, const char *bytes, size_t n)
{
	size_t at, piece;

	if (n > CAPTURE_KEPT) {
		ring->written += n - CAPTURE_KEPT;
		bytes += n - CAPTURE_KEPT;
		n = CAPTURE_KEPT;
	}
	at = ring->written % CAPTURE_KEPT;
	piece = n < CAPTURE_KEPT - at ? n : CAPTURE_KEPT - at;
	memcpy(ring->bytes + at, bytes, piece);
	memcpy(ring->bytes, bytes + piece, n - piece);
	ring->written += n;
}

static void
count(const struct capture_pool *p, struct capture *c, int stream, size_t n)
{
	uint64_t left;

	if (p->limit == 0)
		return;
	left = p->limit - c->bytes[0] - c->bytes[1];
	c->bytes[stream] += u64_min(left, n);
	/* Reached is truncated, even if nothing follows: as the audit trail
	 * of the reference has it. */
	if (n >= left)
		c->truncated = true;
}

static size_t
drain_stream(struct capture_pool *p, struct capture *c, int stream)
{
	ssize_t n;

	if (c->fds[stream] < 0)
		return 0;
	do {
		n = read(c->fds[stream], p->chunk, sizeof(p->chunk));
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n <= 0) {
		/* No other error gets better by asking again. */
		fd_close(&c->fds[stream]);
		return 0;
	}
	count(p, c, stream, (size_t)n);
	if (c->ring != NONE)
		keep(&p->rings[c->ring], p->chunk, (size_t)n);
	return (size_t)n;
}

size_t
capture_drain(struct capture_pool *p, struct capture *c, size_t budget)
{
	size_t total = 0, of_stream, n;
	int stream;

	/* One after the other, and the second only once the first is empty, so
	 * that what stderr says last is not pushed out by what still lies in
	 * the pipe of stdout. */
	for (stream = 0, n = 0; stream < 2 && n == 0; stream++) {
		of_stream = 0;
		do {
			n = drain_stream(p, c, stream);
			of_stream += n;
		} while (n > 0 && of_stream < budget);
		total += of_stream;
	}
	return total;
}

bool
capture_is_open(const struct capture *c)
{
	return c->fds[0] >= 0 || c->fds[1] >= 0;
}

const char *
capture_text(struct capture_pool *p, const struct capture *c)
{
	const struct ring *ring;
	size_t at, n;

	if (c->ring == NONE || p->rings[c->ring].written == 0)
		return NULL;
	ring = &p->rings[c->ring];
	n = u64_min(ring->written, CAPTURE_KEPT);
	at = ring->written > CAPTURE_KEPT ? ring->written % CAPTURE_KEPT : 0;
	memcpy(p->straight, ring->bytes + at, n - at);
	memcpy(p->straight + n - at, ring->bytes, at);
	(void)text_escape(p->straight, n, p->escaped, sizeof(p->escaped));
	return p->escaped;
}

void
capture_end(struct capture_pool *p, struct capture *c)
{
	fd_close(&c->fds[0]);
	fd_close(&c->fds[1]);
	if (c->ring == NONE)
		return;
	p->rings[c->ring].next_free = p->free;
	p->free = c->ring;
	c->ring = NONE;
}
