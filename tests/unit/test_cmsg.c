#include "watch/intake/cmsg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "support/guard.h"

/* One record with a stated length, which may be a lie; returns its room. */
static size_t
put(uint8_t *at, int type, size_t stated, const void *data, size_t len)
{
	struct cmsghdr header;

	memset(&header, 0, sizeof(header));
	header.cmsg_len = stated;
	header.cmsg_level = SOL_SOCKET;
	header.cmsg_type = type;
	memset(at, 0, CMSG_SPACE(len));
	memcpy(at, &header, sizeof(header));
	memcpy(at + CMSG_LEN(0), data, len);
	return CMSG_SPACE(len);
}

static void
records_come_in_order_with_their_data(void **state)
{
	struct cmsg_record record;
	struct cmsg_walk w;
	uint8_t bytes[256];
	size_t n = 0;

	(void)state;
	n += put(bytes + n, 1, CMSG_LEN(5), "hello", 5);
	n += put(bytes + n, 2, CMSG_LEN(0), "", 0);
	n += put(bytes + n, 3, CMSG_LEN(8), "goodbye", 8);
	cmsg_walk_init(&w, bytes, n);

	assert_true(cmsg_walk_next(&w, &record));
	assert_int_equal(record.level, SOL_SOCKET);
	assert_int_equal(record.type, 1);
	assert_int_equal(record.len, 5);
	assert_memory_equal(record.data, "hello", 5);
	assert_true(cmsg_walk_next(&w, &record));
	assert_int_equal(record.type, 2);
	assert_int_equal(record.len, 0);
	assert_true(cmsg_walk_next(&w, &record));
	assert_int_equal(record.type, 3);
	assert_memory_equal(record.data, "goodbye", 8);
	assert_false(cmsg_walk_next(&w, &record));
	assert_false(cmsg_walk_next(&w, &record));
	assert_int_equal(record.type, 3);
}

static void
the_last_record_needs_no_padding(void **state)
{
	struct cmsg_record record;
	struct cmsg_walk w;
	uint8_t bytes[64];

	(void)state;
	(void)put(bytes, 1, CMSG_LEN(5), "hello", 5);
	cmsg_walk_init(&w, bytes, CMSG_LEN(5));
	assert_true(cmsg_walk_next(&w, &record));
	assert_int_equal(record.len, 5);
	assert_false(cmsg_walk_next(&w, &record));
}

static void
a_record_shorter_than_its_header_ends_the_walk(void **state)
{
	struct cmsg_record record;
	struct cmsg_walk w;
	uint8_t bytes[128];
	size_t n, stated;

	(void)state;
	for (stated = 0; stated < CMSG_LEN(0); stated++) {
		n = put(bytes, 1, stated, "lie", 4);
		n += put(bytes + n, 2, CMSG_LEN(4), "lost", 4);
		cmsg_walk_init(&w, bytes, n);
		assert_false(cmsg_walk_next(&w, &record));
		assert_false(cmsg_walk_next(&w, &record));
	}
}

static void
a_record_past_the_end_is_cut_off_and_the_last(void **state)
{
	static const size_t lies[] = { CMSG_LEN(5), 4096, SIZE_MAX - 7,
		SIZE_MAX };
	struct cmsg_record record;
	struct cmsg_walk w;
	uint8_t bytes[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		(void)put(bytes, 1, lies[i], "four", 4);
		cmsg_walk_init(&w, bytes, CMSG_LEN(4));
		assert_true(cmsg_walk_next(&w, &record));
		assert_int_equal(record.len, 4);
		assert_memory_equal(record.data, "four", 4);
		assert_false(cmsg_walk_next(&w, &record));
	}
}

static void
no_length_reads_past_the_end(void **state)
{
	struct cmsg_record record;
	struct cmsg_walk w;
	struct guard g;
	uint8_t bytes[256], *p;
	size_t n = 0, len, given, i, sum = 0;

	(void)state;
	n += put(bytes + n, 1, CMSG_LEN(12), "twelve bytes", 12);
	n += put(bytes + n, 1, CMSG_LEN(3), "odd", 3);
	n += put(bytes + n, 1, SIZE_MAX, "endless", 8);
	guard_init(&g, sizeof(bytes));
	for (len = 0; len <= n; len++) {
		p = guard_copy(&g, bytes, len);
		given = 0;
		cmsg_walk_init(&w, p, len);
		while (cmsg_walk_next(&w, &record)) {
			given += record.len;
			for (i = 0; i < record.len; i++)
				sum += record.data[i];
		}
		assert_true(given <= len);
	}
	assert_true(sum > 0);
	guard_fini(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_in_order_with_their_data),
		cmocka_unit_test(the_last_record_needs_no_padding),
		cmocka_unit_test(
		    a_record_shorter_than_its_header_ends_the_walk),
		cmocka_unit_test(a_record_past_the_end_is_cut_off_and_the_last),
		cmocka_unit_test(no_length_reads_past_the_end),
	};

	return cmocka_run_group_tests_name("cmsg", tests, NULL, NULL);
}
