"""Recovery commands for tests, and what the observer says became of them."""

import json

from processes import process_state, wait_for
from watching import values, wait_metric

# A recovery command that writes down all that it was given.
REPORTER = """#!/usr/bin/python3 -S
import json, os, sys
status = dict(
    line.split(":", 1) for line in open("/proc/self/status").read().splitlines()
)
links = {}
for fd in range(256):
    try:
        links[fd] = os.readlink("/proc/self/fd/%d" % fd)
    except OSError:
        pass
report = {
    "argv": sys.argv[1:],
    "environ": dict(os.environ),
    "pid": os.getpid(),
    "group": os.getpgrp(),
    "descriptors": links,
    "blocked": int(status["SigBlk"], 16),
    "ignored": int(status["SigIgn"], 16),
    "umask": status["Umask"].strip(),
}
path = "%s.%d" % (__file__, os.getpid())
with open(path + ".part", "w") as f:
    json.dump(report, f)
os.rename(path + ".part", path + ".json")
"""


# A command with a child of its own; both pids are written down.
FAMILY = """#!/bin/sh
sleep 3600 &
echo $$ $! > $0.part
mv $0.part $0.pids
wait
"""


def write_program(path, text):
    path.write_text(text)
    path.chmod(0o700)
    return path


class Reporter:
    """A program that writes down what it was given."""

    def __init__(self, folder):
        self.folder = folder
        self.path = write_program(folder / "reporter", REPORTER)

    def reports(self, n=1):
        """Once it has run n times; in that order."""

        def enough():
            found = list(self.folder.glob("reporter.*.json"))
            return found if len(found) >= n else None

        paths = wait_for(enough, what=f"{n} recovery commands")
        paths.sort(key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in paths]


class Family:
    """A program that goes on for long, with a child."""

    def __init__(self, folder):
        self.path = write_program(folder / "family", FAMILY)
        self.note = folder / "family.pids"

    def pids(self):
        """Of both, once they run."""
        wait_for(self.note.exists, what="recovery command")
        return [int(word) for word in self.note.read_text().split()]


def outcomes(watch):
    """Those that have happened."""
    found = values(watch.metrics(), "varta_recovery_outcomes_total", "outcome")
    return {outcome: n for outcome, n in found.items() if n}


def wait_outcome(watch, outcome, n=1):
    name = "varta_recovery_outcomes_total"
    return wait_metric(watch, name, n, outcome=outcome)


def stall(watch, agent, n=1):
    agent.beat()
    watch.wait_event("stall", agent.pid, count=n)


def have_ended(pids):
    return all(process_state(pid) in (None, "Z") for pid in pids)
