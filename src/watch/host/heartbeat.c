#include "watch/host/heartbeat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"

enum { SUFFIX_BYTES = 64 }; /* .PID.SEQ.tmp */

struct heartbeat {
	struct stats *stats;
	uint64_t sequence; /* of temporary names */
	uint64_t tried_ns;
	bool tried;
	struct strbuf temporary;
	const char *path; /* in storage, behind the temporary name */
	char storage[];
};

int
heartbeat_open(const char *path, struct stats *stats, struct heartbeat **ret)
{
	size_t path_size = strlen(path) + 1;
	size_t size = path_size + SUFFIX_BYTES;
	struct heartbeat *h = malloc(sizeof(*h) + size + path_size);

	if (h == NULL)
		return -ENOMEM;
	*h = (struct heartbeat){ .stats = stats };
	strbuf_init(&h->temporary, h->storage, size);
	h->path = memcpy(h->storage + size, path, path_size);
	*ret = h;
	return 0;
}

void
heartbeat_close(struct heartbeat *h)
{
	free(h);
}

/* A file that was not there before; its name is h->temporary. A name that is
 * taken was left by a process of the same number that was killed. */
static int
create_temporary(struct heartbeat *h)
{
	int fd = -1;

	for (int i = 0; i < HEARTBEAT_TRIES; i++) {
		strbuf_clear(&h->temporary);
		strbuf_str(&h->temporary, h->path);
		strbuf_char(&h->temporary, '.');
		strbuf_u64(&h->temporary, (uint64_t)getpid());
		strbuf_char(&h->temporary, '.');
		strbuf_u64(&h->temporary, h->sequence++);
		strbuf_str(&h->temporary, ".tmp");
		fd = open(h->temporary.text,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	return fd < 0 ? -errno : fd;
}

static int
write_file(struct heartbeat *h, uint64_t now_ns)
{
	char text[48];
	struct strbuf line;
	int fd, r;

	strbuf_init(&line, text, sizeof(text));
	strbuf_u64(&line, h->stats->passes);
	strbuf_char(&line, ' ');
	strbuf_u64(&line, now_ns);
	strbuf_char(&line, '\n');

	fd = create_temporary(h);
	if (fd < 0)
		return fd;
	r = fd_write_all(fd, line.text, line.len);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(h->temporary.text, h->path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(h->temporary.text);
	return r;
}

static void
try_to_write(struct heartbeat *h, uint64_t now_ns)
{
	struct log_fields fields = { 0 };
	int r = write_file(h, now_ns);

	if (r == 0)
		return;
	h->stats->heartbeat_errors++;
	fields.error = strerror(-r);
	log_limited(LOG_KIND_HEARTBEAT_IO, now_ns, LOG_ERROR, &fields,
	    "cannot write heartbeat file '%s'", h->path);
}

uint64_t
heartbeat_beat(struct heartbeat *h, uint64_t now_ns)
{
	if (!h->tried || u64_sub_sat(now_ns, h->tried_ns) >=
			     HEARTBEAT_LEAST_MS * NS_PER_MS) {
		h->tried = true;
		h->tried_ns = now_ns;
		try_to_write(h, now_ns);
	}
	return u64_add_sat(h->tried_ns, HEARTBEAT_MOST_MS * NS_PER_MS);
}
