/*
 * Identity to slot: an open-addressed table with linear probing, keyed by a
 * secret so that no sender can choose where its entries fall. The identities
 * themselves lie with the caller (in the records), reached through the slot:
 * an entry here is 8 bytes. Fixed capacity, load at most three quarters.
 */
#ifndef WATCH_TRACK_IDMAP_H
#define WATCH_TRACK_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap;

/* Where the identity of a slot is found: a uint64_t at base + slot * stride. */
struct idmap_keys {
	const void *base;
	size_t stride; /* bytes */
};

/* Bytes that idmap_init() needs; 0 when capacity is 0 or above 2^24. */
size_t idmap_size(uint32_t capacity);

/* mem: idmap_size() bytes, all zero, aligned to 64; outlives the map.
 * Returns the map (it is mem), or NULL when capacity is out of range. */
struct idmap *idmap_init(void *mem, uint32_t capacity,
    const struct idmap_keys *keys, const uint64_t seed[2]);

/* The slot of id, or SLOT_NONE. */
uint32_t idmap_find(const struct idmap *m, uint64_t id);

/* Ask for the memory that idmap_find(id) will touch first. */
void idmap_prefetch(const struct idmap *m, uint64_t id);

/*
 * The slot that id most likely has, found without touching a record: right for
 * nine in ten that are there; for others anything, SLOT_NONE included. Good for
 * asking for memory, and for nothing else.
 */
uint32_t idmap_guess(const struct idmap *m, uint64_t id);

/* Add id, which must not be there, at slot, whose identity the caller has
 * written already. Capacity must not be used up. */
void idmap_add(struct idmap *m, uint64_t id, uint32_t slot);

/* Remove id, which must be there, while its identity still stands. */
void idmap_remove(struct idmap *m, uint64_t id);

#endif
