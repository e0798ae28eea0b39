"""Sealed beats over networks as they are: datagrams that are lost, doubled or
late, and a flood of forged ones."""

import os
import random
import socket
import threading
import time

import support
from sealing import (
    ATTEMPTS,
    DECRYPT,
    KEY,
    Session,
    hex_key,
    udp_address,
    udp_socket,
)
from support import wait_for
from watching import held, wait_metric

PID = 4242



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


def test_loss_doubles_and_disorder_do_no_harm(sealed):
    watch = sealed.start()
    proxy = Proxy(udp_address(watch))
    proxy.start()
    sessions = [Session(KEY, pid) for pid in range(100, 110)]
    with udp_socket(proxy.address) as sock:
        for turn in range(40):
            for session in sessions:
                if turn % 10 == 9:
                    session.begin()
                sock.send(session.frame())
            # As much as the queues hold.
            wait_metric(watch, "varta_datagrams_total", turn * 5)
        sock.send(b"")
    proxy.join(support.DEADLINE_S)
    # All get in again: the last session of each is good.
    for session in sessions:
        assert sealed.offer(*session.frames(2)) == 2
    rows = watch.events("beat")
    for session in sessions:
        mine = [row for row in rows if row.pid == str(session.pid)]
        assert len(mine) > 10
    assert watch.metrics().value(DECRYPT) == 0


def test_a_flood_of_forged_datagrams_harms_no_agent_of_this_host(
    sealed, agent
):
    # Eight keys: each forged datagram costs eight attempts.
    texts = "".join(hex_key(n)[1] for n in range(10, 17))
    support.write_secret(sealed.accepted, texts)
    watch = sealed.start(keys=["key", "accepted"], threshold_ms=1000)
    agents = [agent(watch.socket_path) for _ in range(5)]
    late = agent(watch.socket_path)
    late.beat()
    forged = [os.urandom(60) for _ in range(256)]
    sent = 0
    start = time.monotonic()
    while time.monotonic() < start + 2.5 and sent < 1_000_000:
        for one in agents:
            one.beat()
        for _ in range(20):
            for datagram in forged:
                sealed.socket.send(datagram)
            sent += len(forged)
    stalled = [row.pid for row in watch.wait_event("stall", late.pid)]
    assert stalled == [str(late.pid)]
    metrics = watch.metrics()
    assert metrics.value(DECRYPT) > 1000
    assert metrics.value(ATTEMPTS) == 8 * metrics.value(DECRYPT)
    assert {row.pid for row in watch.events("stall")} == {str(late.pid)}
    for one in agents:
        assert len(watch.events("beat", one.pid)) > 3
    # And sealed ones get in once it is over.
    session = Session(KEY, PID)
    assert sealed.offer(session.frame()) == 1


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


