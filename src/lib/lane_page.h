/*
 * The memory of lanes: what an agent writes and the observer on the same host
 * reads, without a system call.
 *
 * It is a memfd of 1 to LANE_PAGES_MAX pages, sealed against shrinking and
 * growing, which the agent hands to the observer over a SOCK_SEQPACKET
 * connection to PATH.lanes, PATH being the socket of the beats. The first
 * message there is LANE_HELLO with the descriptor; each later one, LANE_BELL,
 * says that lanes were opened or closed, and is a hint: what counts is the
 * memory. The end of the connection is the end of the lanes. The observer
 * never answers.
 *
 * A page is a head of one record's size and LANE_PAGE_RECORDS records. The
 * head of the first page tells what is there, those of the others are zero.
 *
 * Order. A beat is one store to beat_ns, relaxed: nothing else is published by
 * it. Name, threshold and flags are written while generation is even, and
 * published by the store, with release, that makes it odd. A reader loads
 * generation with acquire, copies, and looks whether generation is still the
 * same. To the observer all of it is untrusted.
 */
#ifndef LIB_LANE_PAGE_H
#define LIB_LANE_PAGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LANE_PAGE_BYTES = 4096,
	LANE_RECORD_BYTES = 64,
	LANE_PAGE_RECORDS = 63,
	LANE_PAGES_MAX = 16,
	LANES_MAX = LANE_PAGES_MAX * LANE_PAGE_RECORDS, /* of one agent */
	LANE_NAME_BYTES = 32,                           /* with a NUL */
	LANE_THRESHOLD_MS_MIN = 10,
	LANE_VERSION = 1
};

#define LANE_MAGIC UINT32_C(0x454e414c) /* "LANE" in memory */
#define LANES_SUFFIX ".lanes"

/* Messages on the connection. */
#define LANE_HELLO "varta-lanes-1" /* 13 bytes, no NUL */
#define LANE_BELL "!"

enum lane_flags {
	LANE_EXACT = 1u << 0 /* beat_ns is of CLOCK_MONOTONIC, not of
				CLOCK_MONOTONIC_COARSE */
};

struct lane_head {
	uint32_t magic;
	uint16_t version;
	uint16_t record_bytes;
	uint32_t pages;
	_Atomic uint32_t lanes; /* records ever used: none from here on is */
	uint8_t zero[48];
};

struct lane_record {
	_Atomic uint64_t beat_ns;    /* time of the last beat; 0: idle */
	_Atomic uint64_t beats;      /* about so many; wraps */
	_Atomic uint32_t generation; /* odd: open; one more at each change */
	uint32_t threshold_ms;
	_Atomic uint8_t status; /* enum varta_status */
	uint8_t flags;          /* enum lane_flags */
	uint8_t zero[6];
	char name[LANE_NAME_BYTES];
};

_Static_assert(sizeof(struct lane_head) == LANE_RECORD_BYTES, "layout");
_Static_assert(sizeof(struct lane_record) == LANE_RECORD_BYTES, "layout");
_Static_assert(offsetof(struct lane_record, generation) == 16 &&
		   offsetof(struct lane_record, status) == 24 &&
		   offsetof(struct lane_record, name) == 32,
    "layout");
_Static_assert(
    (1 + LANE_PAGE_RECORDS) * LANE_RECORD_BYTES == LANE_PAGE_BYTES, "layout");

/* Where record i lies, below LANES_MAX, from the begin of the memory. */
static inline size_t
lane_record_offset(uint32_t i)
{
	return i / LANE_PAGE_RECORDS * (size_t)LANE_PAGE_BYTES +
	       (1 + i % LANE_PAGE_RECORDS) * (size_t)LANE_RECORD_BYTES;
}

#endif
