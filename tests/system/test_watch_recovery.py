"""The recovery command of varta-watch: what it is given, and how it is
quoted."""

import pathlib
import shlex
import signal

import pytest

import support
from commands import stall
from watching import HOUR_MS, METRICS, run_watch


# ---- what it is given -----------------------------------------------------


def test_the_pid_is_appended_where_no_argument_holds_it(
    observer, agent, reporter
):
    watch = observer("--recovery-exec", f"{reporter.path} a b", threshold_ms=50)
    one = agent(watch.socket_path)
    stall(watch, one)
    [report] = reporter.reports()
    assert report["argv"] == ["a", "b", str(one.pid)]
    assert f"recovery started: {reporter.path}" in watch.log()


def test_pid_and_name_are_put_where_arguments_hold_them(
    observer, agent, reporter
):
    text = f"{reporter.path} --pid={{pid}},{{pid}} {{name}} {{Pid}} {{}}"
    watch = observer("--recovery-exec", text, threshold_ms=50)
    one = agent(watch.socket_path)
    name = pathlib.Path(f"/proc/{one.pid}/comm").read_text().strip()
    stall(watch, one)
    [report] = reporter.reports()
    expected = [f"--pid={one.pid},{one.pid}", name, "{Pid}", "{}"]
    assert report["argv"] == expected


def test_the_environment_is_ours_alone(observer, agent, reporter):
    watch = observer(
        *("--recovery-exec", reporter.path),
        threshold_ms=50,
        environment={"SECRET": "of the observer"},
    )
    one = agent(watch.socket_path)
    name = pathlib.Path(f"/proc/{one.pid}/comm").read_text().strip()
    stall(watch, one)
    [report] = reporter.reports()
    given = report["environ"]
    given.pop("LC_CTYPE", None)  # Python's own
    assert given == {
        "PATH": "/usr/bin:/bin",
        "VARTA_AGENT_PID": str(one.pid),
        "VARTA_AGENT_NAME": name,
        "VARTA_LANE": "",
        "VARTA_REASON": "silent",
        "VARTA_LANE": "",
    }


def test_variables_are_added_and_the_last_of_a_name_counts(
    observer, agent, reporter
):
    watch = observer(
        *("--recovery-exec", reporter.path),
        *("--recovery-env", "A=1", "--recovery-env", "EMPTY="),
        *("--recovery-env", "A=two words=2", "--recovery-env", "PATH=/bin"),
        threshold_ms=50,
    )
    stall(watch, agent(watch.socket_path))
    [report] = reporter.reports()
    given = report["environ"]
    assert given["A"] == "two words=2"
    assert given["EMPTY"] == ""
    assert given["PATH"] == "/bin"


def test_our_environment_is_handed_on_when_asked_for(
    observer, agent, reporter
):
    watch = observer(
        *("--recovery-exec", reporter.path, "--recovery-inherit-env"),
        *("--recovery-env", "CHANGED=yes"),
        threshold_ms=50,
        environment={"KEPT": "as it was", "CHANGED": "no"},
    )
    assert "--recovery-inherit-env" in watch.log()
    one = agent(watch.socket_path)
    stall(watch, one)
    [report] = reporter.reports()
    given = report["environ"]
    assert given["KEPT"] == "as it was"
    assert given["CHANGED"] == "yes"
    assert given["VARTA_AGENT_PID"] == str(one.pid)


def test_nothing_of_ours_leaks_into_the_command(observer, agent, reporter):
    watch = observer(
        *METRICS, *("--recovery-exec", reporter.path), threshold_ms=50
    )
    watch.metrics()
    stall(watch, agent(watch.socket_path))
    [report] = reporter.reports()
    links = {int(fd): link for fd, link in report["descriptors"].items()}
    assert links.pop(0) == "/dev/null"
    assert all(links.pop(fd).startswith("pipe:") for fd in (1, 2))
    # What is left is the program's own text, if its interpreter has it open.
    assert set(links.values()) <= {str(reporter.path)}
    assert report["blocked"] == 0
    assert report["group"] == report["pid"]
    # Python ignores two for itself; the C library keeps two to itself.
    known = {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}
    assert report["ignored"] & ~sum(1 << n - 1 for n in known) == 0


def test_a_command_can_come_from_a_file(folder, observer, agent, reporter):
    path = support.write_secret(
        folder / "command", f"\n{reporter.path} from\n\ta file {{pid}}\n"
    )
    watch = observer("--recovery-exec-file", path, threshold_ms=50)
    one = agent(watch.socket_path)
    stall(watch, one)
    [report] = reporter.reports()
    assert report["argv"] == ["from", "a", "file", str(one.pid)]


def test_a_program_is_looked_for_in_the_path_of_its_environment(
    observer, agent, reporter
):
    watch = observer(
        *("--recovery-exec", "reporter"),
        *("--recovery-env", f"PATH=/nowhere:{reporter.path.parent}:/usr/bin"),
        threshold_ms=50,
    )
    stall(watch, agent(watch.socket_path))
    reporter.reports()


# ---- quoting --------------------------------------------------------------


@pytest.mark.parametrize(
    "text, words",
    [
        ("'a b' c", ["a b", "c"]),
        ('"a b"c', ["a bc"]),
        ("a\\ b", ["a b"]),
        ("'a'\"b\"'c'", ["abc"]),
        ("'' \"\"", ["", ""]),
        ("'$HOME' '|' ';'", ["$HOME", "|", ";"]),
        ('"a\\"b\\\\c"', ['a"b\\c']),
        ("a=b", ["a=b"]),
        ("* ~ ? [a] #b", ["*", "~", "?", "[a]", "#b"]),
    ],
)
def test_quotes_are_read_as_a_shell_reads_them(
    observer, agent, reporter, text, words
):
    command = f"{shlex.quote(str(reporter.path))} {text} '{{pid}}'"
    watch = observer("--recovery-cmd", command, threshold_ms=50)
    one = agent(watch.socket_path)
    stall(watch, one)
    [report] = reporter.reports()
    assert report["argv"] == [*words, str(one.pid)]


def test_quotes_mean_nothing_to_an_exec_command(observer, agent, reporter):
    text = f"{reporter.path} 'a b' \"c\" | > $HOME"
    watch = observer("--recovery-exec", text, threshold_ms=50)
    stall(watch, agent(watch.socket_path))
    [report] = reporter.reports()
    expected = ["'a", "b'", '"c"', "|", ">", "$HOME"]
    assert report["argv"][:-1] == expected


@pytest.mark.parametrize(
    "text",
    ["a | b", "a; b", "a & b", "a && b", "a > b", "a < b", "a $B", "a ${B}"]
    + ["a $(b)", "a `b`", "(a)", 'a "$B"', 'a "`b`"', "a\nb", "a 'b", 'a "b']
    + ["a \\", "A=b c", "   ", "''", "a 2>&1", "a {pid}|b"],
)
def test_what_only_a_shell_can_do_is_refused(folder, text):
    command = ["--socket", folder / "s", "--threshold-ms", HOUR_MS]
    for check in ([], ["--check"]):
        code, out, err = run_watch(*check, *command, "--recovery-cmd", text)
        assert (code, out) == (2, "")
        [line, hint] = err.splitlines()
        assert line.startswith("varta-watch: --recovery-cmd: ")
        assert "--help" in hint
    assert not (folder / "s").exists()
