/*
 * Rows on their way from the loop to the thread that writes them: a ring for
 * one thread that puts and one that takes, without a lock. Neither ever waits
 * for the other.
 *
 * At most AUDITQUEUE_ROWS rows and AUDITQUEUE_BYTES bytes are on their way.
 * One for which there is no room is lost, and the next one that is put says
 * how many were lost before it.
 */
#ifndef WATCH_TELL_AUDITQUEUE_H
#define WATCH_TELL_AUDITQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/auditline.h"

enum {
	AUDITQUEUE_ROWS = 256,
	AUDITQUEUE_BYTES = 131072 /* 512 a row; few have more than 150 */
};

struct auditqueue_row {
	uint64_t put_ns; /* when it was put */
	uint64_t n_lost; /* rows lost since the one before */
	const char *text;
	size_t n;
	enum auditline_kind kind;
};

struct auditqueue;

/* NULL when memory is short. */
struct auditqueue *auditqueue_new(void);
void auditqueue_free(struct auditqueue *q); /* takes NULL */

/* For the one thread that puts: copies text, n bytes, of a row. False: there
 * is no room, it is lost. */
bool auditqueue_put(struct auditqueue *q, enum auditline_kind kind,
    const char *text, size_t n, uint64_t now_ns);

/* For the same thread: whether such a row would find room. */
bool auditqueue_has_room(const struct auditqueue *q, size_t n);

/* For the same thread: how full it is, in rows, or in bytes where that is
 * more: 0 to AUDITQUEUE_ROWS. */
uint32_t auditqueue_fill(const struct auditqueue *q);

/* For the one thread that takes: the oldest row, which stays. False when there
 * is none. The text is good until auditqueue_take(), which takes it out. */
bool auditqueue_front(const struct auditqueue *q, struct auditqueue_row *ret);
void auditqueue_take(struct auditqueue *q);

/* Rows on their way, as either thread sees it. */
uint32_t auditqueue_count(const struct auditqueue *q);

#endif
