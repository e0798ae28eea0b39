/*
 * Timestamps that only rise.
 */
#include "lib/lib.h"

#include <errno.h>

#include "base/util.h"

int
varta__terminal_timestamp(
    _Atomic uint64_t *last, uint64_t elapsed_ns, uint64_t *ret)
{
	uint64_t before, next;

	before = atomic_load(last);
	do {
		next = u64_max(elapsed_ns, u64_add_sat(before, 1));
		if (next == UINT64_MAX)
			return -EOVERFLOW; /* reserved on the wire */
	} while (!atomic_compare_exchange_weak(last, &before, next));

	*ret = next;
	return 0;
}
