"""The control socket, readiness, and HTTP under a flood of connections."""

import concurrent.futures
import contextlib
import http.client
import os
import socket
import stat
import time

import pytest

from support import DEADLINE_S, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    NOBODY,
    ask,
    connected,
    descriptors,
    held,
    needs_root,
    own_frame,
    rss_kib,
    run_watch,
    wait_metric,
)


# ---- the control socket ---------------------------------------------------


@pytest.fixture
def control(folder):
    return folder / "control"


@pytest.fixture
def watch(observer, control):
    return observer("--control-socket", control, threshold_ms=HOUR_MS)


def test_it_serves_the_same_without_an_address(watch, control, agent):
    agent(watch.socket_path).beat()

    def beats():
        return b"\nvarta_beats_all_total 1\n" in ask(control).body

    wait_for(beats)
    assert ask(control, "/healthz").body == b"ok\n"
    assert ask(control, "/readyz").status in (200, 503)
    assert ask(control, "/").status == 404
    assert ask(control, method="POST").status == 405
    assert watch.stdout() == ""


def test_it_needs_no_token_where_the_address_does(folder, observer, control):
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("ab" * 32)
    watch = observer(
        *METRICS,
        *("--prom-token-file", token, "--control-socket", control),
        threshold_ms=HOUR_MS,
    )
    assert watch.get().status == 401
    assert ask(control).status == 200


def test_its_rate_is_not_limited(folder, observer, control):
    observer(
        *("--prom-addr", "127.0.0.1:0", "--prom-rate-limit-burst", 1),
        *("--prom-rate-limit-per-sec", 1, "--control-socket", control),
        threshold_ms=HOUR_MS,
    )
    assert {ask(control, "/healthz").status for _ in range(50)} == {200}


def test_its_file_is_for_its_owner_alone_and_goes_in_the_end(watch, control):
    mode = control.lstat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    watch.stop()
    assert not control.exists()


def test_what_a_dead_observer_left_is_taken_over(watch, control):
    watch.process.kill()
    watch.process.wait()
    assert control.exists()
    watch.close(expect=None)
    watch.start()
    assert ask(control, "/healthz").status == 200


def test_a_live_ones_is_not(watch, folder, control):
    code, _, err = run_watch(
        *("--socket", folder / "other", "--threshold-ms", 1000),
        *("--control-socket", control, "--shutdown-after-secs", 0),
    )
    assert code == 1
    assert "--control-socket: socket " in err
    assert "another observer is using it" in err
    assert not (folder / "other").exists()
    assert ask(control, "/healthz").status == 200


@pytest.mark.parametrize("where", ["none/control", "varta.sock"])
def test_a_place_that_is_none_is_refused(folder, where):
    code, _, err = run_watch(
        *("--socket", folder / "varta.sock", "--threshold-ms", 1000),
        *("--control-socket", folder / where, "--shutdown-after-secs", 0),
    )
    assert code in (1, 2)
    assert "--control-socket: " in err
    assert list(folder.iterdir()) == []


@needs_root
def test_a_stranger_is_refused_whatever_the_mode_is(watch, control):
    os.chmod(control.parent, 0o755)
    os.chmod(control, 0o666)
    stranger = os.fork()
    if stranger == 0:
        with contextlib.suppress(BaseException):
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                ask(control)
            except (http.client.RemoteDisconnected, ConnectionError):
                os._exit(0)
        os._exit(1)
    assert os.waitpid(stranger, 0)[1] == 0
    assert b"\nvarta_control_refused_total 1\n" in ask(control).body


# ---- readiness ------------------------------------------------------------


def test_an_observer_that_could_not_run_is_not_ready_but_healthy(observer):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    with connected(watch.socket_path) as sock, held(watch):
        sock.send(own_frame())
        time.sleep(0.1)  # how long we are away
    wait_metric(watch, "varta_observer_late_total", 1)
    answer = watch.get("/readyz")
    assert answer.status == 503
    assert answer.body.startswith(b"late: ")
    assert answer.body.endswith(b"\n") and answer.body.count(b"\n") == 1
    assert watch.get("/healthz").status == 200


# ---- a flood --------------------------------------------------------------

FLOOD = 20000
IDLE = 1000
HELD = 64  # connections that an observer holds at most


def connect_from(source, address):
    """From an address of its own; the kernel may be slow to accept."""
    sock = socket.socket()
    sock.bind((f"127.0.{source // 250}.{source % 250 + 1}", 0))
    sock.settimeout(DEADLINE_S)
    sock.connect(address)
    return sock


def visit(source, address, n):
    """Ask n times, each on a connection of its own; how often it was
    answered."""
    served = 0
    for _ in range(n):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            with connect_from(source, address) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = b""
                while part := sock.recv(4096):
                    answer += part
                served += answer.startswith(b"HTTP/1.1 200 ")
    return served


@pytest.fixture
def flooded(observer, agent):
    """An observer that was asked now and then, an agent that beats, and what
    it uses: memory and descriptors."""
    watch = observer(
        *METRICS,
        *("--prom-rate-limit-per-sec", 0, "--max-beat-rate", 0),
        threshold_ms=5000,
        events=False,
    )
    host, port = watch.metrics_address().split(":")
    beating = agent(watch.socket_path)
    beating.beat()
    wait_metric(watch, "varta_beats_all_total", 1)
    visit(0, (host, int(port)), 200)
    return (
        watch,
        (host, int(port)),
        beating,
        rss_kib(watch.pid),
        len(descriptors(watch.pid)),
    )


def assert_nobody_was_late(watch, beats):
    metrics = wait_metric(watch, "varta_beats_all_total", beats)
    assert metrics.value("varta_stalls_all_total", reason="silent") == 0
    assert metrics.value("varta_beat_interval_seconds_count") == beats - 1


def test_twenty_thousand_connections_leave_nothing_behind(flooded):
    watch, address, beating, rss, fds = flooded
    visited = served = 0
    beats = 1
    end = time.monotonic() + 25
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        while visited < FLOOD and time.monotonic() < end:
            job = pool.submit(visit, 1 + visited // 500, address, 500)
            while not job.done():
                beating.beat()
                beats += 1
                concurrent.futures.wait([job], 0.05)
            served += job.result()
            visited += 500
    assert served == visited
    assert_nobody_was_late(watch, beats)
    wait_for(lambda: len(descriptors(watch.pid)) <= fds)
    assert rss_kib(watch.pid) <= rss + 2 * 1024


def test_a_thousand_idle_connections_take_only_the_places_there_are(flooded):
    watch, address, beating, rss, fds = flooded
    beats = 1
    with contextlib.ExitStack() as stack:
        for i in range(IDLE):
            stack.enter_context(connect_from(1 + i % 500, address))
            if i % 50 == 0:
                beating.beat()
                beats += 1
        assert len(descriptors(watch.pid)) <= fds + HELD
        # 64 KiB for each, and what the allocator makes of it.
        assert rss_kib(watch.pid) <= rss + 2 * HELD * 64
        # Nobody goes, and whoever asks is served nevertheless.
        assert visit(0, address, 10) == 10
        assert visit(1 + IDLE, address, 10) == 10
    metrics = watch.metrics()
    dropped = metrics.value(
        "varta_prom_connections_dropped_total", reason="drain"
    )
    assert dropped >= IDLE - HELD
    assert_nobody_was_late(watch, beats)
    wait_for(lambda: len(descriptors(watch.pid)) <= fds)
