"""varta-watch that was away: stopped for a while, or ended and started
again."""

import re
import signal
import subprocess
import time

import pytest

from support import VARTA, process_state, wait_for
from watching import HOUR_MS, METRICS, with_queue_of


@pytest.fixture
def beating():
    """beating(path, every): agents of the library that beat by themselves."""
    started = []

    def start(path, every):
        started.append(
            subprocess.Popen(
                [VARTA, "beat", "--socket", path, "--every", every],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_more_beats(watch, pids, n=3):
    """Each of them is heard again, n times."""
    before = {pid: len(watch.events("beat", pid)) for pid in pids}
    for pid, count in before.items():
        watch.wait_event("beat", pid, count=count + n)


@pytest.mark.parametrize("queue", [10, 512])
def test_agents_are_not_blamed_for_the_time_that_we_were_stopped(
    observer, beating, queue
):
    watch = observer(threshold_ms=1500, program=with_queue_of(queue))
    pids = [beating(watch.socket_path, "100ms") for _ in range(5)]
    for pid in pids:
        watch.wait_event("beat", pid)
    watch.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)  # how long we are away
    watch.process.send_signal(signal.SIGCONT)
    [late] = watch.wait_event("late")[:1]
    assert int(late.payload) >= 2_000_000_000
    wait_more_beats(watch, pids)
    assert watch.events("stall") == []
    assert "observer late by 2." in watch.log()


def test_an_agent_that_is_silent_after_we_were_stopped_does_stall(
    observer, agent
):
    watch = observer(*METRICS, threshold_ms=300)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    watch.process.send_signal(signal.SIGSTOP)
    time.sleep(1)  # how long we are away
    watch.process.send_signal(signal.SIGCONT)
    [stall] = watch.wait_event("stall", one.pid)
    [late] = watch.events("late")[:1]
    # It got the time back that was ours.
    assert stall.observer_ns > late.observer_ns
    assert watch.metrics().value("varta_observer_late_total") >= 1
    assert watch.metrics().value("varta_observer_late_seconds_total") >= 0.5


def test_a_continue_signal_without_a_stop_is_no_gap(observer, agent):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    watch.process.send_signal(signal.SIGCONT)

    def is_taken():
        status = open(f"/proc/{watch.pid}/status").read()
        pending = re.search(r"^ShdPnd:\t(\w+)$", status, re.MULTILINE)[1]
        return int(pending, 16) == 0 and process_state(watch.pid) == "S"

    wait_for(is_taken)
    one.beat()
    watch.wait_event("beat", one.pid, count=2)
    assert watch.events("late") == []
    assert watch.metrics().value("varta_observer_late_total") == 0


def test_an_agent_that_died_while_we_were_stopped_is_told(observer, agent):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    watch.process.send_signal(signal.SIGSTOP)
    one.kill()
    watch.process.send_signal(signal.SIGCONT)
    [row] = watch.wait_event("exit", one.pid)
    assert row.status in ("signal", "unknown")


def test_agents_come_back_by_themselves_after_a_restart(observer, beating):
    watch = observer(threshold_ms=HOUR_MS)
    pids = [beating(watch.socket_path, "50ms") for _ in range(3)]
    for pid in pids:
        watch.wait_event("join", pid)
    watch.restart()
    for pid in pids:
        watch.wait_event("join", pid, count=2)
    wait_more_beats(watch, pids)


def test_agents_come_back_after_we_were_killed(observer, beating):
    watch = observer(threshold_ms=HOUR_MS)
    pid = beating(watch.socket_path, "50ms")
    watch.wait_event("join", pid)
    watch.stop(signal.SIGKILL)
    watch.restart()
    watch.wait_event("join", pid, count=2)
    # Nonces go on: it is the same agent, and knows it.
    nonces = [int(row.nonce) for row in watch.events("join", pid)]
    assert nonces[0] == 1 < nonces[1]


def test_agents_that_were_there_first_are_found(folder, observer, beating):
    pid = beating(folder / "varta.sock", "50ms")
    watch = observer(threshold_ms=HOUR_MS)
    watch.wait_event("join", pid)


def test_an_agent_that_ends_while_nobody_watches_is_no_news(
    observer, agent
):
    watch = observer(threshold_ms=200)
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    watch.wait_event("join", one.pid)
    watch.stop()
    told = len(watch.events(pid=one.pid))
    one.kill()
    watch.restart()
    two.beat()
    watch.wait_event("stall", two.pid)
    assert len(watch.events(pid=one.pid)) == told


def test_an_agent_that_was_stalled_before_a_restart_joins_after_it(
    observer, agent
):
    watch = observer(threshold_ms=100)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    watch.restart()
    one.beat()
    watch.wait_event("join", one.pid, count=2)
    watch.wait_event("stall", one.pid, count=2)
    assert watch.events("resume") == []
