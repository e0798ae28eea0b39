#include "watch/intake/datagram.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* MSG_TRUNC asks for true lengths (Linux; unused elsewhere). */
static const int receive_flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC;

void
datagram_reader_init(struct datagram_reader *r, int fd, uint64_t *n_injected)
{
	size_t i;

	memset(r, 0, sizeof(*r));
	r->fd = fd;
	r->n_injected = n_injected;
	r->control_len = n_injected != NULL ? CREDENTIALS_CONTROL_BYTES : 0;
	for (i = 0; i < INTAKE_BATCH; i++) {
		struct msghdr *m = &r->headers[i].msg_hdr;

		r->iov[i].iov_base = r->bytes[i];
		r->iov[i].iov_len = DATAGRAM_BYTES;
		m->msg_iov = &r->iov[i];
		m->msg_iovlen = 1;
		m->msg_control = r->control[i];
		m->msg_controllen = r->control_len;
	}
}

#ifdef DATAGRAM_ONE_BY_ONE

static int
receive(struct datagram_reader *r, size_t max)
{
	ssize_t len;
	size_t n;

	for (n = 0; n < max; n++) {
		len = recvmsg(r->fd, &r->headers[n].msg_hdr, receive_flags);
		if (len < 0)
			break;
		r->headers[n].msg_len = (unsigned int)len;
	}
	/* As recvmmsg(2): an error after some success comes again next time. */
	return n > 0 || max == 0 ? (int)n : -1;
}

#else

static int
receive(struct datagram_reader *r, size_t max)
{
	return recvmmsg(
	    r->fd, r->headers, (unsigned int)max, receive_flags, NULL);
}

#endif

static void
close_all(const struct cmsg_record *record, uint64_t *n_closed)
{
	size_t at;
	int fd;

	for (at = 0; at + sizeof(fd) <= record->len; at += sizeof(fd)) {
		memcpy(&fd, record->data + at, sizeof(fd));
		(void)close(fd);
		(*n_closed)++;
	}
}

/* Rare: more than the sender's credentials, or less. */
static void __attribute__((noinline)) walk(struct datagram_reader *r,
    const uint8_t *control, size_t n, struct datagram *ret)
{
	struct cmsg_record record;
	struct cmsg_walk w;

	cmsg_walk_init(&w, control, n);
	while (cmsg_walk_next(&w, &record)) {
		if (credentials_is_descriptors(&record))
			close_all(&record, r->n_injected);
		else
			credentials_take_record(&record, ret);
	}
}

int
datagram_reader_take(void *ctx, struct datagram *ret, size_t max)
{
	struct datagram_reader *r = ctx;
	int i, n;

	if (max > INTAKE_BATCH)
		max = INTAKE_BATCH;
	do
		n = receive(r, max);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;

	for (i = 0; i < n; i++) {
		struct msghdr *m = &r->headers[i].msg_hdr;
		struct datagram *d = &ret[i];

		d->bytes = r->bytes[i];
		d->len = r->headers[i].msg_len;
		d->pid = 0;
		d->uid = UINT32_MAX;
		d->gid = UINT32_MAX;
		d->flags =
		    (m->msg_flags & MSG_CTRUNC) != 0 ? DATAGRAM_CTRUNC : 0;
		if (r->control_len == 0)
			continue;
		if (!credentials_take_plain(
			r->control[i], m->msg_controllen, d))
			walk(r, r->control[i], m->msg_controllen, d);
		m->msg_controllen = r->control_len;
	}
	return n;
}
