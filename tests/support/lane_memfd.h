/*
 * Memory of lanes as an agent makes it, or as one should not. To be included
 * after cmocka.h.
 */
#ifndef SUPPORT_LANE_MEMFD_H
#define SUPPORT_LANE_MEMFD_H

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/lane_page.h"

struct lane_memfd {
	int fd;
	uint8_t *bytes;
	size_t len;
};

enum { LANE_MEMFD_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

/* len bytes, mapped writable; no head, no seals. */
static inline struct lane_memfd
lane_memfd_raw(size_t len)
{
	struct lane_memfd m = {
		.fd = memfd_create("lanes", MFD_CLOEXEC | MFD_ALLOW_SEALING),
		.len = len,
	};

	assert_true(m.fd >= 0);
	assert_int_equal(ftruncate(m.fd, (off_t)len), 0);
	/* Of an empty one there is nothing to touch. */
	m.bytes = mmap(NULL, len > 0 ? len : LANE_PAGE_BYTES,
	    PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	assert_true((void *)m.bytes != MAP_FAILED);
	return m;
}

static inline struct lane_head *
lane_memfd_head(struct lane_memfd *m)
{
	return (void *)m->bytes;
}

static inline struct lane_record *
lane_memfd_record(struct lane_memfd *m, uint32_t i)
{
	return (void *)(m->bytes + lane_record_offset(i));
}

static inline void
lane_memfd_write_head(struct lane_memfd *m)
{
	struct lane_head *head = lane_memfd_head(m);

	head->magic = LANE_MAGIC;
	head->version = LANE_VERSION;
	head->record_bytes = LANE_RECORD_BYTES;
	head->pages = (uint32_t)(m->len / LANE_PAGE_BYTES);
}

static inline void
lane_memfd_seal(const struct lane_memfd *m, int seals)
{
	assert_int_equal(fcntl(m->fd, F_ADD_SEALS, seals), 0);
}

/* As it has to be. */
static inline struct lane_memfd
lane_memfd_new(uint32_t pages)
{
	struct lane_memfd m = lane_memfd_raw((size_t)pages * LANE_PAGE_BYTES);

	lane_memfd_write_head(&m);
	lane_memfd_seal(&m, LANE_MEMFD_SEALS);
	return m;
}

/* Open record i, and count it among those used. */
static inline void
lane_memfd_open_lane(
    struct lane_memfd *m, uint32_t i, const char *name, uint32_t threshold_ms)
{
	struct lane_record *r = lane_memfd_record(m, i);
	struct lane_head *head = lane_memfd_head(m);

	strncpy(r->name, name, sizeof(r->name) - 1);
	r->threshold_ms = threshold_ms;
	atomic_store(&r->beat_ns, 0);
	atomic_store(&r->generation, atomic_load(&r->generation) + 1);
	if (atomic_load(&head->lanes) <= i)
		atomic_store(&head->lanes, i + 1);
}

static inline void
lane_memfd_free(struct lane_memfd *m)
{
	(void)munmap(m->bytes, m->len > 0 ? m->len : LANE_PAGE_BYTES);
	(void)close(m->fd);
	*m = (struct lane_memfd){ .fd = -1 };
}

#endif
