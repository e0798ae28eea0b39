/*
 * A folder of a test's own, removed with all that is in it. Works as setup and
 * teardown of a cmocka group or test; *state is then the folder.
 */
#ifndef SUPPORT_TMPDIR_H
#define SUPPORT_TMPDIR_H

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TMPDIR_PATHS = 8 };

struct tmpdir {
	char path[64];
	char paths[TMPDIR_PATHS][128]; /* what tmpdir_path() gave last */
	unsigned next;
};

static inline void
tmpdir_init(struct tmpdir *t)
{
	char *made;

	memset(t, 0, sizeof(*t));
	/* Short, so that a socket's address fits in 108 bytes. */
	(void)snprintf(t->path, sizeof(t->path), "/tmp/varta-test-XXXXXX");
	made = mkdtemp(t->path);
	assert(made != NULL);
	(void)made;
}

static inline int
tmpdir_remove_one(
    const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void
tmpdir_fini(struct tmpdir *t)
{
	(void)nftw(t->path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of name in the folder; good for the next few calls. */
static inline const char *
tmpdir_path(struct tmpdir *t, const char *name)
{
	char *path = t->paths[t->next++ % TMPDIR_PATHS];
	size_t folder_len = strlen(t->path), name_len = strlen(name);

	assert(folder_len + 1 + name_len < sizeof(t->paths[0]));
	memcpy(path, t->path, folder_len);
	path[folder_len] = '/';
	memcpy(path + folder_len + 1, name, name_len + 1);
	return path;
}

static inline int
tmpdir_setup(void **state)
{
	struct tmpdir *t = malloc(sizeof(*t));

	if (t == NULL)
		return -1;
	tmpdir_init(t);
	*state = t;
	return 0;
}

static inline int
tmpdir_teardown(void **state)
{
	tmpdir_fini(*state);
	free(*state);
	return 0;
}

#endif
