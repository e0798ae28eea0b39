#include "reader.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONTROL_BYTES = CMSG_SPACE(sizeof(struct ucred)) };

struct slot {
	struct iovec iov;
	uint8_t bytes[SUPPORT_FRAME_BYTES + 1];
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
};

int
reader_socket(const struct sockaddr_un *address)
{
	const int on = 1;
	int fd;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		support_die("socket: %s", strerror(errno));
	(void)unlink(address->sun_path);
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		support_die("%s: %s", address->sun_path, strerror(errno));
	return fd;
}

static void
prepare(struct slot *slot, struct msghdr *header)
{
	slot->iov.iov_base = slot->bytes;
	slot->iov.iov_len = sizeof(slot->bytes);
	*header = (struct msghdr){
		.msg_iov = &slot->iov,
		.msg_iovlen = 1,
		.msg_control = slot->control,
		.msg_controllen = sizeof(slot->control),
	};
}

/* Counted in a plain store: there is one writer. */
static void
count(uint64_t *frames, uint64_t n)
{
	__atomic_store_n(frames, *frames + n, __ATOMIC_RELAXED);
}

static _Noreturn void
read_single(int fd, bool polled, uint64_t *frames)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	struct msghdr header;
	struct slot slot;

	prepare(&slot, &header);
	for (;;) {
		if (polled && poll(&ready, 1, -1) < 0)
			support_die("poll: %s", strerror(errno));
		header.msg_controllen = sizeof(slot.control);
		if (recvmsg(fd, &header, 0) < 0)
			support_die("recvmsg: %s", strerror(errno));
		count(frames, 1);
	}
}

static _Noreturn void
read_batched(int fd, uint64_t *frames)
{
	struct mmsghdr headers[SUPPORT_BATCH];
	struct slot slots[SUPPORT_BATCH];
	size_t i;
	int n;

	for (i = 0; i < SUPPORT_BATCH; i++)
		prepare(&slots[i], &headers[i].msg_hdr);
	for (;;) {
		n = recvmmsg(fd, headers, SUPPORT_BATCH, MSG_DONTWAIT, NULL);
		if (n < 0 && errno != EAGAIN)
			support_die("recvmmsg: %s", strerror(errno));
		if (n < 0) {
			support_sleep_ms(1);
			continue;
		}
		for (i = 0; i < (size_t)n; i++)
			headers[i].msg_hdr.msg_controllen = CONTROL_BYTES;
		count(frames, (uint64_t)n);
	}
}

void
reader_start(enum reader_kind kind, int cpu, const struct sockaddr_un *address,
    struct reader *ret)
{
	int fd;

	fd = reader_socket(address);
	ret->frames = support_shared(sizeof(*ret->frames));
	ret->pid = support_fork(cpu);
	if (ret->pid == 0) {
		if (kind == READER_BATCHED)
			read_batched(fd, ret->frames);
		read_single(fd, kind == READER_POLLED, ret->frames);
	}
	(void)close(fd);
}

uint64_t
reader_frames(const struct reader *r)
{
	return __atomic_load_n(r->frames, __ATOMIC_RELAXED);
}

void
reader_stop(struct reader *r)
{
	support_kill(r->pid);
	r->pid = -1;
}
