/*
 * Systems that do not name the sender of a datagram on an unconnected socket:
 * OpenBSD, macOS (its socket options answer for connected peers only) and all
 * that are not known here. Descriptors can be slipped in on these as well.
 */
#include "watch/intake/credentials.h"

#include <sys/socket.h>

bool
credentials_attested(void)
{
	return false;
}

int
credentials_enable(int fd)
{
	(void)fd;
	return 0;
}

void
credentials_refuse_descriptors(int fd)
{
	(void)fd;
}

bool
credentials_take_plain(const uint8_t *control, size_t n, struct datagram *ret)
{
	(void)control;
	(void)ret;
	return n == 0;
}

void
credentials_take_record(const struct cmsg_record *record, struct datagram *ret)
{
	(void)record;
	(void)ret;
}

bool
credentials_is_descriptors(const struct cmsg_record *record)
{
	return record->level == SOL_SOCKET && record->type == SCM_RIGHTS;
}
