"""Sealed beats over UDP: what is opened, and that nothing is taken twice whatever
happens in between."""

import json
import os
import random
import signal
import struct
import time

import pytest

import opening
import support
from sealing import (
    ATTEMPTS,
    DECRYPT,
    KEY,
    MASTER,
    OTHER_KEY,
    REPLAY,
    Session,
)
from support import Frame, wait_for
from watching import run_watch

PID = 4242


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


def published():
    """The frames of both files of vectors, by their names."""
    folder = support.ROOT / "tests" / "vectors"
    vlp = json.loads((folder / "vlp-test-vectors.json").read_text())
    extra = json.loads((folder / "extra-vectors.json").read_text())
    vectors = vlp["secure_frame_vectors"] + extra["secure"]
    return {v["id"]: v for v in vectors if not v["kind"].startswith("kdf")}


def start_with_published_key(sealed):
    for path in (sealed.key, sealed.master):
        support.write_secret(path, bytes(range(32)).hex())
    return sealed.start()


@pytest.mark.parametrize("name", published())
def test_a_published_frame_is_taken_or_refused_as_published(sealed, name):
    vector = published()[name]
    watch = start_with_published_key(sealed)
    if vector["kind"] == "open_error":
        assert sealed.offer(bytes.fromhex(vector["wire_hex"])) == 0
        assert watch.metrics().value(DECRYPT) == 1
        return
    assert sealed.offer(bytes.fromhex(vector["expected_wire_hex"])) == 1
    frame = Frame.decode(bytes.fromhex(vector["plaintext_hex"]))
    [row] = watch.events("beat", frame.pid)
    assert (row.nonce, row.payload) == (str(frame.nonce), str(frame.payload))


def test_published_frames_of_both_kinds_are_different_agents(sealed):
    start_with_published_key(sealed)
    for name in ("secure-shared-key-seal", "secure-master-key-seal"):
        wire = bytes.fromhex(published()[name]["expected_wire_hex"])
        assert sealed.offer(wire) == 1
        assert sealed.offer(wire) == 0


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


def test_an_agent_that_dies_after_one_beat_has_its_last_word(sealed):
    watch = sealed.start()
    session = Session(KEY, PID)
    assert sealed.offer(*session.frames(10), session.crash_frame()) == 11
    for _ in range(3):
        session.begin()
        assert sealed.offer(session.frame(), session.crash_frame()) == 2
        assert watch.events("beat", PID)[-1].status == "critical"
    assert watch.metrics().value(REPLAY) == 0


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


# ---- the folder ------------------------------------------------------------


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


def test_the_end_waits_for_the_folder_as_long_as_it_may(sealed, hanging_disk):
    watch = sealed.start("--shutdown-grace-ms", 100, environment=hanging_disk)
    assert watch.stop() == 0
    assert "its disk does not answer at the end" in watch.log()
