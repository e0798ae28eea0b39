"""The recovery command of varta-watch: when it is run, and how it ends."""

import os
import pathlib
import re

import pytest

import support
from commands import (
    Family,
    have_ended,
    outcomes,
    stall,
    wait_outcome,
    write_program,
)
from support import process_state, wait_for
from watching import HOUR_MS, METRICS, held, tells_exits


@pytest.fixture
def family(folder):
    return Family(folder)


# ---- when -----------------------------------------------------------------


def test_it_is_run_once_for_each_stall(observer, agent, reporter):
    watch = observer(
        *METRICS,
        *("--recovery-exec", reporter.path, "--recovery-debounce-ms", 0),
        threshold_ms=50,
    )
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    stall(watch, one)
    wait_outcome(watch, "reaped_zero", 1)
    stall(watch, two)
    wait_outcome(watch, "reaped_zero", 2)
    stall(watch, one, n=2)
    wait_outcome(watch, "reaped_zero", 3)
    pids = [report["argv"][0] for report in reporter.reports(3)]
    assert sorted(pids) == sorted([str(one.pid)] * 2 + [str(two.pid)])
    assert outcomes(watch) == {"spawned": 3, "reaped_zero": 3}
    metrics = watch.metrics()
    assert metrics.value("varta_recovery_duration_count_total") == 3
    # Its name ends without _total; the parser knows counters only so.
    assert metrics.value("varta_recovery_duration_ns_sum_total") > 0


def test_it_is_not_run_again_within_the_debounce_time(
    observer, agent, reporter
):
    watch = observer(
        *METRICS,
        *("--recovery-exec", reporter.path),
        *("--recovery-debounce-ms", HOUR_MS),
        threshold_ms=50,
    )
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    stall(watch, one)
    wait_outcome(watch, "reaped_zero")
    stall(watch, one, n=2)
    wait_outcome(watch, "debounced")
    # That is for each agent.
    stall(watch, two)
    wait_outcome(watch, "reaped_zero", 2)
    expected = {"spawned": 2, "reaped_zero": 2, "debounced": 1}
    assert outcomes(watch) == expected


def test_it_is_not_run_twice_at_a_time_for_one_agent(observer, agent):
    watch = observer(
        *METRICS,
        *("--recovery-exec", "/bin/sleep 3600", "--recovery-debounce-ms", 0),
        threshold_ms=50,
    )
    one = agent(watch.socket_path)
    stall(watch, one)
    stall(watch, one, n=2)
    wait_outcome(watch, "debounced")
    assert outcomes(watch) == {"spawned": 1, "debounced": 1}


def test_it_is_run_for_an_agent_that_has_ended_at_its_deadline(
    observer, agent, reporter
):
    watch = observer("--recovery-exec", reporter.path, threshold_ms=300)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    one.kill()
    [report] = reporter.reports()
    assert report["argv"] == [str(one.pid)]
    assert report["environ"]["VARTA_REASON"] == "gone"


def test_it_is_run_at_once_on_an_exit_when_asked_for(
    observer, agent, reporter
):
    watch = observer(
        *METRICS,
        *("--recovery-exec", reporter.path, "--recovery-on-exit"),
        threshold_ms=HOUR_MS,
    )
    left, died = agent(watch.socket_path), agent(watch.socket_path)
    for one in (left, died):
        one.beat()
        watch.wait_event("beat", one.pid)
    left.exit(0)
    died.kill()
    watch.wait_event("stall", died.pid)
    [report] = reporter.reports()
    assert report["argv"] == [str(died.pid)]
    assert report["environ"]["VARTA_REASON"] == "gone"
    assert watch.events("stall", left.pid) == [] or not tells_exits()


def test_it_is_not_run_without_a_stall(observer, agent, reporter):
    watch = observer(
        *METRICS, *("--recovery-exec", reporter.path), threshold_ms=HOUR_MS
    )
    one = agent(watch.socket_path)
    one.beat("critical")
    one.beat("critical", nonce=support.NONCE_TERMINAL)
    watch.wait_event("beat", one.pid, count=2)
    one.kill()
    watch.wait_event("exit", one.pid)
    assert outcomes(watch) == {}


def test_it_is_not_run_for_whom_nobody_vouches(observer, agent, reporter):
    """The kernel named a pid, but the process was gone before anybody could
    look: who would be acted upon is not known."""
    watch = observer(
        *METRICS, *("--recovery-exec", reporter.path), threshold_ms=50
    )
    one = agent(watch.socket_path)
    with held(watch):
        one.beat()
        one.kill()
    watch.wait_event("stall", one.pid)
    wait_outcome(watch, "refused_socket_mode_only")
    assert "only the socket's mode vouches for it" in watch.log()
    assert outcomes(watch) == {"refused_socket_mode_only": 1}


# ---- how it ends ----------------------------------------------------------


def test_the_output_of_a_command_that_failed_is_in_the_log(
    folder, observer, agent
):
    program = write_program(
        folder / "fails",
        "#!/bin/sh\necho to standard output\necho to standard error >&2\nexit 7\n",
    )
    watch = observer(*METRICS, "--recovery-exec", program, threshold_ms=50)
    one = agent(watch.socket_path)
    stall(watch, one)
    wait_outcome(watch, "reaped_nonzero")
    [line] = [x for x in watch.log().splitlines() if "exit code 7" in x]
    assert f"recovery command for agent {one.pid} ended" in line
    assert "to standard output" in line
    assert "to standard error" in line


def test_the_output_of_a_command_that_did_well_is_nobodys_business(
    folder, observer, agent
):
    program = write_program(folder / "works", "#!/bin/sh\necho well done\n")
    watch = observer(
        *METRICS,
        *("--recovery-exec", program, "--log-level=debug"),
        threshold_ms=50,
    )
    stall(watch, agent(watch.socket_path))
    wait_outcome(watch, "reaped_zero")
    assert "ended with exit code 0" in watch.log()
    assert "well done" not in watch.log()


def test_a_command_may_say_more_than_is_kept(folder, observer, agent):
    program = write_program(
        folder / "talks",
        "#!/bin/sh\nyes something | head -c 3000000\necho the end\nexit 1\n",
    )
    watch = observer(*METRICS, "--recovery-exec", program, threshold_ms=50)
    stall(watch, agent(watch.socket_path))
    wait_outcome(watch, "reaped_nonzero")
    [line] = [x for x in watch.log().splitlines() if "exit code 1" in x]
    assert "\\nthe end child_pid=" in line
    assert len(line) < 1024


def test_a_command_that_was_killed_by_a_signal_failed(
    folder, observer, agent
):
    program = write_program(folder / "dies", "#!/bin/sh\nkill -TERM $$\n")
    watch = observer(*METRICS, "--recovery-exec", program, threshold_ms=50)
    stall(watch, agent(watch.socket_path))
    wait_outcome(watch, "reaped_nonzero")
    assert "was killed by signal 15 (SIGTERM)" in watch.log()


def test_a_command_that_cannot_be_started_is_tried_again_next_time(
    folder, observer, agent
):
    program = folder / "late"
    watch = observer(
        *METRICS,
        *("--recovery-exec", program, "--recovery-debounce-ms", HOUR_MS),
        threshold_ms=50,
    )
    one = agent(watch.socket_path)
    stall(watch, one)
    wait_outcome(watch, "spawn_failed")
    [line] = [x for x in watch.log().splitlines() if "cannot start" in x]
    assert "No such file or directory" in line
    write_program(program, "#!/bin/sh\n")
    stall(watch, one, n=2)
    wait_outcome(watch, "reaped_zero")
    assert outcomes(watch) == {
        "spawn_failed": 1,
        "spawned": 1,
        "reaped_zero": 1,
    }


def test_a_command_over_its_time_is_killed_with_its_children(
    observer, agent, family
):
    watch = observer(
        *METRICS,
        *("--recovery-exec", family.path, "--recovery-timeout-ms", 2000),
        threshold_ms=50,
    )
    stall(watch, agent(watch.socket_path))
    pids = family.pids()
    wait_for(lambda: have_ended(pids), what="end of the group")
    wait_outcome(watch, "killed")
    [line] = [x for x in watch.log().splitlines() if "time-out" in x]
    assert re.search(r"killed by signal 9 \(SIGKILL\) after \d+\.\d{3} s", line)
    # Killed it was, and nothing else.
    assert outcomes(watch) == {"spawned": 1, "killed": 1}


def test_commands_that_run_are_killed_at_the_end(observer, agent, family):
    watch = observer("--recovery-exec", family.path, threshold_ms=50)
    stall(watch, agent(watch.socket_path))
    pids = family.pids()
    assert not have_ended(pids)
    assert watch.stop() == 0
    assert process_state(pids[0]) is None
    wait_for(lambda: have_ended(pids), what="end of the group")


def test_a_command_whose_child_lives_on_is_over_all_the_same(
    folder, observer, agent
):
    """A command may start the agent anew and leave it with its output."""
    program = write_program(
        folder / "starts", "#!/bin/sh\nsetsid sleep 3600 &\necho $! >$0.pid\n"
    )
    watch = observer(*METRICS, "--recovery-exec", program, threshold_ms=50)
    stall(watch, agent(watch.socket_path))
    wait_outcome(watch, "reaped_zero")
    pid = int(pathlib.Path(f"{program}.pid").read_text())
    assert process_state(pid) is not None
    assert watch.stop() == 0
    assert process_state(pid) is not None
    os.kill(pid, 9)


def test_many_stalls_at_once_are_all_acted_upon(observer, agent):
    n = 40
    watch = observer(*METRICS, "--recovery-exec", "/bin/true", threshold_ms=200)
    agents = [agent(watch.socket_path) for _ in range(n)]
    for one in agents:
        one.beat()
    wait_outcome(watch, "reaped_zero", n)
