"""Sealed agents as applications have them: the shared libraries, opened by
another implementation of the ciphers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import types

import pytest

import opening
import support
from sealing import core_of, hex_key, traces, with_core
from support import BUILD, ROOT, write_secret

LIBVARTA = BUILD / "src" / "lib" / "libvarta.so"
LIBRARY = BUILD / "src" / "secure" / "libvarta-secure.so"
AGENT = ROOT / "tests" / "system" / "sealed_agent.py"
KEY = bytes(range(1, 33))

needs_shared = pytest.mark.skipif(
    not LIBRARY.exists(), reason="needs libvarta-secure as a shared library"
)


class Observer:
    """A bound socket that opens what comes."""

    def __init__(self, host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(support.DEADLINE_S)
        self._socket.bind((host, 0))
        port = self._socket.getsockname()[1]
        self.address = f"udp:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}"

    def close(self):
        self._socket.close()

    def take_bytes(self):
        return self._socket.recv(100)

    def take(self):
        return opening.open_frame(KEY, self.take_bytes())


@pytest.fixture
def observer():
    made = Observer("127.0.0.1")
    yield made
    made.close()


def start(observer, folder, kind, *commands, before=(), key=KEY):
    key_file = write_secret(folder / "key", key.hex() + "\n")
    program = [sys.executable, AGENT]
    program = with_core(*before, program) if before else program
    return subprocess.Popen(
        [*program, LIBRARY, observer.address, kind, key_file, *commands],
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(agent, code=0):
    out, _ = agent.communicate(timeout=support.DEADLINE_S)
    assert (agent.returncode, out) == (code, "")


# ---- the other implementation ---------------------------------------------


def test_the_cipher_gives_the_values_of_its_standard():
    """RFC 8439, section 2.8.2."""
    key = bytes(range(0x80, 0xA0))
    nonce = bytes.fromhex("070000004041424344454647")
    aad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only "
        b"one tip for the future, sunscreen would be it."
    )
    sealed = opening.aead_seal(key, nonce, aad, plain)
    assert sealed[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    assert opening.aead_open(key, nonce, aad, sealed) == plain


def vectors():
    for name, array in (
        ("vlp-test-vectors", "secure_frame_vectors"),
        ("extra-vectors", "secure"),
    ):
        with open(ROOT / "tests" / "vectors" / f"{name}.json") as f:
            yield from json.load(f)[array]


def test_it_opens_the_published_frames():
    opened = 0
    for v in vectors():
        if not v["kind"].endswith("_seal"):
            continue
        key = bytes.fromhex(v.get("key_hex") or v["master_key_hex"])
        got = opening.open_frame(key, bytes.fromhex(v["expected_wire_hex"]))
        assert got.frame.encode().hex() == v["plaintext_hex"]
        assert got.counter == v["iv_counter"]
        assert got.key_pid == v.get("agent_pid")
        opened += 1
    assert opened == 7


def test_it_refuses_the_published_forgeries():
    for v in vectors():
        if v["kind"] == "open_error":
            key = bytes.fromhex(v["master_key_hex"])
            with pytest.raises((opening.AuthError, AssertionError)):
                opening.open_frame(key, bytes.fromhex(v["wire_hex"]))


# ---- agents ---------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize("kind", ["shared", "master"])
def test_beats_are_opened_by_another_implementation(observer, folder, kind):
    agent = start(observer, folder, kind, "beat", "beat", "reconnect", "beat")
    got = [observer.take() for _ in range(3)]
    finish(agent)
    assert [g.frame.nonce for g in got] == [1, 2, 3]
    assert [g.counter for g in got] == [0, 1, 0]
    assert {g.frame.pid for g in got} == {agent.pid}
    assert {g.frame.payload for g in got} == {7}
    assert got[0].prefix == got[1].prefix != got[2].prefix
    key_pid = agent.pid if kind == "master" else None
    assert {g.key_pid for g in got} == {key_pid}


@needs_shared
def test_a_host_may_be_named_and_of_ipv6(folder):
    try:
        observer = Observer("::1")
    except OSError:
        pytest.skip("no IPv6")
    agent = start(observer, folder, "shared", "beat")
    assert observer.take().frame.pid == agent.pid
    finish(agent)
    port = observer.address.rsplit(":", 1)[1]
    observer.close()
    # Of several addresses of a name the first is taken that can be reached;
    # that is not for this test to know.
    observer = Observer("127.0.0.1")
    observer.address = f"udp:localhost:{port}"
    finish(start(observer, folder, "shared", "beat"))
    observer.close()


@needs_shared
def test_another_key_opens_nothing(observer, folder):
    finish(start(observer, folder, "shared", "beat"))
    data = observer.take_bytes()
    with pytest.raises(opening.AuthError):
        opening.open_frame(KEY[::-1], data)


@needs_shared
@pytest.mark.parametrize("kind", ["shared", "master"])
def test_a_child_never_uses_what_its_parent_uses(observer, folder, kind):
    commands = ["beat", "fork", "beat", "beat", "fork", "beat", "beat"]
    agent = start(observer, folder, kind, *commands)
    got = [observer.take() for _ in range(5)]
    finish(agent)
    parent = [g for g in got if g.frame.pid == agent.pid]
    children = [g for g in got if g.frame.pid != agent.pid]
    assert [g.counter for g in parent] == [0, 1, 2]
    assert [(g.counter, g.frame.nonce) for g in children] == [(0, 1), (0, 1)]
    assert len({g.prefix for g in got}) == 3


@needs_shared
@pytest.mark.parametrize("kind", ["shared", "master"])
def test_a_last_word_is_opened_too(observer, folder, kind):
    agent = start(observer, folder, kind, "beat", "crash")
    beat, word = observer.take(), observer.take()
    finish(agent, -signal.SIGSEGV)
    assert word.frame.status == support.CRITICAL
    assert word.frame.nonce == support.NONCE_TERMINAL
    assert word.frame.pid == agent.pid
    assert word.frame.payload == signal.SIGSEGV
    assert word.counter == 0
    assert word.prefix != beat.prefix


@needs_shared
def test_a_key_that_others_can_read_is_refused(observer, folder):
    agent = start(observer, folder, "shared")
    finish(agent)
    os.chmod(folder / "key", 0o644)
    done = subprocess.run(
        [sys.executable, AGENT, LIBRARY, observer.address, "shared", folder / "key"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "open: -13\n")


@needs_shared
@pytest.mark.parametrize("kind", ["shared", "master"])
def test_a_core_file_of_an_agent_holds_no_key(observer, folder, kind):
    place = folder / "cores"
    place.mkdir()
    key, _ = hex_key()
    commands = ["beat", "reconnect", "beat", "reopen", "beat", "crash"]
    agent = start(observer, folder, kind, *commands, before=[place], key=key)
    finish(agent, -signal.SIGSEGV)
    core = core_of(place)
    if core is None:
        pytest.skip("needs a system that leaves core files")
    assert observer.address.encode() in core
    secrets = [key, key.hex().encode(), opening.agent_key(key, agent.pid)]
    assert [traces(core, secret) for secret in secrets] == 3 * [[]]


@needs_shared
@pytest.mark.parametrize("kind", ["shared", "master"])
def test_no_iv_is_used_twice_in_a_whole_family(observer, folder, kind):
    """Processes that fork, clone(2), and vfork(2) to start another program,
    and their children, all beat and have last words."""
    agent = start(observer, folder, kind, "family")
    beats, words = 2 * (1 + 2 * 3) + 1 + 3, 1 + 2 * 3
    got = [observer.take() for _ in range(beats + words)]
    finish(agent)
    last = [g for g in got if g.frame.nonce == support.NONCE_TERMINAL]
    assert len(last) == words
    # A key is that of all, or that of a process.
    used = [(g.key_pid, g.prefix, g.counter) for g in got]
    assert len(set(used)) == len(used)
    pids = {g.frame.pid for g in got}
    assert len(pids) == 1 + 2 * 3 + 1
    if kind == "master":
        assert {g.key_pid for g in got} == pids


# ---- our agents and our observer ------------------------------------------


@needs_shared
@pytest.mark.parametrize("kind", ["shared", "master"])
def test_our_observer_takes_all_that_our_agents_send(folder, kind):
    key_file = write_secret(folder / "key", KEY.hex() + "\n")
    option = "--key-file" if kind == "shared" else "--master-key-file"
    with support.Observer(folder, "--udp-port", 0, option, key_file) as watch:
        observer = types.SimpleNamespace()
        observer.address = "udp:" + re.search(r"UDP (\S+:\d+)", watch.log())[1]
        commands = ["beat", "beat", "reconnect", "beat", "reopen", "beat"]
        commands += ["fork", "beat", "beat", "crash"]
        agent = start(observer, folder, kind, *commands)
        finish(agent, -signal.SIGSEGV)
        watch.wait_event("beat", count=7)
        beats = watch.events("beat", agent.pid)
        children = [row for row in watch.events("beat") if row not in beats]
    nonces = ["1", "2", "3", "1", "2", str(support.NONCE_TERMINAL)]
    assert [row.nonce for row in beats] == nonces
    assert beats[-1].payload == str(int(signal.SIGSEGV))
    assert [row.nonce for row in children] == ["1"]


# ---- the libraries --------------------------------------------------------


def dynamic_symbols(library):
    """(name, version, defined) of what is looked up when it is loaded."""
    out = subprocess.run(
        ["readelf", "--dyn-syms", "--wide", library],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    for line in out.splitlines():
        found = re.search(r"(?:FUNC|OBJECT) .* (\w+) (\w+)@+([\w.]+)", line)
        if found:
            yield found[2], found[3], found[1] != "UND"


def map_of(path):
    text = (ROOT / "src" / path).read_text()
    nodes = re.findall(r"^([A-Z]\S+) \{\n(.*?)^\};", text, re.M | re.S)
    return {
        name: version
        for version, names in nodes
        for name in re.findall(r"\b(\w+);", names)
    }


@needs_shared
@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_the_libraries_export_what_their_maps_say_and_fit_together():
    lib = map_of("lib/libvarta.map")
    secure = map_of("secure/libvarta-secure.map")
    for library, wanted in ((LIBVARTA, lib), (LIBRARY, secure)):
        exported = {
            name: version
            for name, version, defined in dynamic_symbols(library)
            if defined and name != version
        }
        assert exported == wanted
    needed = {n: v for n, v, defined in dynamic_symbols(LIBRARY) if not defined}
    ours = {n: v for n, v in needed.items() if n.startswith("varta")}
    assert ours and ours.items() <= lib.items()
    assert set(ours.values()) == {"VARTA_PRIVATE_2"}
