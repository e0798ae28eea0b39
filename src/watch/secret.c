#include "watch/secret.h"

#include <string.h>

#include "base/file.h"
#include "watch/options_table.h"

static const char white[] = " \t\r\n";

int
secret_read(const char *label, const char *path, char text[SECRET_BYTES],
    struct options_fault *fault)
{
	struct file_fault reason;
	ssize_t n = file_read_secret(path, text, SECRET_BYTES, &reason);
	size_t len, begin;

	if (n < 0) {
		(void)options_fault_set(
		    fault, "%s: file '%s': %s", label, path, reason.text);
		return (int)n;
	}
	len = (size_t)n;
	while (len > 0 && strchr(white, text[len - 1]) != NULL)
		text[--len] = '\0';
	begin = strspn(text, white);
	memmove(text, text + begin, len - begin + 1);
	return 0;
}
