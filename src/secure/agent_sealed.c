/*
 * The transport of sealed agents. The rules of a beat are those of libvarta;
 * here a frame gets its IV, is sealed, and its IV is spent when it has been
 * sent.
 */
#include "secure/secure.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/util.h"
#include "secure/seal.h"
#include "secure/session.h"

struct sealed_agent {
	struct varta_agent agent;
	struct varta__udp udp;
	struct session session;
	/* The process that the session belongs to. libvarta looks for forks at
	 * the start of a beat; here it is seen again next to the sealing. */
	uint32_t generation;
	uint32_t pid;
	uint8_t key[SECRET_KEY_BYTES]; /* seals */
	/* A block of its own that cannot be read but while a key is derived;
	 * NULL: the key is a shared one. */
	uint8_t *master;
};

/* All that can fail in making a session. */
struct fresh {
	uint32_t generation;
	uint8_t salt[HKDF_SALT_BYTES];
};

static int
fresh_get(struct sealed_agent *s, struct fresh *ret)
{
	int r;

	/* First: a fork from here on is one that the session does not know. */
	ret->generation = varta__lineage_generation(&s->agent.lineage);
	r = secret_fresh(ret->salt, sizeof(ret->salt));
	if (r < 0)
		return r;
	if (s->master != NULL && sodium_mprotect_readonly(s->master) < 0)
		return -errno;
	return 0;
}

static void
fresh_put_back(struct sealed_agent *s)
{
	if (s->master != NULL)
		(void)sodium_mprotect_noaccess(s->master);
}

static void
fresh_use(struct sealed_agent *s, const struct fresh *f)
{
	bool is_other_process = f->generation != s->generation;

	s->pid = (uint32_t)getpid();
	if (is_other_process)
		secret_lock(s, sizeof(*s));
	if (is_other_process && s->master != NULL)
		secret_lock(s->master, SECRET_KEY_BYTES);
	if (s->master != NULL)
		hkdf_agent_key(s->master, s->pid, s->key);
	fresh_put_back(s);
	session_begin(&s->session, f->salt);
	s->generation = f->generation;
}

static int
begin_session(struct sealed_agent *s)
{
	struct fresh f;
	int r;

	r = fresh_get(s, &f);
	if (r == 0)
		fresh_use(s, &f);
	return r;
}

/* Is there an IV for the next frame that no other process will use? */
static inline bool
is_ready(struct sealed_agent *s)
{
	return varta__lineage_is(&s->agent.lineage, s->generation, s->pid) &&
	       session_prepare(&s->session);
}

static inline int
seal(const struct sealed_agent *s, const uint8_t *frame,
    uint8_t out[SEAL_MASTER_BYTES])
{
	if (s->master == NULL) {
		seal_shared(s->key, &s->session.iv, frame, out);
		return SEAL_SHARED_BYTES;
	}
	seal_master(s->key, s->pid, &s->session.iv, frame, out);
	return SEAL_MASTER_BYTES;
}

static int
sealed_send(void *transport, const uint8_t frame[VARTA_FRAME_BYTES])
{
	struct sealed_agent *s = transport;
	uint8_t wire[SEAL_MASTER_BYTES];
	int n, r;

	if (unlikely(!is_ready(s))) {
		r = begin_session(s);
		if (r < 0)
			return r;
	}
	n = seal(s, frame, wire);
	r = varta__udp_send(&s->udp, wire, (size_t)n);
	if (unlikely(r != n))
		return r < 0 ? r : 0;
	session_commit(&s->session);
	return VARTA_FRAME_BYTES;
}

static int
sealed_reconnect(void *transport)
{
	struct sealed_agent *s = transport;
	struct fresh f;
	int r;

	r = fresh_get(s, &f);
	if (r < 0)
		return r;
	r = varta__udp_reconnect(&s->udp);
	if (r < 0) {
		fresh_put_back(s);
		return r;
	}
	fresh_use(s, &f);
	return 0;
}

static void
sealed_disconnect(void *transport)
{
	struct sealed_agent *s = transport;

	varta__udp_close(&s->udp);
}

static void
sealed_free(void *transport)
{
	struct sealed_agent *s = transport;

	varta__udp_close(&s->udp);
	secret_free(s->master);
	secret_free(s);
}

static const struct varta__transport_ops sealed_ops = {
	.send = sealed_send,
	.reconnect = sealed_reconnect,
	.disconnect = sealed_disconnect,
	.free = sealed_free,
	.is_connectionless = true,
};

/* The key goes to where it stays. */
static int
keep_key(struct sealed_agent *s, const uint8_t *key, enum secret_use use)
{
	if (use != SECRET_MASTER) {
		memcpy(s->key, key, SECRET_KEY_BYTES);
		return 0;
	}
	s->master = secret_new(SECRET_KEY_BYTES);
	if (s->master == NULL)
		return -ENOMEM;
	memcpy(s->master, key, SECRET_KEY_BYTES);
	return sodium_mprotect_noaccess(s->master) < 0 ? -errno : 0;
}

static int
open_agent(const char *address, const uint8_t *key, enum secret_use use,
    struct varta_agent **ret_agent)
{
	struct varta__endpoint endpoint;
	struct varta__lineage lineage;
	struct sealed_agent *s;
	int r;

	r = secure_start(address, key, &endpoint);
	if (r < 0)
		return r;
	r = varta__lineage_open(&lineage);
	if (r < 0)
		return r;

	s = secret_new(sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	varta__agent_init(&s->agent, &sealed_ops, s, &lineage);
	s->udp.fd = -1;
	r = keep_key(s, key, use);
	if (r == 0)
		r = begin_session(s);
	if (r == 0)
		r = varta__udp_open(&s->udp, &endpoint);
	if (r < 0) {
		sealed_free(s);
		return r;
	}
	*ret_agent = &s->agent;
	return 0;
}

static int
open_agent_file(const char *address, const char *path, enum secret_use use,
    struct varta_agent **ret_agent)
{
	struct secret_keys *keys;
	int r;

	r = secure_read_key(path, use, &keys);
	if (r < 0)
		return r;
	r = open_agent(address, keys->keys[0], use, ret_agent);
	secret_free(keys);
	return r;
}

int
varta_secure_open_shared(const char *address,
    const uint8_t key[VARTA_SECURE_KEY_BYTES], struct varta_agent **ret_agent)
{
	return open_agent(address, key, SECRET_SHARED, ret_agent);
}

int
varta_secure_open_master(const char *address,
    const uint8_t master[VARTA_SECURE_KEY_BYTES],
    struct varta_agent **ret_agent)
{
	return open_agent(address, master, SECRET_MASTER, ret_agent);
}

int
varta_secure_open_shared_file(
    const char *address, const char *path, struct varta_agent **ret_agent)
{
	return open_agent_file(address, path, SECRET_SHARED, ret_agent);
}

int
varta_secure_open_master_file(
    const char *address, const char *path, struct varta_agent **ret_agent)
{
	return open_agent_file(address, path, SECRET_MASTER, ret_agent);
}
