/*
 * Where lanes come from: a table of functions, so that the observer runs in
 * simulation without memory of others. The real one is lane_in.h.
 */
#ifndef WATCH_INTAKE_LANE_SOURCE_H
#define WATCH_INTAKE_LANE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANE_SOURCE_NAME_BYTES = 32, LANE_SOURCE_NEWS = 32 };

enum lane_news_kind {
	LANE_ATTACHED = 0, /* a place is taken */
	LANE_CHANGED,      /* lanes may have been opened or closed there */
	LANE_DETACHED /* its connection has ended; the memory is still there */
};

struct lane_news {
	enum lane_news_kind kind;
	uint32_t place;
	uint32_t pid; /* attached: as the kernel names the process */
	uint32_t uid;
	uint32_t gid;
};

/* What a record says, at one moment; untrusted, but for the NUL. */
struct lane_reading {
	uint64_t mark;   /* of the last beat; 0: idle */
	uint64_t age_ns; /* of it; never more than it is */
	uint64_t beats;
	uint32_t generation; /* odd: open */
	uint32_t threshold_ms;
	uint8_t status;
	char name[LANE_SOURCE_NAME_BYTES];
};

struct lane_source {
	/* What is new; what is left over comes with the next call, for which
	 * the source stays ready. NULL: there are no lanes. */
	size_t (*take)(
	    void *ctx, struct lane_news ret[static LANE_SOURCE_NEWS]);
	/* Whether the process that attached is still there. */
	bool (*is_there)(void *ctx, uint32_t place);
	/* Records of a place, those that were never used left out. */
	uint32_t (*records)(void *ctx, uint32_t place);
	/* The generation of one of them, odd while it is open. */
	uint32_t (*generation)(void *ctx, uint32_t place, uint32_t i);
	/* All of it. False while it is being written: look again later. */
	bool (*read)(
	    void *ctx, uint32_t place, uint32_t i, struct lane_reading *ret);
	/* Give the place up: close, unmap. No news of it follow. */
	void (*drop)(void *ctx, uint32_t place);
	void *ctx;
	uint32_t places;
};

#endif
