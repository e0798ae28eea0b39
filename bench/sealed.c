#include "sealed.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
sealed_burst_init(struct sealed_burst *b)
{
	for (size_t i = 0; i < SEALED_BURST; i++) {
		b->iov[i] = (struct iovec){ b->bytes[i], SEAL_SHARED_BYTES };
		b->headers[i] = (struct mmsghdr){
			.msg_hdr = { .msg_iov = &b->iov[i], .msg_iovlen = 1 }
		};
	}
}

void
sealed_forge(struct sealed_forgery *f)
{
	randombytes_buf(f->frames, sizeof(f->frames));
	f->next = 0;
}

void
sealed_burst_fill(struct sealed_burst *b, struct sealed_forgery *f)
{
	for (size_t i = 0; i < SEALED_BURST; i++)
		memcpy(b->bytes[i], f->frames[f->next++ % SEALED_FORGED],
		    SEAL_SHARED_BYTES);
}

void
sealed_burst_send(struct sealed_burst *b, int fd)
{
	if (sendmmsg(fd, b->headers, SEALED_BURST, 0) < 0)
		support_die("sendmmsg: %s", strerror(errno));
}

int
sealed_socket(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		support_die("socket: %s", strerror(errno));
	if (to != NULL &&
	    connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		support_die("connect: %s", strerror(errno));
	return fd;
}

static void
write_keys(const char *name, const uint8_t (*keys)[32], size_t n,
    struct sockaddr_un *ret)
{
	char hex[65];
	FILE *f;

	support_address(name, ret);
	(void)unlink(ret->sun_path);
	(void)umask(077);
	f = fopen(ret->sun_path, "w");
	if (f == NULL)
		support_die("%s: %s", ret->sun_path, strerror(errno));
	for (size_t i = 0; i < n; i++) {
		(void)sodium_bin2hex(hex, sizeof(hex), keys[i], 32);
		(void)fprintf(f, "%s\n", hex);
	}
	(void)fclose(f);
}

/* Where the line of its start says that it listens. */
static struct sockaddr_in
udp_address_of(const struct daemon *d)
{
	static const char word[] = ", UDP 127.0.0.1:";
	char text[4096] = "";
	FILE *f = fopen(d->log.sun_path, "r");
	const char *at = NULL;

	if (f != NULL) {
		size_t n = fread(text, 1, sizeof(text) - 1, f);

		text[n] = '\0';
		(void)fclose(f);
		for (const char *p = text; (p = strstr(p, word)) != NULL; p++)
			at = p;
	}
	if (at == NULL)
		support_die("the daemon names no UDP address");
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port =
		    htons((uint16_t)strtoul(at + strlen(word), NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int
sealed_start(const struct support_options *support,
    const struct daemon_options *options, const uint8_t key[static 32],
    size_t n_keys, struct daemon *ret)
{
	struct daemon_options with_keys = *options;
	uint8_t others[SEALED_KEYS][32];
	struct sockaddr_un key_file, accepted_file;
	const char *more[] = { "--udp-port", "0", "--key-file",
		key_file.sun_path, "--accepted-key-file",
		accepted_file.sun_path, NULL };
	struct sockaddr_in address;

	memcpy(others[0], key, 32);
	randombytes_buf(others[1], sizeof(others) - 32);
	write_keys("key", (const uint8_t(*)[32])others, 1, &key_file);
	write_keys("accepted", (const uint8_t(*)[32])others + 1, n_keys - 1,
	    &accepted_file);
	if (n_keys == 1)
		more[4] = NULL;
	with_keys.more = more;
	daemon_start(support, &with_keys, ret);
	address = udp_address_of(ret);
	return sealed_socket(&address);
}
