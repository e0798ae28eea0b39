"""Processes and time: waiting with a deadline, ends, states."""

import ctypes
import os
import pathlib
import time

# How long anything may take that should happen at once. Generous: it is only
# ever waited for in full by a test that fails.
DEADLINE_S = 20.0

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Late(AssertionError):
    """What was waited for did not come."""


def wait_for(predicate, deadline_s=DEADLINE_S, what="condition", step_s=0.005):
    """Ask until the answer is true, and return it; Late after deadline_s."""
    end = time.monotonic() + deadline_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise Late(f"{what}: not within {deadline_s} s")
        time.sleep(step_s)


def prctl(option, value):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def adopt_orphans():
    """Become the parent of grandchildren whose parent ends, so that their
    exit codes can be waited for."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def wait_end(pid, deadline_s=DEADLINE_S):
    """Reap our child pid. Its exit code, or minus the signal's number."""
    answer = []

    def ended():
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            answer.append(os.waitstatus_to_exitcode(status))
        return got

    wait_for(ended, deadline_s, f"end of process {pid}")
    return answer[0]


def process_state(pid):
    """The letter of /proc/PID/stat: R S D T Z; None when there is none."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2]
