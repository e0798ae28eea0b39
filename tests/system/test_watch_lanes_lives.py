"""Lanes and the processes that they belong to, which end, start anew and beat
by other ways, and an observer that was away."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

import support
from lanes import (
    Memory,
    hand_over,
    is_hung_up,
    kinds,
    lane_rows,
    lane_values,
    one_threshold_passes,
    wait_lane,
)
from support import BUILD, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    choose_next_pid,
    descriptors,
    held,
    in_own_pids,
    needs_exit_codes,
    values,
    wait_metric,
)

REFUSED = "varta_lanes_refused_total"
LANES_EXAMPLE = BUILD / "examples" / "lanes"


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


# ---- ends of processes ------------------------------------------------------


def test_a_busy_lane_of_a_killed_process_stalls_once_as_gone(
    observer, lane_agent, reporter
):
    watch = observer(
        *METRICS, "--recovery-exec", reporter.path, threshold_ms=HOUR_MS
    )
    one = lane_agent(watch)
    one.open("busy", threshold_ms=400)
    one.open("idle", threshold_ms=400)
    one.beat_lanes("busy")
    wait_lane(watch, "idle", "join")
    one.kill()
    watch.wait_event("exit", one.pid)
    wait_lane(watch, "busy", "stall")
    wait_lane(watch, "idle", "leave")
    assert kinds(watch, "busy") == ["join", "stall"]
    assert kinds(watch, "idle") == ["join", "leave"]
    [report] = reporter.reports()
    assert report["environ"]["VARTA_REASON"] == "gone"
    assert report["environ"]["VARTA_LANE"] == "busy"
    stalls = values(watch.metrics(), "varta_lane_stalls_all_total", "reason")
    assert stalls == {"silent": 0, "gone": 1}
    assert "lane 'busy' stalled: " in watch.log()
    assert "its process has ended" in watch.log()
    one_threshold_passes(watch)
    assert len(list(reporter.folder.glob("reporter.*.json"))) <= 2


def test_with_recovery_on_exit_a_busy_lane_stalls_at_once(
    observer, lane_agent, reporter
):
    watch = observer(
        *METRICS,
        *("--recovery-exec", reporter.path, "--recovery-on-exit"),
        threshold_ms=HOUR_MS,
    )
    one = lane_agent(watch)
    one.open("w", threshold_ms=HOUR_MS)
    one.beat_lanes("w")
    wait_lane(watch, "w", "join")
    one.kill()
    wait_lane(watch, "w", "stall")
    lanes = {
        report["environ"].get("VARTA_LANE", "")
        for report in reporter.reports()
    }
    assert lanes <= {"", "w"}


@needs_exit_codes
def test_lanes_of_a_process_that_ends_with_0_leave(watch, lane_agent):
    one = lane_agent(watch)
    one.open("busy", "idle", threshold_ms=HOUR_MS)
    one.beat_lanes("busy")
    wait_lane(watch, "idle", "join")
    one.exit(0)
    wait_lane(watch, "busy", "leave")
    wait_lane(watch, "idle", "leave")
    watch.wait_event("leave", one.pid, count=3)
    metrics = watch.metrics()
    assert metrics.value("varta_lanes") == 0
    assert watch.events("stall") == []


@needs_exit_codes
def test_lanes_of_a_process_that_fails_stall_at_their_deadlines(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("soon", threshold_ms=200)
    one.open("late", threshold_ms=HOUR_MS)
    one.beat_lanes("soon", "late")
    wait_lane(watch, "late", "join")
    one.exit(3)
    watch.wait_event("exit", one.pid)
    wait_lane(watch, "soon", "stall")
    assert kinds(watch, "late") == ["join"]


def test_a_process_that_executes_another_program_lets_go_of_its_lanes(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("w")
    one.beat_lanes("w")
    wait_lane(watch, "w", "join")
    one.exec_other()
    wait_lane(watch, "w", "leave")
    assert watch.events("stall") == watch.events("exit") == []


def test_a_process_that_starts_anew_has_its_lanes_anew(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", "x")
    one.beat_lanes("w")
    wait_lane(watch, "x", "join")
    one.exec_self()
    one.attach()
    one.open("w", "x")
    one.beat_lanes("w")
    wait_lane(watch, "w", "join", count=2)
    wait_lane(watch, "x", "join", count=2)
    assert kinds(watch, "w") == ["join", "leave", "join"]
    metrics = watch.metrics()
    assert metrics.value(REFUSED, reason="record") == 0
    assert lane_values(metrics, "varta_lane_busy") == {
        (one.pid, "w"): 1,
        (one.pid, "x"): 0,
    }


def test_a_process_that_closes_its_connection_lets_go_of_its_lanes(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("w")
    one.beat_lanes("w")
    wait_lane(watch, "w", "join")
    one.detach()
    wait_lane(watch, "w", "leave")
    one.beat()
    watch.wait_event("beat", one.pid)
    assert watch.events("stall") == watch.events("exit") == []
    # And may hand them over again.
    one.attach()
    wait_lane(watch, "w", "join", count=2)


def test_a_child_that_holds_the_connection_hides_no_end(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", threshold_ms=300)
    one.beat_lanes("w")
    wait_lane(watch, "w", "join")
    child = one.fork()
    try:
        one.kill()
        watch.wait_event("exit", one.pid)
        wait_lane(watch, "w", "stall")
        assert "its process has ended" in watch.log()
        assert kinds(watch, "w") == ["join", "stall"]
    finally:
        os.kill(child, signal.SIGKILL)


def test_lanes_of_a_process_that_ended_before_they_were_taken_are_refused(
    watch, lane_agent
):
    with held(watch):
        one = lane_agent(watch)
        one.open("w")
        one.beat_lanes("w")
        one.kill()
    wait_metric(watch, REFUSED, 1, reason="agent")
    assert lane_rows(watch) == []
    other = lane_agent(watch)
    other.open("w")
    wait_lane(watch, "w", "join", pid=other.pid)


@in_own_pids
def test_a_process_with_the_number_of_one_that_has_ended_has_its_own_lanes(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("w", "x", threshold_ms=100)
    one.beat_lanes("w")
    wait_lane(watch, "x", "join")
    one.kill()
    wait_lane(watch, "w", "stall")
    choose_next_pid(one.pid)
    other = lane_agent(watch)
    assert other.pid == one.pid
    other.open("w", "x")
    other.beat_lanes("w")
    wait_lane(watch, "w", "join", count=2)
    wait_lane(watch, "x", "join", count=2)
    metrics = watch.metrics()
    found = lane_values(metrics, "varta_lane_busy")
    assert found == {(other.pid, "w"): 1, (other.pid, "x"): 0}
    assert kinds(watch, "w") == ["join", "stall", "join"]
    assert metrics.value(REFUSED, reason="record") == 0


def test_no_memory_or_descriptor_is_kept_of_lanes_that_have_left(
    watch, lane_agent
):
    def maps():
        text = pathlib.Path(f"/proc/{watch.pid}/maps").read_text()
        return text.count("memfd:lanes")

    watch.metrics()
    before = len(descriptors(watch.pid))
    for _ in range(5):
        one = lane_agent(watch)
        one.open("w")
        wait_lane(watch, "w", "join", pid=one.pid)
        assert maps() == 1
        one.kill()
        wait_lane(watch, "w", "leave", pid=one.pid)
        wait_for(lambda: maps() == 0)
    wait_for(lambda: len(descriptors(watch.pid)) <= before)


# ---- beside beats by datagrams ----------------------------------------------


def test_a_lane_that_hangs_shows_in_a_process_that_beats(
    observer, lane_agent
):
    watch = observer(*METRICS, threshold_ms=2000)
    one = lane_agent(watch)
    one.open("hung", "good", threshold_ms=2000)
    one.keep_beating("good")
    one.beat_lanes("hung")

    def hangs():
        one.beat()
        return lane_rows(watch, "hung", "stall")

    wait_for(hangs, step_s=0.05)
    assert [row.payload for row in watch.events("stall")] == ["lane=hung"]
    assert kinds(watch, "good") == ["join"]


def test_a_process_that_beats_by_lanes_alone_is_not_judged(
    observer, lane_agent
):
    watch = observer(*METRICS, threshold_ms=50)
    one = lane_agent(watch)
    one.open("w")
    wait_lane(watch, "w", "join")
    one_threshold_passes(watch)
    assert watch.events("stall", one.pid) == []
    # From its first beat on it is.
    one.beat()
    watch.wait_event("stall", one.pid)


def test_one_who_has_stalled_still_has_lanes(observer, lane_agent):
    watch = observer(*METRICS, threshold_ms=50)
    one = lane_agent(watch)
    one.beat()
    watch.wait_event("stall", one.pid)
    one.open("w", threshold_ms=50)
    one.beat_lanes("w")
    wait_lane(watch, "w", "stall")


def test_agents_with_lanes_make_no_room_for_others(observer, lane_agent, agent):
    """A full table of agents: whoever has lanes is not evicted."""
    watch = observer(*METRICS, "--tracker-capacity=1", threshold_ms=50)
    one = lane_agent(watch)
    one.open("w")
    one.beat()
    watch.wait_event("stall", one.pid)
    agent(watch.socket_path).beat()
    wait_metric(watch, "varta_tracker_capacity_exceeded_total", 1)
    assert watch.events("eviction") == []
    # Nor has one without a place lanes.
    with contextlib.ExitStack() as stack:
        memory = Memory()
        stack.callback(memory.free)
        sock = stack.enter_context(hand_over(watch.socket_path, [memory.fd]))
        assert is_hung_up(sock)
    assert watch.metrics().value(REFUSED, reason="agent") == 1
    one.beat_lanes("w")
    assert watch.metrics().value("varta_lanes") == 1


# ---- an observer that was away ----------------------------------------------


@pytest.fixture
def program():
    """program(*argv) starts one, killed at the end."""
    started = []

    def start(*argv):
        started.append(
            subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        )
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.skipif(not LANES_EXAMPLE.exists(), reason="examples not built")
def test_the_library_finds_an_observer_that_was_restarted(
    observer, program
):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    pid = program(LANES_EXAMPLE, watch.socket_path)
    workers = [f"worker-{i}" for i in range(1, 5)]
    for name in workers:
        wait_lane(watch, name, "join", pid=pid)
    watch.restart()
    for name in workers:
        # The event file goes on.
        wait_lane(watch, name, "join", count=2, pid=pid)
    wait_lane(watch, "worker-3", "stall", pid=pid)
    assert {row.payload for row in lane_rows(watch, kind="stall")} == {
        "lane=worker-3"
    }


@pytest.mark.skipif(not LANES_EXAMPLE.exists(), reason="examples not built")
def test_the_library_finds_an_observer_that_comes_later(folder, program):
    pid = program(LANES_EXAMPLE, folder / "varta.sock")
    with support.Observer(folder, threshold_ms=HOUR_MS) as watch:
        wait_lane(watch, "worker-1", "join", pid=pid)


def stop(watch):
    watch.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: support.process_state(watch.pid) == "T")


@pytest.mark.parametrize("clock", ["monotonic", "boottime"])
def test_lanes_are_not_blamed_for_the_time_that_we_were_stopped(
    observer, lane_agent, clock
):
    watch = observer(*METRICS, "--clock-source", clock, threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open("w", threshold_ms=1000)
    one.keep_beating("w")
    wait_lane(watch, "w", "join")
    stop(watch)
    time.sleep(1.5)  # how long we are away
    watch.process.send_signal(signal.SIGCONT)
    watch.wait_event("late")
    one_threshold_passes(watch)
    assert kinds(watch, "w") == ["join"]


def test_lanes_get_the_time_back_in_which_both_were_stopped(
    observer, lane_agent
):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open("w", threshold_ms=1000)
    one.keep_beating("w")
    wait_lane(watch, "w", "join")
    stop(watch)
    one.stop()
    time.sleep(1.5)  # as if the machine had slept
    watch.process.send_signal(signal.SIGCONT)
    watch.wait_event("late")
    one.cont()
    one_threshold_passes(watch)
    assert kinds(watch, "w") == ["join"]


def test_a_lane_that_is_silent_after_we_were_stopped_does_stall(
    observer, lane_agent
):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open("w", threshold_ms=500)
    one.beat_lanes("w")
    wait_lane(watch, "w", "join")
    stop(watch)
    time.sleep(1)  # how long we are away
    watch.process.send_signal(signal.SIGCONT)
    wait_lane(watch, "w", "stall")


@pytest.mark.parametrize("exact", [True, False])
def test_silence_of_lanes_is_told_by_the_clock_of_suspend(
    observer, lane_agent, exact
):
    watch = observer(
        *METRICS, "--clock-source", "boottime", threshold_ms=HOUR_MS
    )
    one = lane_agent(watch)
    one.open("good", threshold_ms=2000, exact=exact)
    one.open("w", threshold_ms=100, exact=exact)
    one.keep_beating("good")
    one.beat_lanes("w")
    wait_lane(watch, "w", "stall")
    assert kinds(watch, "good") == ["join"]
