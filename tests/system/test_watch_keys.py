"""Keys of sealed beats: which files are taken, what changes while running, and
by which words a key is known."""

import os
import signal
import subprocess

import pytest

import opening
import support
from sealing import (
    DECRYPT,
    KEY,
    KEY_TEXT,
    MASTER,
    MASTER_TEXT,
    OTHER_KEY,
    OTHER_TEXT,
    Session,
    core_of,
    hex_key,
    traces,
    with_core,
)
from support import VARTA
from watching import needs_root, run_watch

PID = 4242



def test_keys_change_while_running(sealed):
    watch = sealed.start()
    one, other = Session(KEY, PID), Session(OTHER_KEY, PID)
    both = Session(MASTER, PID, master=True)
    first = one.frames(3)
    assert sealed.offer(*first, both.frame()) == 4
    assert sealed.offer(other.frame()) == 0

    support.write_secret(sealed.key, OTHER_TEXT)
    sealed.reload()
    assert sealed.offer(one.frame()) == 0
    assert sealed.offer(*other.frames(2)) == 2
    # The session of the key that stayed goes on.
    assert sealed.offer(both.frame()) == 1

    # And back: what was taken is known.
    support.write_secret(sealed.key, KEY_TEXT)
    sealed.reload()
    assert sealed.offer(*first) == 0
    assert sealed.offer(one.frame()) == 1
    assert not watch.events("stall")


def test_files_that_are_not_good_leave_the_keys_as_they_were(sealed):
    watch = sealed.start()
    session = Session(KEY, PID)
    for spoil in ("", "# none\n", "00" * 31, KEY_TEXT * 2):
        support.write_secret(sealed.key, spoil)
        sealed.reload()
        assert sealed.offer(session.frame()) == 1
    os.chmod(support.write_secret(sealed.key, OTHER_TEXT), 0o640)
    sealed.reload()
    assert sealed.offer(session.frame()) == 1
    assert watch.log().count("configuration not read again") == 5


@pytest.mark.parametrize(
    "flag, text, word",
    [
        ("--key-file", "", "no key in it"),
        ("--key-file", KEY_TEXT + OTHER_TEXT, "2 keys, need one"),
        ("--key-file", "xyz", "line 1"),
        ("--accepted-key-file", "\n# no\n", "no key in it"),
        ("--accepted-key-file", KEY_TEXT + "0\n", "line 2"),
        (
            "--accepted-key-file",
            "".join(hex_key(n)[1] for n in range(9)),
            "line 9: more keys",
        ),
        ("--master-key-file", "# no\n" + KEY_TEXT, "no comments"),
        ("--master-key-file", KEY_TEXT + OTHER_TEXT, "need one"),
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




# ---- memory ---------------------------------------------------------------


needs_no_asan = pytest.mark.skipif(
    b"__asan_init" in support.WATCH.read_bytes(),
    reason="the address sanitizer locks nothing and leaves no core",
)


def locked_kib(watch):
    status = open(f"/proc/{watch.pid}/status").read()
    [line] = [x for x in status.splitlines() if x.startswith("VmLck:")]
    return int(line.split()[1])


@needs_no_asan
def test_keys_are_locked_into_memory(sealed):
    watch = sealed.start()
    if "cannot be locked" in watch.log():
        pytest.skip("needs a limit of locked memory that is not 0")
    assert locked_kib(watch) >= 40


def with_locked_kib(limit):
    """The program where so much memory may be locked, and no more."""
    script = f'ulimit -l {limit}; exec "$@"'
    drop = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
    return ["sh", "-ec", script, "sh", *drop, support.WATCH]


@needs_root
@needs_no_asan
def test_keys_are_locked_after_a_reload_where_two_rings_do_not_fit(sealed):
    watch = sealed.start(program=with_locked_kib(60))
    before = locked_kib(watch)
    assert before >= 40
    for text in (OTHER_TEXT, KEY_TEXT, OTHER_TEXT):
        support.write_secret(sealed.key, text)
        sealed.reload()
        assert locked_kib(watch) == before
    assert sealed.offer(Session(OTHER_KEY, PID).frame()) == 1
    assert "cannot be locked" not in watch.log()


@needs_root
@needs_no_asan
def test_it_is_told_at_each_reload_that_keys_are_not_locked(sealed):
    watch = sealed.start(program=with_locked_kib(0))
    for count in (1, 2):
        assert watch.log().count("keys cannot be locked into memory") == count
        sealed.reload()


@needs_no_asan
def test_a_core_file_of_the_observer_holds_no_key(sealed, folder):
    place = folder / "cores"
    place.mkdir()
    watch = sealed.start(
        keys=["key", "accepted", "master"],
        program=with_core(place, [support.WATCH]),
    )
    for session in (
        Session(KEY, PID),
        Session(OTHER_KEY, PID),
        Session(MASTER, PID, master=True),
    ):
        assert sealed.offer(*session.frames(5)) == 5
    sealed.reload()
    forged = [os.urandom(size) for size in 20 * [60, 64]]
    assert sealed.offer(*forged) == 0
    assert sealed.offer(*Session(MASTER, PID + 1, master=True).frames(2)) == 2
    assert watch.stop(signal.SIGABRT) == -signal.SIGABRT

    core = core_of(place)
    if core is None:
        pytest.skip("needs a system that leaves core files")
    assert os.fsencode(sealed.key) in core
    secrets = [KEY, OTHER_KEY, MASTER, KEY_TEXT.encode(), MASTER_TEXT.encode()]
    secrets += [opening.agent_key(MASTER, pid) for pid in (PID, PID + 1)]
    assert [traces(core, secret) for secret in secrets] == 7 * [[]]


# ---- what a key is called -------------------------------------------------


def fingerprint(path):
    """As the tool says it, of the only key in a file."""
    done = subprocess.run(
        [VARTA, "key", "fingerprint", path],
        capture_output=True,
        text=True,
        check=True,
    )
    [word] = done.stdout.replace(f"  {path}\n", "\n").split()
    return word


def test_tool_log_and_metrics_have_one_word_for_a_key(sealed, agent):
    watch = sealed.start(keys=["key", "accepted", "master"])
    files = {"shared": sealed.key, "more": sealed.accepted}
    files["master"] = sealed.master
    words = {kind: fingerprint(path) for kind, path in files.items()}
    assert len(set(words.values())) == 3
    said = "shared {shared}, shared {more}, master {master}\n"
    assert "keys of sealed beats: " + said.format(**words) in watch.log()

    for session in (
        Session(KEY, PID),
        Session(OTHER_KEY, PID),
        Session(MASTER, PID, master=True),
    ):
        assert sealed.offer(*session.frames(2)) == 2
    metrics = watch.metrics()
    for kind, word in words.items():
        source = f"{word}-master" if kind == "master" else word
        labels = {"pid": PID, "source": source}
        assert metrics.value("varta_beats_total", **labels) == 2

    # Another file with the same key, and another use of it.
    support.write_secret(sealed.accepted, "# ours\n" + MASTER_TEXT.upper())
    sealed.reload()
    words["more"] = fingerprint(sealed.accepted)
    assert words["more"] == words["master"]
    assert "keys of sealed beats: " + said.format(**words) in watch.log()


def test_one_key_as_shared_and_as_master_key_has_agents_of_both(sealed):
    support.write_secret(sealed.master, KEY_TEXT)
    watch = sealed.start()
    shared, mastered = Session(KEY, PID), Session(KEY, PID, master=True)
    # Even with the same vectors, which other keys make different ones.
    mastered.salt = shared.salt
    frames = shared.frames(3) + mastered.frames(3)
    assert sealed.offer(*frames) == 6
    assert sealed.offer(*frames) == 0
    metrics = watch.metrics()
    assert metrics.value(DECRYPT) == 0
    assert metrics.value("varta_watch_pids_tracked") == 2


def test_a_key_file_with_a_stray_nul_is_refused(folder):
    path = support.write_secret(folder / "k", KEY_TEXT + "\0\n")
    for flag in ("--key-file", "--accepted-key-file", "--master-key-file"):
        code, _, err = run_watch(
            "--socket", folder / "s", "--threshold-ms=1000", "--udp-port=0",
            flag, path, "--check",
        )  # fmt: skip
        assert code == 1
        assert f"{flag}: file '{path}': line 2: not 64 hexadecimal" in err
