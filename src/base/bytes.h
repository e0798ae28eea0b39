/*
 * Little-endian integers in byte buffers, at any alignment and on any host.
 * Wire data is read and written through these functions only.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES_LE32(x) (x)
#define BYTES_LE64(x) (x)
#else
#define BYTES_LE32(x) __builtin_bswap32(x)
#define BYTES_LE64(x) __builtin_bswap64(x)
#endif

static inline uint32_t
load_le32(const uint8_t *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return BYTES_LE32(x);
}

static inline uint64_t
load_le64(const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return BYTES_LE64(x);
}

static inline void
store_le32(uint8_t *p, uint32_t x)
{
	x = BYTES_LE32(x);
	memcpy(p, &x, sizeof(x));
}

static inline void
store_le64(uint8_t *p, uint64_t x)
{
	x = BYTES_LE64(x);
	memcpy(p, &x, sizeof(x));
}

#endif
