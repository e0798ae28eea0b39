/*
 * A folder with a socket for lanes in it, and agents that connect to it. Works
 * as setup and teardown of a cmocka test, which fails when a descriptor is left
 * open.
 */
#ifndef SUPPORT_LANEROOM_H
#define SUPPORT_LANEROOM_H

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/dgram.h"
#include "support/lane_memfd.h"
#include "support/tmpdir.h"
#include "watch/intake/lane_in.h"

enum { LANEROOM_PLACES = 8 };

struct laneroom {
	struct tmpdir dir;
	char beats[96];     /* path of the socket of the beats */
	char path[128];     /* and of that for lanes */
	struct lane_in *in; /* NULL: not open */
	struct lane_source source;
	struct stats stats;
	char fault[UNIX_PATH_FAULT_BYTES];
	struct lane_memfd memory; /* good, of one page, with an open lane */
	int fds_before;
	struct lane_news news[LANE_SOURCE_NEWS];
};

static inline int
laneroom_open_with(struct laneroom *room, uint32_t mode, uint32_t places)
{
	const struct lane_in_options options = {
		.path = room->beats,
		.mode = mode,
		.places = places,
	};
	int r;

	r = lane_in_open(&options, &room->stats, &room->in, room->fault);
	if (r == 0)
		room->source = lane_in_source(room->in);
	return r;
}

static inline int
laneroom_open(struct laneroom *room)
{
	return laneroom_open_with(room, 0600, LANEROOM_PLACES);
}

static inline void
laneroom_close(struct laneroom *room)
{
	lane_in_close(room->in);
	room->in = NULL;
}

/* Nothing is open yet. */
static inline int
laneroom_setup_closed(void **state)
{
	static struct laneroom room;

	memset(&room, 0, sizeof(room));
	tmpdir_init(&room.dir);
	(void)snprintf(
	    room.beats, sizeof(room.beats), "%s/varta.sock", room.dir.path);
	(void)snprintf(
	    room.path, sizeof(room.path), "%s%s", room.beats, LANES_SUFFIX);
	room.fds_before = dgram_count_fds();
	room.memory = lane_memfd_new(1);
	lane_memfd_open_lane(&room.memory, 0, "worker", 100);
	*state = &room;
	return 0;
}

static inline int
laneroom_setup(void **state)
{
	if (laneroom_setup_closed(state) < 0)
		return -1;
	return laneroom_open(*state);
}

static inline int
laneroom_teardown(void **state)
{
	struct laneroom *room = *state;

	laneroom_close(room);
	lane_memfd_free(&room->memory);
	tmpdir_fini(&room->dir);
	return dgram_count_fds() == room->fds_before ? 0 : -1;
}

static inline bool
laneroom_exists(const struct laneroom *room)
{
	return access(room->path, F_OK) == 0;
}

/* What is new now. */
static inline size_t
laneroom_take(struct laneroom *room)
{
	return room->source.take(room->source.ctx, room->news);
}

/* Whether the loop would be woken. */
static inline bool
laneroom_is_ready(const struct laneroom *room)
{
	struct pollfd p = { .fd = lane_in_fd(room->in), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* ---- agents ---- */

static inline int
laneroom_connect(const struct laneroom *room)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(to.sun_path, room->path, strlen(room->path) + 1);
	assert_int_equal(
	    connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* n bytes with so many copies of a descriptor. */
static inline void
laneroom_say(int fd, const char *text, size_t n, int attach, size_t copies)
{
	assert_int_equal(dgram_send(fd, text, n, attach, copies), n);
}

static inline void
laneroom_hello(const struct laneroom *room, int fd)
{
	laneroom_say(
	    fd, LANE_HELLO, sizeof(LANE_HELLO) - 1, room->memory.fd, 1);
}

static inline void
laneroom_bell(int fd)
{
	laneroom_say(fd, LANE_BELL, sizeof(LANE_BELL) - 1, -1, 0);
}

/* Connect, say hello, and see that news come, of this place. */
static inline int
laneroom_attach(struct laneroom *room, uint32_t *ret_place)
{
	int fd = laneroom_connect(room);

	laneroom_hello(room, fd);
	assert_int_equal(laneroom_take(room), 1);
	assert_int_equal(room->news[0].kind, LANE_ATTACHED);
	*ret_place = room->news[0].place;
	return fd;
}

/* The observer has closed this connection. */
static inline bool
laneroom_is_dropped(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

#define LANEROOM_TEST(name)                                                    \
	cmocka_unit_test_setup_teardown(name, laneroom_setup, laneroom_teardown)

#endif
