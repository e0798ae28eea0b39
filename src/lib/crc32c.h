/*
 * CRC-32C (Castagnoli): polynomial 0x1EDC6F41 reflected, initial value and
 * final XOR 0xFFFFFFFF. The fastest way of this processor is found at the
 * first call. Thread-safe and async-signal-safe.
 */
#ifndef LIB_CRC32C_H
#define LIB_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CRC of the n bytes at p. */
uint32_t varta__crc32c(const uint8_t *p, size_t n);

/*
 * CRC of the first 28 bytes of a frame, given as the values that stand there
 * in little-endian order. Faster than from a buffer that was just written.
 */
uint32_t varta__crc32c_frame(uint64_t a, uint64_t b, uint64_t c, uint32_t d);

/* One way to compute it. Both functions give the finished CRC. */
struct varta__crc32c_way {
	const char *name;
	bool (*is_available)(void);
	uint32_t (*bytes)(const uint8_t *p, size_t n);
	uint32_t (*frame)(uint64_t a, uint64_t b, uint64_t c, uint32_t d);
};

/* All that were built, the best first; the last one is always available. */
extern const struct varta__crc32c_way varta__crc32c_ways[];
extern const size_t varta__crc32c_ways_count;

#endif
