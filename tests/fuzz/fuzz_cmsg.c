/*
 * Any bytes as control data: every record lies inside them, in order, and the
 * readers of records touch nothing else. No descriptor is closed here.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "watch/intake/cmsg.h"
#include "watch/intake/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct datagram plain, walked;
	const uint8_t *end = data + size, *at = data;
	struct cmsg_record record;
	struct cmsg_walk w;
	bool is_plain;

	/* Compared as bytes below, padding and all. */
	memset(&plain, 0, sizeof(plain));
	memset(&walked, 0, sizeof(walked));
	cmsg_walk_init(&w, data, size);
	while (cmsg_walk_next(&w, &record)) {
		assert(record.data >= at + CMSG_LEN(0));
		assert(record.data <= end);
		assert(record.len <= (size_t)(end - record.data));
		at = record.data + record.len;
		if (!credentials_is_descriptors(&record))
			credentials_take_record(&record, &walked);
	}

	/* The short cut sees what the walk sees. */
	is_plain = credentials_take_plain(data, size, &plain);
	if (is_plain)
		assert(memcmp(&plain, &walked, sizeof(plain)) == 0);
	return 0;
}
