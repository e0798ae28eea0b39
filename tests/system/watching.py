"""What the tests of varta-watch share beyond support.py: metrics, an observer
that is held while datagrams gather, and kernel namespaces of one's own."""

import contextlib
import functools
import http.client
import os
import platform
import signal
import socket
import subprocess
import sys

import pytest

from support import (
    DEADLINE_S,
    ROOT,
    WATCH,
    Frame,
    Late,
    Response,
    process_state,
    wait_for,
)

# The daemon as it is where the kernel names no senders.
WATCH_NONE = WATCH.with_name("varta-watch-none")

# Metrics on a free port, as often as a test wants.
METRICS = ["--prom-addr", "127.0.0.1:0", "--prom-rate-limit-burst", "0"]

HOUR_MS = 3_600_000
NOBODY = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: to be another user"
)


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="needs IPv6")


def run_watch(*arguments, **settings):
    """varta-watch to its end: exit code, standard output, standard error."""
    done = subprocess.run(
        [WATCH, *(a if isinstance(a, bytes) else str(a) for a in arguments)],
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "errors": "replace",
            "timeout": DEADLINE_S,
            **settings,
        },
    )
    return done.returncode, done.stdout, done.stderr


class LocalConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE_S)
        self.path = os.fspath(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self.path)


def ask(path, what="/metrics", method="GET"):
    with contextlib.closing(LocalConnection(path)) as connection:
        connection.request(method, what)
        answer = connection.getresponse()
        return Response(answer.status, dict(answer.headers), answer.read())


def wait_metric(watch, name, value, **labels):
    """Until a metric has reached value; all metrics of that moment."""
    seen = []

    def reached():
        metrics = watch.metrics()
        seen.append(metrics.value(name, **labels))
        return metrics if (seen[-1] or 0) >= value else None

    try:
        return wait_for(reached, what=f"{name}{labels} {value}", step_s=0.02)
    except Late as late:
        raise Late(f"{late}, but {seen[-1]}\n{watch.log()}") from None


def values(metrics, name, label):
    """Those of a family with one label: from the label's value."""
    return {
        sample.labels[label]: sample.value
        for family in metrics.families
        for sample in family.samples
        if sample.name == name and label in sample.labels
    }


@contextlib.contextmanager
def held(watch):
    """The observer is stopped: what is sent meanwhile (as many datagrams as
    the queue holds) is taken in as one, however slow this machine is."""
    os.kill(watch.pid, signal.SIGSTOP)
    wait_for(lambda: process_state(watch.pid) == "T", what="held observer")
    try:
        yield
    finally:
        os.kill(watch.pid, signal.SIGCONT)


@contextlib.contextmanager
def connected(path):
    """A socket of this very process to the observer; sends wait for room."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(os.fspath(path))
        yield sock


def own_frame(**fields):
    return Frame(**{"pid": os.getpid(), **fields}).encode()


def descriptors(pid):
    """What the open descriptors of a process are."""
    folder = f"/proc/{pid}/fd"
    found = {}
    for number in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found[int(number)] = os.readlink(f"{folder}/{number}")
    return found


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError("no VmRSS")


def tells_exits():
    """Whether this kernel tells others than the parent how a process ended."""
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(minor.split("-")[0])) >= (6, 15)


needs_exit_codes = pytest.mark.skipif(
    not tells_exits(), reason="needs Linux 6.15: exit codes of others"
)


# ---- namespaces -----------------------------------------------------------


def _can(*command):
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return done.returncode == 0


@functools.cache
def can_have_network():
    return _can("unshare", "-n", "true")


@functools.cache
def can_have_pids():
    return _can("unshare", "-pf", "--mount-proc", "true")


def with_queue_of(length):
    """The program for Observer whose socket holds that many datagrams and one
    more. The length is taken from the network namespace in which the socket
    is made; agents may live in any."""
    if not can_have_network():
        pytest.skip("needs privilege: a network namespace of one's own")
    script = 'echo "$1" >/proc/sys/net/unix/max_dgram_qlen; shift; exec "$@"'
    return ["unshare", "-n", "sh", "-ec", script, "sh", str(length), WATCH]


def in_own_pids(test):
    """The test runs in a pid namespace of its own, where it can choose the
    pids of processes; observer and agents are in there together."""
    inside = "VARTA_IN_OWN_PIDS"

    @functools.wraps(test)
    def outer(*args, **kwargs):
        if inside in os.environ:
            return test(*args, **kwargs)
        if not can_have_pids():
            pytest.skip("needs privilege: a pid namespace of one's own")
        case = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]
        done = subprocess.run(
            ["unshare", "-pf", "--kill-child", "--mount-proc"]
            + [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            + [case],
            cwd=ROOT,
            env={**os.environ, inside: "yes"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return None

    return outer


def choose_next_pid(pid):
    """The next process of this pid namespace gets this pid."""
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(pid - 1))
