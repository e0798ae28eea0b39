/*
 * Any datagrams as sealed frames: nothing is a beat that was not sealed by one
 * of the keys. The first byte of each record chooses what is done with the
 * rest: sent as it is, or sealed as the content of a frame.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "secure/hkdf.h"
#include "watch/intake/sealed_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD = 80, LONGEST = 72 };

struct world {
	struct keyring *keys;
	struct replay *replay;
	struct sealed_in *sealed;
	struct stats stats;
	struct intake intake;
	struct intake_batch batch;
	uint8_t bytes[INTAKE_BATCH][LONGEST];
	uint32_t len[INTAKE_BATCH];
	size_t n, n_sealed;
};

static uint8_t key[32];

static int
take(void *ctx, struct datagram *ret, size_t max)
{
	struct world *w = ctx;

	assert(w->n <= max);
	for (size_t i = 0; i < w->n; i++)
		ret[i] =
		    (struct datagram){ .bytes = w->bytes[i], .len = w->len[i] };
	return (int)w->n;
}

static uint64_t
now(void *ctx)
{
	(void)ctx;
	return NS_PER_S;
}

static struct keyring *
make_keys(void)
{
	char path[] = "/tmp/varta-fuzz-XXXXXX";
	struct keyring_files files = { .key = path, .master = path };
	struct keyring_fault fault;
	struct keyring *keys;
	int fd = mkstemp(path);
	int r;

	assert(fd >= 0);
	for (size_t i = 0; i < 32; i++)
		assert(dprintf(fd, "%02x", key[i]) == 2);
	r = keyring_new(&files, &keys, &fault);
	assert(r == 0);
	(void)unlink(path);
	(void)close(fd);
	return keys;
}

/* A record becomes a datagram. */
static void
add(struct world *w, const uint8_t *record, size_t n)
{
	struct seal_iv iv = { .counter = record[1] };
	uint8_t agent[32], plain[32] = { 0 }, *out = w->bytes[w->n];
	uint32_t pid;

	memcpy(plain, record + 2, u64_min(n - 2, sizeof(plain)));
	iv.random[0] = record[0] >> 2;
	switch (record[0] & 3) {
	case 1:
		seal_shared(key, &iv, plain, out);
		w->len[w->n++] = SEAL_SHARED_BYTES;
		w->n_sealed++;
		return;
	case 2:
		memcpy(&pid, plain + 4, sizeof(pid));
		hkdf_agent_key(key, pid, agent);
		seal_master(agent, pid, &iv, plain, out);
		w->len[w->n++] = SEAL_MASTER_BYTES;
		w->n_sealed++;
		return;
	default:
		w->len[w->n] = (uint32_t)u64_min(n - 1, LONGEST);
		memcpy(out, record + 1, w->len[w->n]);
		w->n++;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct keyring *keys;
	static struct world w;
	const struct replay_options options = { .senders_max = 4,
		.gap_ns = NS_PER_S };
	struct sealed_in_options sealed = {
		.take = take, .take_ctx = &w, .stats = &w.stats, .now_ns = now
	};
	const struct intake_policy policy = { .pid_max = 1 };
	struct intake_source source;
	size_t n_beats;
	int r;

	if (keys == NULL)
		keys = make_keys();
	memset(&w, 0, sizeof(w));
	while (size > 2 && w.n < INTAKE_BATCH) {
		size_t n = (size_t)u64_min(size, RECORD);

		add(&w, data, n);
		data += n;
		size -= n;
	}
	r = replay_new(&options, &w.replay);
	assert(r == 0);
	sealed.keys = keys;
	sealed.replay = w.replay;
	w.sealed = sealed_in_new(&sealed);
	assert(w.sealed != NULL);
	source = sealed_in_source(w.sealed, false);
	intake_init(&w.intake, &source, &policy, &w.stats);
	intake_take(&w.intake, &w.batch);
	assert(w.batch.n_taken == w.n);
	assert(w.batch.n_beats + w.batch.n_faults <= w.n_sealed);
	for (size_t i = 0; i < w.batch.n_beats; i++)
		assert(w.batch.beats[i].id >> 32 > 1);
	/* All of it once more: not one is taken twice, though one that came
	 * too early may be taken now. */
	n_beats = w.batch.n_beats;
	intake_take(&w.intake, &w.batch);
	assert(n_beats + w.batch.n_beats <= w.n_sealed);
	sealed_in_free(w.sealed);
	replay_free(w.replay);
	return 0;
}
