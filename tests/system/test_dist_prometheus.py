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
FREE_LABELS = {"job", "instance", "pid", "name", "source", "lane"}

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


# Those that an operator of the reference knows.
REFERENCE_ALERTS = """
    VartaWatchStalled VartaTrackerCapacityExceeded VartaOutstandingProbeExhausted
    VartaPidIndexProbeExhausted VartaAuditRecordDropped VartaInvariantViolation
    VartaIterationP99High VartaBeatPathP99High VartaIterationBudgetOverruns
    VartaScrapeStormPressure VartaTrackerEvictionTruncated
    VartaAuditFlushBudgetPressure VartaRecoveryReapTruncated
    VartaAuditRingWatermarkCritical VartaRateLimitingActive VartaClockJump
    VartaAuthFailureBurst VartaNamespaceConflict VartaFrameDecodeAnomaly
    VartaAuditRingWatermarkWarn VartaFrameAuthFailure VartaRecoveryRefused
""".split()
REFERENCE_RECORDS = """
    varta:iteration_seconds:p50_5m varta:iteration_seconds:p99_5m
    varta:iteration_seconds:p999_5m varta:serve_pending_seconds:p99_5m
    varta:beat_path_seconds:p99_5m varta:audit_fsync_seconds:p99_5m
    varta:stage_seconds:p99_5m varta:beats:rate_1m varta:beats:rate_5m
    varta:stalls:rate_5m varta:recovery_outcomes:rate_5m
    varta:recovery_duration_seconds:mean_5m varta:tracker:utilization
    varta:decode_errors:rate_5m varta:rate_limited:rate_5m
    varta:recovery_refused:rate_5m varta:secure_aead_attempts:ratio_5m
""".split()

# What happens now and then without being worth an alert, and what another
# alert tells of.
NO_FAULT = {
    "varta_io_errors_total",
    "varta_export_errors_total",
    "varta_control_refused_total",
    "varta_socket_bind_dir_fsync_failed_total",
}


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


def test_who_knows_the_reference_finds_its_rules_or_why_not(scraped):
    assert set(REFERENCE_RECORDS) <= recorded_names()
    left_out = set(REFERENCE_ALERTS) - {alert["alert"] for alert in alerts()}
    told = (ROOT / "docs/operations.md").read_text()
    assert {name for name in left_out if f"`{name}`" not in told} == set()


@pytest.mark.parametrize("word", ["refused", "lost", "errors", "failed"])
def test_every_metric_of_what_goes_wrong_is_in_an_alert(scraped, word):
    asked = {name for one in alerts() for name, _ in selectors(one["expr"])}
    never = set(re.findall(r"^# HELP (\w+) Always ", scraped, re.M))
    found = re.findall(rf"^# TYPE (varta\w*_{word}\w*_total) ", scraped, re.M)
    assert found
    assert set(found) - asked - never - NO_FAULT == set()


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


@needs("prometheus")
@pytest.mark.limit(90)
def test_a_real_prometheus_tells_of_real_faults(folder, observer, agent):
    watch = observer(
        *METRICS,
        *("--recovery-cmd", "false {pid}"),
        threshold_ms=300,
    )
    data = folder / "prometheus"
    data.mkdir()
    text = prometheus.hurried_rules()
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

        assert server.rule_faults() == []

        # A wedged observer does not answer, nor does a killed one.
        with held(watch):
            server.wait_firing("VartaWatchDown")
        server.wait_quiet("VartaWatchDown")
        os.kill(watch.pid, signal.SIGKILL)
        watch.wait_end()
        server.wait_firing("VartaWatchDown")
        assert "VartaWatchStalled" not in server.firing()
