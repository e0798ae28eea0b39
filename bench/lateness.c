#include "lateness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum {
	PIDS = 4194304 /* the highest pid_max there is */
};

void
lateness_open(struct lateness *l, const char *event_file, uint64_t threshold_ms)
{
	*l = (struct lateness){ .threshold_us = (double)threshold_ms * 1000 };
	l->last_beat_ns = calloc(PIDS, sizeof(l->last_beat_ns[0]));
	l->events = fopen(event_file, "re");
	if (l->last_beat_ns == NULL || l->events == NULL)
		support_die("%s: %s", event_file, strerror(errno));
}

void
lateness_close(struct lateness *l)
{
	(void)fclose(l->events);
	free(l->last_beat_ns);
}

void
lateness_read(struct lateness *l)
{
	uint64_t at_ns;
	char line[256], kind[16];
	unsigned pid;
	double late;

	l->n = 0;
	clearerr(l->events);
	while (fgets(line, sizeof(line), l->events) != NULL) {
		if (sscanf(line, "%" SCNu64 "\t%15[a-z]\t%u", &at_ns, kind,
			&pid) < 2)
			support_die("event file: '%s'", line);
		if (pid >= PIDS)
			continue;
		if (strcmp(kind, "beat") == 0)
			l->last_beat_ns[pid] = at_ns;
		if (strcmp(kind, "stall") != 0 || l->n == LATENESS_MAX)
			continue;
		late = ((double)at_ns - (double)l->last_beat_ns[pid]) / 1000 -
		       l->threshold_us;
		l->us[l->n++] = late;
		if (l->stalls++ == 0 || late < l->earliest_us)
			l->earliest_us = late;
	}
}
