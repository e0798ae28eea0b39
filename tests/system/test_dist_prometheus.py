"""Alerts, recording rules and the dashboard against our own output: every name
in them is one that a real observer exports, and a real Prometheus that scrapes
one fires for a real stall, a failed recovery, and an observer that is gone."""

import os
import re
import signal
import subprocess

import pytest
import yaml

import prometheus
from lanes import LaneAgent
from prometheus import Prometheus, alerts, rules, selectors
from support import ROOT, Observer, short_folder, wait_for
from units import needs, run
from watching import METRICS, held, wait_metric

DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]

# What the scrape itself adds; and who a process is.
FREE_LABELS = {"job", "instance", "pid", "name", "lane"}

# Panels that show what is not there while all is well.
EMPTY_WHEN_WELL = {"Datagrams that are no frames", "Refused"}


@pytest.fixture(scope="module")
def scraped():
    """A scrape of an observer that has seen an agent stall, and a lane."""
    with short_folder() as folder, Observer(
        folder, *METRICS, threshold_ms=50
    ) as watch, LaneAgent(watch.socket_path) as agent:
        agent.beat()
        agent.open("w", threshold_ms=50)
        agent.beat_lanes("w")
        wait_metric(watch, "varta_stalls_all_total", 1, reason="silent")
        wait_metric(watch, "varta_lane_stalls_all_total", 1, reason="silent")
        yield watch.get().body.decode()


@pytest.fixture(scope="module")
def exported(scraped):
    """From names of samples to their labels to the values that these have."""
    found = {}
    for line in scraped.splitlines():
        sample = re.match(r"(varta\w+)(?:\{(.*)\})? ", line)
        if sample:
            labels = found.setdefault(sample[1], {})
            for label, value in re.findall(r'(\w+)="(.*?)"', sample[2] or ""):
                labels.setdefault(label, set()).add(value)
    return found


def check_selectors(expr, known, recorded=frozenset()):
    for name, matchers in selectors(expr):
        if name == "up" or name in recorded:
            continue
        assert name in known, f"{name} is not exported: {expr}"
        for label, operator, value in matchers:
            if label in FREE_LABELS:
                continue
            assert label in known[name], f"{name} has no {label}: {expr}"
            parts = value.split("|") if "~" in operator else [value]
            for part in parts:
                assert part in known[name][label], f"no {part}: {expr}"


def recorded_names():
    return {rule["record"] for rule in rules() if "record" in rule}


def test_every_name_in_the_rules_is_exported(exported):
    for rule in rules():
        check_selectors(rule["expr"], exported, recorded_names())


def test_every_name_in_the_dashboard_is_exported(exported):
    for _, expr in prometheus.dashboard_expressions():
        check_selectors(expr, exported, recorded_names())


def test_every_series_in_the_tests_of_the_rules_is_exported(exported):
    for case in yaml.safe_load(prometheus.RULES_TEST.read_text())["tests"]:
        for one in case["input_series"]:
            # Of the buckets some were made up for the sake of brevity.
            series = re.sub(r', le="[^"]*"', "", one["series"])
            check_selectors(series, exported)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_metric_named_in_a_document_is_exported(exported, path):
    known = set(exported) | recorded_names()
    ends = "total|seconds|bytes|length|tracked|capacity|status|5m|1m"
    pattern = rf"\bvarta[_:][\w:]*_(?:{ends})\b"
    for word in re.findall(pattern, path.read_text()):
        assert word in known or f"{word}_bucket" in known, word


def test_no_alert_waits_for_what_cannot_happen(scraped):
    never = set(re.findall(r"^# HELP (\w+) Always ", scraped, re.M))
    assert never
    for rule in rules():
        assert not never & {name for name, _ in selectors(rule["expr"])}, rule


@needs("promtool")
def test_promtool_finds_no_fault_in_rules_and_metrics(scraped):
    run("promtool", "check", "rules", prometheus.RULES)
    run("promtool", "check", "config", prometheus.SCRAPE)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scraped,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # Names of the reference that are not as promtool would have them.
    kept = {
        "varta_recovery_duration_ns_sum",
        "varta_signal_handler_install_total",
        "varta_watch_last_poll_loop_timestamp_seconds",
    }
    named = re.findall(r"^(varta\w+)", done.stdout, re.M)
    assert set(named) <= kept, done.stdout


@needs("promtool")
def test_each_alert_fires_for_its_own_fault_only():
    run("promtool", "test", "rules", prometheus.RULES_TEST)
    tested = prometheus.RULES_TEST.read_text()
    for alert in alerts():
        assert f'{{alertname="{alert["alert"]}"' in tested, alert["alert"]


def test_each_alert_says_how_bad_it_is_and_what_has_happened():
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["labels"]["service"] == "varta-watch"
        assert set(alert["annotations"]) == {"summary", "description"}


def test_the_dashboard_can_be_imported():
    board = prometheus.dashboard()
    assert board["uid"] == "varta-health"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    # No two panels lie on each other, none beyond the edge.
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken and max(cells)[0] < 24
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
    names = {one["name"] for one in board["templating"]["list"]}
    assert names == {"datasource", "instance"}


def hurried(text):
    """The rules as shipped, but that nothing is waited for."""
    text = re.sub(r"^( +for:) \w+$", r"\1 0s", text, flags=re.M)
    text, n = re.subn(r"^( +interval:) \w+$", r"\1 1s", text, flags=re.M)
    assert n == text.count("- name:")
    return text


def every_panel_has_data(server):
    for panel, expr in prometheus.dashboard_expressions():
        if panel in EMPTY_WHEN_WELL:
            server.query(expr)
        else:
            wait_for(lambda: server.query(expr), what=expr, step_s=0.1)


@needs("prometheus")
@pytest.mark.limit(90)
def test_a_real_prometheus_tells_of_real_faults(folder, observer, agent):
    watch = observer(
        *METRICS,
        *("--recovery-cmd", "false {pid}"),
        *("--recovery-audit-file", folder / "audit.log"),
        threshold_ms=300,
    )
    data = folder / "prometheus"
    data.mkdir()
    text = hurried(prometheus.RULES.read_text())
    with Prometheus(data, watch.metrics_address(), text) as server:
        # The queue may be short: that is the machine's own.
        wait_for(
            lambda: server.query("varta:tracker:utilization")
            and set(server.firing()) <= {"VartaQueueShort"},
            what="a healthy observer",
            step_s=0.1,
        )

        # It hangs, and what is run for it fails.
        hangs = agent(watch.socket_path)
        hangs.beat()
        hangs.stop()
        [alert] = server.wait_firing("VartaAgentStalled")
        assert f"pid {hangs.pid}" in alert["annotations"]["description"]
        [alert] = server.wait_firing("VartaRecoveryFailed")
        assert alert["labels"]["outcome"] == "reaped_nonzero"
        hangs.kill()
        server.wait_firing("VartaAgentExited")
        with LaneAgent(watch.socket_path) as one:
            one.open("stuck", threshold_ms=100)
            one.beat_lanes("stuck")
            [alert] = server.wait_firing("VartaLaneStalled")
        told = alert["annotations"]["description"]
        assert told == f"Silent now: pid {one.pid} lane stuck."

        every_panel_has_data(server)
        assert server.rule_faults() == []

        # A wedged observer does not answer, nor does a killed one.
        with held(watch):
            server.wait_firing("VartaWatchDown")
        server.wait_quiet("VartaWatchDown")
        os.kill(watch.pid, signal.SIGKILL)
        watch.wait_end()
        server.wait_firing("VartaWatchDown")
        assert "VartaWatchStalled" not in server.firing()
