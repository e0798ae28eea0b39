/*
 * Lanes: the records in shared memory, and beats into them.
 *
 * A beat costs about a clock read. `beats` is counted by a load and a store,
 * since an atomic addition costs 5 ns and the observer needs no exact number.
 */
#include "lib/lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/util.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; the C library may be older */
#endif

enum {
	MEMORY_BYTES = LANE_PAGES_MAX * LANE_PAGE_BYTES,
	/* Below this threshold, steps of the coarse clock are too long. */
	EXACT_BELOW_MS = 100
};

/* Memory. */

/* A process that may not write files of this size would be killed by a signal
 * for making the memory. */
static bool
is_too_large(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	       limit.rlim_cur < MEMORY_BYTES;
}

/* A system may demand the flag, and one before Linux 6.3 does not know it. */
static int
create_memory_fd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	fd = memfd_create("varta-lanes", flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("varta-lanes", flags);
	return fd < 0 ? -errno : varta__above_standard(fd);
}

/* Have page i in memory before it is written to: a page that cannot be had is
 * an error here, and a signal there. */
static int
provide_page(int fd, uint32_t i)
{
	const off_t at = (off_t)i * LANE_PAGE_BYTES;

	if (fallocate(fd, 0, at, LANE_PAGE_BYTES) == 0)
		return 0;
	/* "No space" is memory here, and would be taken for full of lanes. */
	return errno == ENOSPC ? -ENOMEM : -errno;
}

static int
make_memory(struct varta__lanes *l)
{
	struct lane_head *head;
	void *memory;
	int fd, r;

	if (is_too_large())
		return -EFBIG;
	fd = create_memory_fd();
	if (fd < 0)
		return fd;
	if (ftruncate(fd, MEMORY_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
		0) {
		r = -errno;
		goto fail;
	}
	r = provide_page(fd, 0);
	if (r < 0)
		goto fail;
	memory =
	    mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		r = -errno;
		goto fail;
	}

	head = memory;
	head->magic = LANE_MAGIC;
	head->version = LANE_VERSION;
	head->record_bytes = LANE_RECORD_BYTES;
	head->pages = LANE_PAGES_MAX;
	memset(l->used, 0, sizeof(l->used));
	l->memory_fd = fd;
	l->memory = memory;
	l->pages = 1;
	return 0;

fail:
	(void)close(fd);
	return r;
}

static void
drop_memory(struct varta__lanes *l)
{
	if (l->memory == NULL)
		return;
	(void)munmap(l->memory, MEMORY_BYTES);
	(void)close(l->memory_fd);
	l->memory = NULL;
	l->memory_fd = -1;
}

/* The lanes of an agent, with memory that is this process's own. */
static int
get_lanes(struct varta_agent *agent, struct varta__lanes **ret)
{
	struct varta__lanes *l = agent->lanes;
	int r;

	if (l == NULL) {
		l = calloc(1, sizeof(*l));
		if (l == NULL)
			return -ENOMEM;
		l->generation = varta__lineage_generation(&agent->lineage);
		l->memory_fd = -1;
		l->connection_fd = -1;
		agent->lanes = l;
	}
	varta__lanes_leave(agent);
	if (l->memory == NULL) {
		r = make_memory(l);
		if (r < 0)
			return r;
	}
	*ret = l;
	return 0;
}

/* Records. */

static bool
is_name_taken(const struct varta__lanes *l, const char *name)
{
	const struct varta_lane *lane;

	for (lane = l->first; lane != NULL; lane = lane->next)
		if (lane->generation == l->generation &&
		    strncmp(lane->record->name, name, LANE_NAME_BYTES) == 0)
			return true;
	return false;
}

/* The lowest free record; LANES_MAX when all are in use. */
static uint32_t
find_free(const struct varta__lanes *l)
{
	uint32_t i, free_i;

	for (i = 0; i < ARRAY_SIZE(l->used); i++) {
		if (l->used[i] == UINT64_MAX)
			continue;
		free_i = i * 64 + (uint32_t)__builtin_ctzll(~l->used[i]);
		return free_i < LANES_MAX ? free_i : LANES_MAX;
	}
	return LANES_MAX;
}

static void
publish(struct varta__lanes *l, const struct varta_lane *lane, const char *name,
    uint32_t threshold_ms)
{
	struct lane_head *head = (void *)l->memory;
	struct lane_record *record = lane->record;
	uint32_t generation;

	/* Not before the store that closed the record is seen. */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&record->beat_ns, 0, memory_order_relaxed);
	atomic_store_explicit(&record->beats, 0, memory_order_relaxed);
	atomic_store_explicit(
	    &record->status, (uint8_t)VARTA_OK, memory_order_relaxed);
	record->threshold_ms = threshold_ms;
	record->flags = lane->clock == CLOCK_MONOTONIC ? LANE_EXACT : 0;
	memset(record->name, 0, sizeof(record->name));
	memcpy(record->name, name, strlen(name));

	generation =
	    atomic_load_explicit(&record->generation, memory_order_relaxed);
	atomic_store_explicit(
	    &record->generation, generation + 1, memory_order_release);
	if (lane->index >=
	    atomic_load_explicit(&head->lanes, memory_order_relaxed))
		atomic_store_explicit(
		    &head->lanes, lane->index + 1, memory_order_release);
	l->used[lane->index / 64] |= UINT64_C(1) << lane->index % 64;
}

static void
withdraw(struct varta__lanes *l, const struct varta_lane *lane)
{
	struct lane_record *record = lane->record;
	uint32_t generation;

	generation =
	    atomic_load_explicit(&record->generation, memory_order_relaxed);
	atomic_store_explicit(&record->beat_ns, 0, memory_order_relaxed);
	atomic_store_explicit(
	    &record->generation, generation + 1, memory_order_release);
	l->used[lane->index / 64] &= ~(UINT64_C(1) << lane->index % 64);
}

/* Handles. */

/* Is this still the process that opened it? */
static inline bool
is_ours(const struct varta_lane *lane)
{
	return atomic_load_explicit(lane->word, memory_order_relaxed) ==
	       lane->generation;
}

static int
check_terms(
    const struct varta_agent *agent, const char *name, uint32_t threshold_ms)
{
	size_t n;

	if (agent == NULL)
		return VARTA_ERR_CLOSED;
	if (agent->ops->path == NULL)
		return VARTA_ERR_UNSUPPORTED;
	n = name == NULL ? 0 : strnlen(name, LANE_NAME_BYTES);
	if (n == 0 || n == LANE_NAME_BYTES)
		return VARTA_ERR_LANE_NAME;
	if (threshold_ms < LANE_THRESHOLD_MS_MIN)
		return VARTA_ERR_LANE_THRESHOLD;
	return 0;
}

/* A record for this name, in a page that is in memory. */
static int
find_record(struct varta__lanes *l, const char *name, uint32_t *ret_index)
{
	uint32_t index, page;
	int r;

	if (is_name_taken(l, name))
		return -EEXIST;
	index = find_free(l);
	if (index == LANES_MAX)
		return -ENOSPC;
	page = index / LANE_PAGE_RECORDS;
	if (page >= l->pages) {
		r = provide_page(l->memory_fd, page);
		if (r < 0)
			return r;
		l->pages = page + 1;
	}
	*ret_index = index;
	return 0;
}

/* Make it a lane of the agent. */
static int
take_record(struct varta_agent *agent, const char *name, uint32_t threshold_ms,
    struct varta_lane *lane)
{
	struct varta__lanes *l;
	uint32_t index;
	int r;

	r = get_lanes(agent, &l);
	if (r < 0)
		return r;
	r = find_record(l, name, &index);
	if (r < 0)
		return r;
	*lane = (struct varta_lane){
		.record = (void *)(l->memory + lane_record_offset(index)),
		.word = agent->lineage.word,
		.generation = l->generation,
		.clock = threshold_ms < EXACT_BELOW_MS ? CLOCK_MONOTONIC
						       : TIMESTAMP_CLOCK,
		.agent = agent,
		.next = l->first,
		.index = index,
	};
	l->first = lane;
	publish(l, lane, name, threshold_ms);
	return 0;
}

int
varta_lane_open(struct varta_agent *agent, const char *name,
    uint32_t threshold_ms, struct varta_lane **ret_lane)
{
	struct varta_lane *lane;
	int r;

	r = check_terms(agent, name, threshold_ms);
	if (r < 0)
		return r;
	/* First, so that where it fails nothing else has been made. */
	lane = aligned_alloc(alignof(struct varta_lane), sizeof(*lane));
	if (lane == NULL)
		return -ENOMEM;
	r = take_record(agent, name, threshold_ms, lane);
	if (r < 0) {
		free(lane);
		return r;
	}
	if (!varta__lanes_ring(agent))
		(void)varta__lanes_look(agent, varta__agent_now(agent));
	*ret_lane = lane;
	return 0;
}

void
varta_lane_close(struct varta_lane *lane)
{
	struct varta__lanes *l;
	struct varta_lane **link;

	if (lane == NULL)
		return;
	l = lane->agent->lanes;
	for (link = &l->first; *link != lane; link = &(*link)->next)
		;
	*link = lane->next;
	if (is_ours(lane)) {
		withdraw(l, lane);
		(void)varta__lanes_ring(lane->agent);
	}
	free(lane);
}

void
varta__lanes_leave(struct varta_agent *agent)
{
	struct varta__lanes *l = agent->lanes;
	uint32_t generation;

	if (l == NULL)
		return;
	generation = varta__lineage_generation(&agent->lineage);
	if (l->generation == generation)
		return;
	varta__lanes_detach(agent);
	drop_memory(l);
	l->generation = generation;
	l->retry_delay_ns = 0;
}

void
varta__lanes_free(struct varta_agent *agent)
{
	struct varta__lanes *l = agent->lanes;
	struct varta_lane *lane;

	if (l == NULL)
		return;
	while ((lane = l->first) != NULL) {
		l->first = lane->next;
		if (is_ours(lane))
			withdraw(l, lane);
		free(lane);
	}
	varta__lanes_detach(agent);
	drop_memory(l);
	free(l);
	agent->lanes = NULL;
}

/* Beats. */

void
varta_lane_beat(struct varta_lane *lane)
{
	struct lane_record *record;
	uint64_t beats;

	if (unlikely(lane == NULL) || unlikely(!is_ours(lane)))
		return;
	record = lane->record;
	beats = atomic_load_explicit(&record->beats, memory_order_relaxed);
	atomic_store_explicit(&record->beats, beats + 1, memory_order_relaxed);
	/* 0 is idle. */
	atomic_store_explicit(&record->beat_ns,
	    u64_max(varta__clock_read_ns(lane->clock), 1),
	    memory_order_relaxed);
}

void
varta_lane_idle(struct varta_lane *lane)
{
	if (lane != NULL && is_ours(lane))
		atomic_store_explicit(
		    &lane->record->beat_ns, 0, memory_order_relaxed);
}

void
varta_lane_set_status(struct varta_lane *lane, enum varta_status status)
{
	if (lane != NULL && is_ours(lane) && (unsigned)status <= VARTA_CRITICAL)
		atomic_store_explicit(&lane->record->status, (uint8_t)status,
		    memory_order_relaxed);
}
