/*
 * CRC-32C by instructions of the processor, or by tables that take eight bytes
 * in one step.
 */
#include "lib/crc32c.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

#include "base/bytes.h"
#include "base/util.h"

/*
 * Entry n of table k is the CRC register after byte n and k zero bytes. That
 * is linear in n: the XOR of the entries for its bits. Those stand in the
 * order of bits 7 to 0; each is the one before it moved on by one bit.
 */
#define BIT(n, b, x) ((((unsigned)(n) >> (b)) & 1u) != 0 ? (x) : 0u)
#define ENTRY(n, x7, x6, x5, x4, x3, x2, x1, x0)                               \
	(BIT(n, 7, x7) ^ BIT(n, 6, x6) ^ BIT(n, 5, x5) ^ BIT(n, 4, x4) ^       \
	    BIT(n, 3, x3) ^ BIT(n, 2, x2) ^ BIT(n, 1, x1) ^ BIT(n, 0, x0))
#define FOUR(n, ...)                                                           \
	ENTRY(n, __VA_ARGS__), ENTRY((n) + 1, __VA_ARGS__),                    \
	    ENTRY((n) + 2, __VA_ARGS__), ENTRY((n) + 3, __VA_ARGS__)
#define SIXTEEN(n, ...)                                                        \
	FOUR(n, __VA_ARGS__), FOUR((n) + 4, __VA_ARGS__),                      \
	    FOUR((n) + 8, __VA_ARGS__), FOUR((n) + 12, __VA_ARGS__)
#define SIXTY_FOUR(n, ...)                                                     \
	SIXTEEN(n, __VA_ARGS__), SIXTEEN((n) + 16, __VA_ARGS__),               \
	    SIXTEEN((n) + 32, __VA_ARGS__), SIXTEEN((n) + 48, __VA_ARGS__)
#define TABLE(...)                                                             \
	{                                                                      \
		SIXTY_FOUR(0, __VA_ARGS__), SIXTY_FOUR(64, __VA_ARGS__),       \
		    SIXTY_FOUR(128, __VA_ARGS__), SIXTY_FOUR(192, __VA_ARGS__) \
	}

static const uint32_t tables[8][256] = {
	TABLE(0x82f63b78, 0x417b1dbc, 0x20bd8ede, 0x105ec76f, 0x8ad958cf,
	    0xc79a971f, 0xe13b70f7, 0xf26b8303),
	TABLE(0xfbc3faf9, 0xff17c604, 0x7f8be302, 0x3fc5f181, 0x9d14c3b8,
	    0x4e8a61dc, 0x274530ee, 0x13a29877),
	TABLE(0x8b277743, 0xc76580d9, 0xe144fb14, 0x70a27d8a, 0x38513ec5,
	    0x9edea41a, 0x4f6f520d, 0xa541927e),
	TABLE(0x52a0c93f, 0xaba65fe7, 0xd725148b, 0xe964b13d, 0xf64463e6,
	    0x7b2231f3, 0xbf672381, 0xdd45aab8),
	TABLE(0x6ea2d55c, 0x37516aae, 0x1ba8b557, 0x8f2261d3, 0xc5670b91,
	    0xe045beb0, 0x7022df58, 0x38116fac),
	TABLE(0x1c08b7d6, 0x0e045beb, 0x85f4168d, 0xc00c303e, 0x6006181f,
	    0xb2f53777, 0xdb8ca0c3, 0xef306b19),
	TABLE(0xf56e0ef4, 0x7ab7077a, 0x3d5b83bd, 0x9c5bfaa6, 0x4e2dfd53,
	    0xa5e0c5d1, 0xd0065990, 0x68032cc8),
	TABLE(0x34019664, 0x1a00cb32, 0x0d006599, 0x847609b4, 0x423b04da,
	    0x211d826d, 0x9278fa4e, 0x493c7d27),
};

static uint32_t
table_u64(uint32_t crc, uint64_t x)
{
	x ^= crc;
	return tables[7][x & 0xff] ^ tables[6][x >> 8 & 0xff] ^
	       tables[5][x >> 16 & 0xff] ^ tables[4][x >> 24 & 0xff] ^
	       tables[3][x >> 32 & 0xff] ^ tables[2][x >> 40 & 0xff] ^
	       tables[1][x >> 48 & 0xff] ^ tables[0][x >> 56];
}

static uint32_t
table_u32(uint32_t crc, uint32_t x)
{
	x ^= crc;
	return tables[3][x & 0xff] ^ tables[2][x >> 8 & 0xff] ^
	       tables[1][x >> 16 & 0xff] ^ tables[0][x >> 24];
}

static bool
table_is_available(void)
{
	return true;
}

static uint32_t
table_bytes(const uint8_t *p, size_t n)
{
	uint32_t crc = UINT32_MAX;

	for (; n >= 8; n -= 8, p += 8)
		crc = table_u64(crc, load_le64(p));
	for (; n > 0; n--, p++)
		crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xff];
	return ~crc;
}

static uint32_t
table_frame(uint64_t a, uint64_t b, uint64_t c, uint32_t d)
{
	uint32_t crc = UINT32_MAX;

	crc = table_u64(crc, a);
	crc = table_u64(crc, b);
	crc = table_u64(crc, c);
	return ~table_u32(crc, d);
}

#if defined(__x86_64__)

static bool
hardware_is_available(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_SSE4_2) != 0;
}

#elif defined(CRC32C_HARDWARE)

static bool
hardware_is_available(void)
{
#if defined(__linux__)
	return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#else
	return true; /* every Apple processor of this kind has them */
#endif
}

#endif

#ifdef CRC32C_HARDWARE

static uint32_t
hardware_bytes(const uint8_t *p, size_t n)
{
	uint64_t crc = UINT32_MAX;

	for (; n >= 8; n -= 8, p += 8)
		CRC32C_STEP(CRC32C_STEP_U64, crc, load_le64(p));
	for (; n > 0; n--, p++)
		CRC32C_STEP(CRC32C_STEP_U8, crc, (uint32_t)*p);
	return ~(uint32_t)crc;
}

static uint32_t
hardware_frame(uint64_t a, uint64_t b, uint64_t c, uint32_t d)
{
	return varta__crc32c_frame_hardware(a, b, c, d);
}

atomic_bool varta__crc32c_has_hardware;

#endif

const struct varta__crc32c_way varta__crc32c_ways[] = {
#ifdef CRC32C_HARDWARE
	{ CRC32C_HARDWARE, hardware_is_available, hardware_bytes,
	    hardware_frame },
#endif
	{ "table", table_is_available, table_bytes, table_frame },
};
const size_t varta__crc32c_ways_count = ARRAY_SIZE(varta__crc32c_ways);

/* NULL until the first call. Threads that race find the same answer. */
static const struct varta__crc32c_way *_Atomic chosen;

static const struct varta__crc32c_way *
choose(void)
{
	const struct varta__crc32c_way *way;

	way = atomic_load_explicit(&chosen, memory_order_relaxed);
	if (way != NULL)
		return way;

	way = varta__crc32c_ways;
	while (!way->is_available())
		way++;
	atomic_store_explicit(&chosen, way, memory_order_relaxed);
#ifdef CRC32C_HARDWARE
	atomic_store_explicit(&varta__crc32c_has_hardware,
	    way->frame == hardware_frame, memory_order_relaxed);
#endif
	return way;
}

uint32_t
varta__crc32c(const uint8_t *p, size_t n)
{
	return choose()->bytes(p, n);
}

uint32_t
varta__crc32c_frame_chosen(uint64_t a, uint64_t b, uint64_t c, uint32_t d)
{
	return choose()->frame(a, b, c, d);
}
