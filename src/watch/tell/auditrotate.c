#include "watch/tell/auditrotate.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

int
auditrotate_next(const char *path, char ret[static PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s.next", path);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The name of a generation; number 0 is the file itself. */
static int
generation(const char *path, unsigned number, char ret[static PATH_MAX])
{
	int n;

	if (number == 0)
		n = snprintf(ret, PATH_MAX, "%s", path);
	else
		n = snprintf(ret, PATH_MAX, "%s.%u", path, number);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* 1: there is such a file, 0: there is none, or an error. */
static int
exists(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

/* The first free number, or keep. */
static int
find_free(const char *path, unsigned keep, unsigned *ret)
{
	char name[PATH_MAX];
	unsigned number;
	int r;

	for (number = 1; number < keep; number++) {
		r = generation(path, number, name);
		if (r == 0)
			r = exists(name);
		if (r < 0)
			return r;
		if (r == 0)
			break;
	}
	*ret = number;
	return 0;
}

int
auditrotate_shift(const char *path, unsigned keep)
{
	char from[PATH_MAX], to[PATH_MAX];
	unsigned number;
	int r;

	r = find_free(path, keep, &number);
	for (; r == 0 && number > 0; number--) {
		r = generation(path, number - 1, from);
		if (r == 0)
			r = generation(path, number, to);
		if (r == 0 && rename(from, to) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

int
auditrotate_name(const char *path)
{
	char next[PATH_MAX];
	int r;

	r = auditrotate_next(path, next);
	if (r < 0)
		return r;
	return rename(next, path) < 0 ? -errno : 0;
}

int
auditrotate_settle(const char *path)
{
	int r = exists(path);

	if (r != 0)
		return r < 0 ? r : 0;
	r = auditrotate_name(path);
	if (r == 0)
		r = file_sync_parent(path);
	return r == -ENOENT ? 0 : r;
}

int
auditrotate_clean(const char *path)
{
	char next[PATH_MAX];
	int r;

	r = auditrotate_next(path, next);
	if (r < 0)
		return r;
	return unlink(next) < 0 && errno != ENOENT ? -errno : 0;
}
