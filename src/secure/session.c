#include "secure/session.h"

#include <string.h>

void
session_begin(struct session *s, const uint8_t salt[static 16])
{
	memcpy(s->salt, salt, sizeof(s->salt));
	s->prefix_index = 0;
	hkdf_iv_prefix(s->salt, s->prefix_index, s->iv.random);
	s->iv.counter = 0;
}

bool
session_next_prefix(struct session *s)
{
	if (s->prefix_index == UINT32_MAX)
		return false;
	s->prefix_index++;
	hkdf_iv_prefix(s->salt, s->prefix_index, s->iv.random);
	s->iv.counter = 0;
	return true;
}
