"""varta-watch with more agents than there is room for, and with few
descriptors."""

import pytest

from support import WATCH, wait_for
from watching import HOUR_MS, METRICS, descriptors, needs_exit_codes


def beat_until_joined(watch, agent):
    """Every threshold is of 10 ms, so room is made within 100 ms of
    silence."""

    def joined():
        agent.beat()
        return watch.events("join", agent.pid)

    wait_for(joined, step_s=0.05)


def test_an_agent_for_whom_there_is_no_room_is_counted(observer, agent):
    watch = observer(*METRICS, "--tracker-capacity=2", threshold_ms=HOUR_MS)
    one, two, three = (agent(watch.socket_path) for _ in range(3))
    one.beat()
    two.beat()
    three.beat()
    three.beat()
    one.beat()
    watch.wait_event("beat", one.pid, count=2)
    assert watch.events(pid=three.pid) == []
    metrics = watch.metrics()
    assert metrics.value("varta_tracker_capacity_exceeded_total") == 2
    assert metrics.value("varta_watch_pids_tracked") == 2
    assert metrics.value("varta_tracker_capacity") == 2
    assert metrics.value("varta_tracker_evicted_total") == 0


@needs_exit_codes
def test_an_agent_that_leaves_makes_room(observer, agent):
    watch = observer("--tracker-capacity=1", threshold_ms=HOUR_MS)
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    watch.wait_event("join", one.pid)
    one.exit(0)
    watch.wait_event("leave", one.pid)
    two.beat()
    watch.wait_event("join", two.pid)


@pytest.mark.parametrize("policy", ["strict", "balanced"])
def test_an_agent_that_has_long_been_silent_makes_room(
    observer, agent, policy
):
    watch = observer(
        *METRICS,
        "--tracker-capacity=1",
        f"--tracker-eviction-policy={policy}",
        threshold_ms=10,
    )
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    beat_until_joined(watch, two)
    [row] = watch.events("eviction")
    assert row[2:] == (str(one.pid), "-", "-", "-")
    metrics = watch.metrics()
    assert metrics.value("varta_tracker_evicted_total") == 1
    assert metrics.value("varta_beats_total", pid=one.pid) is None
    assert metrics.value("varta_beats_total", pid=two.pid) >= 1
    assert metrics.value("varta_watch_pids_tracked") == 1


def test_an_agent_that_was_evicted_joins_anew(observer, agent):
    watch = observer("--tracker-capacity=1", threshold_ms=10)
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    beat_until_joined(watch, two)
    before = len(descriptors(watch.pid))
    watch.wait_event("stall", two.pid)

    def again():
        one.beat()
        return len(watch.events("join", one.pid)) == 2

    wait_for(again, step_s=0.05)
    assert len(descriptors(watch.pid)) == before


def test_the_end_of_an_agent_that_was_evicted_is_no_news(observer, agent):
    watch = observer("--tracker-capacity=1", threshold_ms=10)
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    beat_until_joined(watch, two)
    one.kill()
    two.kill()
    watch.wait_event("exit", two.pid)
    assert watch.events("exit", one.pid) == []


def test_many_agents_fit_into_a_table_of_just_their_number(observer, agent):
    watch = observer(*METRICS, "--tracker-capacity=20", threshold_ms=HOUR_MS)
    agents = [agent(watch.socket_path) for _ in range(20)]
    for one in agents:
        one.beat()
        watch.wait_event("join", one.pid)
    assert watch.metrics().value("varta_watch_pids_tracked") == 20


def test_when_descriptors_run_out_agents_are_still_watched(observer, agent):
    """Known by their start time alone: their end is seen at their deadline,
    and that is counted."""
    few = ["sh", "-ec", 'ulimit -n 28; exec "$0" "$@"', WATCH]
    watch = observer(*METRICS, threshold_ms=2000, program=few)
    agents = [agent(watch.socket_path) for _ in range(20)]
    for one in agents:
        one.beat()
        watch.wait_event("join", one.pid)
    metrics = watch.metrics()
    assert metrics.value("varta_pidfd_refused_total") > 0
    agents[-1].kill()
    watch.wait_event("exit", agents[-1].pid)
    watch.wait_event("stall", agents[-1].pid)
    for one in agents[:-1]:
        watch.wait_event("stall", one.pid)
