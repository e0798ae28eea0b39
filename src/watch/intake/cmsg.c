#include "watch/intake/cmsg.h"

#include <string.h>
#include <sys/socket.h>

void
cmsg_walk_init(struct cmsg_walk *w, const uint8_t *bytes, size_t n)
{
	w->bytes = bytes;
	w->left = n;
}

bool
cmsg_walk_next(struct cmsg_walk *w, struct cmsg_record *ret)
{
	const size_t head = CMSG_LEN(0);
	struct cmsghdr header;
	size_t len, step;

	if (w->left < head)
		return false;

	memcpy(&header, w->bytes, sizeof(header));
	len = (size_t)header.cmsg_len;
	if (len < head) {
		w->left = 0;
		return false;
	}
	if (len > w->left)
		len = w->left;

	ret->level = header.cmsg_level;
	ret->type = header.cmsg_type;
	ret->data = w->bytes + head;
	ret->len = len - head;

	/* The last record need not be padded. */
	step = CMSG_SPACE(ret->len);
	if (step >= w->left) {
		w->left = 0;
	} else {
		w->bytes += step;
		w->left -= step;
	}
	return true;
}
