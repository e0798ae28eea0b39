#include "watch/network.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/util.h"

static int
open_udp(struct network *n, const struct options *options)
{
	struct options_address address;
	struct udp_in_fault fault;
	int r;

	options_udp_address(options, &address);
	r = udp_in_open((const struct sockaddr *)&address.storage, address.len,
	    &n->udp, &fault);
	if (r < 0)
		log_error("--udp-port: %s", fault.text);
	return r;
}

/* What the operator has let in. */
static void
warn(const struct network *n, const struct options *options)
{
	struct options_address address;
	bool sealed = options_has_keys(options);

	options_udp_address(options, &address);
	if (!sealed)
		log_warn("plain beats are received by UDP on %s WITHOUT "
			 "authentication: who can send there can forge the "
			 "beats of any agent",
		    udp_in_address(n->udp));
	else if (!options_address_is_loopback(&address))
		log_warn("sealed beats are received by UDP on %s, a "
			 "non-loopback address",
		    udp_in_address(n->udp));
	if (n->is_vouched && options_has_recovery(options))
		log_warn("recovery is run for agents known by %s beats over "
			 "the network alone",
		    sealed ? "sealed" : "plain");
}

/* Which keys there are, by their fingerprints. */
static void
tell_keys(const struct keyring *keys)
{
	uint32_t sources[KEYRING_KEYS_MAX];
	size_t n = keyring_sources(keys, sources);
	char storage[KEYRING_KEYS_MAX * 24];
	struct strbuf text;

	strbuf_init(&text, storage, sizeof(storage));
	for (size_t i = 0; i < n; i++)
		strbuf_printf(&text, "%s%s %08" PRIx32, i > 0 ? ", " : "",
		    i < keyring_shared_count(keys) ? "shared" : "master",
		    sources[i] & ~SOURCE_MASTER);
	log_info("keys of sealed beats: %s", text.text);
}

static void
lock_keys(struct keyring *keys)
{
	if (!keyring_lock(keys))
		log_warn("key files: the keys cannot be locked into memory "
			 "and may be written to swap: raise the limit of "
			 "locked memory");
}

static int
open_replay(struct network *n, const struct options *options,
    struct keyring *keys, struct stats *stats, uint64_t now_ns)
{
	struct replay_options replay = {
		.senders_max = options->udp_senders_max,
		.gap_ns = u64_mul_sat(options->threshold_ms, NS_PER_MS),
		.keeps = options->state_dir != NULL,
	};
	struct replay_store_fault fault;
	uint32_t sources[KEYRING_KEYS_MAX];
	int r = prng_entropy(replay.seed, sizeof(replay.seed));

	if (r == 0)
		r = prng_entropy(replay.hash_key, sizeof(replay.hash_key));
	if (r < 0) {
		log_error("no random bytes from the kernel: %s", strerror(-r));
		return r;
	}
	if (options->state_dir != NULL) {
		r = replay_store_open(options->state_dir, &n->store, &fault);
		if (r < 0)
			goto fail;
		memcpy(replay.hash_key, replay_store_hash_key(n->store),
		    sizeof(replay.hash_key));
	}
	r = replay_new(&replay, &n->replay);
	if (r < 0) {
		log_error("cannot make tables for %" PRIu32 " senders: %s",
		    replay.senders_max, strerror(-r));
		return r;
	}
	replay_use(n->replay, sources, keyring_sources(keys, sources));
	if (n->store == NULL)
		return 0;
	r = replay_store_start(n->store, n->replay, stats, now_ns, &fault);
	if (r == 0)
		return 0;
fail:
	log_error("--state-dir: %s", fault.text);
	return r;
}

static int
open_sealed(struct network *n, const struct options *options,
    struct keyring *keys, struct stats *stats, struct metrics_gauges *gauges,
    const struct network_clock *clock)
{
	struct sealed_in_options sealed = {
		.take = udp_in_take,
		.take_ctx = n->udp,
		.keys = keys,
		.stats = stats,
		.now_ns = clock->now_ns,
		.clock_ctx = clock->ctx,
		.senders = &gauges->sealed_senders,
		.sessions = &gauges->sealed_sessions,
	};
	int r = open_replay(n, options, keys, stats, clock->now_ns(clock->ctx));

	if (r < 0)
		return r;
	sealed.replay = n->replay;
	sealed.store = n->store;
	n->sealed = sealed_in_new(&sealed);
	if (n->sealed == NULL) {
		log_error("--udp-port: out of memory");
		return -ENOMEM;
	}
	gauges->sealed_senders = replay_senders(n->replay);
	gauges->sealed_sessions = replay_sessions(n->replay);
	gauges->sealed_sessions_max =
	    replay_sessions_max(options->udp_senders_max);
	tell_keys(keys);
	lock_keys(keys);
	if (options->state_dir == NULL)
		log_warn("--udp-port: without --state-dir sealed beats of "
			 "before a restart of this observer could be replayed "
			 "after it");
	return 0;
}

int
network_open(struct network *n, const struct options *options,
    struct keyring *keys, struct stats *stats, struct metrics_gauges *gauges,
    const struct network_clock *clock)
{
	int r;

	if (!options->udp_port.given)
		return 0;
	r = open_udp(n, options);
	if (r < 0)
		return r;
	n->is_vouched = keys != NULL
			    ? options->accept_recovery_on_secure_udp
			    : options->accept_recovery_on_plaintext_udp;
	if (keys != NULL)
		r = open_sealed(n, options, keys, stats, gauges, clock);
	if (r == 0)
		warn(n, options);
	return r;
}

void
network_close(struct network *n, uint64_t wait_ns)
{
	udp_in_close(n->udp);
	sealed_in_free(n->sealed);
	replay_store_close(n->store, wait_ns);
	replay_free(n->replay);
	*n = (struct network){ 0 };
}

void
network_set_keys(
    struct network *n, struct keyring *keys, struct keyring *last_given)
{
	if (n->sealed != NULL)
		sealed_in_set_keys(n->sealed, keys);
	keyring_free(last_given);
	if (n->sealed == NULL)
		return;
	tell_keys(keys);
	lock_keys(keys);
}

struct intake_source
network_source(const struct network *n)
{
	if (n->udp == NULL)
		return (struct intake_source){ 0 };
	return n->sealed != NULL ? sealed_in_source(n->sealed, n->is_vouched)
				 : udp_in_source(n->udp, n->is_vouched);
}

int
network_fd(const struct network *n)
{
	return n->udp != NULL ? udp_in_fd(n->udp) : -1;
}

const char *
network_address(const struct network *n)
{
	return n->udp != NULL ? udp_in_address(n->udp) : "";
}

uint32_t
network_queue_len(const struct network *n)
{
	return n->udp != NULL ? udp_in_queue_len(n->udp) : 0;
}
