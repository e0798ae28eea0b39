/* The memory of an agent's lanes, as the observer maps and reads it: what is
 * refused, and that nothing which the agent does later can hurt. */
#include "watch/intake/lane_memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "support/dgram.h"
#include "support/fault.h"
#include "support/lane_memfd.h"
#include "support/tmpdir.h"

/* Those of the program under test: the fixtures map and seal as they like. */
FAULT(void *, MAP_FAILED, mmap64,
    (void *at, size_t n, int prot, int flags, int fd, off64_t offset),
    (at, n, prot, flags, fd, offset))
FAULT(int, -1, fstat64, (int fd, struct stat64 *st), (fd, st))
FAULT(int, -1, madvise, (void *at, size_t n, int advice), (at, n, advice))

static const uint64_t STEP_NS = 4 * NS_PER_MS;

static int fds_before;

static int
setup(void **state)
{
	static struct lane_memory memory;

	memory = (struct lane_memory){ 0 };
	fds_before = dgram_count_fds();
	*state = &memory;
	return 0;
}

static int
teardown(void **state)
{
	lane_memory_unmap(*state);
	fault_off(&fault_mmap64);
	fault_off(&fault_fstat64);
	fault_off(&fault_madvise);
	return dgram_count_fds() == fds_before ? 0 : -1;
}

/* It is not taken, and the result is as it was. */
static void
assert_refused(struct lane_memory *memory, int fd)
{
	*memory = (struct lane_memory){ .len = 12345 };
	assert_false(lane_memory_map(memory, fd));
	assert_null(memory->bytes);
	assert_int_equal(memory->len, 12345);
	*memory = (struct lane_memory){ 0 };
}

static void
map(struct lane_memory *memory, const struct lane_memfd *m)
{
	assert_true(lane_memory_map(memory, m->fd));
	assert_int_equal(memory->len, m->len);
}

/* ---- what is taken, what is refused ---- */

static void
one_page_to_the_most_are_taken(void **state)
{
	struct lane_memory *memory = *state;

	for (uint32_t pages = 1; pages <= LANE_PAGES_MAX; pages++) {
		struct lane_memfd m = lane_memfd_new(pages);

		map(memory, &m);
		lane_memory_unmap(memory);
		assert_null(memory->bytes);
		lane_memfd_free(&m);
	}
}

static void
the_descriptor_stays_the_callers(void **state)
{
	struct lane_memfd m = lane_memfd_new(1);

	map(*state, &m);
	assert_true(fcntl(m.fd, F_GETFD) >= 0);
	lane_memfd_free(&m);
	/* And is not needed any more. */
	assert_int_equal(lane_memory_records(*state), 0);
}

static void
other_sizes_are_refused(void **state)
{
	static const size_t sizes[] = { 0, 1, 64, LANE_PAGE_BYTES - 1,
		LANE_PAGE_BYTES + 1, LANE_PAGE_BYTES + LANE_RECORD_BYTES,
		LANE_PAGES_MAX * LANE_PAGE_BYTES + 1,
		(LANE_PAGES_MAX + 1) * LANE_PAGE_BYTES, 1 << 30 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct lane_memfd m = lane_memfd_raw(sizes[i]);

		if (sizes[i] >= LANE_RECORD_BYTES)
			lane_memfd_write_head(&m);
		lane_memfd_seal(&m, LANE_MEMFD_SEALS);
		assert_refused(*state, m.fd);
		lane_memfd_free(&m);
	}
}

static void
memory_that_may_change_its_size_is_refused(void **state)
{
	static const int seals[] = { 0, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL,
		F_SEAL_SHRINK | F_SEAL_SEAL, F_SEAL_GROW | F_SEAL_SEAL };

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		struct lane_memfd m = lane_memfd_raw(LANE_PAGE_BYTES);

		lane_memfd_write_head(&m);
		lane_memfd_seal(&m, seals[i]);
		assert_refused(*state, m.fd);
		lane_memfd_free(&m);
	}
}

static void
what_is_no_memory_is_refused_without_a_wait(void **state)
{
	struct tmpdir dir;
	int ends[2], fd;

	assert_refused(*state, -1);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_refused(*state, ends[0]);
	assert_refused(*state, ends[1]);
	(void)close(ends[0]);
	(void)close(ends[1]);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_refused(*state, ends[0]);
	(void)close(ends[0]);
	(void)close(ends[1]);

	tmpdir_init(&dir);
	fd =
	    open(tmpdir_path(&dir, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, LANE_PAGE_BYTES), 0);
	assert_refused(*state, fd);
	(void)close(fd);
	fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_refused(*state, fd);
	(void)close(fd);
	tmpdir_fini(&dir);
	/* One on a tmpfs has seals, but never these. */
	fd = open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	assert_int_equal(ftruncate(fd, LANE_PAGE_BYTES), 0);
	assert_refused(*state, fd);
	(void)close(fd);
}

/* Opened again through /proc, for writing alone or for no use at all. */
static void
memory_that_cannot_be_read_is_refused(void **state)
{
	struct lane_memfd m = lane_memfd_new(1);
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", m.fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_refused(*state, fd);
	(void)close(fd);
	fd = open(path, O_PATH | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_refused(*state, fd);
	(void)close(fd);
	/* For reading alone is enough. */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(lane_memory_map(*state, fd));
	(void)close(fd);
	lane_memfd_free(&m);
}

static void
a_head_of_others_is_refused_field_by_field(void **state)
{
	struct lane_memfd m = lane_memfd_new(2);
	struct lane_head *head = lane_memfd_head(&m);

	head->magic++;
	assert_refused(*state, m.fd);
	lane_memfd_write_head(&m);
	head->version = 0;
	assert_refused(*state, m.fd);
	head->version = LANE_VERSION + 1;
	assert_refused(*state, m.fd);
	lane_memfd_write_head(&m);
	head->record_bytes = 128;
	assert_refused(*state, m.fd);
	lane_memfd_write_head(&m);
	head->pages = 1;
	assert_refused(*state, m.fd);
	head->pages = 3;
	assert_refused(*state, m.fd);
	head->pages = 0;
	assert_refused(*state, m.fd);
	lane_memfd_write_head(&m);
	map(*state, &m);
	lane_memfd_free(&m);
}

static void
a_call_that_fails_refuses(void **state)
{
	struct lane_memfd m = lane_memfd_new(1);

	fault_nth(&fault_fstat64, 1, EIO);
	assert_refused(*state, m.fd);
	fault_nth(&fault_mmap64, 1, ENOMEM);
	assert_refused(*state, m.fd);
	/* This one is a nicety. */
	fault_nth(&fault_madvise, 1, EINVAL);
	map(*state, &m);
	lane_memfd_free(&m);
}

/* ---- what cannot hurt ---- */

static void
it_is_mapped_read_only(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(1);
	int status;
	pid_t child;

	map(memory, &m);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* No report of a sanitizer, please. */
		(void)signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)(uintptr_t)memory->bytes = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	lane_memfd_free(&m);
}

static void
holes_that_the_agent_punches_read_as_zeros(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(3);
	struct lane_reading reading;

	lane_memfd_open_lane(&m, 100, "worker", 100);
	map(memory, &m);
	assert_int_equal(lane_memory_records(memory), 101);
	assert_int_equal(
	    fallocate(m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		(off_t)m.len),
	    0);
	/* It can neither be cut nor be let grow. */
	assert_int_not_equal(ftruncate(m.fd, 0), 0);
	assert_int_not_equal(ftruncate(m.fd, 1 << 20), 0);
	lane_memfd_free(&m);
	assert_int_equal(lane_memory_records(memory), 0);
	assert_int_equal(lane_memory_generation(memory, 100), 0);
	assert_true(lane_memory_read(memory, 188, 5, STEP_NS, &reading));
	assert_int_equal(reading.mark, 0);
	assert_string_equal(reading.name, "");
}

static void
the_number_of_records_is_clamped_to_the_room(void **state)
{
	static const uint32_t pages[] = { 1, 2, LANE_PAGES_MAX };
	struct lane_memory *memory = *state;

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct lane_memfd m = lane_memfd_new(pages[i]);
		struct lane_head *head = lane_memfd_head(&m);
		uint32_t room = pages[i] * LANE_PAGE_RECORDS;
		struct lane_reading reading;

		map(memory, &m);
		atomic_store(&head->lanes, room);
		assert_int_equal(lane_memory_records(memory), room);
		atomic_store(&head->lanes, room + 1);
		assert_int_equal(lane_memory_records(memory), room);
		atomic_store(&head->lanes, UINT32_MAX);
		assert_int_equal(lane_memory_records(memory), room);
		/* The head may lie later: the room is that of the file. */
		head->pages = UINT32_MAX;
		assert_int_equal(lane_memory_records(memory), room);
		assert_true(
		    lane_memory_read(memory, room - 1, 1, STEP_NS, &reading));
		lane_memory_unmap(memory);
		lane_memfd_free(&m);
	}
}

/* ---- reading ---- */

static void
a_record_is_read_whole(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(2);
	struct lane_record *r = lane_memfd_record(&m, 70);
	struct lane_reading reading;

	lane_memfd_open_lane(&m, 70, "worker", 250);
	r->flags = LANE_EXACT;
	atomic_store(&r->status, 2);
	atomic_store(&r->beats, 77);
	atomic_store(&r->beat_ns, 1000);
	map(memory, &m);
	assert_int_equal(lane_memory_generation(memory, 70), 1);
	assert_true(lane_memory_read(memory, 70, 1600, STEP_NS, &reading));
	assert_int_equal(reading.mark, 1000);
	assert_int_equal(reading.age_ns, 600);
	assert_int_equal(reading.beats, 77);
	assert_int_equal(reading.generation, 1);
	assert_int_equal(reading.threshold_ms, 250);
	assert_int_equal(reading.status, 2);
	assert_string_equal(reading.name, "worker");
	lane_memfd_free(&m);
}

static void
a_coarse_beat_may_be_a_step_younger_than_it_says(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(1);
	struct lane_record *r = lane_memfd_record(&m, 0);
	const uint64_t at_ns = 50 * NS_PER_S;
	struct lane_reading reading;

	lane_memfd_open_lane(&m, 0, "worker", 250);
	atomic_store(&r->beat_ns, at_ns);
	map(memory, &m);
	assert_true(lane_memory_read(
	    memory, 0, at_ns + STEP_NS + 7, STEP_NS, &reading));
	assert_int_equal(reading.age_ns, 7);
	/* Not younger than now. */
	assert_true(lane_memory_read(
	    memory, 0, at_ns + STEP_NS - 7, STEP_NS, &reading));
	assert_int_equal(reading.age_ns, 0);
	r->flags = LANE_EXACT;
	assert_true(lane_memory_read(
	    memory, 0, at_ns + STEP_NS + 7, STEP_NS, &reading));
	assert_int_equal(reading.age_ns, STEP_NS + 7);
	/* Flags that nobody knows yet mean nothing. */
	r->flags = (uint8_t)~LANE_EXACT;
	assert_true(lane_memory_read(
	    memory, 0, at_ns + STEP_NS + 7, STEP_NS, &reading));
	assert_int_equal(reading.age_ns, 7);
	lane_memfd_free(&m);
}

static void
a_time_from_the_future_has_no_age(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(1);
	struct lane_record *r = lane_memfd_record(&m, 0);
	struct lane_reading reading;

	r->flags = LANE_EXACT;
	map(memory, &m);
	atomic_store(&r->beat_ns, UINT64_MAX);
	assert_true(lane_memory_read(memory, 0, 5, STEP_NS, &reading));
	assert_int_equal(reading.age_ns, 0);
	assert_true(reading.mark == UINT64_MAX);
	/* An idle one has none either. */
	atomic_store(&r->beat_ns, 0);
	assert_true(lane_memory_read(memory, 0, UINT64_MAX, 0, &reading));
	assert_int_equal(reading.age_ns, 0);
	lane_memfd_free(&m);
}

static void
a_name_without_an_end_is_ended(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(1);
	struct lane_record *r = lane_memfd_record(&m, LANE_PAGE_RECORDS - 1);
	struct lane_reading reading;

	memset(r->name, 'x', sizeof(r->name));
	map(memory, &m);
	memset(&reading, 0xff, sizeof(reading));
	assert_true(lane_memory_read(
	    memory, LANE_PAGE_RECORDS - 1, 5, STEP_NS, &reading));
	assert_int_equal(strlen(reading.name), LANE_NAME_BYTES - 1);
	lane_memfd_free(&m);
}

/* ---- while it is being written ---- */

struct writer {
	struct lane_record *record;
	_Atomic bool is_over;
	pthread_t thread;
};

/* Closes the lane and opens it with another name and threshold, on and on. */
static void *
reopen_for_ever(void *arg)
{
	struct writer *w = arg;
	struct lane_record *r = w->record;

	for (uint32_t i = 0; !atomic_load(&w->is_over); i++) {
		volatile uint32_t *threshold_ms = &r->threshold_ms;
		volatile char *name = r->name;

		atomic_fetch_add(&r->generation, 1);
		atomic_thread_fence(memory_order_seq_cst);
		*threshold_ms = 'a' + i % 26;
		for (size_t at = 0; at < LANE_NAME_BYTES - 1; at++)
			name[at] = (char)('a' + i % 26);
		atomic_fetch_add(&r->generation, 1);
	}
	return NULL;
}

static bool
is_of_one_piece(const struct lane_reading *reading)
{
	for (size_t i = 0; i < LANE_NAME_BYTES - 1; i++)
		if ((uint32_t)reading->name[i] != reading->threshold_ms)
			return false;
	return true;
}

static void
a_record_that_changes_meanwhile_is_not_believed(void **state)
{
	struct lane_memory *memory = *state;
	struct lane_memfd m = lane_memfd_new(1);
	struct writer w = { .record = lane_memfd_record(&m, 0) };
	uint64_t torn = 0, whole = 0;
	struct lane_reading reading;

	w.record->threshold_ms = 'a';
	memset(w.record->name, 'a', LANE_NAME_BYTES - 1);
	atomic_store(&w.record->generation, 1);
	map(memory, &m);
	assert_int_equal(
	    pthread_create(&w.thread, NULL, reopen_for_ever, &w), 0);
	/* Both happen, sooner or later. */
	while (torn < 100 || whole < 100) {
		if (!lane_memory_read(memory, 0, 5, STEP_NS, &reading)) {
			torn++;
		} else if ((reading.generation & 1) != 0) {
			assert_true(is_of_one_piece(&reading));
			whole++;
		}
	}
	atomic_store(&w.is_over, true);
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	lane_memfd_free(&m);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(one_page_to_the_most_are_taken),
		CASE(the_descriptor_stays_the_callers),
		CASE(other_sizes_are_refused),
		CASE(memory_that_may_change_its_size_is_refused),
		CASE(what_is_no_memory_is_refused_without_a_wait),
		CASE(memory_that_cannot_be_read_is_refused),
		CASE(a_head_of_others_is_refused_field_by_field),
		CASE(a_call_that_fails_refuses),
		CASE(it_is_mapped_read_only),
		CASE(holes_that_the_agent_punches_read_as_zeros),
		CASE(the_number_of_records_is_clamped_to_the_room),
		CASE(a_record_is_read_whole),
		CASE(a_coarse_beat_may_be_a_step_younger_than_it_says),
		CASE(a_time_from_the_future_has_no_age),
		CASE(a_name_without_an_end_is_ended),
		CASE(a_record_that_changes_meanwhile_is_not_believed),
	};

	return cmocka_run_group_tests_name("lane_memory", tests, NULL, NULL);
}
