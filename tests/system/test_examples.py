"""What README and manual show can be pasted as it stands: every example is
run. Only the folder, and how long an observer runs, are made our own."""

import json
import mmap
import os
import re
import shlex
import socket
import struct
import subprocess
import sys

import pytest

import support
from support import BUILD, ROOT

LANES = BUILD / "examples" / "lanes"
MAN = ROOT / "man"


def examples(page):
    """The literal displays under EXAMPLES, as a reader sees them."""
    text = (MAN / page).read_text()
    section = re.search(r"^\.Sh EXAMPLES$(.*?)^\.Sh ", text, re.M | re.S)[1]
    display = r"^\.Bd -literal.*?\n(.*?)^\.Ed$"
    blocks = re.findall(display, section, re.M | re.S)
    return [block.replace(r"\e", "\\").replace(r"\&", "") for block in blocks]


def run_shell(script, folder, deadline_s=50):
    """Run as pasted, but ending at the first command that fails."""
    folders = [support.VARTA.parent, support.WATCH.parent, os.environ["PATH"]]
    path = ":".join(map(str, folders))
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        env={**os.environ, "PATH": path, "TMPDIR": os.fspath(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done


def kinds_of(output):
    return [line.split("\t")[1] for line in output.splitlines()]


def happened(kinds, *expected):
    """Whether these came in this order, whatever came between: on a machine
    that has much to do, a beat may be late and a stall more be seen."""
    rest = iter(kinds)
    return all(kind in rest for kind in expected)


def in_folder(script, folder):
    assert "/tmp/varta-try" in script
    return script.replace("/tmp/varta-try", shlex.quote(f"{folder}/try"))


def test_the_examples_of_varta_1(folder):
    blocks = examples("varta.1")
    assert len(blocks) == 5
    done = run_shell(in_folder("\n".join(blocks) + "\nwait", folder), folder)
    assert "varta beat:" not in done.stderr


def test_the_example_of_varta_7_shows_what_was_noticed(folder):
    [block] = examples("varta.7")
    done = run_shell(in_folder(block, folder), folder)
    assert happened(kinds_of(done.stdout), "join", "beat", "exit", "stall")


@pytest.mark.parametrize("number", range(4))
def test_the_examples_of_varta_watch_8(folder, number):
    block = examples("varta-watch.8")[number]
    script = in_folder(block, folder).replace("-secs 10", "-secs 1")
    (folder / "try").mkdir(mode=0o700, exist_ok=True)
    run_shell(script, folder)


def test_the_frames_of_vlp_7_are_what_it_says_they_are():
    frames = [
        bytes.fromhex("".join(block.split()))
        for block in examples("vlp.7")[:4]
    ]
    assert [support.Frame.decode(data) for data in frames[:3]] == [
        support.Frame(support.OK, 2, 0, 1, 0),
        support.Frame(support.DEGRADED, 12345, 1234567890, 100, 0xDEADBEEF),
        support.Frame(support.CRITICAL, 2, 999, support.NONCE_TERMINAL, 0),
    ]
    damaged = frames[3]
    stored = int.from_bytes(damaged[28:], "little")
    # One bit of the last byte makes it whole again.
    assert bin(stored ^ support.crc32c(damaged[:28])).count("1") == 1
    assert stored >> 24 != support.crc32c(damaged[:28]) >> 24


def test_the_agent_of_vlp_7_beats(receiver):
    block = examples("vlp.7")[4]
    agent = subprocess.Popen([sys.executable, "-c", block, receiver.path])
    assert receiver.take().pid == agent.pid
    assert agent.wait(support.DEADLINE_S) == 0


def test_the_sealed_frames_of_vlp_7_are_the_published_ones():
    with open(ROOT / "tests/vectors/vlp-test-vectors.json") as f:
        vectors = json.load(f)["secure_frame_vectors"]
    published = [v["expected_wire_hex"] for v in vectors if "expected_wire_hex" in v]
    shown = ["".join(block.split()) for block in examples("vlp.7")[5:7]]
    assert shown == published


class LanesWatcher:
    """Takes the lanes of one agent, as an observer does."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.settimeout(support.DEADLINE_S)
        self.listener.bind(f"{path}.lanes")
        self.listener.listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(support.DEADLINE_S)
        hello, fds, _, _ = socket.recv_fds(connection, 64, 4)
        assert hello == b"varta-lanes-1" and len(fds) == 1
        self.memory = mmap.mmap(fds[0], 16 * 4096, prot=mmap.PROT_READ)
        os.close(fds[0])
        return connection

    def lane(self, i):
        """(time of the last beat, beats, generation, name)"""
        at = 64 * (i + 1)
        beat_ns, beats, generation = struct.unpack_from("<QQI", self.memory, at)
        name = self.memory[at + 32 : at + 64].rstrip(b"\0").decode()
        return beat_ns, beats, generation, name


def test_the_program_of_varta_lane_open_3_beats_and_leaves_in_order(folder):
    [program] = examples("varta_lane_open.3")
    (folder / "example.c").write_text(program)
    built = subprocess.run(
        ["cc", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        + ["-std=c99", "-I", ROOT / "include", "-I", BUILD / "include"]
        + [folder / "example.c", BUILD / "src" / "lib" / "libvarta.a"]
        + ["-pthread", "-o", folder / "example"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    with LanesWatcher(folder / "sock") as watcher:
        environment = {**os.environ, "VARTA_SOCKET": f"{folder}/sock"}
        program = subprocess.Popen([folder / "example"], env=environment)
        connection = watcher.accept()
        while connection.recv(8):
            pass  # a bell
        assert program.wait(support.DEADLINE_S) == 0
        assert watcher.lane(0) == (0, 10, 2, "worker-1")


@pytest.mark.skipif(not LANES.exists(), reason="examples are not built")
def test_one_of_the_four_workers_of_the_lanes_example_hangs(folder):
    with LanesWatcher(folder / "sock") as watcher:
        program = subprocess.Popen([LANES, folder / "sock"])
        try:
            watcher.accept()
            others = (0, 1, 3)
            support.wait_for(lambda: watcher.lane(2)[1] == 31)
            support.wait_for(lambda: all(watcher.lane(i)[1] > 35 for i in others))
            lanes = [watcher.lane(i) for i in range(4)]
        finally:
            program.kill()
            program.wait()
    assert [name for *_, name in lanes] == [f"worker-{i}" for i in range(1, 5)]
    assert [generation for _, _, generation, _ in lanes] == [1, 1, 1, 1]
    beat_ns, beats, _, _ = lanes[2]
    assert beat_ns > 0 and beats == 31  # busy, and there it hangs


def test_the_try_out_of_the_readme(folder):
    text = (ROOT / "README.md").read_text()
    script = re.search(r"<!-- try-out -->\n```sh\n(.*?)```", text, re.S)[1]
    build, paths, rest = script.split("\n", 2)
    assert build == "make" and paths.startswith("PATH=$PWD/build/src/tool:")
    kinds = kinds_of(run_shell(rest, folder).stdout)
    assert happened(kinds, "join", "stall", "resume", "exit", "stall")


def test_the_script_of_the_readme_beats_for_each_step(receiver):
    text = (ROOT / "README.md").read_text()
    [script] = re.findall(r"```sh\n(for n in .*?)```", text, re.S)
    path = f"{support.VARTA.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "VARTA_SOCKET": os.fspath(receiver.path)}
    shell = subprocess.Popen(["bash", "-e", "-c", script], env=environment)
    assert [receiver.take().frame.payload for _ in range(3)] == [1, 2, 3]
    assert shell.wait(support.DEADLINE_S) == 0
