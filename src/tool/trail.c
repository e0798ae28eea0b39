#include "tool/trail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

static int
name_file(struct trail_file *f, const char *path, unsigned generation)
{
	int n;

	f->fd = -1;
	if (generation == 0)
		n = snprintf(f->name, sizeof(f->name), "%s", path);
	else
		n = snprintf(
		    f->name, sizeof(f->name), "%s.%u", path, generation);
	return n < 0 || (size_t)n >= sizeof(f->name) ? -ENAMETOOLONG : 0;
}

static int
open_file(struct trail_file *f)
{
	struct stat st;
	int r;

	f->fd = open(f->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (f->fd < 0)
		return -errno;
	if (fstat(f->fd, &st) < 0) {
		r = -errno;
		fd_close(&f->fd);
		return r;
	}
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return 0;
}

static bool
is_same(const struct trail_file *a, const struct trail_file *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static void
reverse(struct trail_file *files, size_t n)
{
	size_t i;

	for (i = 0; i < n / 2; i++) {
		struct trail_file swap = files[i];

		files[i] = files[n - 1 - i];
		files[n - 1 - i] = swap;
	}
}

int
trail_open(const char *path, struct trail *ret, const char **ret_name)
{
	struct trail t = { .files = calloc(
			       TRAIL_GENERATIONS + 1, sizeof(*t.files)) };
	unsigned generation;
	int r = t.files == NULL ? -ENOMEM : 0;

	*ret_name = path;
	for (generation = 0; r == 0 && generation <= TRAIL_GENERATIONS;
	     generation++) {
		struct trail_file *f = &t.files[t.n];

		r = name_file(f, path, generation);
		if (r == 0)
			r = open_file(f);
		/* A generation may be missing; the chain will tell whether it
		 * should not be. */
		if (r == -ENOENT && generation > 0)
			r = 0;
		else if (r == 0 && t.n > 0 && is_same(f, f - 1))
			fd_close(&f->fd);
		else if (r == 0)
			t.n++;
	}
	if (r < 0) {
		trail_close(&t);
		return r;
	}
	reverse(t.files, t.n);
	*ret = t;
	return 0;
}

int
trail_open_named(
    char *const names[], size_t n, struct trail *ret, const char **ret_name)
{
	struct trail t = { .files = calloc(n, sizeof(*t.files)) };
	int r = t.files == NULL ? -ENOMEM : 0;

	for (; r == 0 && t.n < n; t.n++) {
		*ret_name = names[t.n];
		r = name_file(&t.files[t.n], names[t.n], 0);
	}
	if (r < 0) {
		trail_close(&t);
		return r;
	}
	*ret = t;
	return 0;
}

int
trail_read(struct trail *t, size_t i,
    void (*take)(void *ctx, const char *bytes, size_t n), void *ctx)
{
	static char bytes[65536];
	struct trail_file *f = &t->files[i];
	ssize_t n;
	int r = 0;

	if (f->fd < 0)
		r = open_file(f);
	while (r == 0) {
		n = read(f->fd, bytes, sizeof(bytes));
		if (n > 0)
			take(ctx, bytes, (size_t)n);
		else if (n == 0)
			break;
		else if (errno != EINTR)
			r = -errno;
	}
	fd_close(&f->fd);
	return r;
}

void
trail_close(struct trail *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		fd_close(&t->files[i].fd);
	free(t->files);
	t->files = NULL;
	t->n = 0;
}
