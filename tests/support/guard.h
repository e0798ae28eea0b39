/*
 * Memory with an unreadable page on either side: input that ends directly
 * before one makes a read of one byte too many crash, and input that begins
 * directly after one does so for a read before its start.
 */
#ifndef SUPPORT_GUARD_H
#define SUPPORT_GUARD_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
	uint8_t *page; /* the readable bytes */
	size_t size;
};

/* Make room for at least size bytes between two unreadable pages. */
static inline void
guard_init(struct guard *g, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t inner = (size + page) / page * page;
	uint8_t *map;
	int r;

	map = mmap(NULL, inner + 2 * page, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(map != MAP_FAILED);
	r = mprotect(map + page, inner, PROT_READ | PROT_WRITE);
	assert(r == 0);
	(void)r;
	g->page = map + page;
	g->size = inner;
}

static inline void
guard_fini(struct guard *g)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	(void)munmap(g->page - page, g->size + 2 * page);
	g->page = NULL;
}

/* The last n bytes before the unreadable page. */
static inline uint8_t *
guard_end(const struct guard *g, size_t n)
{
	assert(n <= g->size);
	return g->page + g->size - n;
}

/* The first bytes after the unreadable page. */
static inline uint8_t *
guard_start(const struct guard *g)
{
	return g->page;
}

/* A copy of n bytes, directly before the unreadable page. */
static inline uint8_t *
guard_copy(const struct guard *g, const void *bytes, size_t n)
{
	uint8_t *p = guard_end(g, n);

	if (n > 0)
		memcpy(p, bytes, n);
	return p;
}

#endif
