/*
 * Prefix set: every session that was ever seen, and nothing forgotten.
 *
 * A session is named by its identity (source and pid) and the random prefix of
 * its IVs. The set keeps a keyed digest of 59 bits of that, eight bytes in
 * all: a session that was never seen is taken for one that was with a chance
 * of 1 in 10^12 when a quarter of a million are kept, and nobody who does not
 * know the hash key can choose two that are alike.
 *
 * It has a fixed capacity and says so when it is full; it never makes room by
 * itself. Only the sessions of a source that is no longer in use, because its
 * key is gone, can be dropped. One allocation, made at the start.
 */
#ifndef WATCH_INTAKE_PREFIXSET_H
#define WATCH_INTAKE_PREFIXSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PREFIXSET_SOURCES = 16, /* in use or remembered */
	PREFIXSET_HASH_KEY_BYTES = 16,
	PREFIXSET_CAPACITY_MAX = 1 << 22
};

struct prefixset;

/* capacity is 1 to PREFIXSET_CAPACITY_MAX. 0, -EINVAL or -ENOMEM. */
int prefixset_new(uint32_t capacity,
    const uint8_t hash_key[static PREFIXSET_HASH_KEY_BYTES],
    struct prefixset **ret);
void prefixset_free(struct prefixset *s); /* takes NULL */

/*
 * These sources are in use from now on, PREFIXSET_SOURCES at most. Sessions of
 * others are remembered while there is room: they are dropped when more than
 * half of the capacity is used, or when a new source needs the number of an
 * old one. Costs a walk over the whole set when it drops something.
 */
void prefixset_use(struct prefixset *s, const uint32_t *sources, size_t n);

/* Forget the sessions of sources that are not in use, whatever room there is.
 */
void prefixset_drop_unused(struct prefixset *s);

/* What stands for a session: source is the upper half of id. */
struct prefixset_entry {
	uint64_t digest;
	uint32_t source;
};

struct prefixset_entry prefixset_entry(
    const struct prefixset *s, uint64_t id, uint64_t prefix);

bool prefixset_has(
    const struct prefixset *s, const struct prefixset_entry *entry);

/* Add one that is not there; its source must be known (prefixset_use(), or an
 * earlier prefixset_restore()). False when there is no room. It is unsaved
 * until prefixset_saved(). */
bool prefixset_add(struct prefixset *s, const struct prefixset_entry *entry);

/* Add one that comes from a file; it is saved. Its source may be unknown: it
 * is remembered while there are numbers for sources. False: no room. */
bool prefixset_restore(
    struct prefixset *s, const struct prefixset_entry *entry);

/* Note that an entry is on disk. */
void prefixset_saved(struct prefixset *s, const struct prefixset_entry *entry);

/*
 * The entries, one after the other: *cursor begins at 0. With unsaved_only,
 * those that are not on disk. At most max_looks places are looked at. 1: *ret
 * is one; 0: none in these places, call again; -1: the end.
 */
int prefixset_next(const struct prefixset *s, bool unsaved_only,
    uint32_t max_looks, uint32_t *cursor, struct prefixset_entry *ret);

uint32_t prefixset_count(const struct prefixset *s);
uint32_t prefixset_capacity(const struct prefixset *s);

#endif
