#include "watch/host/priority.h"

#include <sched.h>
#include <sys/resource.h>

enum { NICE_FIRST = -20 };

int
priority_go_first(void)
{
#ifdef SCHED_RESET_ON_FORK
	const struct sched_param param = { 0 };

	/* Without this, recovery commands would be preferred, too. */
	if (sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param) <
	    0)
		return getpriority(PRIO_PROCESS, 0);
	if (getpriority(PRIO_PROCESS, 0) == 0)
		(void)setpriority(PRIO_PROCESS, 0, NICE_FIRST);
#endif
	return getpriority(PRIO_PROCESS, 0);
}
