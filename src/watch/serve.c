#include "watch/serve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

int
serve_prepare(struct serve *s, const struct options *options)
{
	char fault[UNIX_PATH_FAULT_BYTES];
	int r;

	if (options->agent_series == METRICS_BY_NAME) {
		s->names = byname_new();
		if (s->names == NULL) {
			log_error("--prom-agent-series: out of memory");
			return -ENOMEM;
		}
	}
	if (options->control_socket == NULL)
		return 0;
	if (!http_is_available()) {
		log_error("--control-socket: this build has no HTTP");
		return -EOPNOTSUPP;
	}
	r = local_open(options->control_socket, &s->local, fault);
	if (r < 0)
		log_error("--control-socket: %s", fault);
	return r;
}

static void
keep_counts(void *ctx, const struct agent_view *agent)
{
	const struct serve *s = ctx;

	byname_keep(s->names, agent);
}

serve_forgotten_fn *
serve_forgotten(const struct serve *s)
{
	return s->names != NULL ? keep_counts : NULL;
}

static struct metrics_source
source_of(const struct serve *s, struct observer *observer,
    const struct options *options, const struct metrics_gauges *gauges)
{
	struct metrics_source source = observer_metrics(observer, gauges);

	source.series = (enum metrics_series)options->agent_series;
	source.names = s->names;
	return source;
}

static int
open_control(struct serve *s, const struct options *options,
    const struct metrics_source *source, struct stats *stats)
{
	const struct http_options http = {
		.local = s->local,
		.scrape_budget_ns = options->scrape_budget_ms * NS_PER_MS,
	};
	struct http_fault fault;
	int r;

	if (s->local == NULL)
		return 0;
	r = http_open(&http, source, stats, &s->control, &fault);
	if (r < 0)
		log_error("--control-socket: %s", fault.text);
	return r;
}

static int
open_prom(struct serve *s, const struct options *options,
    const uint8_t token[static HTTP_TOKEN_BYTES],
    const struct metrics_source *source, struct stats *stats)
{
	struct http_options http = {
		.address = (const struct sockaddr *)&options->prom_addr.storage,
		.address_len = options->prom_addr.len,
		.has_token = options->prom_token_file != NULL,
		.rate_per_s = options->prom_rate_limit_per_sec,
		.rate_burst = options->prom_rate_limit_burst,
		.scrape_budget_ns = options->scrape_budget_ms * NS_PER_MS,
	};
	struct http_fault fault;
	int r;

	if (!http_is_available()) {
		log_error("--prom-addr: this build has no HTTP");
		return -EOPNOTSUPP;
	}
	memcpy(http.token, token, sizeof(http.token));
	r = http_open(&http, source, stats, &s->prom, &fault);
	explicit_bzero(http.token, sizeof(http.token));
	if (r < 0) {
		log_error("--prom-addr: %s", fault.text);
		return r;
	}
	if (!http.has_token)
		log_warn("metrics on %s are open to every user of this host: "
			 "no --prom-token-file",
		    http_bound_address(s->prom));
	else if (!options_address_is_loopback(&options->prom_addr))
		log_warn("metrics on %s are reachable from other hosts, "
			 "without encryption (non-loopback address)",
		    http_bound_address(s->prom));
	(void)printf("%s\n", http_bound_address(s->prom));
	(void)fflush(stdout);
	return 0;
}

int
serve_open(struct serve *s, const struct options *options,
    const uint8_t token[static HTTP_TOKEN_BYTES], struct observer *observer,
    const struct metrics_gauges *gauges, struct stats *stats)
{
	const struct metrics_source source =
	    source_of(s, observer, options, gauges);
	int r = open_control(s, options, &source, stats);

	if (r < 0 || !options->prom_addr.given)
		return r;
	return open_prom(s, options, token, &source, stats);
}

void
serve_stop(struct serve *s)
{
	http_close(s->prom);
	s->prom = NULL;
	http_close(s->control);
	s->control = NULL;
	local_close(s->local);
	s->local = NULL;
}

void
serve_close(struct serve *s)
{
	serve_stop(s);
	byname_free(s->names);
	s->names = NULL;
}
