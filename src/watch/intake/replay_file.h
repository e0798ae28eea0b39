/*
 * The bytes of the file in which sessions are remembered. Pure: no I/O.
 *
 *	header    48  magic, version, places, hash key, CRC
 *	places    two cells of 72 for each place of the table of senders,
 *written in turn, so that one of them is always whole sessions  24 each,
 *appended: source and digest of every session seen
 *
 * Every cell has a CRC-32C over its content and its place or number. A cell of
 * zeros was never written. Integers are little-endian.
 *
 * A last session, or one cell of a place, that is not whole was being written
 * when the machine went down, and is passed over. Anything else that is not
 * whole is damage, and the file is refused: what it forgets could be replayed.
 */
#ifndef WATCH_INTAKE_REPLAY_FILE_H
#define WATCH_INTAKE_REPLAY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "watch/intake/prefixset.h"
#include "watch/intake/replay.h"

enum {
	REPLAY_FILE_HEADER_BYTES = 48,
	REPLAY_FILE_PLACE_BYTES = 72,
	REPLAY_FILE_SESSION_BYTES = 24,
	/* The longest file that is read: twice what this version writes. */
	REPLAY_FILE_BYTES_MAX =
	    REPLAY_FILE_HEADER_BYTES +
	    2 * REPLAY_SENDERS_MAX * REPLAY_FILE_PLACE_BYTES +
	    2 * REPLAY_SESSIONS_MAX * REPLAY_FILE_SESSION_BYTES
};

/* Where a cell lies. write counts the writings of a place, from 1. */
uint64_t replay_file_place_at(uint32_t place, uint32_t write);
uint64_t replay_file_session_at(uint32_t places, uint32_t number);

void replay_file_put_header(uint8_t out[static REPLAY_FILE_HEADER_BYTES],
    uint32_t places, const uint8_t hash_key[static PREFIXSET_HASH_KEY_BYTES]);
void replay_file_put_place(uint8_t out[static REPLAY_FILE_PLACE_BYTES],
    uint32_t place, uint32_t write, const struct replay_image *image);
void replay_file_put_session(uint8_t out[static REPLAY_FILE_SESSION_BYTES],
    uint32_t number, const struct prefixset_entry *entry);

/* A file that was checked; bytes are borrowed. */
struct replay_file {
	const uint8_t *bytes;
	uint32_t places;
	uint32_t n_sessions;
	uint8_t hash_key[PREFIXSET_HASH_KEY_BYTES];
	bool is_torn; /* the last session was not whole */
};

/* Check len bytes. 0, or -EINVAL with the reason in why (size bytes). */
int replay_file_check(const uint8_t *bytes, size_t len, struct replay_file *ret,
    char *why, size_t size);

/* The image of a place; false when there is none. */
bool replay_file_place(
    const struct replay_file *f, uint32_t place, struct replay_image *ret);

struct prefixset_entry replay_file_session(
    const struct replay_file *f, uint32_t number);

#endif
