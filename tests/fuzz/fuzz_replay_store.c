/*
 * Any bytes as the file of sessions: it is refused, or all that it says can be
 * read, taken over, and written again to the same effect.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/crc32c.h"
#include "support/replaybox.h"
#include "watch/intake/replay_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Checksums that fit, or nothing would ever be read. */
static void
fix(uint8_t *cell, size_t size)
{
	store_le32(cell + size - 4, varta__crc32c(cell, size - 4));
}

static void
fix_some(uint8_t *bytes, size_t size, uint8_t which)
{
	uint32_t places;

	if (size < REPLAY_FILE_HEADER_BYTES || (which & 1) == 0)
		return;
	memcpy(bytes, "VARTASES\2\0\0", 12);
	store_le32(bytes + 12, load_le32(bytes + 12) % 64);
	store_le32(bytes + 32, load_le32(bytes + 32) % 8);
	fix(bytes, REPLAY_FILE_HEADER_BYTES);
	places = load_le32(bytes + 12);
	for (uint32_t i = 0; i < places * 2; i++) {
		uint64_t at = replay_file_place_at(i / 2, i);

		if (at + REPLAY_FILE_PLACE_BYTES <= size && (which & 2) != 0) {
			store_le32(bytes + at + 4, i / 2);
			fix(bytes + at, REPLAY_FILE_PLACE_BYTES);
		}
	}
	for (uint32_t i = 0;; i++) {
		uint64_t at = replay_file_session_at(places, i);

		if (at + REPLAY_FILE_SESSION_BYTES > size || (which & 4) == 0)
			break;
		store_le32(bytes + at, i);
		store_le32(bytes + at + 16, load_le32(bytes + at + 16) % 8);
		if ((which & 8) != 0 && i % 8 == 7)
			continue; /* one that is not whole */
		fix(bytes + at, REPLAY_FILE_SESSION_BYTES);
	}
}

static void
take_over(const struct replay_file *f)
{
	struct replaybox box;
	struct replay_image image, back;
	uint8_t cell[REPLAY_FILE_PLACE_BYTES];

	replaybox_init(&box, 64);
	for (uint32_t i = 0; i < f->n_sessions; i++) {
		struct prefixset_entry e;

		if (!replay_file_session(f, i, &e))
			continue;
		if (prefixset_restore(replay_prefixes(box.replay), &e))
			assert(prefixset_has(replay_prefixes(box.replay), &e));
	}
	for (uint32_t i = 0; i < f->places; i++) {
		if (!replay_file_place(f, i, &image))
			continue;
		assert(image.id >> 32 != 0);
		replay_file_put_place(cell, i, 2, &image);
		(void)replay_restore(box.replay, &image, 1);
	}
	for (uint32_t i = 0; i < replay_places(box.replay); i++)
		if (replay_image(box.replay, i, true, &back))
			assert(back.id != 0);
	replaybox_fini(&box);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct replay_file f = { .places = 12345 };
	char why[96] = "";
	uint8_t *bytes;

	if (size == 0)
		return 0;
	bytes = malloc(size);
	assert(bytes != NULL);
	memcpy(bytes, data + 1, size - 1);
	fix_some(bytes, size - 1, data[0]);
	if (replay_file_check(bytes, size - 1, &f, why, sizeof(why)) < 0) {
		assert(why[0] != '\0');
		assert(f.places == 12345);
	} else {
		take_over(&f);
	}
	free(bytes);
	return 0;
}
