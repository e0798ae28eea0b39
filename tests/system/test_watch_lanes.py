"""Lanes of varta-watch, as an operator sees them: threads and workers that beat
by a store into memory which their process has handed over."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)

import audit
import support
from commands import Reporter, wait_outcome
from lanes import (
    LaneAgent,
    Memory,
    hand_over,
    is_hung_up,
    kinds,
    lane_rows,
    lane_values,
    lanes_path,
    wait_lane,
)
from support import BUILD, wait_for
from units import needs
from watching import (
    HOUR_MS,
    METRICS,
    NOBODY,
    choose_next_pid,
    descriptors,
    held,
    in_own_pids,
    needs_exit_codes,
    needs_root,
    run_watch,
    values,
    wait_metric,
)

REFUSED = "varta_lanes_refused_total"
OPEN = "application/openmetrics-text; version=1.0.0"
LANES_EXAMPLE = BUILD / "examples" / "lanes"
OF_LANES = [
    "varta_lane_beats_total",
    "varta_lane_stalls_total",
    "varta_lane_status",
    "varta_lane_busy",
    "varta_lane_last_beat_timestamp_seconds",
]


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


@pytest.fixture
def lane_agent():
    """lane_agent(watch) starts an agent with lanes."""
    with contextlib.ExitStack() as stack:

        def start(watch, **settings):
            return stack.enter_context(
                LaneAgent(watch.socket_path, **settings)
            )

        yield start


def one_threshold_passes(watch):
    """Whatever was to happen within 200 ms has happened: another lane, opened
    now, has stalled."""
    with LaneAgent(watch.socket_path) as clock:
        clock.open("clock", threshold_ms=200)
        clock.beat_lanes("clock")
        wait_lane(watch, "clock", "stall", pid=clock.pid)


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


# ---- what is told -----------------------------------------------------------


def test_lanes_have_lines_in_the_log(observer, lane_agent):
    watch = observer("--log-level=debug", threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open("w 1", threshold_ms=100)
    one.set_status("w 1", support.DEGRADED)
    one.beat_lanes("w 1")
    wait_lane(watch, "w 1", "stall")
    one.idle("w 1")
    wait_lane(watch, "w 1", "resume")
    one.close_lanes("w 1")
    wait_lane(watch, "w 1", "leave")
    with open(f"/proc/{one.pid}/comm") as f:
        who = f"agent {one.pid} ({f.read().strip()}) lane 'w 1' "

    def told():
        lines = [line for line in watch.log().splitlines() if who in line]
        return lines if len(lines) >= 4 else None

    lines = wait_for(told)
    assert f"{who}joined" in lines[0]
    assert f"{who}stalled: silent for 0." in lines[1]
    assert "threshold 0.100 s, last status degraded" in lines[1]
    assert "its process is there" in lines[1]
    assert f"{who}beats again" in lines[2]
    assert f"{who}left" in lines[3]


def test_lines_of_lanes_are_told_as_json(observer, lane_agent):
    watch = observer("--log-format=json", threshold_ms=HOUR_MS)
    one = lane_agent(watch)
    one.open('q"\\', threshold_ms=100)
    one.beat_lanes('q"\\')
    wait_lane(watch, 'q"\\\\', "stall")

    def stalls():
        lines = [json.loads(line) for line in watch.log().splitlines()]
        return [line for line in lines if "stalled" in str(line)]

    [line] = wait_for(stalls)
    assert line["pid"] == one.pid
    assert "lane 'q\"\\' stalled: " in line["msg"]


def test_the_reference_knows_of_no_lanes(observer, lane_agent):
    watch = observer(
        *METRICS, "--export-events", "reference", threshold_ms=100
    )
    one = lane_agent(watch)
    one.open("w", threshold_ms=100)
    one.beat_lanes("w")
    wait_metric(watch, "varta_lane_stalls_all_total", 1, reason="silent")
    one.beat()
    watch.wait_event("stall", one.pid)
    one.close_lanes("w")
    wait_metric(watch, "varta_lane_leaves_total", 1)
    assert lane_rows(watch) == []
    assert {row.kind for row in watch.events()} == {"beat", "stall"}


def test_each_lane_has_series(watch, lane_agent):
    one = lane_agent(watch)
    one.open("a", "b", "c", threshold_ms=HOUR_MS)
    one.open("hung", threshold_ms=100)
    for _ in range(3):
        one.beat_lanes("a")
    one.beat_lanes("b")
    one.set_status("b", support.CRITICAL)
    before = time.time()
    one.beat_lanes("hung")
    wait_lane(watch, "hung", "stall")
    one_threshold_passes(watch)
    metrics = watch.metrics()

    def of_one(name):
        found = lane_values(metrics, name)
        return {lane: n for (pid, lane), n in found.items() if pid == one.pid}

    beats = {"a": 3, "b": 1, "c": 0, "hung": 1}
    assert of_one("varta_lane_beats_total") == beats
    status = of_one("varta_lane_status")
    assert (status["a"], status["c"], status["hung"]) == (0, 0, 3)
    busy = {"a": 1, "b": 1, "c": 0, "hung": 1}
    assert of_one("varta_lane_busy") == busy
    stalls = {"a": 0, "b": 0, "c": 0, "hung": 1}
    assert of_one("varta_lane_stalls_total") == stalls
    last = of_one("varta_lane_last_beat_timestamp_seconds")["hung"]
    assert before - 0.02 <= last <= time.time() + 0.02
    assert metrics.value("varta_lanes_max") == 4096
    counted = values(metrics, "varta_lane_stalls_all_total", "reason")
    assert counted["gone"] == 0 and counted["silent"] >= 1


def test_a_status_shows_with_a_look(watch, lane_agent):
    one = lane_agent(watch)
    one.open("w", threshold_ms=50)
    one.keep_beating("w")
    one.set_status("w", support.DEGRADED)

    def shows(status):
        found = lane_values(watch.metrics(), "varta_lane_status")
        return found.get((one.pid, "w")) == status

    wait_for(lambda: shows(1))
    one.set_status("w", support.OK)
    wait_for(lambda: shows(0))


def test_openmetrics_has_the_lanes_too(watch, lane_agent):
    one = lane_agent(watch)
    one.open('a"b\\c')
    one.beat_lanes('a"b\\c')
    wait_metric(watch, "varta_lanes", 1)
    text = watch.get(headers={"Accept": OPEN}).body.decode()
    families = {family.name: family for family in parse_open(text)}
    [sample] = families["varta_lane_beats"].samples
    labels = {"pid": str(one.pid), "lane": 'a"b\\c'}
    assert (sample.name, sample.labels) == ("varta_lane_beats_total", labels)
    assert families["varta_lane_status"].type == "gauge"


@needs("promtool")
def test_promtool_finds_no_fault_in_the_metrics_of_lanes(watch, lane_agent):
    one = lane_agent(watch)
    one.open("a", 'q"\\', "w\u00f6rker")
    wait_metric(watch, "varta_lanes", 3)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=watch.get().body,
        capture_output=True,
    )
    assert b"lane" not in done.stdout + done.stderr, done


@pytest.mark.parametrize("series", ["name", "none"])
def test_without_series_of_processes_lanes_have_none(
    observer, lane_agent, series
):
    watch = observer(
        *METRICS, "--prom-agent-series", series, threshold_ms=HOUR_MS
    )
    one = lane_agent(watch)
    one.open("w", threshold_ms=100)
    one.beat_lanes("w")
    metrics = wait_metric(
        watch, "varta_lane_stalls_all_total", 1, reason="silent"
    )
    assert all(lane_values(metrics, name) == {} for name in OF_LANES)
    assert metrics.value("varta_lanes") == 1


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


# ---- sections of the configuration file -------------------------------------


@pytest.fixture
def configured(folder, observer):
    """configured(text) starts an observer with this configuration;
    reload(text) gives it another one."""

    class Configured:
        path = folder / "varta.conf"

        def write(self, text):
            self.path.write_text(f"threshold_ms = {HOUR_MS}\n{text}")
            self.path.chmod(0o600)

        def start(self, text):
            self.write(text)
            self.watch = observer(
                *METRICS, "--config", self.path, threshold_ms=None
            )
            return self.watch

        def reload(self, text, expect="configuration read again"):
            self.write(text)
            before = self.watch.log().count(expect)
            self.watch.process.send_signal(signal.SIGHUP)
            wait_for(lambda: self.watch.log().count(expect) > before)

    return Configured()


def section(name, **settings):
    lines = (f'  {key} = "{value}"' for key, value in settings.items())
    return "\n".join([f'agent "{name}" {{', *lines, "}\n"])


def test_a_section_gives_a_lane_name_and_threshold(configured, lane_agent):
    watch = configured.start(
        section("others", lane="other", threshold_ms=HOUR_MS)
        + section("shown", lane="w", comm="python3", threshold_ms=100)
    )
    one = lane_agent(watch)
    comm = pathlib.Path(f"/proc/{one.pid}/comm").read_text().strip()
    assert comm == "python3"
    one.open("w", "x")
    one.beat_lanes("w", "x")
    wait_lane(watch, "shown", "stall")
    assert "lane 'shown' stalled" in watch.log()
    assert kinds(watch, "x") == ["join"]
    found = lane_values(watch.metrics(), "varta_lane_status")
    assert found == {(one.pid, "shown"): 3, (one.pid, "x"): 0}


def test_a_section_without_a_lane_is_not_for_lanes(configured, lane_agent):
    watch = configured.start(
        section("process", comm="python3", threshold_ms=50)
    )
    one = lane_agent(watch)
    one.open("w")
    one.beat_lanes("w")
    one_threshold_passes(watch)
    assert kinds(watch, "w") == ["join"]


def test_a_section_for_a_lane_is_not_for_its_process(
    configured, lane_agent
):
    watch = configured.start(section("l", lane="w", threshold_ms=100))
    one = lane_agent(watch)
    one.open("w")
    one.beat()
    one.beat_lanes("w")
    wait_lane(watch, "l", "stall")
    # The process has the hour of all others.
    assert [row.payload for row in watch.events("stall")] == ["lane=l"]


@pytest.mark.parametrize(
    "text, fault",
    [
        ('agent "a" {\n  lane = "w"\n  grace_ms = 5\n}\n', "grace_ms"),
        ('agent "a" {\n  lane = ""\n}\n', "lane"),
        (f'agent "a" {{\n  lane = "{"x" * 32}"\n}}\n', "lane"),
        ('agent "a" {\n  lane = "w"\n  threshold_ms = 0\n}\n', "threshold"),
        ('agent "a" {\n  lane = "w"\n  lane_ms = 1\n}\n', "lane_ms"),
    ],
)
def test_a_section_that_is_wrong_is_refused_with_its_place(
    folder, text, fault
):
    path = folder / "varta.conf"
    path.write_text(f"threshold_ms = 100\n{text}")
    path.chmod(0o600)
    code, _, said = run_watch(
        "--check", "--socket", folder / "s", "--config", path
    )
    assert code != 0, said
    assert f"{path}:" in said and fault in said
    line = int(said.split(f"{path}:")[1].split(":")[0])
    assert 2 <= line <= 5


def test_a_reload_gives_lanes_that_are_there_other_terms(
    configured, lane_agent
):
    watch = configured.start("")
    one = lane_agent(watch)
    one.open("w")
    one.beat_lanes("w")
    wait_lane(watch, "w", "join")
    configured.reload(section("now", lane="w", threshold_ms=100))
    wait_lane(watch, "now", "stall")
    # And takes them away again.
    configured.reload("")
    one.beat_lanes("w")
    found = wait_for(
        lambda: lane_values(watch.metrics(), "varta_lane_beats_total")
    )
    assert found == {(one.pid, "w"): 2}
    assert len(lane_rows(watch, kind="join")) == 1


def test_a_reload_gives_no_two_lanes_one_name(configured, lane_agent):
    watch = configured.start("")
    one = lane_agent(watch)
    one.open("a", "b")
    wait_metric(watch, "varta_lanes", 2)
    configured.reload(section("b", lane="a"))
    found = lane_values(watch.metrics(), "varta_lane_status")
    assert set(found) == {(one.pid, "a"), (one.pid, "b")}


# ---- recovery ---------------------------------------------------------------


@pytest.fixture
def reporter(folder):
    return Reporter(folder)


def test_a_command_is_told_the_lane(folder, observer, lane_agent, reporter):
    trail = folder / "audit.log"
    watch = observer(
        *METRICS,
        *("--recovery-exec", f"{reporter.path} {{pid}} {{lane}} x{{lane}}x"),
        *("--recovery-audit-file", trail),
        threshold_ms=HOUR_MS,
    )
    one = lane_agent(watch)
    one.open("a b", threshold_ms=100)
    one.beat_lanes("a b")
    [report] = reporter.reports()
    assert report["argv"] == [str(one.pid), "a b", "xa bx"]
    assert report["environ"]["VARTA_LANE"] == "a b"
    assert report["environ"]["VARTA_AGENT_PID"] == str(one.pid)
    assert report["environ"]["VARTA_REASON"] == "silent"
    wait_outcome(watch, "reaped_zero")
    [row] = audit.wait_rows(trail, "spawn")
    assert row.pid == one.pid
    watch.stop()
    assert audit.verify(trail)[0] == 0
    audit.read(trail)


def test_a_command_for_the_process_is_told_no_lane(
    observer, lane_agent, reporter
):
    watch = observer(
        *METRICS,
        *("--recovery-exec", f"{reporter.path} x{{lane}}x"),
        threshold_ms=100,
    )
    one = lane_agent(watch)
    one.open("w")
    one.beat()
    [report] = reporter.reports()
    assert report["argv"] == ["xx", str(one.pid)]
    assert report["environ"].get("VARTA_LANE", "") == ""


def test_a_lane_has_a_command_of_its_own_by_its_section(
    configured, lane_agent, reporter
):
    watch = configured.start(
        'recovery_exec = "/bin/false"\n'
        + section(
            "mine",
            lane="w",
            threshold_ms=100,
            recovery_exec=f"{reporter.path} own {{lane}}",
        )
    )
    one = lane_agent(watch)
    one.open("w")
    one.beat_lanes("w")
    [report] = reporter.reports()
    assert report["argv"] == ["own", "mine", str(one.pid)]


def test_a_lane_has_the_command_of_its_process_otherwise(
    configured, lane_agent, reporter
):
    watch = configured.start(
        'recovery_exec = "/bin/false"\n'
        + section("l", lane="w", threshold_ms=100)
        + section(
            "p", comm="python3", recovery_exec=f"{reporter.path} process"
        )
    )
    one = lane_agent(watch)
    one.open("w")
    one.beat_lanes("w")
    [report] = reporter.reports()
    assert report["argv"] == ["process", str(one.pid)]
    assert report["environ"]["VARTA_LANE"] == "l"


def test_every_lane_that_stalls_has_its_recovery(
    observer, lane_agent, reporter
):
    watch = observer(
        *METRICS,
        *("--recovery-exec", reporter.path, "--recovery-debounce-ms", 0),
        threshold_ms=HOUR_MS,
    )
    one = lane_agent(watch)
    names = ["a", "b", "c"]
    one.open(*names, threshold_ms=100)
    for n, name in enumerate(names, 1):
        one.beat_lanes(name)
        wait_outcome(watch, "reaped_zero", n)
        one.idle(name)
    reports = reporter.reports(3)
    told = [report["environ"]["VARTA_LANE"] for report in reports]
    assert told == names


def test_lanes_of_a_process_that_stall_together_have_one_recovery(
    observer, lane_agent, reporter
):
    """As has a process that stalls again within the debounce time."""
    watch = observer(
        *METRICS,
        *("--recovery-exec", reporter.path),
        *("--recovery-debounce-ms", HOUR_MS),
        threshold_ms=HOUR_MS,
    )
    one = lane_agent(watch)
    one.open("a", "b", "c", threshold_ms=100)
    one.beat_lanes("a", "b", "c")
    wait_outcome(watch, "debounced", 2)
    assert len(reporter.reports()) == 1


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
