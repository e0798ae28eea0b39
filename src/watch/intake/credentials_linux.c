/* Linux: SO_PASSCRED, and one SCM_CREDENTIALS record for each datagram. */
#include "watch/intake/credentials.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Linux 6.5; the headers of older systems do not have it. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
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

	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

void
credentials_refuse_descriptors(int fd)
{
	const int off = 0;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

static void
take(const uint8_t *data, struct datagram *ret)
{
	struct ucred sender;

	memcpy(&sender, data, sizeof(sender));
	ret->pid = (uint32_t)sender.pid;
	ret->uid = sender.uid;
	ret->gid = sender.gid;
	ret->flags |= DATAGRAM_HAS_CREDENTIALS;
}

bool
credentials_take_plain(const uint8_t *control, size_t n, struct datagram *ret)
{
	struct cmsghdr header;

	if (n != CMSG_SPACE(sizeof(struct ucred)))
		return false;
	memcpy(&header, control, sizeof(header));
	if (header.cmsg_len != CMSG_LEN(sizeof(struct ucred)) ||
	    header.cmsg_level != SOL_SOCKET ||
	    header.cmsg_type != SCM_CREDENTIALS)
		return false;
	take(control + CMSG_LEN(0), ret);
	return true;
}

void
credentials_take_record(const struct cmsg_record *record, struct datagram *ret)
{
	if (record->level == SOL_SOCKET && record->type == SCM_CREDENTIALS &&
	    record->len >= sizeof(struct ucred))
		take(record->data, ret);
}

bool
credentials_is_descriptors(const struct cmsg_record *record)
{
	return record->level == SOL_SOCKET &&
	       (record->type == SCM_RIGHTS || record->type == SCM_PIDFD);
}
