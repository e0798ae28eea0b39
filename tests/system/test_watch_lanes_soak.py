"""Many processes with lanes that beat, idle, hang and end in any order: what
becomes of each lane is told once, and nothing is left over."""

import contextlib
import os
import random
import resource

import pytest

from lanes import LaneAgent, lane_rows
from support import wait_for
from watching import HOUR_MS, METRICS, descriptors, tells_exits, wait_metric

AGENTS, LANES, STEPS = 200, 5, 3000
THRESHOLD_MS = 400
NAMES = [f"w{i}" for i in range(LANES)]


@pytest.fixture
def many_descriptors():
    """Two for each agent, in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Life:
    """An agent, and what must become of its lanes."""

    def __init__(self, watch):
        self.agent = LaneAgent(watch.socket_path)
        self.agent.open(*NAMES, threshold_ms=THRESHOLD_MS)
        self.busy = set()
        self.last = None  # by lane, the last that is told of it

    def step(self, chance):
        some = chance.sample(NAMES, chance.randint(1, LANES))
        if chance.random() < 0.6:
            self.agent.beat_lanes(*some)
            self.busy.update(some)
        else:
            self.agent.idle(*some)
            self.busy.difference_update(some)

    def end(self, chance):
        how = chance.choice(["kill", "fail", "leave", "exec", "let go"])
        if how == "kill":
            self.agent.kill()
        elif how == "fail":
            self.agent.exit(1)
        elif how == "leave":
            self.agent.exit(0)
        elif how == "exec":
            self.agent.exec_other()
        else:
            self.agent.detach()
        is_bad = how in ("kill", "fail")
        is_bad |= how == "leave" and not tells_exits()
        self.last = {
            name: "stall" if is_bad and name in self.busy else "leave"
            for name in NAMES
        }


def last_of(watch):
    """The last row of each lane, by pid and name."""
    return {(row.pid, row.payload): row.kind for row in lane_rows(watch)}


@pytest.mark.limit(180)
def test_all_lanes_of_many_processes_come_to_their_end(
    observer, many_descriptors
):
    seed = int(os.environ.get("PROP_SEED", random.randrange(2**32)))
    print(f"PROP_SEED={seed}")
    chance = random.Random(seed)
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    watch.metrics()
    before = len(descriptors(watch.pid))
    with contextlib.ExitStack() as stack:
        lives = []
        for _ in range(AGENTS):
            lives.append(Life(watch))
            stack.callback(lives[-1].agent.close)
        wait_metric(watch, "varta_lane_joins_total", AGENTS * LANES)
        living = list(lives)
        for i in range(STEPS):
            chance.choice(living).step(chance)
            if i % (STEPS // AGENTS) == 0:
                living.remove(ending := chance.choice(living))
                ending.end(chance)
            if not living:
                break
        for life in living:
            life.end(chance)
        expected = {
            (str(life.agent.pid), f"lane={name}"): kind
            for life in lives
            for name, kind in life.last.items()
        }
        wait_for(
            lambda: last_of(watch) == expected, what="what was to be told"
        )
        # Those that stalled stay a while for whoever acts on them.
        wait_for(
            lambda: watch.metrics().value("varta_lanes") == 0,
            what="no lanes",
            step_s=0.1,
        )
        metrics = watch.metrics()
    joins = metrics.value("varta_lane_joins_total")
    leaves = metrics.value("varta_lane_leaves_total")
    stalled = [kind for kind in expected.values() if kind == "stall"]
    assert joins == AGENTS * LANES == leaves + len(stalled)
    gone = metrics.value("varta_lane_stalls_all_total", reason="gone")
    assert gone <= len(stalled)
    assert {row.kind for row in lane_rows(watch)} <= {
        "join",
        "stall",
        "resume",
        "leave",
    }
    for name, labels in (("varta_lanes_refused_total", ["room", "record"]),):
        for label in labels:
            assert metrics.value(name, reason=label) == 0
    wait_for(lambda: len(descriptors(watch.pid)) <= before)
