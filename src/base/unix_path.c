#include "base/unix_path.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

int
unix_path_refuse(char fault[static UNIX_PATH_FAULT_BYTES], const char *path,
    int error, const char *format, ...)
{
	char reason[128];
	va_list args;

	va_start(args, format);
	/* Cut off, it still says what is wrong. */
	(void)vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	(void)snprintf(
	    fault, UNIX_PATH_FAULT_BYTES, "socket '%.110s': %s", path, reason);
	return error;
}

/* The folder of path, without the slashes at its end: with one of them
 * lstat(2) would follow a link. */
static void
folder_of(const char *path, char *ret)
{
	size_t len = strlen(path);

	memcpy(ret, path, len + 1);
	while (len > 0 && ret[len - 1] != '/')
		len--;
	if (len == 0) {
		memcpy(ret, ".", 2);
		return;
	}
	while (len > 1 && ret[len - 1] == '/')
		len--;
	ret[len] = '\0';
}

static int
check_folder(const char *path, char fault[static UNIX_PATH_FAULT_BYTES])
{
	char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat st;
	int error;

	folder_of(path, folder);
	if (lstat(folder, &st) < 0) {
		error = -errno;
		return unix_path_refuse(
		    fault, path, error, "its folder: %s", strerror(-error));
	}
	if (S_ISLNK(st.st_mode))
		return unix_path_refuse(
		    fault, path, -EINVAL, "its folder is a symbolic link");
	if (!S_ISDIR(st.st_mode))
		return unix_path_refuse(
		    fault, path, -EINVAL, "its folder is not a folder");
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return unix_path_refuse(fault, path, -EACCES,
		    "its folder belongs to uid %lu, need %lu or 0",
		    (unsigned long)st.st_uid, (unsigned long)geteuid());
	if ((st.st_mode & 022) != 0 && (st.st_mode & S_ISVTX) == 0)
		return unix_path_refuse(fault, path, -EACCES,
		    "its folder has mode %04o: others may write to it, and "
		    "it is not sticky",
		    (unsigned)st.st_mode & 07777);
	return 0;
}

int
unix_path_init(struct unix_path *p, const char *path, int type,
    char fault[static UNIX_PATH_FAULT_BYTES])
{
	size_t len = strlen(path);
	int r;

	if (len == 0 || path[len - 1] == '/')
		return unix_path_refuse(
		    fault, path, -EINVAL, "not the name of a file");
	if (len >= sizeof(p->address.sun_path))
		return unix_path_refuse(fault, path, -ENAMETOOLONG,
		    "%zu bytes long, at most %zu fit an address", len,
		    sizeof(p->address.sun_path) - 1);
	r = check_folder(path, fault);
	if (r < 0)
		return r;

	memset(p, 0, sizeof(*p));
	p->type = type;
	p->address.sun_family = AF_UNIX;
	memcpy(p->address.sun_path, path, len + 1);
	return 0;
}

/* As far as this system tells. */
static bool
is_single_threaded(void)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;
	unsigned n = 0;

	if (tasks == NULL)
		return true;
	while ((entry = readdir(tasks)) != NULL)
		if (entry->d_name[0] != '.')
			n++;
	(void)closedir(tasks);
	return n <= 1;
}

static socklen_t
address_len(const struct unix_path *p)
{
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			   strlen(p->address.sun_path) + 1);
}

/* No chmod(2) afterwards: it would follow whatever is there by then, and
 * until then the mode would be too wide. */
static int
bind_with_mode(const struct unix_path *p, int fd, uint32_t mode)
{
	mode_t before = umask((mode_t)(~mode & 0777));
	int r = 0;

	if (bind(fd, (const struct sockaddr *)&p->address, address_len(p)) < 0)
		r = -errno;
	(void)umask(before);
	return r;
}

/* Nobody listens: 0. Somebody does: -EADDRINUSE. Sends nothing. */
static int
probe(const struct unix_path *p, char fault[static UNIX_PATH_FAULT_BYTES])
{
	const char *path = p->address.sun_path;
	int fd, r;

	fd = socket(AF_UNIX, p->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		r = -errno;
		return unix_path_refuse(
		    fault, path, r, "cannot probe it: %s", strerror(-r));
	}
	r = connect(fd, (const struct sockaddr *)&p->address, address_len(p));
	r = r < 0 ? -errno : 0;
	fd_close(&fd);

	if (r == 0)
		return unix_path_refuse(
		    fault, path, -EADDRINUSE, "another observer is using it");
	if (r == -ECONNREFUSED || r == -ENOENT)
		return 0;
	if (r == -EPROTOTYPE)
		return unix_path_refuse(
		    fault, path, r, "a socket of another kind is in use there");
	return unix_path_refuse(fault, path, r,
	    "cannot tell whether an observer is using it: %s", strerror(-r));
}

static bool
is_same_socket(const struct stat *st, dev_t dev, ino_t ino)
{
	return S_ISSOCK(st->st_mode) && st->st_dev == dev && st->st_ino == ino;
}

/* Make room where a dead observer left its socket. */
static int
remove_stale(
    const struct unix_path *p, char fault[static UNIX_PATH_FAULT_BYTES])
{
	const char *path = p->address.sun_path;
	struct stat found, again;
	int r;

	if (lstat(path, &found) < 0)
		return unix_path_refuse(fault, path, -EADDRINUSE,
		    "in use, then gone: %s", strerror(errno));
	if (!S_ISSOCK(found.st_mode))
		return unix_path_refuse(fault, path, -EADDRINUSE,
		    "there is something else of this name, not a socket");
	r = probe(p, fault);
	if (r < 0)
		return r;

	if (lstat(path, &again) < 0) {
		if (errno == ENOENT)
			return 0;
		r = -errno;
		return unix_path_refuse(
		    fault, path, r, "cannot look at it: %s", strerror(-r));
	}
	if (!is_same_socket(&again, found.st_dev, found.st_ino))
		return unix_path_refuse(fault, path, -EADDRINUSE,
		    "another observer has just taken it");
	if (unlink(path) < 0 && errno != ENOENT) {
		r = -errno;
		return unix_path_refuse(fault, path, r,
		    "cannot remove a dead observer's socket: %s", strerror(-r));
	}
	return 0;
}

/* Remember which file we made, and see that it is what was asked for. */
static int
identify(struct unix_path *p, uint32_t mode,
    char fault[static UNIX_PATH_FAULT_BYTES])
{
	const char *path = p->address.sun_path;
	struct stat st;
	int r;

	if (lstat(path, &st) < 0) {
		r = -errno;
		/* It was made this instant in a folder where nobody else can
		 * replace it: removing it by name alone is safe here. */
		(void)unlink(path);
		return unix_path_refuse(fault, path, r,
		    "cannot look at the file just made: %s", strerror(-r));
	}
	if (!S_ISSOCK(st.st_mode))
		return unix_path_refuse(fault, path, -EADDRINUSE,
		    "replaced by something else as it was made");

	p->dev = st.st_dev;
	p->ino = st.st_ino;
	if ((st.st_mode & 0777) != mode) {
		unix_path_remove(p);
		return unix_path_refuse(fault, path, -EACCES,
		    "made with mode %04o, need %04o (is there an ACL on its "
		    "folder?)",
		    (unsigned)st.st_mode & 0777, mode);
	}
	return 0;
}

int
unix_path_bind(struct unix_path *p, int fd, uint32_t mode, bool *ret_took_over,
    char fault[static UNIX_PATH_FAULT_BYTES])
{
	bool stale;
	int r;

	if (!is_single_threaded())
		return unix_path_refuse(fault, p->address.sun_path, -EBUSY,
		    "there are other threads, who would share its umask");
	r = bind_with_mode(p, fd, mode);
	stale = r == -EADDRINUSE;
	if (stale) {
		r = remove_stale(p, fault);
		if (r < 0)
			return r;
		r = bind_with_mode(p, fd, mode);
	}
	if (r < 0)
		return unix_path_refuse(fault, p->address.sun_path, r,
		    "cannot bind: %s", strerror(-r));

	r = identify(p, mode, fault);
	if (r < 0)
		return r;
	*ret_took_over = stale;
	return 0;
}

void
unix_path_remove(const struct unix_path *p)
{
	struct stat st;

	if (lstat(p->address.sun_path, &st) == 0 &&
	    is_same_socket(&st, p->dev, p->ino))
		(void)unlink(p->address.sun_path);
}
