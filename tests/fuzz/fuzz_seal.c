/*
 * Nothing that a stranger sends opens; what we seal opens to what it was; one
 * changed bit spoils it; and derivations differ where their inputs do.
 *
 * Input: a byte of mode, then what that takes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/bytes.h"
#include "secure/hkdf.h"
#include "secure/seal.h"

enum { ROOM = 8 + 32 + 32 + 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int holds)
{
	if (!holds)
		abort();
}

/* A datagram from outside, of any length that is taken. */
static void
open_foreign(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[SEAL_PLAIN_BYTES];
	uint8_t key[HKDF_KEY_BYTES] = { 1 }, plain[SEAL_PLAIN_BYTES];
	struct seal_iv iv;
	uint32_t pid;

	if (size == SEAL_SHARED_BYTES) {
		seal_shared_iv(data, &iv);
		check(!seal_open_shared(key, data, plain));
		check(memcmp(plain, zeros, sizeof(plain)) == 0);
	} else if (size == SEAL_MASTER_BYTES) {
		seal_master_iv(data, &pid, &iv);
		hkdf_agent_key(key, pid, key);
		check(!seal_open_master(key, data, plain));
		check(memcmp(plain, zeros, sizeof(plain)) == 0);
	}
}

static void
seal_and_open(const uint8_t *data)
{
	uint8_t wire[SEAL_MASTER_BYTES], back[SEAL_PLAIN_BYTES];
	const uint8_t *key = data + 8, *plain = data + 40;
	uint32_t pid = load_le32(data), spoilt = load_le32(data + 4);
	struct seal_iv iv, clear;
	uint32_t clear_pid;

	memcpy(iv.random, data + 72, sizeof(iv.random));
	iv.counter = load_le32(data + 80);
	seal_shared(key, &iv, plain, wire);
	check(seal_open_shared(key, wire, back));
	check(memcmp(back, plain, sizeof(back)) == 0);
	seal_shared_iv(wire, &clear);
	check(clear.counter == iv.counter);
	wire[spoilt / 8 % SEAL_SHARED_BYTES] ^= (uint8_t)(1 << spoilt % 8);
	check(!seal_open_shared(key, wire, back));

	seal_master(key, pid, &iv, plain, wire);
	check(seal_open_master(key, wire, back));
	check(memcmp(back, plain, sizeof(back)) == 0);
	seal_master_iv(wire, &clear_pid, &clear);
	check(clear_pid == pid && clear.counter == iv.counter);
	wire[spoilt / 8 % SEAL_MASTER_BYTES] ^= (uint8_t)(1 << spoilt % 8);
	check(!seal_open_master(key, wire, back));
}

static void
derive(const uint8_t *data)
{
	uint8_t a[HKDF_KEY_BYTES], b[HKDF_KEY_BYTES], p[8], q[8];
	uint32_t x = load_le32(data);

	hkdf_agent_key(data + 8, x, a);
	hkdf_agent_key(data + 8, x, b);
	check(memcmp(a, b, sizeof(a)) == 0);
	hkdf_agent_key(data + 8, x + 1, b);
	check(memcmp(a, b, sizeof(a)) != 0);
	check(memcmp(a, data + 8, sizeof(a)) != 0);
	hkdf_epoch_key(data + 8, load_le64(data), b);
	check(memcmp(a, b, sizeof(a)) != 0);
	hkdf_iv_prefix(data + 8, x, p);
	hkdf_iv_prefix(data + 8, x + 1, q);
	check(memcmp(p, q, sizeof(p)) != 0);
	hkdf_panic_iv_prefix(data + 8, x, load_le64(data), x, q);
	check(memcmp(p, q, sizeof(p)) != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t room[ROOM] = { 0 };

	if (sodium_init() < 0 || size == 0)
		return 0;
	memcpy(room, data + 1, size - 1 < ROOM ? size - 1 : ROOM);
	switch (data[0] % 3) {
	case 0:
		open_foreign(data + 1, size - 1);
		break;
	case 1:
		seal_and_open(room);
		break;
	default:
		derive(room);
		break;
	}
	return 0;
}
