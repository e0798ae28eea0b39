"""varta key: keys of sealed beats are made, derived, checked and told apart."""

import hashlib
import hmac
import os
import re
import stat
import subprocess

import pytest

import support
from support import VARTA, write_secret

KEY = bytes(range(32)).hex()
OTHER = bytes(range(32, 64)).hex()
LABEL = b"varta-key-fingerprint-v1\0"


def key(*words, folder=None, **settings):
    """The exit code, standard output and standard error of varta key."""
    done = subprocess.run(
        [VARTA, "key", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=support.DEADLINE_S,
        cwd=folder,
        **settings,
    )
    return done.returncode, done.stdout, done.stderr


def fingerprint_of(text):
    digest = hashlib.sha256(LABEL + bytes.fromhex(text)).digest()
    return f"{int.from_bytes(digest[:4], 'big') & 0x7FFFFFFF:08x}"


def derived(master, pid):
    """The key of an agent, by the definition of HKDF-SHA256."""
    info = b"varta-agent-v1\0" + pid.to_bytes(4, "little")
    prk = hmac.digest(bytes(32), bytes.fromhex(master), "sha256")
    return hmac.digest(prk, info + b"\1", "sha256").hex()


# ---- new ------------------------------------------------------------------


def test_a_new_key_is_in_a_file_for_its_owner_alone(folder):
    path = folder / "key"
    assert key("new", "--out", path) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_the_mode_does_not_depend_on_the_umask(folder, mask):
    path = folder / "key"
    words = ("new", "--out", path)
    assert key(*words, preexec_fn=lambda: os.umask(mask))[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_two_keys_are_the_same(folder):
    for name in "ab":
        assert key("new", "--out", folder / name)[0] == 0
    assert (folder / "a").read_text() != (folder / "b").read_text()


def test_a_key_is_printed_only_when_that_is_asked_for(folder):
    code, out, err = key("new", "--print")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{64}\n", out)
    code, out, err = key("new", "--print", "--out", folder / "both")
    assert (code, out) == (0, (folder / "both").read_text())


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_nothing_that_is_there_is_written_over(folder, kind):
    path, target = folder / "key", folder / "target"
    if kind != "dangling":
        write_secret(target, "precious")
    if kind == "file":
        target.rename(path)
    else:
        path.symlink_to(target)
    code, out, err = key("new", "--out", path)
    assert (code, out) == (1, "")
    assert err == f"varta key: '{path}': File exists\n"
    assert kind == "dangling" or path.read_text() == "precious"
    assert kind != "dangling" or not target.exists()


def test_a_folder_that_is_not_there_is_told(folder):
    path = folder / "none" / "key"
    code, _, err = key("new", "--out", path)
    assert (code, err) == (1, f"varta key: '{path}': No such file or directory\n")


def test_what_could_not_be_written_is_removed(folder):
    # No file may grow at all, and that is an error instead of a signal.
    script = f"ulimit -f 0; trap '' XFSZ; exec '{VARTA}' key new --out key"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "varta key: 'key': File too large\n"
    assert list(folder.iterdir()) == []


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [VARTA, "key", "new", "--print"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "standard output" in done.stderr


# ---- derive ---------------------------------------------------------------


def test_the_key_of_an_agent_is_the_one_of_the_protocol(folder):
    master = write_secret(folder / "master", KEY + "\n")
    for pid, published in (
        (42, "61f5951b2bf1905d5053df0abb027002cba62da1f16d93c6552ff61cb65f2599"),
        (2, "db292f5843a0737aec785a9df270561b343d06e5fe8f89fce72f0869ba77afd5"),
        (2**32 - 1, derived(KEY, 2**32 - 1)),
    ):
        words = ("derive", "--master", master, "--pid", pid)
        assert key(*words, "--print") == (0, published + "\n", "")
        path = folder / f"agent-{pid}"
        assert key(*words, "--out", path) == (0, "", "")
        assert path.read_text() == published + "\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text, reason",
    [
        (f"# ours\n{KEY}\n", "a master key file has no comments, this one 1"),
        (f"{KEY}\n{OTHER}\n", "2 keys, need one"),
        ("", "no key in it"),
        (KEY[:-1], "line 1: not 64 hexadecimal digits"),
    ],
)
def test_a_master_key_is_one_key_and_nothing_else(folder, text, reason):
    master = write_secret(folder / "master", text)
    code, out, err = key("derive", "--master", master, "--pid", 7, "--print")
    assert (code, out) == (1, "")
    assert err == f"varta key: '{master}': {reason}\n"


# ---- check ----------------------------------------------------------------


def test_good_files_are_ok_and_their_uses_are_told(folder):
    write_secret(folder / "one", KEY + "\n")
    write_secret(folder / "comment", f"# ours\n{KEY}\n")
    write_secret(folder / "two", f"{KEY}\n{OTHER}\n")
    code, out, err = key("check", "one", "comment", "two", folder=folder)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "one: ok",
        "comment: ok, with comments: not for --master-key-file",
        "two: ok, 2 keys: for --accepted-key-file only",
    ]


def test_each_bad_file_has_its_reason(folder):
    write_secret(folder / "good", KEY)
    write_secret(folder / "form", KEY + "0")
    write_secret(folder / "mode", KEY)
    (folder / "mode").chmod(0o640)
    (folder / "link").symlink_to("good")
    (folder / "dir").mkdir()
    os.mkfifo(folder / "fifo", 0o600)
    names = ["good", "form", "mode", "link", "dir", "fifo", "none"]
    code, out, err = key("check", *names, folder=folder)
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "good: ok",
        "form: line 1: not 64 hexadecimal digits",
        "mode: mode 0640, need 0600",
        "link: symbolic link, not followed",
        "dir: not a regular file",
        "fifo: not a regular file",
        "none: cannot open: No such file or directory",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_file_of_another_user_is_refused(folder):
    write_secret(folder / "key", KEY)
    os.chown(folder / "key", 65534, 65534)
    code, out, _ = key("check", "key", folder=folder)
    assert (code, out) == (1, "key: owned by uid 65534, need uid 0\n")


def test_no_reason_holds_a_part_of_a_key(folder):
    for number, text in enumerate((KEY[:-1], KEY + "x", f"key={KEY}", KEY * 2)):
        path = write_secret(folder / f"key{number}", text)
        for action in ("check", "fingerprint"):
            _, out, err = key(action, path)
            assert KEY[8:16] not in out + err


def test_a_name_cannot_forge_a_line(folder):
    name = "a\nb: ok"
    write_secret(folder / name, "")
    _, out, _ = key("check", name, folder=folder)
    assert out == "a\\nb: ok: no key in it\n"


# ---- fingerprint ----------------------------------------------------------


def test_a_fingerprint_is_a_hash_of_the_key_under_a_label(folder):
    write_secret(folder / "one", KEY)
    write_secret(folder / "two", f"{OTHER.upper()}\n# old\n{KEY}\n")
    code, out, err = key("fingerprint", "one", "two", folder=folder)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{fingerprint_of(KEY)}  one",
        f"{fingerprint_of(OTHER)}  two",
        f"{fingerprint_of(KEY)}  two",
    ]


def test_files_that_cannot_be_read_do_not_stop_the_others(folder):
    write_secret(folder / "bad", "")
    write_secret(folder / "good", KEY)
    code, out, err = key("fingerprint", "bad", "good", folder=folder)
    assert (code, out) == (1, f"{fingerprint_of(KEY)}  good\n")
    assert err == "varta key: 'bad': no key in it\n"


# ---- arguments ------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("old",),
        ("new",),
        ("new", "--out", "a", "b"),
        ("new", "--print", "--pid", "7"),
        ("new", "--print", "--master", "a"),
        ("new", "--out"),
        ("new", "--print=yes"),
        ("derive", "--print"),
        ("derive", "--master", "a", "--print"),
        ("derive", "--pid", "7", "--print"),
        ("derive", "--master", "a", "--pid", "7"),
        ("derive", "--master", "a", "--pid", "1", "--print"),
        ("derive", "--master", "a", "--pid", "4294967296", "--print"),
        ("derive", "--master", "a", "--pid", "seven", "--print"),
        ("check",),
        ("check", "--print", "a"),
        ("check", "--out", "b", "a"),
        ("fingerprint",),
        ("--bogus", "--help"),
        ("--help", "--bogus"),
    ],
)
def test_what_makes_no_sense_does_nothing(folder, words):
    code, out, err = key(*words, folder=folder)
    assert (code, out) == (2, "")
    assert err.startswith("varta key: ")
    assert err.endswith("'varta help key' shows all options\n")
    assert list(folder.iterdir()) == []


def test_options_stand_before_or_after_the_action(folder):
    assert key("--out", folder / "a", "new")[0] == 0
    assert key("new", f"--out={folder / 'b'}")[0] == 0


def test_help_lists_what_can_be_done():
    done = subprocess.run([VARTA, "help", "key"], capture_output=True, text=True)
    assert done.returncode == 0
    assert key("--help") == (0, done.stdout, "")
    assert key("new", "--help") == (0, done.stdout, "")
    for action in ("new", "derive", "check", "fingerprint"):
        assert f"\n{action}: " in done.stdout
