"""Agents as varta-watch sees them: silent, back again, ended and how, started
over."""

import signal

import pytest

import support
from support import wait_for
from watching import (
    HOUR_MS,
    METRICS,
    descriptors,
    needs_exit_codes,
    values,
    wait_metric,
)


def wait_another_stall(watch):
    """A full threshold has passed: a new agent has joined and stalled."""
    with support.Agent(watch.socket_path) as clock:
        clock.beat()
        watch.wait_event("stall", clock.pid)


def kinds_of(watch, pid):
    return [row.kind for row in watch.events(pid=pid)]


# ---- silence --------------------------------------------------------------


def test_an_agent_stalls_once_for_each_silence(observer, agent):
    watch = observer(*METRICS, threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat(payload=3)
    [row] = watch.wait_event("stall", one.pid)
    assert row[2:] == (str(one.pid), "1", "stall", "-")
    metrics = watch.metrics()
    assert metrics.value("varta_status", pid=one.pid) == 3
    wait_another_stall(watch)
    assert len(watch.events("stall", one.pid)) == 1

    one.beat()
    watch.wait_event("stall", one.pid, count=2)
    kinds = kinds_of(watch, one.pid)
    assert kinds == ["join", "beat", "stall", "resume", "beat", "stall"]
    metrics = watch.metrics()
    assert metrics.value("varta_stalls_total", pid=one.pid) == 2
    assert metrics.value("varta_beats_total", pid=one.pid) == 2
    stalls = values(metrics, "varta_stalls_all_total", "reason")
    assert stalls["silent"] >= 2
    assert stalls["gone"] == 0


def test_an_agent_that_beats_does_not_stall(observer, agent):
    watch = observer(threshold_ms=2000)
    one, other = agent(watch.socket_path), agent(watch.socket_path)
    other.beat()

    def other_has_stalled():
        one.beat()
        return watch.events("stall", other.pid)

    wait_for(other_has_stalled, step_s=0.05)
    assert watch.events("stall", one.pid) == []


def test_a_stall_is_never_told_before_its_time(observer, agent):
    watch = observer(threshold_ms=300)
    one = agent(watch.socket_path)
    one.beat()
    [stall] = watch.wait_event("stall", one.pid)
    [beat] = watch.events("beat", one.pid)
    assert stall.observer_ns - beat.observer_ns >= 300_000_000


def test_a_stopped_agent_stalls_and_is_back_when_continued(observer, agent):
    watch = observer(threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat()
    one.stop()
    watch.wait_event("stall", one.pid)
    one.cont()
    one.beat()
    watch.wait_event("resume", one.pid)
    log = watch.log()
    assert f"agent {one.pid} (" in log
    assert "stalled: silent for " in log
    assert "its process is there" in log
    assert "beats again" in log


def test_only_the_silent_one_of_many_agents_stalls(observer, agent):
    watch = observer(threshold_ms=2000)
    agents = [agent(watch.socket_path) for _ in range(8)]
    silent = agents[3]
    for one in agents:
        one.beat()

    def silent_has_stalled():
        for one in agents:
            if one is not silent:
                one.beat()
        return watch.events("stall", silent.pid)

    wait_for(silent_has_stalled, step_s=0.05)
    assert {row.pid for row in watch.events("stall")} == {str(silent.pid)}


def test_an_agent_whose_last_status_was_critical_stalls_as_any(
    observer, agent
):
    watch = observer(threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat("critical", nonce=support.NONCE_TERMINAL, payload=6)
    [row] = watch.wait_event("stall", one.pid)
    assert row.nonce == str(support.NONCE_TERMINAL)
    assert "last status critical" in watch.log()


# ---- ends -----------------------------------------------------------------


@needs_exit_codes
@pytest.mark.parametrize("code", [1, 7, 255])
def test_an_exit_is_told_at_once_with_its_code(observer, agent, code):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.exit(code)
    [row] = watch.wait_event("exit", one.pid)
    assert row[2:] == (str(one.pid), "1", "code", str(code))
    assert f"ended with exit code {code}" in watch.log()
    assert watch.metrics().value("varta_exits_total") == 1


@needs_exit_codes
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]
)
def test_a_death_by_a_signal_is_told_at_once(observer, agent, number):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.kill(number)
    [row] = watch.wait_event("exit", one.pid)
    assert row[2:] == (str(one.pid), "1", "signal", str(int(number)))
    assert f"was killed by signal {int(number)} ({number.name})" in watch.log()


@needs_exit_codes
def test_an_agent_that_ends_with_0_leaves_and_is_forgotten(observer, agent):
    watch = observer(*METRICS, threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.exit(0)
    [row] = watch.wait_event("leave", one.pid)
    assert row[3:] == ("1", "-", "-")
    metrics = watch.metrics()
    assert metrics.value("varta_leaves_total") == 1
    assert metrics.value("varta_watch_pids_tracked") == 0
    assert metrics.value("varta_beats_total", pid=one.pid) is None
    assert metrics.value("varta_beats_all_total") == 1
    wait_another_stall(watch)
    assert kinds_of(watch, one.pid)[-1] == "leave"


def test_an_agent_that_ended_badly_stalls_at_its_deadline(observer, agent):
    watch = observer(*METRICS, threshold_ms=400)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.kill()
    watch.wait_event("stall", one.pid)
    kinds = kinds_of(watch, one.pid)
    # On a machine that has much to do the deadline may come first.
    assert kinds[:2] == ["join", "beat"]
    assert sorted(kinds[2:]) == ["exit", "stall"]
    assert "its process has ended" in watch.log()
    stalls = values(watch.metrics(), "varta_stalls_all_total", "reason")
    assert stalls == {"silent": 0, "gone": 1}


def test_an_end_that_nobody_waits_for_is_told_without_its_cause(
    observer, agent
):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.exit(3, reap=False)
    [row] = watch.wait_event("exit", one.pid)
    assert row[3:] == ("1", "unknown", "-")
    assert support.process_state(one.pid) == "Z"
    assert "has ended, how is not known" in watch.log()
    # Whatever its parent learns later is no news any more.
    assert one.reap() == 3
    other = agent(watch.socket_path)
    other.beat()
    watch.wait_event("beat", other.pid)
    assert kinds_of(watch, one.pid) == ["join", "beat", "exit"]


def test_an_agent_that_had_stalled_and_then_dies_does_not_stall_again(
    observer, agent
):
    watch = observer(threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat()
    one.stop()
    watch.wait_event("stall", one.pid)
    one.kill()
    watch.wait_event("exit", one.pid)
    wait_another_stall(watch)
    assert kinds_of(watch, one.pid) == ["join", "beat", "stall", "exit"]


def test_a_last_beat_just_before_the_end_is_heard(observer, agent):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    for _ in range(5):
        one.beat()
    one.beat("critical", payload=9)
    one.kill()
    watch.wait_event("exit", one.pid)
    rows = watch.events("beat", one.pid)
    assert (rows[-1].status, rows[-1].payload) == ("critical", "9")


def test_no_descriptor_is_kept_of_agents_that_have_ended(observer):
    watch = observer(threshold_ms=HOUR_MS)
    with support.Agent(watch.socket_path) as first:
        first.beat()
        watch.wait_event("beat", first.pid)
        first.kill()
        watch.wait_event("exit", first.pid)
    before = len(descriptors(watch.pid))
    for _ in range(5):
        with support.Agent(watch.socket_path) as one:
            one.beat()
            watch.wait_event("beat", one.pid)
            one.kill()
            watch.wait_event("exit", one.pid)
    assert len(descriptors(watch.pid)) == before


# ---- started over ---------------------------------------------------------


def test_an_agent_that_executes_itself_is_not_locked_out(observer, agent):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    for i in range(3):
        one.beat(timestamp=3_600_000_000_000 + i)  # it has run for an hour
    watch.wait_event("beat", one.pid, count=3)
    one.exec_self()
    one.beat()
    rows = watch.wait_event("beat", one.pid, count=4)
    assert [row.nonce for row in rows] == ["1", "2", "3", "1"]
    assert kinds_of(watch, one.pid).count("join") == 1
    metrics = wait_metric(watch, "varta_new_sessions_total", 1)
    assert metrics.value("varta_tracker_pid_recycle_total") == 0


# ---- what is told ---------------------------------------------------------


def test_only_kinds_of_the_reference_are_told_when_asked_for(
    observer, agent
):
    watch = observer(*METRICS, "--export-events=reference", threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    one.beat()
    watch.wait_event("stall", one.pid, count=2)
    one.kill()
    wait_metric(watch, "varta_exits_total", 1)
    assert {row.kind for row in watch.events()} == {"beat", "stall"}
    assert watch.metrics().value("varta_joins_total") == 1
    assert watch.metrics().value("varta_resumes_total") == 1


def test_without_an_event_file_agents_are_watched_all_the_same(
    observer, agent
):
    watch = observer(*METRICS, threshold_ms=200, events=False)
    one = agent(watch.socket_path)
    one.beat()
    wait_metric(watch, "varta_stalls_total", 1, pid=one.pid)
    wait_for(lambda: f"agent {one.pid} (" in watch.log())
    assert not watch.events_path.exists()


@pytest.mark.parametrize("clock", ["monotonic", "boottime"])
def test_every_clock_of_this_system_tells_silence(observer, agent, clock):
    watch = observer("--clock-source", clock, threshold_ms=100)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
