/*
 * What a request is answered with. Called by libmicrohttpd for each request
 * whose head is complete; http.c owns the connections.
 *
 * Order: rate limit (429), what HTTP does not allow (400), path (404), method
 * (405), a body (413), token (401), and then 200. /healthz and /readyz need no
 * token. /healthz says that the loop runs; /readyz is 503 before the start is
 * over and for some seconds after the observer was late itself, and says why.
 * Every answer closes its connection, so that one deadline bounds connection
 * and request alike.
 */
#ifndef WATCH_TELL_ANSWER_H
#define WATCH_TELL_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include <microhttpd.h>

#include "watch/stats.h"
#include "watch/tell/auth.h"
#include "watch/tell/metrics.h"
#include "watch/tell/ratelimit.h"

enum {
	ANSWER_BLOCK_BYTES = 65536,
	ANSWER_AGENTS_A_PIECE = 2048 /* looked at for one piece of a body */
};

struct answer {
	struct metrics_source source;
	struct stats *stats;
	struct ratelimit *limit;
	bool has_token;
	uint8_t token[AUTH_TOKEN_BYTES];

	/* Of the pass under way, set before the library runs. */
	uint64_t now_ns;   /* of the observer */
	uint64_t until_ns; /* monotonic; bodies wait for the next pass then */
	bool made_piece;   /* so that each pass gets on */
};

/* An MHD_AccessHandlerCallback; cls is the struct answer, which outlives all
 * answers. */
enum MHD_Result answer_request(void *cls, struct MHD_Connection *connection,
    const char *url, const char *method, const char *version,
    const char *upload_data, size_t *upload_data_size, void **request);

#endif
