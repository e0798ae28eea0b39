#include "watch/host/process.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "support/child.h"
#include "support/fault.h"

enum { DEADLINE_MS = 20000 };

FAULT(void *, NULL, malloc, (size_t n), (n))
FAULT(int, -1, epoll_create1, (int flags), (flags))
FAULT(int, -1, epoll_ctl, (int set, int what, int fd, struct epoll_event *e),
    (set, what, fd, e))
FAULT(int, -1, epoll_wait, (int set, struct epoll_event *e, int max, int ms),
    (set, e, max, ms))

static int
setup(void **state)
{
	(void)state;
	fault_off(&fault_malloc);
	fault_off(&fault_epoll_create1);
	fault_off(&fault_epoll_ctl);
	fault_off(&fault_epoll_wait);
	return 0;
}

static struct identity
identify(pid_t pid)
{
	struct identity who;

	assert_int_equal(process_identify((uint32_t)pid, &who), 0);
	return who;
}

static struct process_set *
open_set(void)
{
	struct process_set *s = NULL;

	child_needs_pidfds();
	assert_int_equal(process_set_open(&s), 0);
	return s;
}

static bool
is_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* Exactly one piece of news, which must come before the deadline. */
static void
expect_news(struct process_set *s, uint64_t token, enum process_news news)
{
	struct process_told told[4];

	assert_true(is_readable(process_set_fd(s), DEADLINE_MS));
	assert_int_equal(process_set_take(s, told, 4), 1);
	assert_true(told[0].token == token);
	assert_int_equal(told[0].news, news);
	/* Told once, and the descriptor is quiet again. */
	assert_false(is_readable(process_set_fd(s), 0));
	assert_int_equal(process_set_take(s, told, 4), 0);
}

static void
expect_no_news(struct process_set *s)
{
	struct process_told told;

	assert_false(is_readable(process_set_fd(s), 0));
	assert_int_equal(process_set_take(s, &told, 1), 0);
}

static void
an_end_and_its_reaping_are_each_told_once(void **state)
{
	struct process_set *s = open_set();
	struct child c = child_start(NULL, 0);
	struct identity who = identify(c.pid);
	const uint64_t token = UINT64_C(0xfedcba9876543210);

	(void)state;
	assert_int_equal(process_set_add(s, who.pidfd, token), 0);
	expect_no_news(s);
	child_end(&c);
	expect_news(s, token, PROCESS_ENDED);
	child_reap(&c);
	expect_news(s, token, PROCESS_REAPED);
	process_set_remove(s, who.pidfd);
	fd_close(&who.pidfd);
	process_set_close(s);
}

static void
an_end_that_was_not_looked_at_is_told_as_reaped_only(void **state)
{
	struct process_set *s = open_set();
	struct child c = child_start(NULL, 0);
	struct identity who = identify(c.pid);

	(void)state;
	assert_int_equal(process_set_add(s, who.pidfd, 1), 0);
	child_end(&c);
	child_reap(&c);
	expect_news(s, 1, PROCESS_REAPED);
	fd_close(&who.pidfd);
	process_set_close(s);
}

static void
a_process_that_had_ended_before_is_told_of_at_once(void **state)
{
	struct process_set *s = open_set();
	struct child c = child_start(NULL, 0);
	struct identity who;

	(void)state;
	child_end(&c);
	who = identify(c.pid);
	assert_int_equal(process_set_add(s, who.pidfd, 1), 0);
	expect_news(s, 1, PROCESS_ENDED);
	child_reap(&c);
	expect_news(s, 1, PROCESS_REAPED);
	fd_close(&who.pidfd);
	process_set_close(s);
}

static void
a_process_that_is_not_our_child_is_told_of_too(void **state)
{
	struct process_set *s = open_set();
	struct stranger stranger = stranger_start();
	struct identity who = identify(stranger.pid);

	(void)state;
	assert_int_equal(process_set_add(s, who.pidfd, 3), 0);
	expect_no_news(s);
	child_let_go(&stranger.hold);
	expect_news(s, 3, PROCESS_ENDED);
	child_let_go(&stranger.reap);
	expect_news(s, 3, PROCESS_REAPED);
	if (process_exit_info_is_available())
		assert_int_equal(process_exit_info(who.pidfd).value, 9);
	fd_close(&who.pidfd);
	process_set_close(s);
	assert_int_equal(waitpid(stranger.parent, NULL, 0), stranger.parent);
}

static void
a_removed_process_is_not_told_of(void **state)
{
	struct process_set *s = open_set();
	struct child c = child_start(NULL, 0);
	struct identity who = identify(c.pid);

	(void)state;
	assert_int_equal(process_set_add(s, who.pidfd, 1), 0);
	assert_int_equal(process_set_add(s, who.pidfd, 1), -EEXIST);
	process_set_remove(s, who.pidfd);
	process_set_remove(s, who.pidfd);
	child_end(&c);
	child_reap(&c);
	expect_no_news(s);
	fd_close(&who.pidfd);
	process_set_close(s);
}

static void
the_set_wakes_the_loop_that_waits_for_it(void **state)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct process_set *s = open_set();
	struct child c = child_start(NULL, 0);
	struct identity who = identify(c.pid);
	struct process_told told;
	int loop = __real_epoll_create1(0);

	(void)state;
	assert_int_equal(process_set_add(s, who.pidfd, 1), 0);
	assert_int_equal(
	    __real_epoll_ctl(loop, EPOLL_CTL_ADD, process_set_fd(s), &event),
	    0);
	assert_int_equal(__real_epoll_wait(loop, &event, 1, 0), 0);
	child_end(&c);
	/* By level: the loop is told for as long as nobody has looked. */
	assert_int_equal(__real_epoll_wait(loop, &event, 1, DEADLINE_MS), 1);
	assert_int_equal(__real_epoll_wait(loop, &event, 1, 0), 1);
	assert_int_equal(process_set_take(s, &told, 1), 1);
	assert_int_equal(__real_epoll_wait(loop, &event, 1, 0), 0);
	child_reap(&c);
	assert_int_equal(__real_epoll_wait(loop, &event, 1, DEADLINE_MS), 1);
	assert_int_equal(process_set_take(s, &told, 1), 1);
	assert_int_equal(__real_epoll_wait(loop, &event, 1, 0), 0);
	fd_close(&loop);
	fd_close(&who.pidfd);
	process_set_close(s);
}

static void
many_ends_are_taken_in_parts(void **state)
{
	enum { N = 70 }; /* more than one batch of the kernel's answers */
	struct process_set *s = open_set();
	struct process_told told[N + 1];
	struct identity who[N];
	struct child c[N];
	uint64_t seen = 0;
	size_t i, n;

	(void)state;
	for (i = 0; i < N; i++) {
		c[i] = child_start(NULL, 0);
		who[i] = identify(c[i].pid);
		assert_int_equal(process_set_add(s, who[i].pidfd, i), 0);
	}
	for (i = 0; i < N; i++) {
		child_end(&c[i]);
		child_reap(&c[i]);
	}
	n = process_set_take(s, told, 2);
	assert_int_equal(n, 2);
	n += process_set_take(s, told + n, N + 1 - n);
	assert_int_equal(n, N);
	for (i = 0; i < N; i++)
		seen += told[i].token;
	assert_int_equal(seen, N * (N - 1) / 2);
	expect_no_news(s);
	assert_int_equal(process_set_take(s, told, 0), 0);
	for (i = 0; i < N; i++)
		fd_close(&who[i].pidfd);
	process_set_close(s);
}

static void
a_set_that_cannot_be_made_is_an_error(void **state)
{
	struct process_set *s = NULL;

	(void)state;
	fault_nth(&fault_malloc, 1, ENOMEM);
	assert_int_equal(process_set_open(&s), -ENOMEM);
	fault_nth(&fault_epoll_create1, 1, EMFILE);
	assert_int_equal(process_set_open(&s), -EMFILE);
	assert_null(s);
	process_set_close(NULL);
}

static void
a_failing_set_tells_nothing(void **state)
{
	struct process_set *s = open_set();
	struct child c = child_start(NULL, 0);
	struct identity who = identify(c.pid);
	struct process_told told;

	(void)state;
	fault_nth(&fault_epoll_ctl, 1, ENOSPC);
	assert_int_equal(process_set_add(s, who.pidfd, 1), -ENOSPC);
	assert_int_equal(process_set_add(s, who.pidfd, 1), 0);
	child_end(&c);
	fault_nth(&fault_epoll_wait, 1, ENOMEM);
	assert_int_equal(process_set_take(s, &told, 1), 0);
	fault_nth(&fault_epoll_wait, 1, EINTR);
	assert_int_equal(process_set_take(s, &told, 1), 1);
	child_reap(&c);
	fd_close(&who.pidfd);
	process_set_close(s);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup(test, setup)
	const struct CMUnitTest tests[] = {
		EACH(an_end_and_its_reaping_are_each_told_once),
		EACH(an_end_that_was_not_looked_at_is_told_as_reaped_only),
		EACH(a_process_that_had_ended_before_is_told_of_at_once),
		EACH(a_process_that_is_not_our_child_is_told_of_too),
		EACH(a_removed_process_is_not_told_of),
		EACH(the_set_wakes_the_loop_that_waits_for_it),
		EACH(many_ends_are_taken_in_parts),
		EACH(a_set_that_cannot_be_made_is_an_error),
		EACH(a_failing_set_tells_nothing),
	};

	return cmocka_run_group_tests_name("process set", tests, NULL, NULL);
}
