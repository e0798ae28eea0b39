"""The example of two hosts runs as it stands, in network namespaces."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

import support
from support import BUILD, ROOT, wait_for
from watching import can_have_network

SCRIPT = ROOT / "examples" / "two-hosts.sh"


@pytest.fixture
def start(folder):
    """start(): the script, as in a terminal of its own."""
    if not can_have_network():
        pytest.skip("needs privilege: network namespaces of one's own")
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        pytest.skip("needs ip and nsenter")
    started = []

    def run():
        process = subprocess.Popen(
            [SCRIPT, BUILD],
            env={**os.environ, "TMPDIR": os.fspath(folder)},
            stdin=subprocess.DEVNULL,
            stdout=open(folder / "out", "w"),
            stderr=open(folder / "err", "w"),
            start_new_session=True,
            # A shell cannot trap what was ignored when it was started.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        for pid in processes_of(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def processes_of(session):
    """Those of a session that live."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, sid = text[text.rindex(")") + 2 :].split()[:4]
        if int(sid) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def said(folder):
    lines = (folder / "out").read_text().splitlines()
    start = "== observer: "
    return [line[len(start) :] for line in lines if line.startswith(start)]


def finish(process, folder):
    """Its exit code; it has left nothing behind."""
    code = process.wait(timeout=50)
    err = (folder / "err").read_text()
    if "needs a kernel with veth" in err:
        pytest.skip("needs a kernel with veth")
    print(err)
    assert processes_of(process.pid) == []
    assert sorted(path.name for path in folder.iterdir()) == ["err", "out"]
    return code


def test_two_hosts_with_a_cable_between_them(start, folder):
    assert finish(start(), folder) == 0
    assert said(folder) == [
        "an agent of another host beats",
        "it has stalled",
        "it beats again",
        "it is there, as a process of another number",
        "the agent beats on",
    ]
    assert re.search(
        "^== a key for both: [0-9a-f]{8}$",
        (folder / "out").read_text(),
        re.MULTILINE,
    )


@pytest.mark.parametrize("after", [0, 1, 2])
def test_nothing_is_left_after_it_was_interrupted(start, folder, after):
    process = start()
    wait_for(
        lambda: len(said(folder)) >= after or process.poll() is not None,
        what="its first words",
    )
    # As a terminal does, to all of its processes.
    os.killpg(process.pid, signal.SIGINT)
    code = finish(process, folder)
    # Before it has a trap, it dies of the signal.
    assert code == 130 or (after == 0 and code == -signal.SIGINT)


def run(*words, **settings):
    done = subprocess.run(
        [SCRIPT, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=support.DEADLINE_S,
        **settings,
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_it_says_what_it_needs(folder):
    assert "run make first" in run(folder)
    for name in ("id", "readlink", "dirname", "sh"):
        (folder / name).symlink_to(shutil.which(name))
    environment = {"PATH": os.fspath(folder)}
    assert "no program 'ip'" in run(BUILD, env=environment)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be another user")
def test_it_says_that_it_needs_root():
    settings = {"user": 65534, "group": 65534, "extra_groups": []}
    assert "needs root" in run(BUILD, **settings)
