/*
 * Make a chosen call of a function fail. In the test:
 *
 *	FAULT(int, -1, fsync, (int fd), (fd))
 *	...
 *	fault_nth(&fault_fsync, 2, EIO);   the second call from now on fails
 *	fault_always(&fault_fsync, EIO);   all of them do
 *	fault_off(&fault_fsync);
 *
 * and in tests/meson.build 'link_args': [wrap + 'fsync']. Functions on files
 * are wrapped under their 64-bit names (open64, fstat64): that is what the
 * build makes of them.
 */
#ifndef SUPPORT_FAULT_H
#define SUPPORT_FAULT_H

#include <errno.h>
#include <stdbool.h>

struct fault {
	unsigned countdown; /* 0 off, 1 the next call */
	bool always;
	int error;
	unsigned calls; /* in all, failed ones included */
};

static inline void
fault_nth(struct fault *f, unsigned nth, int error)
{
	*f = (struct fault){ .countdown = nth, .error = error };
}

static inline void
fault_always(struct fault *f, int error)
{
	*f = (struct fault){ .always = true, .error = error };
}

static inline void
fault_off(struct fault *f)
{
	*f = (struct fault){ 0 };
}

/* True when this call is to fail; errno is then set. */
static inline bool
fault_hits(struct fault *f)
{
	f->calls++;
	if (!f->always && (f->countdown == 0 || --f->countdown > 0))
		return false;
	errno = f->error;
	return true;
}

#define FAULT(type, failed, name, params, args)                                \
	type __real_##name params;                                             \
	type __wrap_##name params;                                             \
	static struct fault fault_##name;                                      \
	type __wrap_##name params                                              \
	{                                                                      \
		if (fault_hits(&fault_##name))                                 \
			return failed;                                         \
		return __real_##name args;                                     \
	}

/* The same for a function that returns its error. */
#define FAULT_ERROR(name, params, args)                                        \
	FAULT(int, fault_##name.error, name, params, args)

#endif
