#include "watch/intake/lane_in.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "lib/lane_page.h"
#include "watch/intake/closers.h"
#include "watch/intake/cmsg.h"
#include "watch/intake/credentials.h"
#include "watch/intake/lane_memory.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5 */
#endif

enum {
	EVENTS = LANE_SOURCE_NEWS / 2,  /* each may bring one piece of news, */
	ACCEPTS = LANE_SOURCE_NEWS / 2, /* and so may each new connection */
	HELLO_BYTES = sizeof(LANE_HELLO) - 1,
	NO_PLACE = -1
};

#define LISTENER UINT64_MAX /* among the tokens of places */

enum place_state { PLACE_FREE = 0, PLACE_STRANGER, PLACE_ATTACHED };

struct place {
	int fd;        /* -1: its connection has ended */
	uint32_t next; /* free one */
	uint8_t state; /* enum place_state */
	struct lane_memory memory;
};

struct lane_in {
	struct stats *stats;
	struct unix_path path;
	int fd;
	int epoll_fd;
	int spare_fd; /* given up to refuse a connection when there are none */
	uint64_t coarse_step_ns;
	struct place *places;
	uint32_t n_places;
	uint32_t free;
	uint32_t strangers[LANE_IN_STRANGERS]; /* oldest first */
	uint32_t n_strangers;
	struct closers *closers;
};

static void
refuse(struct lane_in *in, enum stats_lane why)
{
	in->stats->lane_refused[why]++;
}

/* The descriptor in the control data of a message, or -1. */
static int
descriptor_of(const struct msghdr *m)
{
	struct cmsg_record record;
	struct cmsg_walk w;
	int fd = -1;

	cmsg_walk_init(&w, m->msg_control, m->msg_controllen);
	while (cmsg_walk_next(&w, &record))
		if (credentials_is_descriptors(&record) &&
		    record.len >= sizeof(fd))
			memcpy(&fd, record.data, sizeof(fd));
	return fd;
}

/*
 * One message. Its length (more than size when it was longer), 0 at the end of
 * the connection, or -errno. *ret_fd is the first descriptor that came with
 * it, or -1; with NULL none is taken. What was not taken is counted.
 */
static ssize_t
receive(struct lane_in *in, int fd, char *text, size_t size, int *ret_fd)
{
	union {
		char bytes[CMSG_LEN(sizeof(int))]; /* no room for a second */
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = size };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ret_fd != NULL ? control.bytes : NULL,
		.msg_controllen = ret_fd != NULL ? CMSG_LEN(sizeof(int)) : 0,
	};
	ssize_t n;

	do
		n = recvmsg(
		    fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	in->stats->injected_descriptors += (m.msg_flags & MSG_CTRUNC) != 0;
	if (ret_fd != NULL)
		*ret_fd = descriptor_of(&m);
	if (ret_fd != NULL && (m.msg_flags & MSG_CTRUNC) != 0) {
		closers_close(in->closers, *ret_fd);
		*ret_fd = -1;
	}
	return n;
}

static void
give_up(struct lane_in *in, uint32_t place)
{
	struct place *p = &in->places[place];

	fd_close(&p->fd);
	lane_memory_unmap(&p->memory);
	*p = (struct place){ .fd = -1, .next = in->free };
	in->free = place;
}

static void
forget_stranger(struct lane_in *in, uint32_t place)
{
	uint32_t i = 0;

	while (in->strangers[i] != place)
		i++;
	in->n_strangers--;
	memmove(&in->strangers[i], &in->strangers[i + 1],
	    (in->n_strangers - i) * sizeof(in->strangers[0]));
}

static void
drop_stranger(struct lane_in *in, uint32_t place, enum stats_lane why)
{
	refuse(in, why);
	forget_stranger(in, place);
	give_up(in, place);
}

static bool
name_peer(int fd, struct lane_news *ret)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    len != sizeof(peer))
		return false;
	ret->pid = (uint32_t)peer.pid;
	ret->uid = peer.uid;
	ret->gid = peer.gid;
	return true;
}

/* The first message of a connection, if it is there. True: *ret is news. */
static bool
hear_stranger(struct lane_in *in, uint32_t place, struct lane_news *ret)
{
	struct place *p = &in->places[place];
	char text[HELLO_BYTES + 1];
	int fd = -1;
	ssize_t n;
	bool good;

	if (closers_are_busy(in->closers)) {
		drop_stranger(in, place, STATS_LANE_MEMORY);
		return false;
	}
	n = receive(in, p->fd, text, sizeof(text), &fd);
	if (n == -EAGAIN)
		return false;
	*ret = (struct lane_news){ .kind = LANE_ATTACHED, .place = place };
	good = n == HELLO_BYTES && memcmp(text, LANE_HELLO, HELLO_BYTES) == 0 &&
	       fd >= 0 && lane_memory_map(&p->memory, fd) &&
	       name_peer(p->fd, ret);
	closers_close(in->closers, fd);
	if (!good) {
		drop_stranger(in, place, STATS_LANE_MEMORY);
		return false;
	}
	forget_stranger(in, place);
	p->state = PLACE_ATTACHED;
	credentials_refuse_descriptors(p->fd);
	return true;
}

/* Bells, or the end. */
static bool
hear_attached(struct lane_in *in, uint32_t place, struct lane_news *ret)
{
	struct place *p = &in->places[place];
	ssize_t n = 0;
	char text[1];
	int i;

	*ret = (struct lane_news){ .kind = LANE_CHANGED, .place = place };
	for (i = 0; i < LANE_IN_MESSAGES; i++) {
		n = receive(in, p->fd, text, sizeof(text), NULL);
		if (n <= 0)
			break;
	}
	if (n == 0 || (n < 0 && n != -EAGAIN)) {
		fd_close(&p->fd);
		ret->kind = LANE_DETACHED;
		return true;
	}
	return i > 0;
}

static int
make_place(struct lane_in *in, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	uint32_t place;

	/* The oldest that has said nothing makes room, so that such keep
	 * nobody out. */
	if (in->n_strangers == LANE_IN_STRANGERS ||
	    (in->free == UINT32_MAX && in->n_strangers > 0))
		drop_stranger(in, in->strangers[0], STATS_LANE_MEMORY);
	place = in->free;
	if (place == UINT32_MAX)
		return NO_PLACE;
	event.data.u64 = place;
	if (epoll_ctl(in->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return NO_PLACE;
	in->free = in->places[place].next;
	in->places[place] = (struct place){ .fd = fd, .state = PLACE_STRANGER };
	in->strangers[in->n_strangers++] = place;
	return (int)place;
}

/* Out of descriptors: a connection that nobody takes would be news for ever.
 * False when there was none: the kernel says that it is short of descriptors
 * before it looks. */
static bool
accept_and_close(struct lane_in *in)
{
	bool was_there;
	int fd;

	fd_close(&in->spare_fd);
	fd = accept4(in->fd, NULL, NULL, SOCK_CLOEXEC);
	was_there = fd >= 0;
	fd_close(&fd);
	in->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return was_there;
}

static size_t
accept_some(struct lane_in *in, struct lane_news *ret)
{
	size_t n = 0;

	for (int i = 0; i < ACCEPTS; i++) {
		int fd =
		    accept4(in->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		int place;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			if (!accept_and_close(in))
				break;
			refuse(in, STATS_LANE_ROOM);
			continue;
		}
		if (fd < 0)
			break;
		place = make_place(in, fd);
		if (place == NO_PLACE) {
			refuse(in, STATS_LANE_ROOM);
			fd_close(&fd);
			continue;
		}
		/* It is said at once, as a rule. */
		n += hear_stranger(in, (uint32_t)place, &ret[n]);
	}
	return n;
}

static size_t
take(void *ctx, struct lane_news ret[static LANE_SOURCE_NEWS])
{
	struct epoll_event events[EVENTS];
	struct lane_in *in = ctx;
	size_t taken = 0;
	int n;

	n = epoll_wait(in->epoll_fd, events, EVENTS, 0);
	for (int i = 0; i < n; i++) {
		uint64_t token = events[i].data.u64;
		uint32_t place = (uint32_t)token;
		const struct place *p;

		if (token == LISTENER) {
			taken += accept_some(in, &ret[taken]);
			continue;
		}
		p = &in->places[place];
		/* One that made room for another in this very call. */
		if (p->fd < 0)
			continue;
		taken += p->state == PLACE_STRANGER
			     ? hear_stranger(in, place, &ret[taken])
			     : hear_attached(in, place, &ret[taken]);
	}
	return taken;
}

static bool
is_there(void *ctx, uint32_t place)
{
	const struct lane_in *in = ctx;
	struct pollfd p = { .fd = -1, .events = POLLIN };
	socklen_t len = sizeof(p.fd);
	bool ended;

	/* Older kernels do not tell, and one may be short of descriptors: what
	 * is known of the pid must do. A process that was reaped is EINVAL to
	 * some, ESRCH to others. */
	if (getsockopt(in->places[place].fd, SOL_SOCKET, SO_PEERPIDFD, &p.fd,
		&len) < 0)
		return errno == ENOPROTOOPT || errno == EMFILE ||
		       errno == ENFILE;
	ended = poll(&p, 1, 0) != 0;
	fd_close(&p.fd);
	return !ended;
}

static uint32_t
records(void *ctx, uint32_t place)
{
	const struct lane_in *in = ctx;

	return lane_memory_records(&in->places[place].memory);
}

static uint32_t
generation(void *ctx, uint32_t place, uint32_t i)
{
	const struct lane_in *in = ctx;

	return lane_memory_generation(&in->places[place].memory, i);
}

static bool
read_record(void *ctx, uint32_t place, uint32_t i, struct lane_reading *ret)
{
	const struct lane_in *in = ctx;

	return lane_memory_read(&in->places[place].memory, i,
	    clock_now_ns(CLOCK_SOURCE_MONOTONIC), in->coarse_step_ns, ret);
}

static void
drop(void *ctx, uint32_t place)
{
	give_up(ctx, place);
}

static int
open_socket(struct lane_in *in, const struct lane_in_options *options,
    const char *path, char fault[static UNIX_PATH_FAULT_BYTES])
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = LISTENER };
	bool took_over;
	int r;

	r = unix_path_init(&in->path, path, SOCK_SEQPACKET, fault);
	if (r < 0)
		return r;
	in->fd =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	in->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	in->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (in->fd < 0 || in->epoll_fd < 0 || in->spare_fd < 0) {
		r = -errno;
		return unix_path_refuse(
		    fault, path, r, "cannot make a socket: %s", strerror(-r));
	}
	r = unix_path_bind(&in->path, in->fd, options->mode, &took_over, fault);
	if (r < 0)
		return r;
	if (listen(in->fd, LANE_IN_BACKLOG) == 0 &&
	    epoll_ctl(in->epoll_fd, EPOLL_CTL_ADD, in->fd, &event) == 0)
		return 0;
	r = -errno;
	unix_path_remove(&in->path);
	return unix_path_refuse(
	    fault, path, r, "cannot listen: %s", strerror(-r));
}

static void
close_all(struct lane_in *in)
{
	for (uint32_t i = 0; in->places != NULL && i < in->n_places; i++)
		if (in->places[i].state != PLACE_FREE)
			give_up(in, i);
	fd_close(&in->spare_fd);
	fd_close(&in->epoll_fd);
	fd_close(&in->fd);
	closers_free(in->closers);
	free(in->places);
	free(in);
}

int
lane_in_open(const struct lane_in_options *options, struct stats *stats,
    struct lane_in **ret, char fault[static UNIX_PATH_FAULT_BYTES])
{
	struct lane_in *in = calloc(1, sizeof(*in));
	char path[sizeof(in->path.address.sun_path) + sizeof(LANES_SUFFIX)];
	int r;

	if (in == NULL)
		return unix_path_refuse(
		    fault, options->path, -ENOMEM, "out of memory");
	in->fd = in->epoll_fd = in->spare_fd = -1;
	in->stats = stats;
	in->coarse_step_ns = clock_coarse_step_ns();
	in->n_places = options->places;
	in->places = calloc(options->places, sizeof(in->places[0]));
	in->closers = closers_new();
	if (in->places == NULL || in->closers == NULL) {
		r = unix_path_refuse(
		    fault, options->path, -ENOMEM, "out of memory");
		goto fail;
	}
	for (uint32_t i = 0; i < in->n_places; i++)
		in->places[i] = (struct place){
			.fd = -1,
			.next = i + 1 < in->n_places ? i + 1 : UINT32_MAX,
		};
	(void)snprintf(path, sizeof(path), "%s%s", options->path, LANES_SUFFIX);
	r = open_socket(in, options, path, fault);
	if (r < 0)
		goto fail;
	*ret = in;
	return 0;

fail:
	close_all(in);
	return r;
}

void
lane_in_close(struct lane_in *in)
{
	if (in == NULL)
		return;
	/* In this order, as the socket of the beats: see unix_path.h. */
	unix_path_remove(&in->path);
	close_all(in);
}

int
lane_in_fd(const struct lane_in *in)
{
	return in->epoll_fd;
}

struct lane_source
lane_in_source(struct lane_in *in)
{
	return (struct lane_source){
		.take = take,
		.is_there = is_there,
		.records = records,
		.generation = generation,
		.read = read_record,
		.drop = drop,
		.ctx = in,
		.places = in->n_places,
	};
}
