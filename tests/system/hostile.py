"""What an observer of lanes is like after somebody has tried to harm it."""

import os
import pathlib
import re

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)

from lanes import kinds, lane_values, wait_lane
from support import wait_for
from watching import HOUR_MS, descriptors

REFUSED = "varta_lanes_refused_total"
OPEN = "application/openmetrics-text; version=1.0.0"


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def memory_of(pid):
    """How many mappings there are of memory that was handed over."""
    return pathlib.Path(f"/proc/{pid}/maps").read_text().count("memfd:lanes")


def wait_descriptors(watch, n):
    """No more than n: those of scrapes are closed a little later."""
    wait_for(lambda: len(descriptors(watch.pid)) <= n, what="descriptors")


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


def refused(metrics, reason):
    return metrics.value(REFUSED, reason=reason)


def passes(watch):
    return watch.metrics().value("varta_observer_passes_total")


def is_well(watch):
    """All that it shows can be read, and no series comes up twice."""
    text = watch.get().body.decode()
    samples = [line for line in text.splitlines() if line[:1] != "#"]
    names = [line.rsplit(" ", 1)[0] for line in samples]
    assert len(names) == len(set(names))
    list(parse_open(watch.get(headers={"Accept": OPEN}).body.decode()))
    assert watch.process.poll() is None
    watch.events()
    return watch.metrics()


def still_watches(watch, lane_agent):
    """Another agent is watched as ever: beats, lanes, stalls."""
    other = lane_agent(watch)
    other.beat()
    watch.wait_event("beat", other.pid)
    other.open("good", "hung", threshold_ms=HOUR_MS)
    other.open("short", threshold_ms=200)
    other.beat_lanes("good", "hung", "short")
    wait_lane(watch, "short", "stall", pid=other.pid)
    assert kinds(watch, "good", other.pid) == ["join"]
    beats = lane_values(is_well(watch), "varta_lane_beats_total")
    assert beats[other.pid, "good"] == 1


def wait_quiet(watch):
    """No pass follows the other any more: between scrapes there are no more
    than these need."""

    def is_quiet():
        before = passes(watch)
        for _ in range(10):
            after = passes(watch)
        return after - before <= 10 * 8

    wait_for(is_quiet, what="an observer at rest")
