#include "watch/intake/lane_memory.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"
#include "lib/lane_page.h"

_Static_assert((int)LANE_SOURCE_NAME_BYTES == (int)LANE_NAME_BYTES, "a name");

static bool
is_sealed(int fd)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & wanted) == wanted;
}

static bool
head_is_good(const struct lane_head *head, size_t len)
{
	return head->magic == LANE_MAGIC && head->version == LANE_VERSION &&
	       head->record_bytes == LANE_RECORD_BYTES &&
	       head->pages == len / LANE_PAGE_BYTES;
}

bool
lane_memory_map(struct lane_memory *m, int fd)
{
	struct stat st;
	void *bytes;
	size_t len;

	/* Seals come first: only a file in memory has any. */
	if (!is_sealed(fd) || fstat(fd, &st) < 0 || st.st_size <= 0 ||
	    st.st_size > LANE_PAGES_MAX * LANE_PAGE_BYTES ||
	    st.st_size % LANE_PAGE_BYTES != 0)
		return false;
	len = (size_t)st.st_size;
	bytes = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return false;
	if (!head_is_good(bytes, len)) {
		(void)munmap(bytes, len);
		return false;
	}
	/* Not ours: it has no place in our core. */
	(void)madvise(bytes, len, MADV_DONTDUMP);
	m->bytes = bytes;
	m->len = len;
	return true;
}

void
lane_memory_unmap(struct lane_memory *m)
{
	if (m->bytes != NULL)
		(void)munmap((void *)(uintptr_t)m->bytes, m->len);
	*m = (struct lane_memory){ 0 };
}

uint32_t
lane_memory_records(const struct lane_memory *m)
{
	const struct lane_head *head = (const void *)m->bytes;
	size_t room = m->len / LANE_PAGE_BYTES * LANE_PAGE_RECORDS;

	return (uint32_t)u64_min(
	    atomic_load_explicit(&head->lanes, memory_order_acquire), room);
}

static const struct lane_record *
record_at(const struct lane_memory *m, uint32_t i)
{
	assert(lane_record_offset(i) + LANE_RECORD_BYTES <= m->len);
	return (const void *)(m->bytes + lane_record_offset(i));
}

uint32_t
lane_memory_generation(const struct lane_memory *m, uint32_t i)
{
	return atomic_load_explicit(
	    &record_at(m, i)->generation, memory_order_acquire);
}

/* Each byte is read once, whatever the writer does. */
static void
copy_name(const struct lane_record *record, struct lane_reading *ret)
{
	const volatile char *from = record->name;
	size_t i;

	for (i = 0; i < LANE_NAME_BYTES - 1; i++)
		ret->name[i] = from[i];
	ret->name[i] = '\0';
}

static uint64_t
age_of(uint64_t mark, uint64_t now_ns, uint64_t step_ns)
{
	return mark == 0 ? 0 : u64_sub_sat(u64_sub_sat(now_ns, mark), step_ns);
}

bool
lane_memory_read(const struct lane_memory *m, uint32_t i, uint64_t now_ns,
    uint64_t coarse_step_ns, struct lane_reading *ret)
{
	const struct lane_record *record = record_at(m, i);
	const volatile uint32_t *threshold_ms = &record->threshold_ms;
	const volatile uint8_t *flags = &record->flags;
	bool is_exact;

	ret->generation =
	    atomic_load_explicit(&record->generation, memory_order_acquire);
	ret->mark =
	    atomic_load_explicit(&record->beat_ns, memory_order_relaxed);
	ret->beats = atomic_load_explicit(&record->beats, memory_order_relaxed);
	ret->status =
	    atomic_load_explicit(&record->status, memory_order_relaxed);
	ret->threshold_ms = *threshold_ms;
	is_exact = (*flags & LANE_EXACT) != 0;
	copy_name(record, ret);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&record->generation, memory_order_relaxed) !=
	    ret->generation)
		return false;
	ret->age_ns = age_of(ret->mark, now_ns, is_exact ? 0 : coarse_step_ns);
	return true;
}
