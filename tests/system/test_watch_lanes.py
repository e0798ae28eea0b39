"""Lanes of varta-watch, as an operator sees them: threads and workers that beat
by a store into memory which their process has handed over."""

import os
import pathlib
import socket

import pytest

from lanes import (
    OF_LANES,
    kinds,
    lane_rows,
    lane_values,
    lanes_path,
    one_threshold_passes,
    wait_lane,
)
from support import wait_for
from watching import (
    HOUR_MS,
    METRICS,
    NOBODY,
    held,
    needs_root,
    run_watch,
    wait_metric,
)

REFUSED = "varta_lanes_refused_total"


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


# ---- from open to close -----------------------------------------------------


def test_a_lane_joins_stalls_resumes_and_leaves(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", threshold_ms=100)
    one.beat_lanes("w")
    wait_lane(watch, "w", "stall")
    one.beat_lanes("w")
    wait_lane(watch, "w", "resume")
    one.close_lanes("w")
    wait_lane(watch, "w", "leave")
    rows = [row[1:] for row in lane_rows(watch)]
    pid = str(one.pid)
    # It may stall again before it is closed.
    assert rows[:3] == [
        ("join", pid, "0", "ok", "lane=w"),
        ("stall", pid, "1", "stall", "lane=w"),
        ("resume", pid, "2", "ok", "lane=w"),
    ]
    assert rows[-1] == ("leave", pid, "2", "-", "lane=w")
    times = [row.observer_ns for row in watch.events()]
    assert times == sorted(times)
    metrics = watch.metrics()
    assert metrics.value("varta_lane_attaches_total") == 1
    assert metrics.value("varta_lane_joins_total") == 1
    assert metrics.value("varta_lane_leaves_total") == 1
    assert metrics.value("varta_lane_resumes_total") >= 1
    assert metrics.value("varta_lanes") == 0
    assert all(lane_values(metrics, name) == {} for name in OF_LANES)


def test_a_stall_of_a_lane_is_never_told_before_its_time(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", threshold_ms=300)
    one.beat_lanes("w")
    [stall] = wait_lane(watch, "w", "stall")
    [join] = wait_lane(watch, "w", "join")
    assert stall.observer_ns > join.observer_ns
    line = [one for one in watch.log().splitlines() if "stalled" in one][0]
    silent = float(line.split("silent for ")[1].split(" s")[0])
    assert silent >= 0.3


@pytest.mark.parametrize("exact", [True, False])
def test_a_lane_that_beats_does_not_stall(watch, lane_agent, exact):
    one = lane_agent(watch)
    one.open("good", "hung", threshold_ms=2000, exact=exact)
    one.keep_beating("good", every_s=0.05)
    one.beat_lanes("hung")
    wait_lane(watch, "hung", "stall")
    assert kinds(watch, "good") == ["join"]


def test_a_lane_owes_nothing_before_its_first_beat_and_while_idle(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("new", "idle", threshold_ms=20)
    one.do("idle", names=["idle"])
    one_threshold_passes(watch)
    assert kinds(watch, "new") == ["join"]
    assert kinds(watch, "idle") == ["join"]


def test_a_stalled_lane_that_idles_is_back(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", threshold_ms=50)
    one.beat_lanes("w")
    wait_lane(watch, "w", "stall")
    one.idle("w")
    wait_lane(watch, "w", "resume")
    one_threshold_passes(watch)
    assert kinds(watch, "w") == ["join", "stall", "resume"]


def test_a_lane_stalls_once_for_each_silence(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", threshold_ms=50)
    for n in (1, 2, 3):
        one.beat_lanes("w")
        wait_lane(watch, "w", "stall", count=n)
    one_threshold_passes(watch)
    assert kinds(watch, "w") == ["join", "stall"] + ["resume", "stall"] * 2


def test_a_name_that_was_closed_can_be_opened_again(watch, lane_agent):
    one = lane_agent(watch)
    for n in (1, 2, 3):
        one.open("w")
        wait_lane(watch, "w", "join", count=n)
        one.close_lanes("w")
        wait_lane(watch, "w", "leave", count=n)
    # Also without an observer that looks in between.
    one.open("x")
    with held(watch):
        one.close_lanes("x")
        one.open("x")
    wait_lane(watch, "x", "join", count=2)
    assert kinds(watch, "x") == ["join", "leave", "join"]
    assert watch.metrics().value(REFUSED, reason="record") == 0


def test_a_lane_that_was_closed_without_a_word_is_seen_when_due(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("w", threshold_ms=100)
    one.beat_lanes("w")
    one.close_lanes("w", ring=False)
    wait_lane(watch, "w", "leave")
    assert kinds(watch, "w") == ["join", "leave"]


def test_all_lanes_that_a_process_can_have_are_watched(watch, lane_agent):
    one = lane_agent(watch)
    names = [f"w{i}" for i in range(1008)]
    one.open(*names)
    metrics = wait_metric(watch, "varta_lanes", 1008)
    assert len(lane_values(metrics, "varta_lane_status")) == 1008
    one.close_lanes(*names[::2])
    wait_metric(watch, "varta_lane_leaves_total", 504)
    left = lane_values(watch.metrics(), "varta_lane_status")
    assert {lane for _, lane in left} == set(names[1::2])


# ---- limits -----------------------------------------------------------------


def test_with_room_for_no_lanes_there_is_no_socket_for_them(observer, agent):
    watch = observer(*METRICS, "--lanes-max", 0, threshold_ms=100)
    assert not os.path.lexists(lanes_path(watch.socket_path))
    agent(watch.socket_path).beat()
    watch.wait_event("stall")
    metrics = watch.metrics()
    assert metrics.value("varta_lanes_max") == 0
    assert metrics.value("varta_lanes") == 0
    assert metrics.value(REFUSED, reason="room") == 0


def test_lanes_beyond_the_limit_are_counted_and_not_watched(
    observer, lane_agent
):
    watch = observer(*METRICS, "--lanes-max=3", threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open("a", "b", "c", "d", "e")
    metrics = wait_metric(watch, REFUSED, 2, reason="room")
    assert metrics.value("varta_lanes") == metrics.value("varta_lanes_max") == 3
    assert [row.payload[-1] for row in lane_rows(watch)] == ["a", "b", "c"]
    # Where one has left there is room for one that is opened then.
    one.close_lanes("a")
    wait_lane(watch, "a", "leave")
    other = lane_agent(watch)
    other.open("f")
    wait_for(lambda: len(lane_rows(watch, kind="join")) == 4)
    assert watch.metrics().value("varta_lanes") == 3


@pytest.mark.parametrize("value", ["-1", "65537", "x", ""])
def test_a_limit_that_is_none_is_refused(folder, value):
    code, _, text = run_watch(
        *("--socket", folder / "s", "--threshold-ms", 100),
        f"--lanes-max={value}",
    )
    assert code != 0
    assert "--lanes-max" in text
    assert list(folder.iterdir()) == []


# ---- the socket -------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o620, 0o666])
def test_the_socket_has_the_mode_of_the_other_and_is_removed(observer, mode):
    watch = observer(f"--socket-mode={mode:04o}", threshold_ms=HOUR_MS)
    path = pathlib.Path(lanes_path(watch.socket_path))
    assert path.is_socket()
    assert path.stat().st_mode & 0o7777 == mode
    watch.stop()
    assert not os.path.lexists(path)
    assert not os.path.lexists(watch.socket_path)


def test_a_socket_that_was_left_behind_is_taken_over(watch, lane_agent):
    watch.process.kill()
    watch.wait_end()
    path = pathlib.Path(lanes_path(watch.socket_path))
    assert path.is_socket()
    watch.restart()
    one = lane_agent(watch)
    one.open("w")
    wait_lane(watch, "w", "join", pid=one.pid)


def test_a_file_in_its_place_is_not_removed(folder):
    path = folder / "varta.sock.lanes"
    path.write_text("precious")
    code, _, text = run_watch(
        "--socket", folder / "varta.sock", "--threshold-ms", 100
    )
    assert code != 0
    assert "varta.sock.lanes" in text
    assert path.read_text() == "precious"
    assert not (folder / "varta.sock").exists()


def test_a_socket_of_another_observer_is_not_taken_over(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(os.fspath(folder / "varta.sock.lanes"))
        other.listen()
        code, _, text = run_watch(
            "--socket", folder / "varta.sock", "--threshold-ms", 100
        )
    assert code != 0
    assert "varta.sock.lanes" in text
    assert not (folder / "varta.sock").exists()


def test_lanes_work_in_a_folder_with_spaces(
    observer, spaced_folder, lane_agent
):
    watch = observer(*METRICS, where=spaced_folder, threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open("w", threshold_ms=100)
    one.beat_lanes("w")
    wait_lane(watch, "w", "stall")


def test_where_the_path_is_too_long_for_lanes_the_rest_goes_on(
    folder, observer, agent
):
    # 107 bytes at most, six of them for ".lanes".
    name = "s" * (107 - len(str(folder)) - 1)
    watch = observer(*METRICS, socket_name=name, threshold_ms=100)
    assert "no lanes are watched: " in watch.log()
    agent(watch.socket_path).beat()
    watch.wait_event("stall")
    assert watch.metrics().value("varta_lanes_max") == 0


# ---- who may ----------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("option", ["--allow-uid", "--allow-gid"])
def test_lanes_of_another_user_are_taken_where_allowed(
    folder, observer, lane_agent, option
):
    folder.chmod(0o755)
    watch = observer(
        *METRICS, "--socket-mode=0666", option, NOBODY, threshold_ms=HOUR_MS
    )
    one = lane_agent(watch, uid=NOBODY, gid=NOBODY)
    one.open("w")
    wait_lane(watch, "w", "join", pid=one.pid)


@needs_root
def test_lanes_of_another_user_are_refused_and_counted(
    folder, observer, lane_agent
):
    folder.chmod(0o755)
    watch = observer(*METRICS, "--socket-mode=0666", threshold_ms=HOUR_MS)
    lane_agent(watch, uid=NOBODY, gid=NOBODY)
    metrics = wait_metric(watch, REFUSED, 1, reason="user")
    assert metrics.value("varta_watch_pids_tracked") == 0
    assert metrics.value("varta_lane_attaches_total") == 0


@needs_root
def test_whom_the_socket_is_closed_to_cannot_hand_lanes_over(
    folder, watch, lane_agent
):
    folder.chmod(0o755)
    with pytest.raises(OSError, match="Permission denied"):
        lane_agent(watch, uid=NOBODY, gid=NOBODY)
    assert watch.metrics().value(REFUSED, reason="user") == 0


# ---- at rest ----------------------------------------------------------------


def test_an_idle_lane_wakes_the_observer_once_in_its_threshold(
    watch, lane_agent
):
    one = lane_agent(watch)
    one.open("idle", threshold_ms=HOUR_MS)
    wait_lane(watch, "idle", "join")

    def passes():
        return watch.metrics().value("varta_observer_passes_total")

    def looks():
        return watch.metrics().value("varta_lane_looks_total")

    before = looks(), passes()
    one_threshold_passes(watch)
    one_threshold_passes(watch)
    # The clocks were looked at, and nothing was for nothing: a join, a look, a
    # stall, an end for each; and the scrapes.
    assert looks() - before[0] <= 12
    assert passes() - before[1] <= 100


def test_an_idle_process_costs_no_wake_ups_but_those_of_its_lanes(
    watch, lane_agent
):
    def switches():
        text = pathlib.Path(f"/proc/{watch.pid}/status").read_text()
        return int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    one = lane_agent(watch)
    one.open(*[f"w{i}" for i in range(100)], threshold_ms=HOUR_MS)
    wait_metric(watch, "varta_lanes", 100)
    before = switches()
    one.open("clock", threshold_ms=500)
    one.beat_lanes("clock")
    wait_lane(watch, "clock", "stall")
    assert switches() - before < 50
