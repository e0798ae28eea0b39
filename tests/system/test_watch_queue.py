"""Many agents that beat at the same instants, and the kernel's queue, which is
shorter than there are agents, or long enough."""

import json
import os
import subprocess

import pytest

from support import BUILD, wait_for
from watching import HOUR_MS, with_queue_of

PHASE_AGENTS = BUILD / "tests" / "phase_agents"
INTERVAL_MS = 100
TRIES = 4
TOO_MUCH_TO_DO = "this machine has too much else to do to tell"

pytestmark = pytest.mark.skipif(
    not PHASE_AGENTS.exists(), reason="phase_agents is not built"
)


def run_agents(watch, agents, beats):
    """What became of all their beats, as they know it themselves."""
    done = subprocess.run(
        [PHASE_AGENTS, watch.socket_path, *map(str, (agents, beats))]
        + [str(INTERVAL_MS)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def beats_of(watch):
    """Accepted beats by agent."""
    counts = {}
    for row in watch.events("beat"):
        counts[row.pid] = counts.get(row.pid, 0) + 1
    return counts


def assert_all_accounted_for(watch, told, agents, beats):
    """Each beat was accepted by the observer, or its agent knows better."""
    assert told["failed_agents"] == 0
    refused = told["queue_full"]
    assert told["sent"] + refused == agents * beats
    others = ["no_observer", "peer_gone", "storage_full", "failed"]
    assert [told[what] for what in others] == [0] * 4
    # Ends are told after all beats; how, only if the parent was quick.
    wait_for(
        lambda: len(watch.events("leave") + watch.events("exit")) == agents,
        what="ends of all agents",
        step_s=0.2,
    )
    assert sum(beats_of(watch).values()) == told["sent"]
    assert len(beats_of(watch)) == agents


def did_not_get_to_run(told):
    """Whether agents, or the observer, were kept from what they should have
    done at once: then this run says nothing."""
    late = told["latest_ns"] > INTERVAL_MS * 1_000_000 / 4
    return late or os.getloadavg()[0] > 3 * os.cpu_count()


@pytest.mark.limit(120)
def test_a_queue_too_short_for_all_makes_nobody_stall(folder, observer):
    agents, beats = 50, 50
    for attempt in range(TRIES):
        where = folder / str(attempt)
        where.mkdir(mode=0o700)
        watch = observer(
            *("--max-beat-rate", 0, "--global-beat-rate", 0),
            threshold_ms=4 * INTERVAL_MS,
            program=with_queue_of(10),
            where=where,
        )
        told = run_agents(watch, agents, beats)
        assert_all_accounted_for(watch, told, agents, beats)
        stalls = len(watch.events("stall"))
        if stalls == 0:
            return
        assert did_not_get_to_run(told), f"{stalls} stalls; {told}"
        watch.stop()
    pytest.skip(TOO_MUCH_TO_DO)


def test_a_short_queue_is_warned_of_with_what_to_do(observer):
    watch = observer(threshold_ms=HOUR_MS, program=with_queue_of(10))
    [line] = [x for x in watch.log().splitlines() if "max_dgram_qlen" in x]
    assert "only 10 beats" in line
    assert "'net.unix.max_dgram_qlen = 512'" in line
    assert "/etc/sysctl.d/" in line


@pytest.mark.parametrize("length", [512, 1024])
def test_a_queue_that_is_long_enough_is_not_warned_of(observer, length):
    watch = observer(threshold_ms=HOUR_MS, program=with_queue_of(length))
    assert "max_dgram_qlen" not in watch.log()


@pytest.mark.limit(120)
def test_a_thousand_agents_lose_nothing_in_a_queue_for_all(folder, observer):
    agents, beats = 1000, 30
    for attempt in range(TRIES):
        where = folder / str(attempt)
        where.mkdir(mode=0o700)
        watch = observer(
            *("--max-beat-rate", 0, "--global-beat-rate", 0),
            threshold_ms=HOUR_MS,
            program=with_queue_of(1024),
            where=where,
        )
        told = run_agents(watch, agents, beats)
        assert_all_accounted_for(watch, told, agents, beats)
        if told["queue_full"] == 0:
            assert {n for n in beats_of(watch).values()} == {beats}
            return
        assert did_not_get_to_run(told), told
        watch.stop()
    pytest.skip(TOO_MUCH_TO_DO)
