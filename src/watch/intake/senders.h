/*
 * Senders: a bounded table of identities, and the order in which they were
 * heard.
 *
 * A newcomer takes a free place, or that of the one who has been silent for
 * longest, if that is long enough; else there is none for it. No call costs
 * more when the table is full. Places are numbers from 0. One allocation, made
 * at the start; pure.
 */
#ifndef WATCH_INTAKE_SENDERS_H
#define WATCH_INTAKE_SENDERS_H

#include <stdint.h>

#define SENDERS_NONE UINT32_MAX

enum { SENDERS_MAX = 65536 };

struct senders;

/* capacity is 1 to SENDERS_MAX; seed is secret. NULL: no memory. */
struct senders *senders_new(uint32_t capacity, const uint64_t seed[static 2]);
void senders_free(struct senders *t); /* takes NULL */

/* The place of an identity, or SENDERS_NONE. */
uint32_t senders_find(const struct senders *t, uint64_t id);

/*
 * A place for an identity that has none, heard at now_ns. One who was silent
 * for stale_ns may lose its place to it. SENDERS_NONE: no room.
 */
uint32_t senders_take(
    struct senders *t, uint64_t id, uint64_t now_ns, uint64_t stale_ns);

/* Heard at now_ns, which is no earlier than any time before. */
void senders_touch(struct senders *t, uint32_t place, uint64_t now_ns);

uint64_t senders_last_ns(const struct senders *t, uint32_t place);

/* The identity at a place below senders_capacity(); 0: free. */
uint64_t senders_id(const struct senders *t, uint32_t place);
uint32_t senders_count(const struct senders *t);
uint32_t senders_capacity(const struct senders *t);

#endif
