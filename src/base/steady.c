#include "base/steady.h"

#include "base/util.h"

uint64_t
steady_now_ns(struct steady *s, uint64_t read_ns)
{
	s->n_back += read_ns < s->read_ns;
	s->read_ns = read_ns;
	s->now_ns = u64_max(s->now_ns, read_ns);
	return s->now_ns;
}
