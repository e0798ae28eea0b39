/*
 * Any text as an Accept header: read to its end and no further, and what names
 * no OpenMetrics gets none.
 */
#include "watch/tell/accept.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Of exactly this size, so that the sanitizer sees a step too far. */
	char *value = malloc(size + 1);

	assert(value != NULL);
	if (size > 0)
		memcpy(value, data, size);
	value[size] = '\0';
	if (accept_format(value) == METRICS_OPEN)
		assert(
		    strcasestr(value, "application/openmetrics-text") != NULL);
	free(value);
	return 0;
}
