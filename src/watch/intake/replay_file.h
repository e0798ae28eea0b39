/*
 * The bytes of the file in which sessions are remembered. Pure: no I/O.
 *
 *	header    48	magic, version, places, hash key, sessions that are on
 *			disk for certain, CRC
 *	places    72	two cells for each place of the table of senders,
 *			written in turn, so that one of them is always whole
 *	sessions  24	appended: source and digest of every session seen, and
 *			how many were on disk for certain before it
 *
 * Every cell has a CRC-32C over its content and its place or number. A cell of
 * zeros was never written. Integers are little-endian.
 *
 * One cell of a place, or a session that was not on disk for certain, that is
 * not whole was being written when the machine went down, and is passed over: a
 * disk may write what comes later first. Anything else that is not whole or not
 * there is damage, and the file is refused: what it forgets could be replayed.
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

/* The first n_synced sessions are on disk for certain. */
void replay_file_put_header(uint8_t out[static REPLAY_FILE_HEADER_BYTES],
    uint32_t places, const uint8_t hash_key[static PREFIXSET_HASH_KEY_BYTES],
    uint32_t n_synced);
void replay_file_put_place(uint8_t out[static REPLAY_FILE_PLACE_BYTES],
    uint32_t place, uint32_t write, const struct replay_image *image);
void replay_file_put_session(uint8_t out[static REPLAY_FILE_SESSION_BYTES],
    uint32_t number, const struct prefixset_entry *entry, uint32_t n_synced);

/* A file that was checked; bytes are borrowed. */
struct replay_file {
	const uint8_t *bytes;
	uint32_t places;
	uint32_t n_sessions;
	uint32_t n_synced; /* of them, on disk for certain */
	uint8_t hash_key[PREFIXSET_HASH_KEY_BYTES];
	bool is_torn; /* not all sessions are whole */
};

/* Check len bytes. 0, or -EINVAL with the reason in why (size bytes). */
int replay_file_check(const uint8_t *bytes, size_t len, struct replay_file *ret,
    char *why, size_t size);

/* The image of a place; false when there is none. */
bool replay_file_place(
    const struct replay_file *f, uint32_t place, struct replay_image *ret);

/* A session by its number below n_sessions; false when it is not whole. */
bool replay_file_session(
    const struct replay_file *f, uint32_t number, struct prefixset_entry *ret);

#endif
