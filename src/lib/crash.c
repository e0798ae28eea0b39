/*
 * The last word of a process that dies of a signal.
 *
 * The handler calls nothing that is not async-signal-safe: getpid(2), the
 * clock, the frame codec, sendto(2). The socket is not connected, so that an
 * observer that was restarted is found; the cost of a path look-up does not
 * matter here.
 */
#include "lib/lib.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

#define ALL_SIGNALS (VARTA_CRASH_FAULTS | VARTA_CRASH_TERMINATION)

/* Room for the handler that was there before: backtraces want some. */
enum { SIGNAL_STACK_BYTES = 64 * 1024 };

struct watched {
	int signal;
	unsigned group; /* enum varta_crash_signals */
	bool is_taken;  /* our handler has been installed */
	struct sigaction before;
};

static struct watched watched[] = {
	{ .signal = SIGSEGV, .group = VARTA_CRASH_FAULTS },
	{ .signal = SIGBUS, .group = VARTA_CRASH_FAULTS },
	{ .signal = SIGILL, .group = VARTA_CRASH_FAULTS },
	{ .signal = SIGFPE, .group = VARTA_CRASH_FAULTS },
	{ .signal = SIGABRT, .group = VARTA_CRASH_FAULTS },
	{ .signal = SIGTERM, .group = VARTA_CRASH_TERMINATION },
	{ .signal = SIGINT, .group = VARTA_CRASH_TERMINATION },
	{ .signal = SIGHUP, .group = VARTA_CRASH_TERMINATION },
	{ .signal = SIGQUIT, .group = VARTA_CRASH_TERMINATION },
};

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;

struct target {
	struct varta__endpoint endpoint;
	struct varta__crash_sealer sealer; /* seal NULL: frames go as they are
					    */
};

struct datagram {
	uint8_t bytes[VARTA__DATAGRAM_MAX];
	size_t len;
};

/*
 * An install fills the target that is not in use and then points to it, so a
 * handler sees the old one or the new one. A socket serves every target of its
 * family and is made once. Both outlive every handler.
 */
static struct target targets[2];
static const struct target *_Atomic target; /* NULL: not installed */
static _Atomic int unix_fd = -1, inet_fd = -1, inet6_fd = -1;
static _Atomic uint64_t start_ns;
static _Atomic uint64_t last_timestamp;

static _Atomic int *
socket_for(const struct varta__endpoint *e)
{
	switch (e->addr.any.sa_family) {
	case AF_INET:
		return &inet_fd;
	case AF_INET6:
		return &inet6_fd;
	default:
		return &unix_fd;
	}
}

static int
send_to(int fd, const struct varta__endpoint *e, const struct datagram *d)
{
	ssize_t n;

	n = sendto(fd, d->bytes, d->len, MSG_DONTWAIT | MSG_NOSIGNAL,
	    &e->addr.any, e->len);
	if (n < 0)
		return -errno;
	return (size_t)n == d->len ? 0 : VARTA_ERR_SHORT_WRITE;
}

/* Over the socket of the install, or over a new one where the program has
 * closed that number behind our back. */
static int
send_anyhow(const struct varta__endpoint *e, const struct datagram *d)
{
	int fd, r;

	r = send_to(atomic_load(socket_for(e)), e, d);
	if (r != -EBADF && r != -ENOTSOCK)
		return r;

	fd = varta__endpoint_socket(e->addr.any.sa_family, SOCK_DGRAM);
	if (fd < 0)
		return r;
	r = send_to(fd, e, d);
	(void)close(fd);
	return r;
}

/* The datagram of a frame for this target. */
static int
wrap(const struct target *t, const struct varta_frame *frame,
    struct datagram *ret)
{
	uint8_t wire[VARTA_FRAME_BYTES];
	int r;

	r = varta_frame_encode(frame, wire);
	if (r < 0)
		return r;
	if (t->sealer.seal == NULL) {
		memcpy(ret->bytes, wire, sizeof(wire));
		ret->len = sizeof(wire);
		return 0;
	}
	r = t->sealer.seal(t->sealer.context, frame, wire, ret->bytes);
	if (r < 0)
		return r;
	ret->len = (size_t)r;
	return 0;
}

static int
send_last_word(uint32_t payload)
{
	const struct target *t = atomic_load(&target);
	struct datagram datagram;
	struct varta_frame frame;
	uint64_t elapsed_ns;
	int r;

	if (t == NULL)
		return VARTA_ERR_NO_CRASH_HANDLER;

	elapsed_ns =
	    u64_sub_sat(varta__clock_exact_ns(), atomic_load(&start_ns));
	r = varta__terminal_timestamp(
	    &last_timestamp, elapsed_ns, &frame.timestamp);
	if (r < 0)
		return r;
	frame.nonce = VARTA_NONCE_TERMINAL;
	frame.pid = (uint32_t)getpid();
	frame.payload = payload;
	frame.status = VARTA_CRITICAL;
	r = wrap(t, &frame, &datagram);
	if (r < 0)
		return r;

	r = send_anyhow(&t->endpoint, &datagram);
	return r < 0 && r > VARTA_ERR_BAD_MAGIC ? varta__classify(-r) : r;
}

int
varta_crash_frame_send(uint32_t payload)
{
	int saved = errno;
	int r;

	r = send_last_word(payload);
	errno = saved;
	return r;
}

static void
set_default(int sig)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(sig, &action, NULL);
}

/*
 * End as without us. An instruction that faulted is run again on return and
 * faults again, so that a core shows the fault itself; any other signal is
 * raised again, and arrives on return, because it is blocked until then.
 */
static void
die_by_default(const struct watched *w, const siginfo_t *info)
{
	bool is_repeated = w->group == VARTA_CRASH_FAULTS &&
			   w->signal != SIGABRT && info->si_code > 0;

	set_default(w->signal);
	if (!is_repeated)
		(void)raise(w->signal);
}

static void
run_earlier(const struct watched *w, siginfo_t *info, void *context)
{
	const struct sigaction *before = &w->before;

	if (before->sa_handler == SIG_DFL) {
		die_by_default(w, info);
		return;
	}
	if ((before->sa_flags & (int)SA_RESETHAND) != 0)
		set_default(w->signal);
	if ((before->sa_flags & SA_SIGINFO) != 0)
		before->sa_sigaction(w->signal, info, context);
	else
		before->sa_handler(w->signal);
}

static void
on_signal(int sig, siginfo_t *info, void *context)
{
	const struct watched *w = watched;

	while (w->signal != sig)
		w++;
	(void)varta_crash_frame_send((uint32_t)sig);
	run_earlier(w, info, context);
}

/* A stack of its own for the calling thread, with a page below it that ends
 * an overflow. *ret_mapping stays NULL where the thread has one already. */
static int
add_signal_stack(void **ret_mapping, size_t *ret_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = page + SIGNAL_STACK_BYTES;
	stack_t stack;
	void *p;
	int r;

	if (sigaltstack(NULL, &stack) < 0)
		return -errno;
	if ((stack.ss_flags & SS_DISABLE) == 0)
		return 0;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	stack = (stack_t){ .ss_sp = (char *)p + page,
		.ss_size = SIGNAL_STACK_BYTES };
	if (mprotect(p, page, PROT_NONE) < 0 || sigaltstack(&stack, NULL) < 0) {
		r = -errno;
		(void)munmap(p, size);
		return r;
	}
	*ret_mapping = p;
	*ret_size = size;
	return 0;
}

static void
remove_signal_stack(void *mapping, size_t size)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	if (mapping == NULL)
		return;
	(void)sigaltstack(&none, NULL);
	(void)munmap(mapping, size);
}

static int
take_signal(struct watched *w)
{
	struct sigaction ours;

	/* Known before ours can run, which may be at once. */
	if (sigaction(w->signal, NULL, &w->before) < 0)
		return -errno;
	if (w->before.sa_handler == SIG_IGN)
		return 0;

	ours = w->before;
	ours.sa_sigaction = on_signal;
	ours.sa_flags &= SA_NODEFER | SA_RESTART | SA_ONSTACK;
	ours.sa_flags |= SA_SIGINFO;
	if (w->group == VARTA_CRASH_FAULTS)
		ours.sa_flags |= SA_ONSTACK;
	if (sigaction(w->signal, &ours, NULL) < 0)
		return -errno;
	w->is_taken = true;
	return 0;
}

/* All that are wanted, or on an error none of those not taken before. */
static int
take_signals(unsigned wanted)
{
	bool is_new[ARRAY_SIZE(watched)] = { false };
	size_t i;
	int r = 0;

	for (i = 0; i < ARRAY_SIZE(watched) && r == 0; i++) {
		struct watched *w = &watched[i];

		if ((w->group & wanted) == 0 || w->is_taken)
			continue;
		r = take_signal(w);
		is_new[i] = w->is_taken;
	}
	if (r == 0)
		return 0;

	for (i = 0; i < ARRAY_SIZE(watched); i++) {
		if (!is_new[i])
			continue;
		(void)sigaction(watched[i].signal, &watched[i].before, NULL);
		watched[i].is_taken = false;
	}
	return r;
}

static void
set_target(const struct target *wanted)
{
	const struct target *in_use = atomic_load(&target);
	struct target *next = &targets[in_use == &targets[0]];

	if (in_use == NULL)
		atomic_store(&start_ns, varta__clock_exact_ns());
	*next = *wanted;
	atomic_store(&target, next);
}

static int
install(const struct target *wanted, unsigned signals)
{
	_Atomic int *crash_fd = socket_for(&wanted->endpoint);
	bool is_first = atomic_load(crash_fd) < 0;
	size_t stack_size = 0;
	void *stack = NULL;
	int fd = -1, r;

	if (is_first) {
		fd = varta__endpoint_socket(
		    wanted->endpoint.addr.any.sa_family, SOCK_DGRAM);
		if (fd < 0)
			return fd;
	}
	if ((signals & VARTA_CRASH_FAULTS) != 0) {
		r = add_signal_stack(&stack, &stack_size);
		if (r < 0)
			goto fail;
	}
	if (is_first)
		atomic_store(crash_fd, fd);
	r = take_signals(signals);
	if (r < 0)
		goto fail;

	set_target(wanted);
	return 0;

fail:
	remove_signal_stack(stack, stack_size);
	if (is_first) {
		atomic_store(crash_fd, -1);
		(void)close(fd);
	}
	return r;
}

int
varta__crash_install(const struct varta__endpoint *endpoint, unsigned signals,
    const struct varta__crash_sealer *sealer)
{
	struct target wanted = { .endpoint = *endpoint };
	int r;

	if (signals == 0 || (signals & ~(unsigned)ALL_SIGNALS) != 0)
		return -EINVAL;
	if (sealer != NULL)
		wanted.sealer = *sealer;

	(void)pthread_mutex_lock(&install_lock);
	r = install(&wanted, signals);
	(void)pthread_mutex_unlock(&install_lock);
	return r;
}

int
varta_crash_handler_install_signals(const char *address, unsigned signals)
{
	struct varta__endpoint endpoint;
	int r;

	r = varta__endpoint_parse(address, &endpoint);
	return r < 0 ? r : varta__crash_install(&endpoint, signals, NULL);
}

int
varta_crash_handler_install(const char *address)
{
	return varta_crash_handler_install_signals(address, VARTA_CRASH_FAULTS);
}
