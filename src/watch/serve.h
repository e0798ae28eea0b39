/*
 * All that the daemon serves over HTTP: metrics and health on a TCP address,
 * on the control socket, or on both, and how agents show in them.
 */
#ifndef WATCH_SERVE_H
#define WATCH_SERVE_H

#include <stdint.h>

#include "watch/event.h"
#include "watch/observer.h"
#include "watch/options.h"
#include "watch/stats.h"
#include "watch/tell/byname.h"
#include "watch/tell/http.h"
#include "watch/tell/local.h"
#include "watch/tell/metrics.h"

struct serve {
	struct local *local;  /* the control socket */
	struct byname *names; /* for --prom-agent-series name */
	struct http *prom;
	struct http *control;
};

/* What must be there before threads and the observer are: the file of the
 * control socket, the sums by name. 0, or -errno after a line in the log. */
int serve_prepare(struct serve *s, const struct options *options);

/* Whom to tell, with s, before an agent is forgotten; NULL: nobody. */
typedef void serve_forgotten_fn(void *ctx, const struct agent_view *agent);
serve_forgotten_fn *serve_forgotten(const struct serve *s);

/* Serve; the bound address of /metrics is printed to stdout. 0, or -errno
 * after a line in the log. What is given is borrowed, the token copied. */
int serve_open(struct serve *s, const struct options *options,
    const uint8_t token[static HTTP_TOKEN_BYTES], struct observer *observer,
    const struct metrics_gauges *gauges, struct stats *stats);

/* Serve no longer. The observer may still tell of agents then. */
void serve_stop(struct serve *s);

/* After the observer has gone. */
void serve_close(struct serve *s);

#endif
