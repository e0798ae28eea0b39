#include "watch/intake/lane_in.h"

#include <errno.h>

int
lane_in_open(const struct lane_in_options *options, struct stats *stats,
    struct lane_in **ret, char fault[static UNIX_PATH_FAULT_BYTES])
{
	(void)stats;
	(void)ret;
	return unix_path_refuse(fault, options->path, -EOPNOTSUPP,
	    "lanes are not possible on this system");
}

void
lane_in_close(struct lane_in *in)
{
	(void)in;
}

int
lane_in_fd(const struct lane_in *in)
{
	(void)in;
	return -1;
}

struct lane_source
lane_in_source(struct lane_in *in)
{
	(void)in;
	return (struct lane_source){ 0 };
}
