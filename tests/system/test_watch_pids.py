"""A pid is not a process: pids that are used again, and processes of other pid
namespaces."""

import os
import pathlib
import subprocess
import sys

import pytest

import support
from support import Agent, process_state, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    can_have_pids,
    choose_next_pid,
    held,
    in_own_pids,
    wait_metric,
)


def start_ticks(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[19])


def take_over_pid(pid, before_ticks, address):
    """An agent with the pid of one that has ended. Started later, as far as
    the kernel's clock of 10 ms tells; with two in one tick nobody could."""

    def try_once():
        choose_next_pid(pid)
        one = Agent(address)
        if one.pid == pid and start_ticks(pid) != before_ticks:
            return one
        one.close()
        return None

    return wait_for(try_once, what=f"another process {pid}")


def rows_of(watch, pid):
    return [row.kind for row in watch.events(pid=pid)]


@in_own_pids
def test_another_process_with_the_pid_of_a_dead_one_is_another_agent(
    observer, agent
):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    pid, ticks = one.pid, start_ticks(one.pid)
    for _ in range(3):
        one.beat()
    watch.wait_event("beat", pid, count=3)
    one.kill()
    watch.wait_event("exit", pid)
    with take_over_pid(pid, ticks, watch.socket_path) as two:
        two.beat()
        watch.wait_event("join", pid, count=2)
        # The stall that the dead one still owed is told before it is
        # forgotten.
        assert rows_of(watch, pid) == (
            ["join"] + ["beat"] * 3 + ["exit", "stall", "join", "beat"]
        )
        metrics = watch.metrics()
        assert metrics.value("varta_tracker_pid_recycle_total") == 1
        assert metrics.value("varta_beats_total", pid=pid) == 1
        # The end of the second one is its own.
        two.kill()
        watch.wait_event("exit", pid, count=2)


@in_own_pids
def test_a_pid_that_is_taken_over_unseen_never_hides_the_death(
    observer, agent
):
    """The first beat of the second process is read before the news that the
    first one has ended."""
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    pid, ticks = one.pid, start_ticks(one.pid)
    one.beat()
    watch.wait_event("beat", pid)
    with held(watch):
        one.kill()
        two = take_over_pid(pid, ticks, watch.socket_path)
        two.beat()
    with two:
        watch.wait_event("exit", pid)
        two.beat()
        watch.wait_event("join", pid, count=2)
        stall = rows_of(watch, pid).index("stall")
        assert stall > rows_of(watch, pid).index("exit")
        two.beat()
        wait_metric(watch, "varta_tracker_pid_recycle_total", 1)
        wait_metric(watch, "varta_beats_total", 2, pid=pid)


@in_own_pids
def test_a_zombies_pid_is_still_its_own(observer, agent):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.exit(3, reap=False)
    choose_next_pid(one.pid)
    with Agent(watch.socket_path) as two:
        assert two.pid != one.pid
        two.beat()
        watch.wait_event("join", two.pid)
    watch.wait_event("exit", one.pid)
    assert rows_of(watch, one.pid) == ["join", "beat", "exit"]


# ---- other namespaces -----------------------------------------------------

# An agent in a pid namespace of its own. Its /proc is ours, and tells the pid
# that it has here.
STRANGER = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from agents import Frame
pid = os.getpid() if sys.argv[3] == "own" else int(os.readlink("/proc/self"))
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(sys.argv[2])
for nonce, line in enumerate(sys.stdin, 1):
    sock.send(Frame(pid=pid, nonce=nonce, timestamp=nonce).encode())
    print(os.readlink("/proc/self"), flush=True)
"""


class Stranger:
    def __init__(self, address, claims):
        folder = os.path.dirname(support.__file__)
        self.process = subprocess.Popen(
            ["unshare", "-pf", "--kill-child", sys.executable, "-Sc"]
            + [STRANGER, folder, os.fspath(address), claims],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def beat(self):
        """The pid that it has here."""
        self.process.stdin.write("beat\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture
def stranger():
    """stranger(address, claims): it claims the pid that it has "here", or
    its "own"."""
    if not can_have_pids():
        pytest.skip("needs privilege: a pid namespace of one's own")
    return Stranger


def test_an_agent_of_another_pid_namespace_is_a_conflict(observer, stranger):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    with stranger(watch.socket_path, "here") as one:
        pid = one.beat()
        [row] = watch.wait_event("mismatch")
        assert row[2:] == (str(pid), "-", "-", "namespace_conflict")
        metrics = watch.metrics()
        assert metrics.value("varta_frame_namespace_mismatch_total") == 1
        assert metrics.value("varta_watch_pids_tracked") == 0
        assert watch.events("join") == []


def test_an_agent_of_another_pid_namespace_may_be_allowed(observer, stranger):
    watch = observer("--allow-cross-namespace-agents", threshold_ms=HOUR_MS)
    with stranger(watch.socket_path, "here") as one:
        pid = one.beat()
        watch.wait_event("join", pid)
        one.beat()
        watch.wait_event("beat", pid, count=2)
    watch.wait_event("exit", pid)


def test_a_pid_of_another_namespace_is_somebody_elses_here(
    observer, stranger
):
    watch = observer("--allow-cross-namespace-agents", threshold_ms=HOUR_MS)
    with stranger(watch.socket_path, "own") as one:
        one.beat()
        # It is number 1 in there, which the protocol forbids.
        [row] = watch.wait_event("decode")
        assert row.payload.startswith("BadPid")


def test_the_strict_check_ends_the_observer_with_1(observer, stranger):
    watch = observer("--strict-namespace-check", threshold_ms=HOUR_MS)
    with stranger(watch.socket_path, "here") as one:
        one.beat()
        assert watch.wait_end() == 1
    assert "--strict-namespace-check" in watch.log()
    assert not watch.socket_path.exists()


def test_the_strict_check_does_not_mind_agents_that_are_gone(
    observer, agent
):
    """Nothing is known of a process that has ended; that is no conflict."""
    watch = observer("--strict-namespace-check", threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    with held(watch):
        one.beat()
        one.kill()
    other = agent(watch.socket_path)
    other.beat()
    watch.wait_event("beat", other.pid)
    assert process_state(watch.pid) is not None
    assert watch.events("mismatch") == []


def test_an_agent_that_is_gone_before_it_is_looked_at_is_told(
    observer, agent
):
    watch = observer(*METRICS, threshold_ms=200)
    one = agent(watch.socket_path)
    with held(watch):
        one.beat()
        one.kill()
    watch.wait_event("stall", one.pid)
    kinds = rows_of(watch, one.pid)
    assert kinds[:2] == ["join", "beat"]
    assert "exit" in kinds
    metrics = watch.metrics()
    assert metrics.value("varta_identity_unknown_total") == 1


def test_an_observer_in_a_pid_namespace_refuses_those_outside(
    folder, observer, agent
):
    """It has no number for them: nothing that they claim could be checked."""
    if not can_have_pids():
        pytest.skip("needs privilege: a pid namespace of one's own")
    inside = ["unshare", "-pf", "--kill-child", "--mount-proc", support.WATCH]
    watch = observer(program=inside, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    [row] = watch.wait_event("io")
    assert row.payload == os.strerror(1)
    assert watch.events("join") == []
    watch.process.kill()  # unshare(1) would not hand a signal on
    watch.wait_end()
