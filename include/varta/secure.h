/*
 * Agents whose beats are sealed: to an observer on another host, over UDP,
 * encrypted and authenticated with ChaCha20-Poly1305. From libvarta-secure;
 * all that <varta/varta.h> has works on these agents as on others.
 *
 * There are two kinds of key, 32 bytes each. A shared key is that of the
 * observer and of all its agents. From a master key the observer and each agent
 * derive a key for the agent's process number; a frame is then good for that
 * number only. The agent holds the master key itself, so both kinds keep
 * strangers out, and neither keeps agents apart that do not trust each other.
 *
 * Keys are copied into memory that is locked, guarded, left out of cores and
 * wiped by varta_close(). Where a path is taken instead, the file is a regular
 * one of the effective user with mode 0600 or less and not a link, and holds
 * the key as 64 hexadecimal digits; varta(1) makes and checks such files.
 *
 * Entropy is read, from the system, when an agent is opened, reconnected, or
 * found to be in the child of a fork, which makes it a session of its own. No
 * initialisation vector is used twice with a key, whichever way a process
 * forks. A virtual machine that goes on twice from one snapshot is not
 * noticed: reconnect there.
 */
#ifndef VARTA_SECURE_H
#define VARTA_SECURE_H

#include <stdint.h>

#include <varta/varta.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define VARTA_SECURE_KEY_BYTES 32

/*
 * Open an agent. address is "udp:HOST:PORT", or NULL, as for varta_open();
 * addresses of other kinds are VARTA_ERR_UNSUPPORTED. varta_beat() allocates
 * nothing and asks for no entropy, unless it finds that the process was forked
 * or that the session's IVs, 2^64 of them, are used up.
 *
 * Returns 0, or with *ret_agent untouched: a code of varta_open(), -EINVAL (no
 * key), -EIO or -ENOSYS (no entropy); for files also -ENOENT and the like,
 * -ELOOP (a link), -EACCES (owner or mode), -EINVAL (not a regular file, or
 * too large), VARTA_ERR_KEY (not one key).
 */
int varta_secure_open_shared(const char *address,
    const uint8_t key[VARTA_SECURE_KEY_BYTES], struct varta_agent **ret_agent);
int varta_secure_open_master(const char *address,
    const uint8_t master[VARTA_SECURE_KEY_BYTES],
    struct varta_agent **ret_agent);
int varta_secure_open_shared_file(
    const char *address, const char *path, struct varta_agent **ret_agent);
int varta_secure_open_master_file(
    const char *address, const char *path, struct varta_agent **ret_agent);

/*
 * varta_crash_handler_install_signals() with a last word that is sealed.
 * signals is a sum of enum varta_crash_signals. Entropy is read here; the
 * handler computes, sends, and calls nothing else. The keys are kept until
 * the process ends. Observers of other make may know sealed last words with
 * a shared key only.
 *
 * Returns 0, or a code of the functions above or of
 * varta_crash_handler_install_signals(); the handler is then what it was.
 */
int varta_secure_crash_handler_install_shared(const char *address,
    const uint8_t key[VARTA_SECURE_KEY_BYTES], unsigned signals);
int varta_secure_crash_handler_install_master(const char *address,
    const uint8_t master[VARTA_SECURE_KEY_BYTES], unsigned signals);
int varta_secure_crash_handler_install_shared_file(
    const char *address, const char *path, unsigned signals);
int varta_secure_crash_handler_install_master_file(
    const char *address, const char *path, unsigned signals);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
