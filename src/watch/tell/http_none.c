#include "watch/tell/http.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/util.h"

/* A build without HTTP. Since http_open() fails, nothing else is reached. */

bool
http_is_available(void)
{
	return false;
}

int
http_open(const struct http_options *options,
    const struct metrics_source *source, struct stats *stats, struct http **ret,
    struct http_fault *fault)
{
	(void)options;
	(void)source;
	(void)stats;
	(void)ret;
	(void)snprintf(
	    fault->text, sizeof(fault->text), "this build has no HTTP");
	return -ENOSYS;
}

void
http_close(struct http *h)
{
	assert(h == NULL);
	(void)h;
}

void
http_set_token(struct http *h, const uint8_t token[static HTTP_TOKEN_BYTES])
{
	(void)h;
	(void)token;
}

const char *
http_bound_address(const struct http *h)
{
	(void)h;
	return "";
}

int
http_fd(const struct http *h)
{
	(void)h;
	return -1;
}

void
http_serve(struct http *h, uint64_t now_ns)
{
	(void)h;
	(void)now_ns;
}

uint64_t
http_next_ns(const struct http *h, uint64_t now_ns)
{
	(void)h;
	(void)now_ns;
	return NS_NEVER;
}
