"""The command line of varta-watch: every flag, every way to get it wrong, and
what is said then. Nothing is bound when anything is refused."""

import re

import pytest

from watching import run_watch

U32, U64 = 2**32 - 1, 2**64 - 1

# Flag: lowest and highest value.
NUMBERS = {
    "threshold-ms": (10, U64),
    "uds-rcvbuf-bytes": (0, 2**31 - 1),
    "read-timeout-ms": (1, 1000),
    "tracker-capacity": (1, 1048576),
    "lanes-max": (0, 65536),
    "eviction-scan-window": (1, 4096),
    "lanes-max": (0, 65536),
    "max-beat-rate": (0, U32),
    "global-beat-rate": (0, U32),
    "global-beat-burst": (0, U32),
    "export-file-max-bytes": (4096, U64),
    "export-file-sync-every": (0, U32),
    "prom-rate-limit-per-sec": (0, U32),
    "prom-rate-limit-burst": (0, U32),
    "scrape-budget-ms": (50, 60000),
    "iteration-budget-ms": (50, 60000),
    "recovery-debounce-ms": (0, U64),
    "recovery-timeout-ms": (100, U64),
    "recovery-capture-bytes": (1, 1048576),
    "recovery-audit-max-bytes": (4096, U64),
    "recovery-audit-sync-every": (1, U32),
    "audit-sync-interval-ms": (0, U32),
    "audit-fsync-budget-ms": (1, U32),
    "audit-rotation-budget-ms": (1, 250),
    "udp-senders-max": (1, 65536),
    "self-watchdog-secs": (1, U64),
    "shutdown-after-secs": (0, U64),
    "shutdown-grace-ms": (100, 60000),
}
# Flag: good values, bad values.
OTHERS = {
    "socket": (["PATH"], [""]),
    "socket-mode": (
        ["0600", "600", "0o660", "0O660", "0777", "0", "00000666"],
        ["", "1777", "0800", "abc", "-600", "+600", " 600", "0x180", "0o"],
    ),
    "clock-source": (
        ["monotonic", "boottime"],
        ["", "Monotonic", "monotonic-raw", "mono", "monotonic,boottime"],
    ),
    "allow-uid": (["0", "+1", "nobody"], ["", "-1", "no-such-user", "4294967295"]),
    "allow-gid": (["0", "nogroup"], ["", "-1", "no-such-group", "0x0"]),
    "tracker-eviction-policy": (["strict", "balanced"], ["", "Strict", "none"]),
    "export-file": (["PATH"], [""]),
    "export-events": (["all", "reference"], ["", "ALL", "some"]),
    "log-format": (["plain", "json"], ["", "JSON", "text"]),
    "log-level": (["error", "warn", "info", "debug"], ["", "INFO", "trace"]),
    "prom-addr": (
        ["127.0.0.1:0", "127.9.9.9:65535", "[::1]:9100"],
        ["", "9100", ":9100", "127.0.0.1", "127.0.0.1:", "localhost:9100"]
        + ["127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1:-1", "::1:9100"]
        + ["[::1]", "[127.0.0.1]:1", "127.0.0.1:1 ", "256.0.0.1:1", "[]:1"],
    ),
    "prom-token-file": (["TOKEN"], [""]),
    "prom-agent-series": (["pid", "name", "none"], ["", "Pid", "pid,name"]),
    "control-socket": (["PATH"], [""]),
    "udp-port": (
        ["0", "9443", "65535", "+1"],
        ["", "65536", "-1", "x", "80x", "http", " 1", "0x50"],
    ),
    "udp-bind-addr": (
        ["127.0.0.1", "::1", "0.0.0.0", "::"],
        ["", "localhost", "[::1]", "127.0.0.1:1", "127.0.0", "256.0.0.1"],
    ),
    "key-file": (["TOKEN"], [""]),
    "accepted-key-file": (["TOKEN"], [""]),
    "master-key-file": (["TOKEN"], [""]),
    "state-dir": (["FOLDER"], [""]),
    "recovery-exec": (["/bin/true", "/bin/true a {pid}"], [""]),
    "recovery-exec-file": (["COMMAND"], [""]),
    "recovery-cmd": (["/bin/true 'a b'"], [""]),
    "recovery-audit-file": (["PATH"], [""]),
    "recovery-env": (["A=", "A=b=c", "--x=y"], ["", "A", "=", "=b"]),
    "heartbeat-file": (["PATH"], [""]),
    "hw-watchdog": (["PATH"], [""]),
    "signal-handler-mode": (["direct", "libc"], ["", "none", "Direct"]),
    "config": (["CONFIG"], [""]),
}
SWITCHES = {
    "allow-cross-namespace-agents",
    "strict-namespace-check",
    "accept-v01-frames",
    "i-accept-plaintext-udp",
    "i-accept-secure-udp-non-loopback",
    "plaintext-udp-i-accept-recovery-on-unauthenticated-transport",
    "secure-udp-i-accept-recovery-on-unauthenticated-transport",
    "recovery-inherit-env",
    "recovery-capture-stdio",
    "recovery-on-exit",
    "check",
    "dump-config",
    "version",
    "help",
}
REMOVED = {
    "recovery-cmd-file": "--recovery-exec-file",
    "i-accept-shell-risk": "--recovery-exec",
    "key-env": "--key-file",
    "accepted-key-env": "--accepted-key-file",
    "master-key-env": "--master-key-file",
}
# What a flag needs beside it to be good.
COMPANIONS = {
    "prom-token-file": ["--prom-addr", "127.0.0.1:0"],
    "recovery-capture-stdio": ["--recovery-exec", "/bin/true"],
    "recovery-on-exit": ["--recovery-exec", "/bin/true"],
    "udp-port": ["--i-accept-plaintext-udp"],
}
# What no number of any width may be.
NO_NUMBERS = ["", " ", "ten", "-1", " 20", "20 ", "2_0", "0x20", "1e3", "20.0"]
NO_NUMBERS += ["20ms", "+", "++20", str(U64 + 1), "9" * 40, "２０"]


@pytest.fixture
def files(folder):
    (folder / "token").write_text("0" * 64)
    (folder / "command").write_text("/bin/true")
    (folder / "config").write_text("")
    for name in ("token", "command", "config"):
        (folder / name).chmod(0o600)
    return {
        "FOLDER": str(folder),
        "PATH": str(folder / "file"),
        "TOKEN": str(folder / "token"),
        "COMMAND": str(folder / "command"),
        "CONFIG": str(folder / "config"),
    }


@pytest.fixture
def base(folder):
    """A good command line."""
    return ["--socket", str(folder / "varta.sock"), "--threshold-ms", "1000"]


@pytest.fixture
def refuse(folder, base):
    """refuse(*arguments): refused after a good command line with 2; the one
    line that says why."""

    def run(*arguments, first=base):
        before = sorted(folder.iterdir())
        code, out, err = run_watch(*first, *arguments, cwd=folder)
        assert (code, out) == (2, ""), err
        assert sorted(folder.iterdir()) == before
        why, hint = err.splitlines()
        assert hint == "varta-watch: see 'varta-watch --help'"
        assert why.startswith("varta-watch: ")
        return why[len("varta-watch: ") :]

    return run


@pytest.fixture
def accept(base):
    """accept(*arguments): good after a good command line."""

    def run(*arguments, first=base):
        code, out, err = run_watch("--check", *first, *arguments)
        assert (code, err) == (0, ""), arguments
        assert out == "varta-watch: the options are good\n"

    return run


def all_flags():
    _, out, _ = run_watch("--help")
    return set(re.findall(r"^  --([a-z0-9-]+)", out, re.MULTILINE))


def test_every_flag_is_in_these_tables():
    """A new flag gets a row above, and with it all of these tests."""
    assert all_flags() == NUMBERS.keys() | OTHERS.keys() | SWITCHES


# ---- values ---------------------------------------------------------------


@pytest.mark.parametrize("flag", sorted(NUMBERS.keys() | OTHERS.keys()))
def test_a_flag_without_its_value_is_refused(refuse, flag):
    assert refuse(f"--{flag}").startswith(f"--{flag}: needs a value ")


@pytest.mark.parametrize("flag", sorted(NUMBERS))
def test_a_number_is_taken_from_lowest_to_highest(refuse, accept, flag):
    lowest, highest = NUMBERS[flag]
    for good in [lowest, highest, f"+{lowest}", f"000{highest}"]:
        accept(f"--{flag}", good)
        accept(f"--{flag}={good}")
    if lowest > 0:
        why = refuse(f"--{flag}", lowest - 1)
        assert why == (
            f"--{flag}: '{lowest - 1}': must be at least {lowest}"
        )
    above = str(highest + 1)
    assert re.fullmatch(
        f"--{flag}: '{above}': (must be at most {highest}"
        "|too large for a whole number of (32|64) bits)",
        refuse(f"--{flag}={above}"),
    )


@pytest.mark.parametrize("flag", sorted(NUMBERS))
def test_what_is_no_number_is_refused(refuse, flag):
    for bad in NO_NUMBERS:
        why = refuse(f"--{flag}", bad)
        assert why.startswith(f"--{flag}: '{bad}': "), why


@pytest.mark.parametrize("flag", sorted(OTHERS))
def test_a_value_that_is_no_number_is_checked(refuse, accept, files, flag):
    good, bad = OTHERS[flag]
    beside = COMPANIONS.get(flag, [])
    for value in good:
        value = files.get(value, value)
        accept(*beside, f"--{flag}", value)
        accept(*beside, f"--{flag}={value}")
    for value in bad:
        why = refuse(*beside, f"--{flag}", value)
        assert why.startswith(f"--{flag}: '{value}': "), why
        assert refuse(*beside, f"--{flag}={value}") == why


@pytest.mark.parametrize("flag", sorted(SWITCHES))
def test_a_switch_takes_no_value(refuse, accept, flag):
    assert refuse(f"--{flag}=yes") == f"--{flag}: takes no value"
    if flag not in ("help", "version", "dump-config"):
        accept(*COMPANIONS.get(flag, []), f"--{flag}", f"--{flag}")


# ---- grammar --------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    ["--nonsense", "--nonsense=1", "--", "-", "-x", "-s", "word", "", "---"]
    + ["--socket-", "--thresh", "--threshold_ms", "--Socket", "-socket", "--="]
    + ["--no-check", "-check", "-hh", "--prom", "--recovery"],
)
def test_what_is_no_flag_is_refused(refuse, token):
    assert refuse(token, "1") == f"'{token}': unknown option"


def test_a_fault_is_one_line_whatever_was_given(refuse):
    why = refuse("--threshold-ms", "1\n\x1b[31mred")
    assert why == "--threshold-ms: '1\\n\\x1b[31mred': not a whole number"
    assert refuse(b"--\xff\xfe") == "'--\\xff\\xfe': unknown option"


@pytest.mark.parametrize("flag", sorted(NUMBERS.keys() | OTHERS.keys() | SWITCHES))
def test_a_flag_that_is_not_given_in_full_is_refused(refuse, flag):
    token = f"--{flag[:-1]}"
    assert refuse(token, "1") == f"'{token}': unknown option"


def test_the_first_fault_is_told(refuse):
    why = refuse("--log-level", "loud", "--nonsense", "--max-beat-rate", "x")
    assert why.startswith("--log-level: 'loud'")


def test_a_value_is_taken_whatever_it_looks_like(accept):
    accept(first=["--socket", "--threshold-ms", "--threshold-ms", "100"])
    accept("--recovery-env", "--help=1")


def test_the_last_of_a_repeated_flag_counts(folder, refuse, accept, base):
    other = folder / "other.sock"
    code, _, err = run_watch(
        *base,
        *("--threshold-ms", "20", "--socket", other),
        *("--shutdown-after-secs", "3600", "--shutdown-after-secs=0"),
    )
    assert code == 0, err
    assert f"socket '{other}'" in err
    assert "threshold 20 ms" in err
    # But each of them must be good.
    refuse("--log-level", "loud", "--log-level", "info")


@pytest.mark.parametrize(
    "flag, value",
    [("allow-uid", "1"), ("allow-gid", "1"), ("recovery-env", "A=b")],
)
def test_a_flag_that_collects_takes_64_and_no_more(
    refuse, accept, flag, value
):
    full = [f"--{flag}", value] * 64
    accept(*full)
    why = refuse(*full, f"--{flag}", value)
    assert why == f"--{flag}: '{value}': given more than 64 times"


@pytest.mark.parametrize("flag", sorted(REMOVED))
def test_a_flag_that_was_removed_is_refused_with_a_hint(refuse, flag):
    for arguments in ([f"--{flag}"], [f"--{flag}", "x"], [f"--{flag}=x"]):
        why = refuse(*arguments)
        assert why.startswith(f"--{flag}: was removed, use {REMOVED[flag]}")


# ---- what belongs together ------------------------------------------------


def test_socket_and_threshold_are_required(refuse, base):
    assert refuse(first=[]) == "--socket: is required"
    assert refuse(first=base[2:]) == "--socket: is required"
    assert refuse(first=base[:2]) == "--threshold-ms: is required"


def test_a_token_needs_an_address(refuse, files):
    why = refuse("--prom-token-file", files["TOKEN"])
    assert why == "--prom-token-file: needs --prom-addr"


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "192.0.2.1:9100", "[::]:0", "[2001:db8::1]:80"]
)
def test_an_address_outside_this_host_needs_a_token(
    refuse, accept, files, address
):
    why = refuse("--prom-addr", address)
    assert why.startswith("--prom-addr: ")
    assert "--prom-token-file" in why
    accept("--prom-addr", address, "--prom-token-file", files["TOKEN"])


@pytest.mark.parametrize(
    "one, two",
    [
        ("recovery-exec", "recovery-exec-file"),
        ("recovery-exec", "recovery-cmd"),
        ("recovery-exec-file", "recovery-cmd"),
    ],
)
def test_there_is_one_recovery_command_at_most(refuse, one, two):
    why = refuse(f"--{one}=/bin/true", f"--{two}=/bin/true")
    assert f"--{one}" in why
    assert f"--{two}" in why
    assert "exclude each other" in why


@pytest.mark.parametrize("flag", ["recovery-capture-stdio", "recovery-on-exit"])
def test_what_is_about_recovery_needs_a_command(refuse, accept, flag):
    assert refuse(f"--{flag}").startswith(f"--{flag}: needs --recovery-exec")
    accept(f"--{flag}", "--recovery-cmd", "/bin/true")


@pytest.mark.parametrize(
    "one, other",
    [
        ("control-socket", "socket"),
        ("export-file", "socket"),
        ("recovery-audit-file", "export-file"),
        ("heartbeat-file", "socket"),
        ("heartbeat-file", "key-file"),
        ("heartbeat-file", "recovery-audit-file"),
        ("config", "export-file"),
    ],
)
def test_a_file_that_is_written_has_one_purpose(base, files, one, other):
    path = files["CONFIG"]
    base = base if other != "socket" else base[2:]
    given = (f"--{one}", path, f"--{other}", path)
    code, out, err = run_watch(*base, *given)
    assert (code, out) == (2, "")
    assert err.startswith(f"varta-watch: --{one}: '{path}': is --{other}\n")
    assert open(path).read() == ""


def test_secrets_may_share_a_file(accept, files):
    path = files["TOKEN"]
    accept("--key-file", path, "--accepted-key-file", path)


# ---- help, version, check -------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed_and_is_all_that_is_done(folder, flag):
    code, out, err = run_watch("--socket", folder / "s", flag, "--nonsense")
    assert (code, err) == (0, "")
    assert out.startswith("usage: varta-watch --socket PATH --threshold-ms MS")
    assert list(folder.iterdir()) == []
    for flag in NUMBERS.keys() | OTHERS.keys() | SWITCHES:
        assert f"  --{flag} " in out
    for flag in REMOVED:
        assert f"--{flag}" not in out


def test_help_does_not_hide_an_earlier_fault(refuse):
    assert refuse("--nonsense", "--help", first=[]).startswith("'--nonsense'")


def test_the_version_is_printed(folder):
    code, out, err = run_watch("--version")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"varta-watch \d+\.\d+\.\d+\n", out)


def test_a_check_binds_nothing_and_opens_nothing(folder, base):
    code, out, err = run_watch(
        "--check",
        *base,
        *("--export-file", folder / "events", "--prom-addr", "127.0.0.1:0"),
    )
    assert (code, err) == (0, "")
    assert out == "varta-watch: the options are good\n"
    assert list(folder.iterdir()) == []


def test_a_check_finds_what_is_wrong(refuse):
    refuse("--check", "--max-beat-rate", "many")


def test_nothing_but_the_address_of_metrics_is_on_standard_output(base):
    ends = ["--shutdown-after-secs", "0"]
    code, out, _ = run_watch(*base, *ends)
    assert (code, out) == (0, "")
    code, out, _ = run_watch(*base, *ends, "--prom-addr", "127.0.0.1:0")
    assert code == 0
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*\n", out)
