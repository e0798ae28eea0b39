"""Sealed beats over UDP: what is opened, that nothing is taken twice whatever
happens in between, keys that change, and a flood of forged datagrams."""

import json
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

import opening
import support
from sealing import Session, hex_key, udp_address, udp_socket
from support import Frame, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    connected,
    held,
    own_frame,
    run_watch,
    wait_metric,
)

PID = 4242
KEY, KEY_TEXT = hex_key(1)
OTHER_KEY, OTHER_TEXT = hex_key(2)
MASTER, MASTER_TEXT = hex_key(3)

DECRYPT = "varta_frame_decrypt_failures_total"
REPLAY = "varta_secure_replay_refused_total"
ATTEMPTS = "varta_secure_aead_attempts_total"


class Sealed:
    """An observer with keys and a folder for its state, and a socket to it."""

    def __init__(self, folder, observer):
        self.folder = folder
        self._observer = observer
        self.key = support.write_secret(folder / "key", KEY_TEXT)
        self.accepted = support.write_secret(folder / "accepted", OTHER_TEXT)
        self.master = support.write_secret(folder / "master", MASTER_TEXT)
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.socket = None

    def start(self, *options, keys=("key", "master"), state=True, **settings):
        files = {
            "key": ["--key-file", self.key],
            "accepted": ["--accepted-key-file", self.accepted],
            "master": ["--master-key-file", self.master],
        }
        options = ["--udp-port=0", "--max-beat-rate=0", *METRICS, *options]
        for name in keys:
            options += files[name]
        if state:
            options += ["--state-dir", self.state]
        settings.setdefault("threshold_ms", HOUR_MS)
        self.watch = self._observer(*options, **settings)
        self.connect()
        return self.watch

    def connect(self):
        """From another address than before."""
        if self.socket is not None:
            self.socket.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(udp_address(self.watch))

    def restart(self, number=signal.SIGTERM):
        self.watch.stop(number)
        self.watch.restart()
        self.connect()

    def send(self, *datagrams):
        for datagram in datagrams:
            self.socket.send(datagram)

    def counted(self):
        """Datagrams that were looked at, whatever became of them."""
        return int(self.watch.metrics().value("varta_datagrams_total"))

    def offer(self, *datagrams):
        """Send, wait until all were looked at, and say how many beats were
        taken. No more at once than the kernel holds."""
        metrics = self.watch.metrics()
        before = metrics.value("varta_beats_all_total")
        seen = metrics.value("varta_datagrams_total")
        for i in range(0, len(datagrams), 100):
            part = datagrams[i : i + 100]
            self.send(*part)
            seen += len(part)
            metrics = wait_metric(self.watch, "varta_datagrams_total", seen)
        return int(metrics.value("varta_beats_all_total") - before)


@pytest.fixture
def sealed(folder, observer):
    made = Sealed(folder, observer)
    yield made
    if made.socket is not None:
        made.socket.close()


# ---- what is opened -------------------------------------------------------


def test_frames_of_both_kinds_become_beats(sealed):
    watch = sealed.start(keys=["key", "accepted", "master"])
    agents = [
        Session(KEY, 100),
        Session(OTHER_KEY, 200),
        Session(MASTER, 300, master=True),
    ]
    for session in agents:
        assert sealed.offer(*session.frames(3)) == 3
        assert len(watch.events("beat", session.pid)) == 3
    metrics = watch.metrics()
    assert metrics.value(DECRYPT) == 0
    # Two shared keys are tried on each frame of theirs, one on the others.
    assert metrics.value(ATTEMPTS) == 2 * 6 + 3
    assert metrics.value("varta_sealed_senders") == 3


def published(name):
    path = support.ROOT / "tests" / "vectors" / "vlp-test-vectors.json"
    for vector in json.loads(path.read_text())["secure_frame_vectors"]:
        if vector["kind"] == name:
            return vector
    raise AssertionError(name)


@pytest.mark.parametrize(
    "kind, option",
    [
        ("shared_key_seal", "--key-file"),
        ("master_key_seal", "--master-key-file"),
    ],
)
def test_published_frames_are_taken(observer, folder, kind, option):
    vector = published(kind)
    [name] = [k for k in ("key_hex", "master_key_hex") if k in vector]
    path = support.write_secret(folder / "k", vector[name])
    watch = observer(
        "--udp-port=0", *METRICS, option, path, threshold_ms=HOUR_MS
    )
    with udp_socket(udp_address(watch)) as sock:
        sock.send(bytes.fromhex(vector["expected_wire_hex"]))
    [row] = watch.wait_event("beat", 2)
    assert row.nonce == "1"


def test_every_changed_bit_is_refused(sealed):
    watch = sealed.start()
    frames = [
        Session(KEY, PID).frame(),
        Session(MASTER, PID, master=True).frame(),
    ]
    changed = []
    for frame in frames:
        for bit in range(8 * len(frame)):
            wrong = bytearray(frame)
            wrong[bit // 8] ^= 1 << bit % 8
            changed.append(bytes(wrong))
    assert sealed.offer(*changed) == 0
    assert watch.metrics().value(DECRYPT) == len(changed) == 8 * (60 + 64)
    assert sealed.offer(*frames) == 2
    assert not watch.events("decode")


def test_keys_open_frames_of_their_own_kind_only(sealed):
    watch = sealed.start()
    prefix = os.urandom(8)
    frame = Frame(pid=PID)
    forged = [
        # A shared key in the form of a master key's frame.
        struct.pack("<I", PID)
        + opening.seal_shared(KEY, prefix, 0, frame),
        # A derived key in the form of a shared key's frame.
        opening.seal_shared(opening.agent_key(MASTER, PID), prefix, 0, frame),
        # One agent's key for another agent.
        struct.pack("<I", PID)
        + opening.seal_shared(
            opening.agent_key(MASTER, PID + 1), prefix, 0, frame
        ),
    ]
    assert sealed.offer(*forged) == 0
    assert watch.metrics().value(DECRYPT) == 3


def test_the_pid_in_front_must_be_the_pid_inside(sealed):
    sealed.start()
    iv = os.urandom(8) + struct.pack("<I", 0)
    clear = struct.pack("<I", PID)
    key = opening.agent_key(MASTER, PID)
    inside = Frame(pid=PID + 1).encode()
    wire = clear + iv + opening.aead_seal(key, iv, clear, inside)
    assert sealed.offer(wire) == 0
    inside = Frame(pid=PID).encode()
    wire = clear + iv + opening.aead_seal(key, iv, clear, inside)
    assert sealed.offer(wire) == 1


def test_a_frame_inside_that_is_none_is_an_event(sealed):
    watch = sealed.start()
    iv = os.urandom(8) + struct.pack("<I", 0)
    wire = iv + opening.aead_seal(KEY, iv, b"", bytes(32))
    assert sealed.offer(wire) == 0
    [row] = watch.wait_event("decode")
    assert row.payload == "BadMagic"
    assert watch.metrics().value("varta_sealed_sessions") == 0


def test_plain_frames_and_odd_lengths_are_counted(sealed):
    watch = sealed.start()
    lengths = [*range(60), 61, 62, 63, 65, 72, 1400]
    assert sealed.offer(*(bytes(n) for n in lengths)) == 0
    assert sealed.offer(Frame(pid=PID).encode()) == 0
    value = watch.metrics().value("varta_truncated_datagrams_total")
    assert value == len(lengths) + 1


def test_keys_are_locked_into_memory(sealed):
    watch = sealed.start()
    status = open(f"/proc/{watch.pid}/status").read()
    [locked] = [x for x in status.splitlines() if x.startswith("VmLck:")]
    if "cannot be locked" in watch.log():
        pytest.skip("needs a limit of locked memory that is not 0")
    if b"__asan_init" in support.WATCH.read_bytes():
        pytest.skip("the address sanitizer locks nothing")
    assert int(locked.split()[1]) >= 40


# ---- what was taken is never taken again ----------------------------------


def in_part(frames):
    return frames[3:9]


def backwards(frames):
    return frames[::-1]


def shuffled(frames):
    return random.Random(1).sample(frames, len(frames))


@pytest.mark.parametrize("master", [False, True], ids=["shared", "master"])
@pytest.mark.parametrize("part", [list, in_part, backwards, shuffled])
def test_a_recorded_session_is_refused(sealed, part, master):
    watch = sealed.start()
    session = Session(MASTER if master else KEY, PID, master)
    recorded = session.frames(12)
    assert sealed.offer(*recorded) == 12
    again = part(recorded)

    # While the agent lives, from its own address and from another.
    assert sealed.offer(*again) == 0
    sealed.connect()
    assert sealed.offer(*again) == 0
    # After it has begun anew, after a clean end of the observer, and after
    # its death.
    session.begin()
    fresh = session.frames(3)
    assert sealed.offer(*fresh) == 3
    assert sealed.offer(*again) == 0
    count = 3 * len(again)
    assert watch.metrics().value(REPLAY) == count
    sealed.restart()
    assert sealed.offer(*again, *fresh) == 0
    sealed.restart(signal.SIGKILL)
    assert sealed.offer(*again, *fresh) == 0
    # The agent itself goes on, or begins anew.
    session.begin()
    assert sealed.offer(*session.frames(2)) == 2
    assert sealed.offer(*again, *fresh) == 0


def test_a_dead_agent_cannot_be_kept_alive(sealed):
    watch = sealed.start(threshold_ms=100)
    recorded = Session(KEY, PID).frames(20)
    assert sealed.offer(*recorded) == 20
    watch.wait_event("stall", PID)
    # Far past the silence that once made a sender new.
    for _ in range(5):
        assert sealed.offer(*recorded) == 0
        end = time.monotonic() + 0.12
        wait_for(lambda: time.monotonic() > end, what="thresholds to pass")
    assert not watch.events("resume", PID)


def test_without_a_state_folder_only_this_run_is_remembered(sealed):
    watch = sealed.start(state=False)
    assert "without --state-dir" in watch.log()
    session = Session(KEY, PID)
    recorded = session.frames(3)
    assert sealed.offer(*recorded) == 3
    sealed.restart()
    assert sealed.offer(*recorded) == 3  # as documented
    assert sealed.offer(*recorded) == 0


def test_live_sessions_go_on_after_a_restart(sealed):
    sealed.start()
    session = Session(KEY, PID)
    assert sealed.offer(*session.frames(5)) == 5
    sealed.restart()
    assert sealed.offer(session.frame()) == 1
    sealed.restart(signal.SIGKILL)
    # Some frames may count as taken after that, but not for long.
    assert 0 < sealed.offer(*session.frames(64))
    assert sealed.offer(session.frame()) == 1


def test_a_restarted_agent_is_taken_at_its_first_beat(sealed):
    watch = sealed.start()
    session = Session(KEY, PID)
    for life in range(10):
        session.begin()
        assert sealed.offer(session.frame()) == 1
        assert sealed.offer(*session.frames(20)) == 20
    assert not watch.events("stall")
    assert watch.metrics().value(REPLAY) == 0
    nonces = [row.nonce for row in watch.events("beat", PID)]
    assert nonces == [str(n) for _ in range(10) for n in range(1, 22)]


def test_the_last_frames_of_a_session_count_until_the_next_is_sure(sealed):
    sealed.start()
    session = Session(KEY, PID)
    old = session.frames(10)
    assert sealed.offer(*old[:5]) == 5
    session.begin()
    new = session.frames(5)
    assert sealed.offer(new[0]) == 1
    assert sealed.offer(old[5]) == 1
    assert sealed.offer(new[1], new[2]) == 2
    assert sealed.offer(*old[6:]) == 0
    assert sealed.offer(*new[3:]) == 2


def test_a_changed_prefix_goes_on(sealed):
    sealed.start()
    session = Session(MASTER, PID, master=True)
    frames = session.frames(3)
    for _ in range(5):
        session.rotate()
        frames += session.frames(3)
    assert sealed.offer(*frames) == len(frames)
    assert sealed.offer(*frames) == 0


def test_crash_frames_are_taken_once(sealed):
    watch = sealed.start()
    session = Session(KEY, PID)
    assert sealed.offer(*session.frames(3)) == 3
    crashes = [session.crash_frame() for _ in range(3)]
    assert sealed.offer(*crashes) == 3
    assert watch.events("beat", PID)[-1].status == "critical"
    assert sealed.offer(*crashes) == 0
    sealed.restart()
    assert sealed.offer(*crashes) == 0
    # The process lives on, in another thread.
    assert sealed.offer(session.frame()) == 1


def test_newcomers_are_refused_when_the_table_is_full(sealed):
    watch = sealed.start("--udp-senders-max=3")
    sessions = [Session(KEY, pid) for pid in range(100, 104)]
    for session in sessions[:3]:
        assert sealed.offer(*session.frames(2)) == 2
    assert sealed.offer(*sessions[3].frames(5)) == 0
    metrics = watch.metrics()
    assert metrics.value("varta_sender_state_full_total") == 5
    assert metrics.value(REPLAY) == 0
    assert sealed.offer(sessions[0].frame()) == 1


# ---- networks -------------------------------------------------------------


class Proxy(threading.Thread):
    """Hands datagrams on, with what networks do to them."""

    def __init__(self, to):
        super().__init__(daemon=True)
        self.rng = random.Random(7)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.to = to
        self.kept = []

    def run(self):
        while True:
            datagram = self.socket.recv(100)
            if not datagram:
                break
            self.hand_on(datagram)
        self.flush()

    def hand_on(self, datagram):
        what = self.rng.random()
        if what < 0.15:
            return  # lost
        self.kept += [datagram] * (2 if what < 0.3 else 1)
        if len(self.kept) > 4:
            self.rng.shuffle(self.kept)
            self.flush()

    def flush(self):
        for datagram in self.kept:
            self.socket.sendto(datagram, self.to)
        self.kept = []


def test_loss_doubles_and_disorder_do_no_harm(sealed):
    watch = sealed.start()
    proxy = Proxy(udp_address(watch))
    proxy.start()
    sessions = [Session(KEY, pid) for pid in range(100, 110)]
    with udp_socket(proxy.address) as sock:
        for turn in range(40):
            for session in sessions:
                if turn % 10 == 9:
                    session.begin()
                sock.send(session.frame())
            # As much as the queues hold.
            wait_metric(watch, "varta_datagrams_total", turn * 5)
        sock.send(b"")
    proxy.join(support.DEADLINE_S)
    # All get in again: the last session of each is good.
    for session in sessions:
        assert sealed.offer(*session.frames(2)) == 2
    rows = watch.events("beat")
    for session in sessions:
        mine = [row for row in rows if row.pid == str(session.pid)]
        assert len(mine) > 10
    assert watch.metrics().value(DECRYPT) == 0


def test_a_flood_of_forged_datagrams_harms_no_agent_of_this_host(
    sealed, agent
):
    # Eight keys: each forged datagram costs eight attempts.
    texts = "".join(hex_key(n)[1] for n in range(10, 17))
    support.write_secret(sealed.accepted, texts)
    watch = sealed.start(keys=["key", "accepted"], threshold_ms=1000)
    agents = [agent(watch.socket_path) for _ in range(5)]
    late = agent(watch.socket_path)
    late.beat()
    forged = [os.urandom(60) for _ in range(256)]
    sent = 0
    start = time.monotonic()
    while time.monotonic() < start + 2.5 and sent < 1_000_000:
        for one in agents:
            one.beat()
        for _ in range(20):
            for datagram in forged:
                sealed.socket.send(datagram)
            sent += len(forged)
    stalled = [row.pid for row in watch.wait_event("stall", late.pid)]
    assert stalled == [str(late.pid)]
    metrics = watch.metrics()
    assert metrics.value(DECRYPT) > 1000
    assert metrics.value(ATTEMPTS) == 8 * metrics.value(DECRYPT)
    assert {row.pid for row in watch.events("stall")} == {str(late.pid)}
    for one in agents:
        assert len(watch.events("beat", one.pid)) > 3
    # And sealed ones get in once it is over.
    session = Session(KEY, PID)
    assert sealed.offer(session.frame()) == 1


def test_beats_that_wait_are_taken_before_anyone_is_judged(sealed):
    watch = sealed.start(threshold_ms=300)
    sessions = [Session(KEY, pid) for pid in range(100, 110)]
    for session in sessions:
        assert sealed.offer(session.frame()) == 1
    with held(watch):
        end = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > end, what="thresholds to pass")
        for session in sessions:
            sealed.send(session.frame())
    for session in sessions:
        watch.wait_event("beat", session.pid, count=2)
    assert not watch.events("stall")


# ---- keys -----------------------------------------------------------------


def reload(watch):
    watch.process.send_signal(signal.SIGHUP)
    watch.wait_notice("RELOADING=1")
    watch.wait_notice("READY=1")


def test_keys_change_while_running(sealed):
    watch = sealed.start()
    one, other = Session(KEY, PID), Session(OTHER_KEY, PID)
    both = Session(MASTER, PID, master=True)
    first = one.frames(3)
    assert sealed.offer(*first, both.frame()) == 4
    assert sealed.offer(other.frame()) == 0

    support.write_secret(sealed.key, OTHER_TEXT)
    reload(watch)
    assert sealed.offer(one.frame()) == 0
    assert sealed.offer(*other.frames(2)) == 2
    # The session of the key that stayed goes on.
    assert sealed.offer(both.frame()) == 1

    # And back: what was taken is known.
    support.write_secret(sealed.key, KEY_TEXT)
    reload(watch)
    assert sealed.offer(*first) == 0
    assert sealed.offer(one.frame()) == 1
    assert not watch.events("stall")


def test_files_that_are_not_good_leave_the_keys_as_they_were(sealed):
    watch = sealed.start()
    session = Session(KEY, PID)
    for spoil in ("", "# none\n", "00" * 31, KEY_TEXT * 2):
        support.write_secret(sealed.key, spoil)
        reload(watch)
        assert sealed.offer(session.frame()) == 1
    os.chmod(support.write_secret(sealed.key, OTHER_TEXT), 0o640)
    reload(watch)
    assert sealed.offer(session.frame()) == 1
    assert watch.log().count("configuration not read again") == 5


@pytest.mark.parametrize(
    "flag, text, word",
    [
        ("--key-file", "", "exactly one"),
        ("--key-file", KEY_TEXT + OTHER_TEXT, "exactly one"),
        ("--key-file", "xyz", "line 1"),
        ("--accepted-key-file", "\n# no\n", "has no key"),
        ("--accepted-key-file", KEY_TEXT + "0\n", "line 2"),
        (
            "--accepted-key-file",
            "".join(hex_key(n)[1] for n in range(9)),
            "more than 8",
        ),
        ("--master-key-file", "# no\n" + KEY_TEXT, "64 hexadecimal"),
        ("--master-key-file", KEY_TEXT + OTHER_TEXT, "64 hexadecimal"),
    ],
)
def test_key_files_that_are_not_good_are_refused_at_the_start(
    folder, flag, text, word
):
    path = support.write_secret(folder / "k", text)
    command = ["--socket", folder / "s", "--threshold-ms", "1000"]
    command += ["--udp-port=0", flag, path]
    for check in ([], ["--check"]):
        code, out, err = run_watch(*command, *check)
        assert (code, out) == (1, "")
        assert f"{flag}: file '{path}': " in err and word in err
        assert KEY_TEXT[:16] not in err
        assert not (folder / "s").exists()


def test_a_state_folder_is_used_by_one_observer(sealed, folder):
    sealed.start()
    code, _, err = run_watch(
        "--socket", folder / "s2", "--threshold-ms", "1000", "--udp-port=0",
        "--key-file", sealed.key, "--state-dir", sealed.state,
    )  # fmt: skip
    assert code == 1
    assert "--state-dir: " in err and "another observer" in err
    assert not (folder / "s2").exists()


def test_a_damaged_state_is_not_taken_for_none(sealed):
    watch = sealed.start()
    recorded = Session(KEY, PID).frames(3)
    assert sealed.offer(*recorded) == 3
    watch.stop()
    path = sealed.state / "sessions"
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + b"\1" + whole[21:])
    watch.launch()
    assert watch.wait_end() == 1
    assert "is damaged" in watch.log()
    path.write_bytes(whole)
    watch.restart()
    sealed.connect()
    assert sealed.offer(*recorded) == 0


def test_a_full_disk_stops_nobody(sealed):
    # Blocks of 512 bytes: the header, 1,024 places, and some 40 sessions.
    limit = "trap '' XFSZ; ulimit -f 289; exec \"$@\""
    watch = sealed.start(
        program=["sh", "-ec", limit, "sh", support.WATCH], events=False
    )
    sessions = [Session(KEY, pid) for pid in range(100, 400)]
    assert sealed.offer(*(one.frame() for one in sessions)) == 300
    assert sealed.offer(*(one.frame() for one in sessions)) == 300
    assert "sessions': cannot be written: File too large" in watch.log()
    assert watch.metrics().value("varta_state_errors_total") > 0
