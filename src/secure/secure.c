#include "secure/secure.h"

#include <errno.h>

int
secure_start(
    const char *address, const uint8_t *key, struct varta__endpoint *ret)
{
	int r;

	if (key == NULL)
		return -EINVAL;
	r = secret_init();
	if (r < 0)
		return r;
	r = varta__endpoint_parse(address, ret);
	if (r < 0)
		return r;
	return ret->addr.any.sa_family == AF_UNIX ? VARTA_ERR_UNSUPPORTED : 0;
}

int
secure_read_key(
    const char *path, enum secret_use use, struct secret_keys **ret_keys)
{
	struct secret_keys *keys;
	struct file_fault fault;
	int r;

	r = secret_init();
	if (r < 0)
		return r;
	keys = secret_new(sizeof(*keys));
	if (keys == NULL)
		return -ENOMEM;
	r = secret_read_keys(path, use, keys, &fault);
	if (r < 0) {
		secret_free(keys);
		return r;
	}
	*ret_keys = keys;
	return 0;
}
