"""Agents of the library and the real observer together."""

import signal
import subprocess

import pytest

import support
from support import BUILD, VARTA
from watching import HOUR_MS, METRICS, held, wait_metric

WORKER = BUILD / "examples" / "worker"


@pytest.fixture
def watch(observer):
    return observer(*METRICS, "--max-beat-rate=0", threshold_ms=HOUR_MS)


@pytest.fixture
def started():
    """started(*command): a process with pipes, ended with the test."""
    processes = []

    def start(*command):
        processes.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        with process:  # closes its pipes, and waits
            pass


def test_every_beat_that_an_agent_knows_as_sent_is_accepted(watch, started):
    words = ["ok", "degraded", "critical"]
    lines = [f"{words[i % 3]} {i}\n" for i in range(300)]
    agent = started(VARTA, "beat", "--stdin", "--socket", watch.socket_path)
    for line in lines:
        # One at a time: the queue may be shorter than there are lines.
        agent.stdin.write(line)
        agent.stdin.flush()
        count = int(line.split()[1]) + 1
        if count % 5 == 0:
            watch.wait_event("beat", agent.pid, count=count)
    agent.stdin.close()
    assert agent.wait(support.DEADLINE_S) == 0
    rows = watch.events("beat", agent.pid)
    assert [f"{row.status} {row.payload}\n" for row in rows] == lines
    assert [int(row.nonce) for row in rows] == list(range(1, 301))
    assert watch.metrics().value("varta_beats_all_total") == 300


def test_an_agent_is_not_held_up_by_an_observer_that_does_not_read(
    watch, started
):
    """Its beats are refused, and it says so; nothing waits."""
    n = 40
    with open("/proc/sys/net/unix/max_dgram_qlen") as f:
        if int(f.read()) >= n:
            pytest.skip("the queue is too long to be filled quickly")
    with held(watch):
        agent = started(VARTA, "beat", "--stdin", "--socket", watch.socket_path)
        _, err = agent.communicate("ok\n" * n, timeout=support.DEADLINE_S)
    assert "kernel queue full" in err
    assert agent.returncode == 1
    # What was sent before is all there.
    wait_metric(watch, "varta_beats_all_total", 5)


@pytest.mark.skipif(not WORKER.exists(), reason="examples are not built")
@pytest.mark.parametrize("end", ["crash", "kill"])
def test_a_crash_has_a_last_word_and_a_kill_has_none(watch, started, end):
    worker = started(WORKER, "ingest", watch.socket_path)
    watch.wait_event("beat", worker.pid, count=2)
    if end == "crash":
        worker.stdin.write("crash\n")
        worker.stdin.flush()
        number = signal.SIGABRT
    else:
        worker.kill()
        number = signal.SIGKILL
    assert worker.wait(support.DEADLINE_S) == -number
    [row] = watch.wait_event("exit", worker.pid)
    assert row.status in ("signal", "unknown")
    last = watch.events("beat", worker.pid)[-1]
    if end == "crash":
        assert last.status == "critical"
        assert int(last.nonce) == support.NONCE_TERMINAL
        assert int(last.payload) == signal.SIGABRT
    else:
        assert last.status == "ok"
    assert f"agent {worker.pid} (ingest)" in watch.log()


@pytest.mark.skipif(not WORKER.exists(), reason="examples are not built")
def test_a_worker_that_hangs_is_told_from_one_that_works(
    observer, started
):
    watch = observer(threshold_ms=1500)
    works, hangs = (
        started(WORKER, name, watch.socket_path) for name in ("works", "hangs")
    )
    for worker in (works, hangs):
        watch.wait_event("beat", worker.pid)
    hangs.send_signal(signal.SIGSTOP)
    watch.wait_event("stall", hangs.pid)
    assert watch.events("stall", works.pid) == []
    hangs.send_signal(signal.SIGCONT)
    watch.wait_event("resume", hangs.pid)
