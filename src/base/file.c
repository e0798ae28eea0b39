#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* Without blocking: a FIFO in place of the file must not stop us. */
static const int safe_flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

/* Times that a file may vanish between "it is there" and "open it". */
enum { OPEN_TRIES = 4 };

__attribute__((format(printf, 3, 4))) static int
refuse(struct file_fault *fault, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* Every text here is short; a cut one would still be a good hint. */
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return error;
}

static int
refuse_errno(struct file_fault *fault, const char *doing, int error)
{
	return refuse(fault, error, "cannot %s: %s", doing, strerror(-error));
}

/* A failed open in the words of our rules; open(2) has several for each. */
static int
refuse_open(struct file_fault *fault, int error)
{
	switch (error) {
	case -ELOOP:
	case -EMLINK: /* FreeBSD for a link and O_NOFOLLOW */
		return refuse(fault, -ELOOP, "symbolic link, not followed");
	case -EISDIR:
	case -ENXIO: /* a socket */
		return refuse(fault, -EINVAL, "not a regular file");
	default:
		return refuse_errno(fault, "open", error);
	}
}

static int
check_regular_and_ours(int fd, struct stat *st, struct file_fault *fault)
{
	if (fstat(fd, st) < 0)
		return refuse_errno(fault, "look at it", -errno);
	if (!S_ISREG(st->st_mode))
		return refuse(fault, -EINVAL, "not a regular file");
	if (st->st_uid != geteuid())
		return refuse(fault, -EACCES, "owned by uid %lu, need uid %lu",
		    (unsigned long)st->st_uid, (unsigned long)geteuid());
	return 0;
}

ssize_t
file_read_secret(
    const char *path, char *buf, size_t size, struct file_fault *fault)
{
	struct stat st;
	ssize_t r;
	int fd;

	assert(size >= 1);
	fd = open(path, O_RDONLY | safe_flags);
	if (fd < 0)
		return refuse_open(fault, -errno);

	r = check_regular_and_ours(fd, &st, fault);
	if (r < 0)
		goto done;
	if ((st.st_mode & 077) != 0) {
		r = refuse(fault, -EACCES, "mode 0%03o, need 0600",
		    (unsigned)st.st_mode & 07777);
		goto done;
	}

	r = fd_read_full(fd, buf, size);
	if (r < 0)
		r = refuse_errno(fault, "read", (int)r);
	else if ((size_t)r == size)
		r = refuse(fault, -EINVAL, "larger than %zu bytes", size - 1);
	if (r < 0)
		explicit_bzero(buf, size);
	else
		buf[r] = '\0';

done:
	fd_close(&fd);
	return r;
}

/* Create path or open what is there. The descriptor or -errno. */
static int
create_or_open(const char *path, bool *ret_created)
{
	/* Readable as well: a FIFO then opens and is seen for what it is. */
	const int flags = O_RDWR | O_APPEND | safe_flags;
	int i, fd;

	for (i = 0; i < OPEN_TRIES; i++) {
		fd = open(path, flags | O_CREAT | O_EXCL, 0600);
		*ret_created = fd >= 0;
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			return -errno;
		fd = open(path, flags);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			return -errno;
	}
	return -ENOENT;
}

/* As the two functions below; *ret_created says whether it was not there. */
static int
open_append(
    const char *path, int *ret_fd, bool *ret_created, struct file_fault *fault)
{
	struct stat st;
	int fd, r = 0;

	fd = create_or_open(path, ret_created);
	if (fd < 0)
		return refuse_open(fault, fd);
	if (!*ret_created)
		r = check_regular_and_ours(fd, &st, fault);
	if (!*ret_created && r == 0 && st.st_nlink != 1)
		r = refuse(fault, -EACCES, "%lu hard links, need 1",
		    (unsigned long)st.st_nlink);
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int
file_open_append(const char *path, int *ret_fd, struct file_fault *fault)
{
	bool created;
	int fd, r;

	r = open_append(path, &fd, &created, fault);
	if (r < 0)
		return r;
	if (created)
		r = file_sync_parent(path);
	if (r < 0) {
		fd_close(&fd);
		return refuse_errno(fault, "sync its folder", r);
	}
	*ret_fd = fd;
	return 0;
}

int
file_open_append_unsynced(
    const char *path, int *ret_fd, struct file_fault *fault)
{
	bool created;

	return open_append(path, ret_fd, &created, fault);
}

/*
 * Open the folder of path; *ret_leaf points at the last part of path. The
 * descriptor or -errno.
 */
static int
open_parent(const char *path, const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');
	const char *leaf = slash == NULL ? path : slash + 1;
	char folder[PATH_MAX];
	size_t n;
	int fd;

	if (*leaf == '\0')
		return -EINVAL;
	/* The slash stays in, so that the folder of "/x" is "/". */
	n = (size_t)(leaf - path);
	if (n >= sizeof(folder))
		return -ENAMETOOLONG;
	if (n > 0)
		memcpy(folder, path, n);
	else
		folder[n++] = '.';
	folder[n] = '\0';

	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_leaf = leaf;
	return fd;
}

int
file_open_parent(const char *path, int *ret_fd)
{
	const char *leaf;
	int fd = open_parent(path, &leaf);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int
file_sync_parent(const char *path)
{
	const char *leaf;
	int fd, r;

	fd = open_parent(path, &leaf);
	if (fd < 0)
		return fd;
	do
		r = fsync(fd) < 0 ? -errno : 0;
	while (r == -EINTR);
	fd_close(&fd);

	/* A file system that syncs no folders (FUSE, 9p): nothing to do. */
	return r == -EINVAL ? 0 : r;
}

/* The name of a generation; number 0 is the file itself. 0 or -errno. */
static int
generation_name(
    const char *leaf, unsigned number, char ret[static NAME_MAX + 1])
{
	int n;

	if (number == 0)
		n = snprintf(ret, NAME_MAX + 1, "%s", leaf);
	else
		n = snprintf(ret, NAME_MAX + 1, "%s.%u", leaf, number);
	return n < 0 || n > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* Rename generation number to the next one. A missing one is no error. */
static int
shift(int folder_fd, const char *leaf, unsigned number)
{
	char from[NAME_MAX + 1], to[NAME_MAX + 1];
	int r;

	r = generation_name(leaf, number, from);
	if (r < 0)
		return r;
	r = generation_name(leaf, number + 1, to);
	if (r < 0)
		return r;
	if (renameat(folder_fd, from, folder_fd, to) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int
file_rotate(const char *path, unsigned keep)
{
	char oldest[NAME_MAX + 1];
	const char *leaf;
	unsigned number;
	int fd, r;

	if (keep == 0)
		return -EINVAL;
	fd = open_parent(path, &leaf);
	if (fd < 0)
		return fd;

	r = generation_name(leaf, keep, oldest);
	if (r == 0 && unlinkat(fd, oldest, 0) < 0 && errno != ENOENT)
		r = -errno;
	/* Stops at a failure: going on would write over a generation. */
	for (number = keep; r == 0 && number-- > 0;)
		r = shift(fd, leaf, number);

	fd_close(&fd);
	return r;
}
