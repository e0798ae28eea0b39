/*
 * FreeBSD, DragonFly and NetBSD: three options and three layouts for the same
 * answer. The effective ids are taken, as on Linux.
 */
#include "watch/intake/credentials.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Level of the local domain's options; not all headers name it. */
#ifndef SOL_LOCAL
#define SOL_LOCAL 0
#endif

#if defined(__FreeBSD__)

/* Plain LOCAL_CREDS brings no pid. */
#define OPTION_LEVEL SOL_LOCAL
#define OPTION_NAME LOCAL_CREDS_PERSISTENT
#define RECORD_TYPE SCM_CREDS2
#define RECORD_STRUCT sockcred2
#define RECORD_PID sc_pid
#define RECORD_UID sc_euid
#define RECORD_GID sc_egid

#elif defined(__DragonFly__)

#define OPTION_LEVEL SOL_SOCKET
#define OPTION_NAME SO_PASSCRED
#define RECORD_TYPE SCM_CREDS
#define RECORD_STRUCT cmsgcred
#define RECORD_PID cmcred_pid
#define RECORD_UID cmcred_euid
#define RECORD_GID cmcred_gid

#else /* NetBSD */

#define OPTION_LEVEL SOL_LOCAL
#define OPTION_NAME LOCAL_CREDS
#define RECORD_TYPE SCM_CREDS
#define RECORD_STRUCT sockcred
#define RECORD_PID sc_pid
#define RECORD_UID sc_euid
#define RECORD_GID sc_egid

#endif

bool
credentials_attested(void)
{
	return true;
}

int
credentials_enable(int fd)
{
	const int on = 1;

	if (setsockopt(fd, OPTION_LEVEL, OPTION_NAME, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

/* The length of a record goes with the number of the sender's groups: there
 * is no one layout to look for, and the walk finds it at once. */
void
credentials_refuse_descriptors(int fd)
{
	(void)fd;
}

bool
credentials_take_plain(const uint8_t *control, size_t n, struct datagram *ret)
{
	(void)control;
	(void)n;
	(void)ret;
	return false;
}

void
credentials_take_record(const struct cmsg_record *record, struct datagram *ret)
{
	struct RECORD_STRUCT sender;

	/* A sender without groups has one array element less than the struct;
	 * the fields read here come before it. */
	if (record->level != SOL_SOCKET || record->type != RECORD_TYPE ||
	    record->len < offsetof(struct RECORD_STRUCT, RECORD_GID) +
			      sizeof(sender.RECORD_GID))
		return;
	memset(&sender, 0, sizeof(sender));
	memcpy(&sender, record->data,
	    record->len < sizeof(sender) ? record->len : sizeof(sender));
	ret->pid = (uint32_t)sender.RECORD_PID;
	ret->uid = sender.RECORD_UID;
	ret->gid = sender.RECORD_GID;
	ret->flags |= DATAGRAM_HAS_CREDENTIALS;
}

bool
credentials_is_descriptors(const struct cmsg_record *record)
{
	return record->level == SOL_SOCKET && record->type == SCM_RIGHTS;
}
