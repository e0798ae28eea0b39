#include "watch/intake/replay_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/util.h"
#include "lib/crc32c.h"

enum {
	VERSION = 2,
	CRC_BYTES = 4,
	KEY_AT = 16, /* in the header */
	SYNCED_AT = 32,
	SESSION_SYNCED_AT = 16,

	NOW_OPEN = 1,
	NEXT_OPEN = 2,
	HAS_TERMINAL = 4,
	NEXT_SPOKE = 8
};

static const uint8_t magic[8] = { 'V', 'A', 'R', 'T', 'A', 'S', 'E', 'S' };

enum cell { CELL_EMPTY, CELL_WHOLE, CELL_TORN };

uint64_t
replay_file_place_at(uint32_t place, uint32_t write)
{
	return REPLAY_FILE_HEADER_BYTES +
	       ((uint64_t)place * 2 + (write & 1)) * REPLAY_FILE_PLACE_BYTES;
}

uint64_t
replay_file_session_at(uint32_t places, uint32_t number)
{
	return replay_file_place_at(places, 0) +
	       (uint64_t)number * REPLAY_FILE_SESSION_BYTES;
}

static void
put_crc(uint8_t *cell, size_t size)
{
	store_le32(
	    cell + size - CRC_BYTES, varta__crc32c(cell, size - CRC_BYTES));
}

static bool
has_crc(const uint8_t *cell, size_t size)
{
	return load_le32(cell + size - CRC_BYTES) ==
	       varta__crc32c(cell, size - CRC_BYTES);
}

void
replay_file_put_header(uint8_t out[static REPLAY_FILE_HEADER_BYTES],
    uint32_t places, const uint8_t hash_key[static PREFIXSET_HASH_KEY_BYTES],
    uint32_t n_synced)
{
	memset(out, 0, REPLAY_FILE_HEADER_BYTES);
	memcpy(out, magic, sizeof(magic));
	store_le32(out + 8, VERSION);
	store_le32(out + 12, places);
	memcpy(out + KEY_AT, hash_key, PREFIXSET_HASH_KEY_BYTES);
	store_le32(out + SYNCED_AT, n_synced);
	put_crc(out, REPLAY_FILE_HEADER_BYTES);
}

void
replay_file_put_place(uint8_t out[static REPLAY_FILE_PLACE_BYTES],
    uint32_t place, uint32_t write, const struct replay_image *image)
{
	uint32_t flags = (image->now.is_open ? NOW_OPEN : 0) |
			 (image->next.is_open ? NEXT_OPEN : 0) |
			 (image->has_terminal ? HAS_TERMINAL : 0) |
			 (image->next_spoke ? NEXT_SPOKE : 0);

	store_le32(out, write);
	store_le32(out + 4, place);
	store_le64(out + 8, image->id);
	store_le64(out + 16, image->now.prefix);
	store_le64(out + 24, image->now.nonce);
	store_le64(out + 32, image->next.prefix);
	store_le64(out + 40, image->next.nonce);
	store_le64(out + 48, image->terminal_timestamp);
	store_le32(out + 56, image->now.counter);
	store_le32(out + 60, image->next.counter);
	store_le32(out + 64, flags);
	put_crc(out, REPLAY_FILE_PLACE_BYTES);
}

void
replay_file_put_session(uint8_t out[static REPLAY_FILE_SESSION_BYTES],
    uint32_t number, const struct prefixset_entry *entry, uint32_t n_synced)
{
	store_le32(out, number);
	store_le32(out + 4, entry->source);
	store_le64(out + 8, entry->digest);
	store_le32(out + SESSION_SYNCED_AT, n_synced);
	put_crc(out, REPLAY_FILE_SESSION_BYTES);
}

static const uint8_t *
place_cell(const struct replay_file *f, uint32_t place, uint32_t which)
{
	return f->bytes + replay_file_place_at(place, which);
}

static const uint8_t *
session_cell(const struct replay_file *f, uint32_t number)
{
	return f->bytes + replay_file_session_at(f->places, number);
}

static enum cell
look_at_place(const struct replay_file *f, uint32_t place, uint32_t which)
{
	static const uint8_t zeros[REPLAY_FILE_PLACE_BYTES];
	const uint8_t *cell = place_cell(f, place, which);

	if (memcmp(cell, zeros, sizeof(zeros)) == 0)
		return CELL_EMPTY;
	if (has_crc(cell, REPLAY_FILE_PLACE_BYTES) &&
	    (load_le32(cell) & 1) == which && load_le32(cell + 4) == place &&
	    load_le64(cell + 8) >> 32 != 0)
		return CELL_WHOLE;
	return CELL_TORN;
}

static bool
is_whole_session(const struct replay_file *f, uint32_t number)
{
	const uint8_t *cell = session_cell(f, number);

	return has_crc(cell, REPLAY_FILE_SESSION_BYTES) &&
	       load_le32(cell) == number;
}

static int refuse(char *why, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int
refuse(char *why, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, size, format, args);
	va_end(args);
	return -EINVAL;
}

static int
check_header(const uint8_t *bytes, size_t len, struct replay_file *f, char *why,
    size_t size)
{
	if (len < REPLAY_FILE_HEADER_BYTES ||
	    memcmp(bytes, magic, sizeof(magic)) != 0)
		return refuse(why, size, "is not a file of sessions");
	if (load_le32(bytes + 8) != VERSION)
		return refuse(why, size, "is of version %u, need %d",
		    load_le32(bytes + 8), VERSION);
	if (!has_crc(bytes, REPLAY_FILE_HEADER_BYTES))
		return refuse(why, size, "is damaged at its begin");
	f->places = load_le32(bytes + 12);
	if (f->places > REPLAY_SENDERS_MAX ||
	    replay_file_session_at(f->places, 0) > len)
		return refuse(why, size, "is cut off");
	memcpy(f->hash_key, bytes + KEY_AT, PREFIXSET_HASH_KEY_BYTES);
	f->n_synced = load_le32(bytes + SYNCED_AT);
	f->bytes = bytes;
	return 0;
}

/* All sessions that were on disk for certain must be whole. */
static int
check_sessions(struct replay_file *f, size_t len, char *why, size_t size)
{
	uint64_t room = len - replay_file_session_at(f->places, 0);
	uint64_t n = room / REPLAY_FILE_SESSION_BYTES;
	uint32_t first_torn;

	if (n > 2 * (uint64_t)REPLAY_SESSIONS_MAX)
		return refuse(why, size, "is too long");
	f->n_sessions = (uint32_t)n;
	first_torn = f->n_sessions;
	for (uint32_t i = 0; i < f->n_sessions; i++) {
		const uint8_t *cell = session_cell(f, i);

		if (is_whole_session(f, i))
			f->n_synced = (uint32_t)u64_max(
			    f->n_synced, load_le32(cell + SESSION_SYNCED_AT));
		else if (first_torn == f->n_sessions)
			first_torn = i;
	}
	f->is_torn =
	    room % REPLAY_FILE_SESSION_BYTES != 0 || first_torn < f->n_sessions;
	if (f->n_synced <= first_torn)
		return 0;
	if (first_torn == f->n_sessions)
		return refuse(why, size, "is cut off at session %u of %u",
		    first_torn, f->n_synced);
	return refuse(why, size, "is damaged at session %u", first_torn);
}

int
replay_file_check(const uint8_t *bytes, size_t len, struct replay_file *ret,
    char *why, size_t size)
{
	struct replay_file f = { 0 };

	if (check_header(bytes, len, &f, why, size) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < f.places; i++)
		if (look_at_place(&f, i, 0) == CELL_TORN &&
		    look_at_place(&f, i, 1) == CELL_TORN)
			return refuse(why, size, "is damaged at place %u", i);
	if (check_sessions(&f, len, why, size) < 0)
		return -EINVAL;
	*ret = f;
	return 0;
}

bool
replay_file_place(
    const struct replay_file *f, uint32_t place, struct replay_image *ret)
{
	const uint8_t *cell = NULL;
	uint32_t flags;

	for (uint32_t which = 0; which < 2; which++) {
		const uint8_t *c = place_cell(f, place, which);

		if (look_at_place(f, place, which) == CELL_WHOLE &&
		    (cell == NULL || load_le32(c) > load_le32(cell)))
			cell = c;
	}
	if (cell == NULL)
		return false;
	flags = load_le32(cell + 64);
	*ret = (struct replay_image){
		.id = load_le64(cell + 8),
		.now = {
			.prefix = load_le64(cell + 16),
			.nonce = load_le64(cell + 24),
			.counter = load_le32(cell + 56),
			.is_open = (flags & NOW_OPEN) != 0,
		},
		.next = {
			.prefix = load_le64(cell + 32),
			.nonce = load_le64(cell + 40),
			.counter = load_le32(cell + 60),
			.is_open = (flags & NEXT_OPEN) != 0,
		},
		.terminal_timestamp = load_le64(cell + 48),
		.has_terminal = (flags & HAS_TERMINAL) != 0,
		.next_spoke = (flags & NEXT_SPOKE) != 0,
	};
	return true;
}

bool
replay_file_session(
    const struct replay_file *f, uint32_t number, struct prefixset_entry *ret)
{
	const uint8_t *cell = session_cell(f, number);

	if (!is_whole_session(f, number))
		return false;
	*ret = (struct prefixset_entry){
		.source = load_le32(cell + 4),
		.digest = load_le64(cell + 8),
	};
	return true;
}
