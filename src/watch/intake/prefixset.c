/*
 * Open addressing with linear probing, at most half full, so that a look-up
 * always ends soon. An entry is one word: digest, then whether it is not yet
 * on disk, then the number of its source. No entry is 0.
 */
#include "watch/intake/prefixset.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/bytes.h"
#include "base/util.h"

#define SOURCE_MASK UINT64_C(15)
#define UNSAVED UINT64_C(16)
#define DIGEST_MASK (~(SOURCE_MASK | UNSAVED))

_Static_assert(PREFIXSET_SOURCES == SOURCE_MASK + 1, "a number for each");
_Static_assert(
    PREFIXSET_HASH_KEY_BYTES == crypto_shorthash_KEYBYTES, "SipHash-2-4");

/* A number for a source. */
struct slot {
	uint32_t source;
	bool is_taken;
	bool in_use; /* its key is there */
};

struct prefixset {
	uint8_t hash_key[PREFIXSET_HASH_KEY_BYTES];
	struct slot slots[PREFIXSET_SOURCES];
	uint32_t capacity;
	uint32_t count;
	uint32_t mask;
	uint64_t words[];
};

int
prefixset_new(uint32_t capacity,
    const uint8_t hash_key[static PREFIXSET_HASH_KEY_BYTES],
    struct prefixset **ret)
{
	struct prefixset *s;
	size_t bytes;
	uint32_t n;

	if (capacity == 0 || capacity > PREFIXSET_CAPACITY_MAX)
		return -EINVAL;
	if (sodium_init() < 0)
		return -ENOMEM;
	n = u32_pow2_ceil(2 * capacity);
	if (!size_mul(n, sizeof(s->words[0]), &bytes))
		return -ENOMEM;
	/* Not touched before it is used: what is not needed takes no memory.
	 */
	s = calloc(1, sizeof(*s) + bytes);
	if (s == NULL)
		return -ENOMEM;
	memcpy(s->hash_key, hash_key, sizeof(s->hash_key));
	s->capacity = capacity;
	s->mask = n - 1;
	*ret = s;
	return 0;
}

void
prefixset_free(struct prefixset *s)
{
	free(s);
}

struct prefixset_entry
prefixset_entry(const struct prefixset *s, uint64_t id, uint64_t prefix)
{
	uint8_t in[16], out[crypto_shorthash_BYTES];

	store_le64(in, id);
	store_le64(in + 8, prefix);
	(void)crypto_shorthash(out, in, sizeof(in), s->hash_key);
	return (struct prefixset_entry){
		.digest = load_le64(out) & DIGEST_MASK,
		.source = (uint32_t)(id >> 32),
	};
}

static int
slot_of(const struct prefixset *s, uint32_t source)
{
	for (int i = 0; i < PREFIXSET_SOURCES; i++)
		if (s->slots[i].is_taken && s->slots[i].source == source)
			return i;
	return -1;
}

/* The first place to look. The low bits of a digest are not its own. */
static uint32_t
home_of(const struct prefixset *s, uint64_t word)
{
	return (uint32_t)(word >> 32) & s->mask;
}

/* As it lies in the table, but for UNSAVED. Never 0: a digest of 0 becomes
 * another. */
static uint64_t
word_of(const struct prefixset_entry *entry, int slot)
{
	uint64_t digest = entry->digest & DIGEST_MASK;

	if (digest == 0)
		digest = UNSAVED << 1;
	return digest | (uint64_t)slot;
}

/* Where word is, or the empty place where it belongs. */
static uint32_t
place_of(const struct prefixset *s, uint64_t word)
{
	uint32_t i = home_of(s, word);

	while (s->words[i] != 0 && (s->words[i] & ~UNSAVED) != word)
		i = (i + 1) & s->mask;
	return i;
}

bool
prefixset_has(const struct prefixset *s, const struct prefixset_entry *entry)
{
	int slot = slot_of(s, entry->source);

	return slot >= 0 && s->words[place_of(s, word_of(entry, slot))] != 0;
}

static bool
put(struct prefixset *s, const struct prefixset_entry *entry, int slot,
    uint64_t flags)
{
	uint64_t word = word_of(entry, slot);
	uint32_t i = place_of(s, word);

	if (s->words[i] != 0)
		return true;
	if (s->count == s->capacity)
		return false;
	s->words[i] = word | flags;
	s->count++;
	return true;
}

bool
prefixset_add(struct prefixset *s, const struct prefixset_entry *entry)
{
	int slot = slot_of(s, entry->source);

	assert(slot >= 0);
	return put(s, entry, slot, UNSAVED);
}

/* Take a number that is free for source; -1 when there is none. */
static int
take_slot(struct prefixset *s, uint32_t source)
{
	for (int i = 0; i < PREFIXSET_SOURCES; i++) {
		if (s->slots[i].is_taken)
			continue;
		s->slots[i] =
		    (struct slot){ .source = source, .is_taken = true };
		return i;
	}
	return -1;
}

bool
prefixset_restore(struct prefixset *s, const struct prefixset_entry *entry)
{
	int slot = slot_of(s, entry->source);

	if (slot < 0)
		slot = take_slot(s, entry->source);
	return slot >= 0 && put(s, entry, slot, 0);
}

void
prefixset_saved(struct prefixset *s, const struct prefixset_entry *entry)
{
	int slot = slot_of(s, entry->source);

	if (slot >= 0)
		s->words[place_of(s, word_of(entry, slot))] &= ~UNSAVED;
}

/* Whether the entry at i may lie at the place hole, in front of it. */
static bool
may_move(const struct prefixset *s, uint32_t i, uint32_t hole)
{
	uint32_t home = home_of(s, s->words[i]);

	return ((i - home) & s->mask) >= ((i - hole) & s->mask);
}

/* Empty the place i, and move what follows forward so that no look-up ends
 * too early. */
static void
remove_at(struct prefixset *s, uint32_t i)
{
	uint32_t next = i;

	for (;;) {
		s->words[i] = 0;
		do {
			next = (next + 1) & s->mask;
			if (s->words[next] == 0) {
				s->count--;
				return;
			}
		} while (!may_move(s, next, i));
		s->words[i] = s->words[next];
		i = next;
	}
}

/* Forget all sessions of the source with this number. */
static void
drop(struct prefixset *s, int slot)
{
	/* Downwards, so that what moves forward has been looked at; what was
	 * moved over the end of the table, once more. */
	for (int round = 0; round < 2; round++)
		for (uint32_t i = s->mask + 1; i-- > 0;)
			while (s->words[i] != 0 &&
			       (s->words[i] & SOURCE_MASK) == (uint64_t)slot)
				remove_at(s, i);
	s->slots[slot] = (struct slot){ 0 };
}

static int
idle_slot(const struct prefixset *s)
{
	for (int i = 0; i < PREFIXSET_SOURCES; i++)
		if (s->slots[i].is_taken && !s->slots[i].in_use)
			return i;
	return -1;
}

void
prefixset_drop_unused(struct prefixset *s)
{
	int slot;

	while ((slot = idle_slot(s)) >= 0)
		drop(s, slot);
}

void
prefixset_use(struct prefixset *s, const uint32_t *sources, size_t n)
{
	int slot;

	assert(n <= PREFIXSET_SOURCES);
	for (int i = 0; i < PREFIXSET_SOURCES; i++)
		s->slots[i].in_use = false;
	for (size_t i = 0; i < n; i++) {
		slot = slot_of(s, sources[i]);
		if (slot >= 0)
			s->slots[slot].in_use = true;
	}
	for (size_t i = 0; i < n; i++) {
		if (slot_of(s, sources[i]) >= 0)
			continue;
		slot = take_slot(s, sources[i]);
		if (slot < 0) {
			drop(s, idle_slot(s));
			slot = take_slot(s, sources[i]);
		}
		s->slots[slot].in_use = true;
	}
	if (s->count > s->capacity / 2)
		prefixset_drop_unused(s);
}

int
prefixset_next(const struct prefixset *s, bool unsaved_only, uint32_t max_looks,
    uint32_t *cursor, struct prefixset_entry *ret)
{
	for (; max_looks > 0; max_looks--) {
		uint64_t word;

		if (*cursor > s->mask)
			return -1;
		word = s->words[(*cursor)++];
		if (word == 0 || (unsaved_only && (word & UNSAVED) == 0))
			continue;
		*ret = (struct prefixset_entry){
			.digest = word & DIGEST_MASK,
			.source = s->slots[word & SOURCE_MASK].source,
		};
		return 1;
	}
	return 0;
}

uint32_t
prefixset_count(const struct prefixset *s)
{
	return s->count;
}

uint32_t
prefixset_capacity(const struct prefixset *s)
{
	return s->capacity;
}
