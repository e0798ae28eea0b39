#include "watch/act/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "support/fault.h"

FAULT(ssize_t, -1, read, (int fd, void *bytes, size_t n), (fd, bytes, n))

struct fixture {
	struct capture_pool *pool;
	struct capture c;
	int writers[2];
};

static struct fixture f;

static void
begin(uint64_t limit)
{
	int out[2], err[2];
	int ends[2];

	f.pool = capture_pool_init(malloc(capture_pool_size()), limit);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC | O_NONBLOCK), 0);
	ends[0] = out[0];
	ends[1] = err[0];
	f.writers[0] = out[1];
	f.writers[1] = err[1];
	capture_begin(f.pool, &f.c, ends);
}

static int
end(void **state)
{
	(void)state;
	capture_end(f.pool, &f.c);
	fd_close(&f.writers[0]);
	fd_close(&f.writers[1]);
	free(f.pool);
	return 0;
}

static void
say(int stream, const char *text)
{
	assert_int_equal(
	    fd_write_all(f.writers[stream], text, strlen(text)), 0);
}

static void
counts_each_stream_and_keeps_both(void **state)
{
	(void)state;
	begin(100);
	assert_null(capture_text(f.pool, &f.c));
	say(0, "one ");
	say(1, "two!");
	assert_int_equal(capture_drain(f.pool, &f.c, 4096), 8);
	say(0, "three");
	assert_int_equal(capture_drain(f.pool, &f.c, 4096), 5);
	assert_int_equal(f.c.bytes[0], 9);
	assert_int_equal(f.c.bytes[1], 4);
	assert_false(f.c.truncated);
	assert_string_equal(capture_text(f.pool, &f.c), "one two!three");
}

static void
what_stderr_says_is_kept_after_a_flood_on_stdout(void **state)
{
	char text[2 * CAPTURE_CHUNK];
	const char *kept;

	(void)state;
	begin(0);
	memset(text, 'x', sizeof(text));
	assert_int_equal(fd_write_all(f.writers[0], text, sizeof(text)), 0);
	say(1, "why");
	(void)capture_drain(f.pool, &f.c, 65536);
	kept = capture_text(f.pool, &f.c);
	assert_string_equal(kept + CAPTURE_KEPT - 4, "xwhy");
}

static void
counts_no_more_than_the_limit_but_reads_on(void **state)
{
	(void)state;
	begin(6);
	say(0, "1234");
	say(1, "567");
	assert_int_equal(capture_drain(f.pool, &f.c, 4096), 7);
	say(0, "89");
	assert_int_equal(capture_drain(f.pool, &f.c, 4096), 2);
	assert_int_equal(f.c.bytes[0], 4);
	assert_int_equal(f.c.bytes[1], 2);
	assert_true(f.c.truncated);
	assert_true(capture_is_open(&f.c));
	assert_string_equal(capture_text(f.pool, &f.c), "123456789");
}

static void
a_limit_that_is_just_reached_counts_as_truncated(void **state)
{
	(void)state;
	begin(4);
	say(0, "123");
	(void)capture_drain(f.pool, &f.c, 4096);
	assert_false(f.c.truncated);
	say(0, "4");
	(void)capture_drain(f.pool, &f.c, 4096);
	assert_true(f.c.truncated);
}

static void
a_limit_of_nothing_counts_nothing_and_keeps_the_last(void **state)
{
	(void)state;
	begin(0);
	say(1, "oops");
	(void)capture_drain(f.pool, &f.c, 4096);
	assert_int_equal(f.c.bytes[1], 0);
	assert_false(f.c.truncated);
	assert_string_equal(capture_text(f.pool, &f.c), "oops");
}

static void
keeps_the_last_bytes_of_many(void **state)
{
	char text[64];
	const char *kept;
	size_t total = 0;
	int i;

	(void)state;
	begin(1 << 20);
	for (i = 0; i < 500; i++) {
		(void)snprintf(text, sizeof(text), "line %d;", i);
		say(0, text);
		total += strlen(text);
		if (i % 3 == 0)
			(void)capture_drain(f.pool, &f.c, 4096);
	}
	(void)capture_drain(f.pool, &f.c, 4096);
	assert_int_equal(f.c.bytes[0], total);
	kept = capture_text(f.pool, &f.c);
	assert_int_equal(strlen(kept), CAPTURE_KEPT);
	assert_string_equal(kept + CAPTURE_KEPT - 18, "line 498;line 499;");
}

static void
keeps_the_end_of_one_large_read(void **state)
{
	char *text = malloc(60000);

	(void)state;
	begin(0);
	assert_non_null(text);
	memset(text, 'a', 60000);
	memcpy(text + 59000, "begin", 5);
	memcpy(text + 59995, "END!!", 5);
	assert_int_equal(fd_write_all(f.writers[0], text, 60000), 0);
	assert_int_equal(capture_drain(f.pool, &f.c, 60000), 60000);
	assert_memory_equal(
	    capture_text(f.pool, &f.c) + 24, text + 59000, 1000);
	free(text);
}

static void
stops_a_little_after_its_budget(void **state)
{
	char text[CAPTURE_CHUNK] = { 0 };

	(void)state;
	begin(0);
	assert_int_equal(fd_write_all(f.writers[0], text, sizeof(text)), 0);
	assert_int_equal(fd_write_all(f.writers[0], text, sizeof(text)), 0);
	assert_int_equal(capture_drain(f.pool, &f.c, 1), sizeof(text));
	assert_int_equal(capture_drain(f.pool, &f.c, 1), sizeof(text));
	assert_int_equal(capture_drain(f.pool, &f.c, 1), 0);
}

static void
escapes_what_it_kept(void **state)
{
	char all[CAPTURE_KEPT];

	(void)state;
	begin(0);
	say(0, "a\tb\n\x01\xff");
	(void)capture_drain(f.pool, &f.c, 4096);
	assert_string_equal(capture_text(f.pool, &f.c), "a\\tb\\n\\x01\\xff");
	memset(all, 0x02, sizeof(all));
	assert_int_equal(fd_write_all(f.writers[0], all, sizeof(all)), 0);
	(void)capture_drain(f.pool, &f.c, 4096);
	assert_int_equal(strlen(capture_text(f.pool, &f.c)), 4 * CAPTURE_KEPT);
}

static void
closes_a_stream_at_its_end(void **state)
{
	(void)state;
	begin(0);
	say(0, "last");
	fd_close(&f.writers[0]);
	assert_int_equal(capture_drain(f.pool, &f.c, 4096), 4);
	assert_int_equal(f.c.fds[0], -1);
	assert_true(capture_is_open(&f.c));
	fd_close(&f.writers[1]);
	assert_int_equal(capture_drain(f.pool, &f.c, 4096), 0);
	assert_false(capture_is_open(&f.c));
}

static void
an_interrupted_read_is_made_again_and_a_failed_one_closes(void **state)
{
	(void)state;
	begin(0);
	say(0, "x");
	fault_nth(&fault_read, 1, EINTR);
	assert_int_equal(capture_drain(f.pool, &f.c, 1), 1);
	fault_nth(&fault_read, 1, EIO);
	assert_int_equal(capture_drain(f.pool, &f.c, 1), 0);
	fault_off(&fault_read);
	assert_int_equal(f.c.fds[0], -1);
}

static void
children_beyond_the_rings_are_counted_all_the_same(void **state)
{
	static struct capture many[CAPTURE_RINGS];
	static const int none[2] = { -1, -1 };
	struct capture later;
	int pipe_ends[2], ends[2] = { -1, -1 };
	size_t i;

	(void)state;
	begin(100);
	for (i = 1; i < CAPTURE_RINGS; i++)
		capture_begin(f.pool, &many[i], none);
	assert_int_equal(pipe2(pipe_ends, O_NONBLOCK | O_CLOEXEC), 0);
	ends[0] = pipe_ends[0];
	capture_begin(f.pool, &later, ends);
	assert_int_equal(write(pipe_ends[1], "abc", 3), 3);
	assert_int_equal(capture_drain(f.pool, &later, 10), 3);
	assert_int_equal(later.bytes[0], 3);
	assert_null(capture_text(f.pool, &later));
	capture_end(f.pool, &later);
	fd_close(&pipe_ends[1]);

	/* A ring given back is there for the next, and empty. */
	say(0, "mine");
	(void)capture_drain(f.pool, &f.c, 10);
	capture_end(f.pool, &f.c);
	capture_begin(f.pool, &later, none);
	assert_null(capture_text(f.pool, &later));
	assert_int_not_equal(later.ring, UINT32_MAX);
	capture_end(f.pool, &later);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_teardown(test, end)
	const struct CMUnitTest tests[] = {
		EACH(counts_each_stream_and_keeps_both),
		EACH(what_stderr_says_is_kept_after_a_flood_on_stdout),
		EACH(counts_no_more_than_the_limit_but_reads_on),
		EACH(a_limit_that_is_just_reached_counts_as_truncated),
		EACH(a_limit_of_nothing_counts_nothing_and_keeps_the_last),
		EACH(keeps_the_last_bytes_of_many),
		EACH(keeps_the_end_of_one_large_read),
		EACH(stops_a_little_after_its_budget),
		EACH(escapes_what_it_kept),
		EACH(closes_a_stream_at_its_end),
		EACH(an_interrupted_read_is_made_again_and_a_failed_one_closes),
		EACH(children_beyond_the_rings_are_counted_all_the_same),
	};

	return cmocka_run_group_tests_name("capture", tests, NULL, NULL);
}
