/* No configuration file crashes its reader, and what is read can be printed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "watch/config.h"
#include "watch/options_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config;
	static FILE *out;
	struct options options;
	struct options_fault fault;
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC);

	if (out == NULL)
		out = fopen("/dev/null", "w");
	if (fd < 0 || out == NULL || fchmod(fd, 0600) < 0 ||
	    write(fd, data, size) != (ssize_t)size)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	options_set_defaults(&options);
	if (config_read(path, &options, &config, &fault) == 0)
		config_dump(&options, &config, out);
	(void)close(fd);
	return 0;
}
