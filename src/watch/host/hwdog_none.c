#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "watch/host/hwdog.h"

int
hwdog_open(const char *path, const struct hwdog_ops *ops, uint64_t now_ns,
    struct hwdog **ret, struct file_fault *fault)
{
	(void)path;
	(void)ops;
	(void)now_ns;
	(void)ret;
	(void)snprintf(fault->text, sizeof(fault->text),
	    "no hardware watchdogs on this system");
	return -EOPNOTSUPP;
}

uint64_t
hwdog_kick(struct hwdog *h, uint64_t now_ns)
{
	(void)h;
	(void)now_ns;
	return NS_NEVER;
}

uint32_t
hwdog_timeout_s(const struct hwdog *h)
{
	(void)h;
	return 0;
}

void
hwdog_close(struct hwdog *h)
{
	(void)h;
}
