"""Sealed beats over networks as they are: datagrams that are lost, doubled or
late, and a flood of forged ones."""

import contextlib
import ctypes
import itertools
import random
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

import support
from sealing import (
    ATTEMPTS,
    DECRYPT,
    KEY,
    MASTER,
    Session,
    hex_key,
    udp_address,
    udp_socket,
)
from support import wait_for
from watching import can_have_network, held, wait_metric

PID = 4242
CLONE_NEWNET = 0x40000000


class Proxy(threading.Thread):
    """Hands datagrams on, with what networks do to them."""

    def __init__(self, to):
        super().__init__(daemon=True)
        self.rng = random.Random(7)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.to = to
        self.kept = []

    def run(self):
        while True:
            datagram = self.socket.recv(100)
            if not datagram:
                break
            self.hand_on(datagram)
        self.flush()

    def hand_on(self, datagram):
        what = self.rng.random()
        if what < 0.15:
            return  # lost
        self.kept += [datagram] * (2 if what < 0.3 else 1)
        if len(self.kept) > 4:
            self.rng.shuffle(self.kept)
            self.flush()

    def flush(self):
        for datagram in self.kept:
            self.socket.sendto(datagram, self.to)
        self.kept = []


def beat_for_long(sessions, send, turns=40):
    """Beats of all in turn; now and then they begin anew, or change their
    prefix. Each frame has a payload of its own. A generator of the turns."""
    count = itertools.count(1)
    for turn in range(turns):
        for session in sessions:
            if turn % 10 == 9:
                session.begin()
            elif turn % 10 == 4:
                session.rotate()
            send(session.frame(payload=next(count)))
        yield turn


def check_beats(watch, sessions):
    """Enough were taken of each, and none twice."""
    rows = watch.events("beat")
    payloads = [row.payload for row in rows if row.payload != "0"]
    assert len(payloads) == len(set(payloads))
    for session in sessions:
        mine = [row for row in rows if row.pid == str(session.pid)]
        assert len(mine) > 10
    assert not watch.events("decode")


def test_loss_doubles_and_disorder_do_no_harm(sealed):
    watch = sealed.start()
    proxy = Proxy(udp_address(watch))
    proxy.start()
    sessions = [Session(KEY, pid) for pid in range(100, 110)]
    with udp_socket(proxy.address) as sock:
        for turn in beat_for_long(sessions, sock.send):
            # As much as the queues hold.
            wait_metric(watch, "varta_datagrams_total", turn * 5)
        sock.send(b"")
    proxy.join(support.DEADLINE_S)
    # All get in again: the last session of each is good.
    for session in sessions:
        assert sealed.offer(*session.frames(2)) == 2
    check_beats(watch, sessions)
    assert watch.metrics().value(DECRYPT) == 0


def setns(file):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def network_of(pid):
    """Sockets that are made meanwhile belong to the network of a process."""
    with open("/proc/self/ns/net") as ours, open(f"/proc/{pid}/ns/net") as net:
        setns(net)
        try:
            yield
        finally:
            setns(ours)


def test_a_network_of_the_kernel_that_loses_and_doubles_does_no_harm(sealed):
    if not can_have_network() or shutil.which("tc") is None:
        pytest.skip("needs privilege, and tc: a network of one's own")
    spoil = "tc qdisc add dev lo root netem delay 4ms 4ms loss 15% duplicate 15%"
    if subprocess.run(["unshare", "-n", "sh", "-c", spoil],
                      stderr=subprocess.DEVNULL).returncode != 0:  # fmt: skip
        pytest.skip("needs a kernel with netem")
    script = f'ip link set lo up; {spoil}; exec "$@"'
    watch = sealed.start(
        program=["unshare", "-n", "sh", "-ec", script, "sh", support.WATCH]
    )
    sessions = [Session(MASTER, pid, master=True) for pid in range(100, 110)]
    with network_of(watch.pid), udp_socket(udp_address(watch)) as sock:
        # All of it fits into the queue of the kernel.
        for _ in beat_for_long(sessions, sock.send):
            pass

        def is_heard(session):
            payload = 1_000_000 * session.pid + session.nonce
            sock.send(session.frame(payload=payload))
            rows = watch.events("beat", session.pid)
            return any(int(row.payload) > 1_000_000 for row in rows)

        for session in sessions:
            wait_for(lambda: is_heard(session), what=f"agent {session.pid}")
    check_beats(watch, sessions)


# ---- a flood --------------------------------------------------------------

# As fast as it goes, until it is told to end; then how many were sent.
FLOOD = """
import os, signal, socket, sys
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], int(sys.argv[2])))
forged = [os.urandom(60) for _ in range(256)]
sent = 0
while not ending:
    for datagram in forged:
        sock.send(datagram)
    sent += len(forged)
print(sent)
"""


@contextlib.contextmanager
def flooded(watch):
    """A process that floods the observer's port; sent() ends it, and says how
    many datagrams it has sent."""
    host, port = udp_address(watch)
    process = subprocess.Popen(
        [sys.executable, "-c", FLOOD, host, str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )

    def sent():
        process.terminate()
        return int(process.communicate(timeout=support.DEADLINE_S)[0])

    try:
        yield sent
    finally:
        process.kill()
        process.communicate()


def lost_by_kernel(port):
    """Datagrams that found the queue of this port full."""
    for line in open("/proc/net/udp").read().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(f":{port:04X}"):
            return int(columns[-1])
    raise AssertionError(port)


def test_a_flood_of_forged_datagrams_harms_no_agent_of_this_host(
    sealed, agent
):
    # Eight keys: each forged datagram costs eight attempts.
    texts = "".join(hex_key(n)[1] for n in range(10, 17))
    support.write_secret(sealed.accepted, texts)
    watch = sealed.start(keys=["key", "accepted"], threshold_ms=1000)
    agents = [agent(watch.socket_path) for _ in range(5)]
    late = agent(watch.socket_path)
    with flooded(watch) as sent:
        wait_metric(watch, DECRYPT, 1000)
        late.beat()
        # Until one stalls, and has resumed: the others beat all the time, and
        # each beat is seen before the next.
        turns = 0
        while not watch.events("stall", late.pid):
            turns += 1
            for one in agents:
                one.beat()
            for one in agents:
                watch.wait_event("beat", one.pid, count=turns)
        late.beat()
        watch.wait_event("resume", late.pid)
        sent = sent()
    assert turns > 3
    assert [row.pid for row in watch.events("stall")] == [str(late.pid)]
    for one in agents:
        nonces = [row.nonce for row in watch.events("beat", one.pid)]
        assert nonces == [str(n) for n in range(1, turns + 1)]
    # Each forged datagram is counted, by us or by the kernel.
    lost = lost_by_kernel(udp_address(watch)[1])
    metrics = wait_metric(watch, DECRYPT, sent - lost)
    assert metrics.value(DECRYPT) == sent - lost
    assert metrics.value(ATTEMPTS) == 8 * (sent - lost)
    assert metrics.value("varta_sealed_senders") == 0
    assert metrics.value("varta_sealed_sessions") == 0
    # And sealed ones get in once it is over.
    session = Session(KEY, PID)
    assert sealed.offer(session.frame()) == 1


# ---- a pause --------------------------------------------------------------


def test_beats_that_wait_are_taken_before_anyone_is_judged(sealed):
    watch = sealed.start(threshold_ms=300)
    sessions = [Session(KEY, pid) for pid in range(100, 110)]
    for session in sessions:
        assert sealed.offer(session.frame()) == 1
    with held(watch):
        end = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > end, what="thresholds to pass")
        for session in sessions:
            sealed.send(session.frame())
    for session in sessions:
        watch.wait_event("beat", session.pid, count=2)
    assert not watch.events("stall")
