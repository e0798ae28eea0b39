/*
 * CRC-32C (Castagnoli): polynomial 0x1EDC6F41 reflected, initial value and
 * final XOR 0xFFFFFFFF. Done by instructions of x86-64 (SSE4.2) and ARMv8 where
 * the processor has them, which is found out at the first call, else by tables.
 * Thread-safe and async-signal-safe.
 *
 * The frame's CRC is inline: a call through a pointer costs as much again as
 * the four instructions.
 */
#ifndef LIB_CRC32C_H
#define LIB_CRC32C_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

/* CRC of the n bytes at p. */
uint32_t varta__crc32c(const uint8_t *p, size_t n);

/* One way to compute it. Both functions give the finished CRC; frame() is that
 * of varta__crc32c_frame(). */
struct varta__crc32c_way {
	const char *name;
	bool (*is_available)(void);
	uint32_t (*bytes)(const uint8_t *p, size_t n);
	uint32_t (*frame)(uint64_t a, uint64_t b, uint64_t c, uint32_t d);
};

/* All that were built, the best first; the last one is always available. */
extern const struct varta__crc32c_way varta__crc32c_ways[];
extern const size_t varta__crc32c_ways_count;

/* varta__crc32c_frame() by the best way there is; sets has_hardware. */
uint32_t varta__crc32c_frame_chosen(
    uint64_t a, uint64_t b, uint64_t c, uint32_t d);

/*
 * One step of the register over a value, by the processor. Assembly, because
 * compilers do not inline a function that may use these instructions into one
 * that may not.
 */
#if defined(__x86_64__)

#define CRC32C_HARDWARE "sse4.2"
#define CRC32C_STEP_U64 "crc32q %1, %q0"
#define CRC32C_STEP_U32 "crc32l %k1, %k0"
#define CRC32C_STEP_U8 "crc32b %b1, %k0"

#elif defined(__aarch64__) && (defined(__linux__) || defined(__APPLE__))

#define CRC32C_HARDWARE "armv8"
#define CRC32C_STEP_U64 ".arch_extension crc\n\tcrc32cx %w0, %w0, %x1"
#define CRC32C_STEP_U32 ".arch_extension crc\n\tcrc32cw %w0, %w0, %w1"
#define CRC32C_STEP_U8 ".arch_extension crc\n\tcrc32cb %w0, %w0, %w1"

#endif

#ifdef CRC32C_HARDWARE

/* Set once the instructions are known to be there. */
extern atomic_bool varta__crc32c_has_hardware;

#define CRC32C_STEP(step, crc, x) __asm__(step : "+r"(crc) : "r"(x))

static inline uint32_t
varta__crc32c_frame_hardware(uint64_t a, uint64_t b, uint64_t c, uint32_t d)
{
	uint64_t crc = UINT32_MAX;

	CRC32C_STEP(CRC32C_STEP_U64, crc, a);
	CRC32C_STEP(CRC32C_STEP_U64, crc, b);
	CRC32C_STEP(CRC32C_STEP_U64, crc, c);
	CRC32C_STEP(CRC32C_STEP_U32, crc, d);
	return ~(uint32_t)crc;
}

#endif

/*
 * CRC of the first 28 bytes of a frame, given as the values that stand there
 * in little-endian order. Faster than from a buffer that was just written.
 */
static inline uint32_t
varta__crc32c_frame(uint64_t a, uint64_t b, uint64_t c, uint32_t d)
{
#ifdef CRC32C_HARDWARE
	if (likely(atomic_load_explicit(
		&varta__crc32c_has_hardware, memory_order_relaxed)))
		return varta__crc32c_frame_hardware(a, b, c, d);
#endif
	return varta__crc32c_frame_chosen(a, b, c, d);
}

#endif
