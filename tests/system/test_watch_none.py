"""The observer of systems whose kernel does not name senders. It is built on
every system, and works; but it never acts upon a process, because anybody who
may write to the socket may claim any pid."""

import os
import socket

import pytest

from commands import Reporter, outcomes, stall, wait_outcome
from watching import (
    HOUR_MS,
    METRICS,
    WATCH_NONE,
    connected,
    descriptors,
    own_frame,
    wait_metric,
)


@pytest.fixture
def watch_none(observer):
    def start(*options, **settings):
        return observer(*METRICS, *options, program=WATCH_NONE, **settings)

    return start


def test_it_receives_beats(watch_none, agent):
    watch = watch_none(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat("degraded", payload=5)
    [row] = watch.wait_event("beat", one.pid)
    assert row[3:] == ("1", "degraded", "5")
    metrics = watch.metrics()
    assert metrics.value("varta_beats_total", pid=one.pid) == 1
    assert metrics.value("varta_credentials_missing_total") == 0


def test_it_refuses_what_is_no_frame(watch_none, agent):
    watch = watch_none(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.send_raw(b"x" * 32)
    one.send_raw(b"x" * 33)
    one.beat()
    watch.wait_event("beat", one.pid)
    assert len(watch.wait_event("decode")) == 1
    metrics = watch.metrics()
    assert metrics.value("varta_truncated_datagrams_total") == 1


def test_silence_is_a_stall_and_a_beat_ends_it(watch_none, agent):
    watch = watch_none(threshold_ms=100)
    one = agent(watch.socket_path)
    stall(watch, one)
    one.beat()
    watch.wait_event("resume", one.pid)


def test_an_end_is_noticed_by_silence_alone(watch_none, agent):
    watch = watch_none(threshold_ms=100)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.kill()
    watch.wait_event("stall", one.pid)


def test_it_never_recovers_anybody(watch_none, folder, agent):
    reporter = Reporter(folder)
    watch = watch_none(
        *("--recovery-exec", reporter.path, "--recovery-debounce-ms", 0),
        threshold_ms=50,
    )
    one = agent(watch.socket_path)
    stall(watch, one)
    wait_outcome(watch, "refused_socket_mode_only")
    one.kill()
    stall(watch, agent(watch.socket_path))
    wait_outcome(watch, "refused_socket_mode_only", 2)
    assert outcomes(watch) == {"refused_socket_mode_only": 2}
    metrics = watch.metrics()
    refused = "varta_recovery_refused_total"
    assert metrics.value(refused, reason="socket_mode_only") == 2
    assert "only the socket's mode vouches for it" in watch.log()
    assert list(folder.glob("reporter.*")) == []


def test_a_pid_above_the_systems_highest_is_refused(watch_none):
    watch = watch_none(threshold_ms=HOUR_MS)
    highest = int(watch.metrics().value("varta_pid_max_current"))
    name = "varta_frame_rejected_pid_above_max_total"
    with connected(watch.socket_path) as sock:
        sock.send(own_frame(pid=2**32 - 1))
        if highest < 2**32 - 1:
            wait_metric(watch, name, 1)
            assert watch.events("join") == []


def test_many_beats_are_taken_one_by_one(watch_none):
    n = 500
    watch = watch_none(
        *("--max-beat-rate", 0, "--global-beat-rate", 0), threshold_ms=HOUR_MS
    )
    with connected(watch.socket_path) as sock:
        for nonce in range(1, n + 1):
            sock.send(own_frame(nonce=nonce))
    rows = watch.wait_event("beat", os.getpid(), count=n)
    assert [int(row.nonce) for row in rows] == list(range(1, n + 1))


def test_descriptors_sent_along_do_not_get_through(watch_none):
    watch = watch_none(threshold_ms=HOUR_MS)
    with connected(watch.socket_path) as sock, open("/dev/zero") as gift:
        socket.send_fds(sock, [own_frame()], [gift.fileno()])
        watch.wait_event("beat")
    assert "/dev/zero" not in descriptors(watch.pid).values()


def test_it_takes_its_socket_away_with_it(watch_none):
    watch = watch_none(threshold_ms=HOUR_MS)
    assert watch.stop() == 0
    assert not watch.socket_path.exists()
