#include "watch/tell/auditqueue.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct entry {
	uint64_t put_ns;
	uint64_t n_lost;
	uint32_t start; /* in bytes */
	uint32_t n;
	enum auditline_kind kind;
};

/*
 * head and tail count rows and never go back; a row is handed over by the
 * store to head and given back by the one to tail. What lies between them in
 * entries and bytes is not written to, so each thread may read its own part of
 * it without a further barrier.
 */
struct auditqueue {
	_Atomic uint32_t head; /* rows put */
	_Atomic uint32_t tail; /* rows taken */
	uint64_t n_lost;       /* since the last row put; of the one who puts */
	struct entry entries[AUDITQUEUE_ROWS];
	char bytes[AUDITQUEUE_BYTES];
};

struct auditqueue *
auditqueue_new(void)
{
	return calloc(1, sizeof(struct auditqueue));
}

void
auditqueue_free(struct auditqueue *q)
{
	free(q);
}

static uint32_t
index_of(uint32_t row)
{
	return row % AUDITQUEUE_ROWS;
}

/*
 * Where n bytes in one piece are free, which is behind the newest row, or at
 * the beginning. AUDITQUEUE_BYTES where they are not. Bytes left over at the
 * end count as used.
 */
static uint32_t
find_bytes(const struct auditqueue *q, uint32_t head, uint32_t tail, size_t n)
{
	const struct entry *newest = &q->entries[index_of(head - 1)];
	uint32_t oldest = q->entries[index_of(tail)].start;
	uint32_t next;

	if (head == tail)
		return n <= AUDITQUEUE_BYTES ? 0 : AUDITQUEUE_BYTES;
	next = newest->start + newest->n;
	if (newest->start < oldest)
		return n <= oldest - next ? next : AUDITQUEUE_BYTES;
	if (n <= AUDITQUEUE_BYTES - next)
		return next;
	return n <= oldest ? 0 : AUDITQUEUE_BYTES;
}

/* Where a row of n bytes goes; AUDITQUEUE_BYTES when there is no room. */
static uint32_t
find_room(const struct auditqueue *q, size_t n)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);

	if (head - tail == AUDITQUEUE_ROWS)
		return AUDITQUEUE_BYTES;
	return find_bytes(q, head, tail, n);
}

bool
auditqueue_has_room(const struct auditqueue *q, size_t n)
{
	return find_room(q, n) < AUDITQUEUE_BYTES;
}

bool
auditqueue_put(struct auditqueue *q, enum auditline_kind kind, const char *text,
    size_t n, uint64_t now_ns)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint32_t start;

	assert(n > 0);
	start = find_room(q, n);
	if (start == AUDITQUEUE_BYTES) {
		q->n_lost++;
		return false;
	}
	memcpy(q->bytes + start, text, n);
	q->entries[index_of(head)] = (struct entry){
		.put_ns = now_ns,
		.n_lost = q->n_lost,
		.start = start,
		.n = (uint32_t)n,
		.kind = kind,
	};
	q->n_lost = 0;
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	return true;
}

uint32_t
auditqueue_count(const struct auditqueue *q)
{
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);

	return atomic_load_explicit(&q->head, memory_order_acquire) - tail;
}

uint32_t
auditqueue_fill(const struct auditqueue *q)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);
	const struct entry *newest = &q->entries[index_of(head - 1)];
	uint32_t oldest = q->entries[index_of(tail)].start;
	uint32_t used;

	if (head == tail)
		return 0;
	used = newest->start + newest->n - oldest;
	if (newest->start < oldest)
		used += AUDITQUEUE_BYTES;
	used /= AUDITQUEUE_BYTES / AUDITQUEUE_ROWS;
	return used > head - tail ? used : head - tail;
}

bool
auditqueue_front(const struct auditqueue *q, struct auditqueue_row *ret)
{
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	const struct entry *e = &q->entries[index_of(tail)];

	if (atomic_load_explicit(&q->head, memory_order_acquire) == tail)
		return false;
	*ret = (struct auditqueue_row){
		.put_ns = e->put_ns,
		.n_lost = e->n_lost,
		.text = q->bytes + e->start,
		.n = e->n,
		.kind = e->kind,
	};
	return true;
}

void
auditqueue_take(struct auditqueue *q)
{
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	assert(atomic_load_explicit(&q->head, memory_order_relaxed) != tail);
	atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
}
