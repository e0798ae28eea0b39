/*
 * A folder with room for a socket of the intake, for tests of opening it: each
 * test ends with as many open descriptors as it began with.
 */
#ifndef SUPPORT_UNIXROOM_H
#define SUPPORT_UNIXROOM_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/dgram.h"
#include "support/tmpdir.h"
#include "watch/intake/unix_in.h"

struct unixroom {
	struct tmpdir dir;
	char path[128];
	int fds_before;
	struct unix_in *u;
	struct unix_in_facts facts;
	struct unix_in_fault fault;
};

static inline void
unixroom_init(struct unixroom *room)
{
	int n;

	memset(room, 0, sizeof(*room));
	tmpdir_init(&room->dir);
	n = snprintf(room->path, sizeof(room->path), "%s/sock", room->dir.path);
	assert_in_range(n, 1, sizeof(room->path) - 1);
	room->fds_before = dgram_count_fds();
}

static inline void
unixroom_close(struct unixroom *room)
{
	unix_in_close(room->u);
	room->u = NULL;
}

/* -1 when descriptors are left over. */
static inline int
unixroom_fini(struct unixroom *room)
{
	unixroom_close(room);
	tmpdir_fini(&room->dir);
	return dgram_count_fds() == room->fds_before ? 0 : -1;
}

static inline int
unixroom_open_with(struct unixroom *room, const char *path, uint32_t mode)
{
	const struct unix_in_options options = {
		.path = path,
		.mode = mode,
		.rcvbuf_bytes = 65536,
	};

	return unix_in_open(&options, &room->u, &room->facts, &room->fault);
}

static inline int
unixroom_open(struct unixroom *room)
{
	return unixroom_open_with(room, room->path, 0600);
}

static inline void
unixroom_assert_fault(const struct unixroom *room, const char *words)
{
	if (strstr(room->fault.text, words) == NULL)
		fail_msg("'%s' is not in: %s", words, room->fault.text);
}

/* Is anything of this name there, be it a link to nowhere? */
static inline bool
unixroom_exists(const char *path)
{
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline void
unixroom_make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

/* A socket file with nobody behind it. */
static inline void
unixroom_leave_stale(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, path, strlen(path) + 1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	(void)close(fd);
}

static inline void
unixroom_needs_root(void)
{
	if (geteuid() != 0) {
		print_message("# needs root, to act as another user\n");
		skip();
	}
}

#endif
