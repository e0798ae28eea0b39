"""What is told of lanes, in log, metrics and event file, and what sections of
the configuration file and recovery make of them."""

import json
import pathlib
import signal
import subprocess
import time

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)

import audit
import support
from commands import wait_outcome
from lanes import (
    OF_LANES,
    kinds,
    lane_rows,
    lane_values,
    one_threshold_passes,
    wait_lane,
)
from support import wait_for
from units import needs
from watching import HOUR_MS, METRICS, run_watch, values, wait_metric

OPEN = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


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
