"""Series of agents in the metrics, by pid, by name or not at all; who they
are; times of agents; and the same as OpenMetrics, read by another's parser."""

import os
import subprocess
import time

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)

from support import VARTA, wait_for
from watching import HOUR_MS, METRICS, values, wait_metric

OPEN = "application/openmetrics-text; version=1.0.0"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
FINE = "5e-05 0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1"
FINE += " 0.25 0.5 1 2.5 5 10 +Inf"
OF_AGENTS = [
    "varta_beats_total",
    "varta_stalls_total",
    "varta_status",
    "varta_agent_last_beat_timestamp_seconds",
]


class Named:
    """An agent whose command has this name: any bytes."""

    def __init__(self, watch, name):
        link = os.fsencode(watch.folder) + b"/" + name
        if not os.path.lexists(link):
            os.symlink(VARTA, link)
        self.process = subprocess.Popen(
            [link, "beat", "--stdin", "--socket", watch.socket_path],
            stdin=subprocess.PIPE,
        )
        self.pid = self.process.pid

    def beat(self, status="ok"):
        self.process.stdin.write(status.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def leave(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


@pytest.fixture
def named():
    """named(watch, name) starts an agent of this name."""
    started = []

    def start(watch, name):
        started.append(Named(watch, name))
        return started[-1]

    yield start
    for one in started:
        one.process.stdin.close()
        one.kill()


def opened(watch):
    """Families of the OpenMetrics form, by name."""
    answer = watch.get(headers={"Accept": OPEN})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(
        "application/openmetrics-text; version=1.0.0"
    )
    text = answer.body.decode()
    assert text.endswith("\n# EOF\n")
    return {family.name: family for family in parse_open(text)}


def buckets(metrics, name):
    """Bounds and cumulative counts, in order of their bounds."""
    found = values(metrics, f"{name}_bucket", "le")
    assert list(found) == FINE.split()
    counts = [found[le] for le in FINE.split()]
    assert counts == sorted(counts)
    assert metrics.value(f"{name}_count") == counts[-1]
    return found


# ---- OpenMetrics ----------------------------------------------------------


def test_openmetrics_is_what_its_own_parser_takes(watch, agent):
    one = agent(watch.socket_path)
    one.beat("degraded")
    wait_metric(watch, "varta_beats_all_total", 1)
    families = opened(watch)
    assert families["varta_beats"].type == "counter"
    [sample] = families["varta_beats"].samples
    assert sample.name == "varta_beats_total"
    assert (sample.labels, sample.value) == ({"pid": str(one.pid)}, 1)
    assert families["varta_agent"].type == "info"
    assert families["varta_observer_iteration_seconds"].type == "histogram"
    assert families["varta_observer_iteration_seconds"].unit == "seconds"
    assert families["varta_observer_uds_rcvbuf_bytes"].unit == "bytes"


def test_both_forms_say_the_same(watch, agent):
    agent(watch.socket_path).beat()
    classic = wait_metric(watch, "varta_beats_all_total", 1)
    # By the names of samples: those of families differ. The classic parser
    # makes up a _total where a counter has none.
    in_open = {s.name for f in opened(watch).values() for s in f.samples}
    made_up = "varta_recovery_duration_ns_sum_total"
    assert in_open == classic.names() - {made_up} | {made_up[: -len("_total")]}


@pytest.mark.parametrize(
    "accept, is_open",
    [
        (OPEN, True),
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("text/plain;version=0.0.4", False),
        ("*/*", False),
        ("application/openmetrics-text;version=0.0.1", False),
        (OPEN + ";q=0.1,text/plain;q=0.9", False),
        ("application/json", False),
        ('"', False),
    ],
)
def test_who_asks_for_openmetrics_gets_it(watch, accept, is_open):
    answer = watch.get(headers={"Accept": accept})
    assert answer.status == 200
    kind = answer.headers["Content-Type"].split(";")[0]
    assert kind == (
        "application/openmetrics-text" if is_open else "text/plain"
    )
    assert answer.body.endswith(b"# EOF\n") == is_open


# ---- who an agent is ------------------------------------------------------


def info_of(watch):
    """Labels of every agent, by pid."""
    [family] = [
        f for f in watch.metrics().families if f.name == "varta_agent_info"
    ]
    assert all(s.value == 1 for s in family.samples)
    return {s.labels["pid"]: s.labels for s in family.samples}


def test_an_agent_has_a_name_a_user_and_an_origin(watch, agent):
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("join", one.pid)
    with open(f"/proc/{one.pid}/comm") as f:
        name = f.read().rstrip("\n")
    assert info_of(watch) == {
        str(one.pid): {
            "pid": str(one.pid),
            "name": name,
            "uid": str(os.geteuid()),
            "origin": "kernel_attested",
        }
    }


@pytest.mark.parametrize(
    "name, shown",
    [
        (b'a"b\\c', 'a"b\\c'),
        (b"{pid=\"1\"} 7 x", '{pid="1"} 7 x'),
        ("wörker".encode(), "wörker"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\tb\x7fc", "a\ufffdb\ufffdc"),
    ],
)
def test_no_name_breaks_a_scrape(watch, named, name, shown):
    one = named(watch, name)
    one.beat()
    watch.wait_event("join", one.pid)
    assert info_of(watch)[str(one.pid)]["name"] == shown
    [sample] = opened(watch)["varta_agent"].samples
    assert sample.labels["name"] == shown


def test_the_last_beat_is_told_in_the_time_of_the_wall(watch, agent):
    one = agent(watch.socket_path)
    before = time.time()
    one.beat()
    metrics = wait_metric(watch, "varta_beats_all_total", 1)
    last = metrics.value(
        "varta_agent_last_beat_timestamp_seconds", pid=one.pid
    )
    assert before - 0.01 <= last <= time.time() + 0.01
    # It stands still until the next one.
    again = watch.metrics().value(
        "varta_agent_last_beat_timestamp_seconds", pid=one.pid
    )
    assert abs(again - last) <= 0.01


# ---- times ----------------------------------------------------------------


def test_times_of_agents_have_their_own_bounds_from_the_first_scrape(watch):
    metrics = watch.metrics()
    for name in ("beat_interval", "stall_lateness", "recovery_latency"):
        found = buckets(metrics, f"varta_{name}_seconds")
        assert set(found.values()) == {0}
        assert metrics.value(f"varta_{name}_seconds_sum") == 0


def test_intervals_stalls_and_recovery_are_timed(observer, agent):
    watch = observer(
        *METRICS, "--recovery-exec", "/bin/true", threshold_ms=100
    )
    one = agent(watch.socket_path)
    for _ in range(5):
        one.beat()
    watch.wait_event("stall", one.pid)
    metrics = wait_metric(watch, "varta_recovery_latency_seconds_count", 1)
    assert metrics.value("varta_beat_interval_seconds_count") == 4
    buckets(metrics, "varta_beat_interval_seconds")
    assert metrics.value("varta_stall_lateness_seconds_count") == 1
    assert 0 <= metrics.value("varta_stall_lateness_seconds_sum") < 5
    buckets(metrics, "varta_recovery_latency_seconds")


# ---- by name, or not at all -----------------------------------------------


@pytest.fixture
def by_name(observer, named):
    """Two agents called web, one called db, who have beaten."""
    watch = observer(
        *METRICS, "--prom-agent-series", "name", threshold_ms=HOUR_MS
    )
    agents, beats = [], 0
    for name, n in ((b"web", 2), (b"web", 3), (b"db", 4)):
        agents.append(named(watch, name))
        for _ in range(n):
            agents[-1].beat()
        beats += n
        wait_metric(watch, "varta_beats_all_total", beats)
    return watch, agents


def test_agents_of_one_name_are_summed(by_name):
    watch, (web, _, db) = by_name
    db.beat("critical")
    web.beat("degraded")
    metrics = wait_metric(watch, "varta_beats_all_total", 11)
    assert values(metrics, "varta_beats_total", "name") == {"web": 6, "db": 5}
    assert values(metrics, "varta_status", "name") == {"web": 1, "db": 2}
    assert "pid=" not in watch.get().body.decode()
    assert opened(watch)["varta_agent"].samples == []


def test_sums_do_not_fall_when_agents_go(by_name):
    watch, (web, other, db) = by_name
    before = values(watch.metrics(), "varta_beats_total", "name")
    assert before == {"web": 5, "db": 4}
    web.kill()
    other.leave()
    db.leave()
    for one in (web, other, db):
        # With a code that the kernel tells it leaves, else it exits.
        wait_for(
            lambda: watch.events("leave", one.pid)
            or watch.events("exit", one.pid)
        )
    assert values(watch.metrics(), "varta_beats_total", "name") == before


def test_an_agent_that_was_evicted_still_counts(observer, named):
    watch = observer(
        *METRICS,
        *("--prom-agent-series", "name", "--tracker-capacity", 1),
        threshold_ms=50,
    )
    first = named(watch, b"old")
    for _ in range(3):
        first.beat()
    wait_metric(watch, "varta_beats_all_total", 3)
    watch.wait_event("stall", first.pid)
    second = named(watch, b"new")

    def is_evicted():
        second.beat()
        return watch.events("eviction", first.pid)

    wait_for(is_evicted)
    metrics = wait_metric(watch, "varta_watch_pids_tracked", 1)
    assert values(metrics, "varta_beats_total", "name")["old"] == 3
    assert set(values(metrics, "varta_status", "name")) == {"new"}


def test_without_series_only_totals_are_left(observer, agent):
    watch = observer(
        *METRICS, "--prom-agent-series", "none", threshold_ms=HOUR_MS
    )
    agent(watch.socket_path).beat()
    metrics = wait_metric(watch, "varta_beats_all_total", 1)
    for name in OF_AGENTS:
        assert values(metrics, name, "pid") == {}
        assert values(metrics, name, "name") == {}
        assert f"# TYPE {name} " in watch.get().body.decode()
    assert metrics.value("varta_watch_pids_tracked") == 1
