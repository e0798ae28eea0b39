"""Files with secrets: the token of /metrics and a recovery command. What is
not safe is refused, by --check as well as by a start."""

import os

import pytest

import support
from watching import HOUR_MS, METRICS, NOBODY, needs_root, run_watch

TOKEN = "0123456789abcdef" * 4
GOOD = {"prom-token-file": TOKEN, "recovery-exec-file": "/bin/true {pid}"}
FLAGS = sorted(GOOD)


@pytest.fixture(params=FLAGS)
def flag(request):
    return request.param


@pytest.fixture
def start(folder, flag):
    """start(path): exit code and standard error with this file, of --check
    and of a real start, which must agree."""

    def run(path, *options):
        command = ["--socket", folder / "varta.sock", "--threshold-ms", 1000]
        if flag == "prom-token-file":
            command += METRICS
        command += [f"--{flag}", path, *options]
        checked = run_watch("--check", *command)
        ran = run_watch(*command, "--shutdown-after-secs", 0)
        assert checked[0] == ran[0], (checked, ran)
        if ran[0] != 0:
            assert checked[1:] == ran[1:]
            assert ran[1] == ""
            assert not (folder / "varta.sock").exists()
        return ran[0], ran[2]

    return run


@pytest.fixture
def refuse(start, flag):
    """refuse(path): the line that says why this file is not taken."""

    def run(path):
        code, err = start(path)
        assert code == 1, err
        [line] = err.splitlines()
        opening = f"varta-watch: --{flag}: file '{path}': "
        assert line.startswith(opening)
        return line[len(opening) :]

    return run


@pytest.fixture
def secret(folder, flag):
    return support.write_secret(folder / "a secret", GOOD[flag])


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_for_its_owner_alone_is_taken(start, secret, mode):
    secret.chmod(mode)
    code, err = start(secret)
    assert code == 0, err


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o620])
def test_a_file_that_others_may_read_or_change_is_refused(
    refuse, secret, mode
):
    secret.chmod(mode)
    why = refuse(secret)
    assert f"{mode:04o}" in why
    assert "0600" in why


def test_a_symbolic_link_is_refused(folder, refuse, secret):
    link = folder / "link"
    link.symlink_to(secret)
    assert "symbolic link" in refuse(link)


def test_a_fifo_is_refused_and_holds_nothing_up(folder, refuse):
    path = folder / "fifo"
    os.mkfifo(path, 0o600)
    assert "regular file" in refuse(path)


@pytest.mark.parametrize("path", ["/", "/dev/null", "/dev/zero", "/tmp"])
def test_what_is_no_file_is_refused(refuse, path):
    refuse(path)


def test_a_file_that_is_missing_is_refused(folder, refuse):
    assert "No such file or directory" in refuse(folder / "missing")


@needs_root
def test_a_file_of_another_user_is_refused(refuse, secret):
    os.chown(secret, NOBODY, NOBODY)
    assert str(NOBODY) in refuse(secret)


def test_a_file_that_is_too_large_is_refused(refuse, secret):
    secret.write_text("x" * 100_000)
    refuse(secret)


def test_an_empty_file_is_refused(start, secret):
    for text in ["", "\n", " \t\n "]:
        secret.write_text(text)
        code, err = start(secret)
        assert code == 1, err


def test_a_secret_is_not_shown_when_it_is_refused(start, secret, flag):
    text = "x" * 64 if flag == "prom-token-file" else "x" * 20000
    secret.write_text(text)
    code, err = start(secret)
    assert code == 1
    assert "x" * 8 not in err


def test_blanks_around_the_text_do_not_count(start, secret, flag):
    secret.write_text(f"\n  {GOOD[flag]}\r\n\n")
    assert start(secret)[0] == 0


# ---- the token ------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [TOKEN[:-1], TOKEN + "0", TOKEN[:-1] + "g", f"{TOKEN}\n{TOKEN}"]
    + [f"# token\n{TOKEN}", TOKEN[:32] + " " + TOKEN[32:], "é" * 32],
)
def test_a_token_is_64_hexadecimal_digits(folder, text):
    path = support.write_secret(folder / "token", text)
    code, out, err = run_watch(
        *("--check", "--socket", folder / "s", "--threshold-ms", HOUR_MS),
        *("--prom-addr", "127.0.0.1:0", "--prom-token-file", path),
    )
    assert (code, out) == (1, "")
    assert "must hold 64 hexadecimal digits" in err


def test_digits_of_a_token_may_be_of_either_case(folder, observer):
    path = support.write_secret(folder / "token", TOKEN.upper())
    watch = observer(
        *METRICS, "--prom-token-file", path, threshold_ms=HOUR_MS, token=TOKEN
    )
    assert watch.get().status == 200
    watch.token = TOKEN.upper()
    assert watch.get().status == 200
