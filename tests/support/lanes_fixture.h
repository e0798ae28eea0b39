/*
 * An agent, and an observer that takes its lanes: it listens on PATH.lanes,
 * takes the memory and reads it. Works as setup and teardown of a cmocka test,
 * which fails when a descriptor is left open. Needs what agent_fixture.h does.
 */
#ifndef SUPPORT_LANES_FIXTURE_H
#define SUPPORT_LANES_FIXTURE_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/lanes.h"
#include "support/agent_fixture.h"

struct watcher {
	int listen_fd;
	struct sockaddr_un addr;
	int fd; /* the connection */
	int memory_fd;
	const uint8_t *memory;
};

enum { WATCHER_MEMORY_BYTES = LANE_PAGES_MAX * LANE_PAGE_BYTES };

static struct watcher watcher;

static inline void
patient(int fd)
{
	const struct timeval patience = { .tv_sec = LISTENER_PATIENCE_S };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
			     sizeof(patience)),
	    0);
}

static inline void
watcher_listen(const char *path, int backlog)
{
	const size_t n = strlen(path);

	memset(&watcher.addr, 0, sizeof(watcher.addr));
	watcher.addr.sun_family = AF_UNIX;
	assert_true(n + sizeof(LANES_SUFFIX) <= sizeof(watcher.addr.sun_path));
	memcpy(watcher.addr.sun_path, path, n);
	memcpy(watcher.addr.sun_path + n, LANES_SUFFIX, sizeof(LANES_SUFFIX));
	watcher.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    bind(watcher.listen_fd, (const struct sockaddr *)&watcher.addr,
		sizeof(watcher.addr)),
	    0);
	assert_int_equal(listen(watcher.listen_fd, backlog), 0);
}

static inline void
watcher_hang_up(void)
{
	if (watcher.fd >= 0)
		(void)close(watcher.fd);
	if (watcher.memory_fd >= 0)
		(void)close(watcher.memory_fd);
	if (watcher.memory != NULL)
		(void)munmap(
		    (void *)(uintptr_t)watcher.memory, WATCHER_MEMORY_BYTES);
	watcher.fd = watcher.memory_fd = -1;
	watcher.memory = NULL;
}

static inline void
watcher_close(void)
{
	watcher_hang_up();
	if (watcher.listen_fd < 0)
		return;
	(void)close(watcher.listen_fd);
	(void)unlink(watcher.addr.sun_path);
	watcher.listen_fd = -1;
}

/* The hello on a connection just made. */
static inline void
watcher_take_memory(void)
{
	char text[sizeof(LANE_HELLO) + 1];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	void *memory;

	assert_int_equal(
	    recvmsg(watcher.fd, &m, MSG_CMSG_CLOEXEC), sizeof(LANE_HELLO) - 1);
	assert_memory_equal(text, LANE_HELLO, sizeof(LANE_HELLO) - 1);
	assert_int_equal(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
	c = CMSG_FIRSTHDR(&m);
	if (c == NULL)
		fail_msg("no memory came with the hello");
	assert(c != NULL);
	assert_int_equal(c->cmsg_type, SCM_RIGHTS);
	assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(int)));
	memcpy(&watcher.memory_fd, CMSG_DATA(c), sizeof(int));

	memory = mmap(NULL, WATCHER_MEMORY_BYTES, PROT_READ, MAP_SHARED,
	    watcher.memory_fd, 0);
	assert_true(memory != MAP_FAILED);
	watcher.memory = memory;
}

/* Is somebody waiting to be accepted? Then take what it has. */
static inline bool
watcher_accept_now(void)
{
	int flags = fcntl(watcher.listen_fd, F_GETFL);

	assert_int_equal(
	    fcntl(watcher.listen_fd, F_SETFL, flags | O_NONBLOCK), 0);
	watcher_hang_up();
	watcher.fd = accept4(watcher.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (watcher.fd < 0)
		return false;
	patient(watcher.fd);
	watcher_take_memory();
	return true;
}

static inline void
watcher_accept(void)
{
	assert_true(watcher_accept_now());
}

/* Bells that have been rung since the last time. */
static inline unsigned
watcher_bells(void)
{
	char text[8];
	unsigned n = 0;

	while (recv(watcher.fd, text, sizeof(text), MSG_DONTWAIT) == 1) {
		assert_memory_equal(text, LANE_BELL, 1);
		n++;
	}
	return n;
}

/* Has the agent closed the connection? Bells before that are passed over. */
static inline bool
watcher_is_left(void)
{
	(void)watcher_bells();
	return recv(watcher.fd, &(char){ 0 }, 1, MSG_DONTWAIT) == 0;
}

static inline const struct lane_head *
watcher_head(void)
{
	return (const void *)watcher.memory;
}

static inline const struct lane_record *
watcher_record(uint32_t i)
{
	return (const void *)(watcher.memory + lane_record_offset(i));
}

static inline uint64_t
beat_ns_of(uint32_t i)
{
	return atomic_load(&watcher_record(i)->beat_ns);
}

static inline uint64_t
beats_of(uint32_t i)
{
	return atomic_load(&watcher_record(i)->beats);
}

static inline uint32_t
generation_of(uint32_t i)
{
	return atomic_load(&watcher_record(i)->generation);
}

static inline bool
is_open(uint32_t i)
{
	return generation_of(i) % 2 == 1;
}

static inline struct varta_lane *
open_lane(struct fixture *f, const char *name)
{
	struct varta_lane *lane;

	assert_int_equal(varta_lane_open(f->agent, name, 1000, &lane), 0);
	return lane;
}

/* An observer of both, and an agent. */
static inline void
watch_and_open(struct fixture *f)
{
	watcher_listen(f->path, 8);
	listen_and_open(f);
}

static inline int
lanes_setup(void **state)
{
	memset(&watcher, 0, sizeof(watcher));
	watcher.listen_fd = watcher.fd = watcher.memory_fd = -1;
#ifndef FIXTURE_REAL_CLOCK
	clock_ahead_ns = clock_still_ns = 0;
	fault_off(&fault_clock);
#endif
	return setup(state);
}

static inline int
lanes_teardown(void **state)
{
	watcher_close();
	return teardown(state);
}

#define LANES_TEST(name)                                                       \
	cmocka_unit_test_setup_teardown(name, lanes_setup, lanes_teardown)

#endif
