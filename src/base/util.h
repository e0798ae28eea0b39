/*
 * Small helpers that every module may use: sizes, saturating time sums,
 * branch hints. No state, no system calls.
 */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* "Never", where a time is expected. */
#define NS_NEVER UINT64_MAX

static inline uint64_t
u64_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
u64_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* a + b, or UINT64_MAX where that does not fit. */
static inline uint64_t
u64_add_sat(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* a - b, or 0 where b is larger. */
static inline uint64_t
u64_sub_sat(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* a * b, or UINT64_MAX where that does not fit. */
static inline uint64_t
u64_mul_sat(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* *ret = n * size; false, and *ret untouched, where that does not fit. */
static inline bool
size_mul(size_t n, size_t size, size_t *ret)
{
	size_t product;

	if (__builtin_mul_overflow(n, size, &product))
		return false;
	*ret = product;
	return true;
}

/* The smallest power of two that is not below n; n is at most 2^31. */
static inline uint32_t
u32_pow2_ceil(uint32_t n)
{
	return n <= 1 ? 1 : UINT32_C(1) << (32 - __builtin_clz(n - 1));
}

#endif
