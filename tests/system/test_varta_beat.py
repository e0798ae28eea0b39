"""varta beat: an agent for scripts."""

import os
import re
import signal
import subprocess

import pytest

import support
from support import VARTA, Receiver, wait_for


def start(*arguments, **settings):
    """varta beat with these arguments, and no VARTA_SOCKET but a given one."""
    environment = {
        **os.environ,
        "VARTA_SOCKET": "",
        **settings.pop("environment", {}),
    }
    return subprocess.Popen(
        [VARTA, "beat", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **settings,
    )


def run(*arguments, given=None, **settings):
    """The same to its end: exit code, standard output, standard error."""
    process = start(*arguments, stdin=subprocess.PIPE, **settings)
    out, err = process.communicate(given, timeout=support.DEADLINE_S)
    return process.returncode, out, err


# ---- one beat -------------------------------------------------------------


def test_one_beat_is_sent_in_the_name_of_its_own_process(receiver):
    process = start("--socket", receiver.path)
    got = receiver.take()
    assert got.pid == process.pid
    assert got.frame.nonce == 1
    assert (got.frame.status, got.frame.payload) == (support.OK, 0)
    out, err = process.communicate(timeout=support.DEADLINE_S)
    assert (process.returncode, out, err) == (0, "", "")
    assert receiver.is_empty()


@pytest.mark.parametrize("word", ["ok", "degraded", "critical"])
def test_status_and_payload_are_carried(receiver, word):
    process = start(
        "--status", word, "--payload=4294967295", "--socket", receiver.path
    )
    frame = receiver.take().frame
    assert frame.status == support.STATUS[word]
    assert frame.payload == 4294967295
    assert process.wait(support.DEADLINE_S) == 0


def test_the_observer_is_found_by_the_environment(receiver):
    address = {"VARTA_SOCKET": f"unix:{receiver.path}"}
    process = start(environment=address)
    assert receiver.take().pid == process.pid
    assert process.wait(support.DEADLINE_S) == 0


def test_a_path_with_spaces_is_a_path(spaced_folder):
    with Receiver(spaced_folder / "the socket") as receiver:
        process = start("--socket", receiver.path)
        assert receiver.take().pid == process.pid
        assert process.wait(support.DEADLINE_S) == 0


def test_without_an_observer_the_exit_code_is_1_and_says_so(folder):
    code, out, err = run("--socket", folder / "none.sock")
    assert (code, out) == (1, "")
    assert "none.sock" in err and "no observer" in err


def test_quiet_leaves_the_exit_code_to_speak(folder):
    assert run("--quiet", "--socket", folder / "none.sock") == (1, "", "")


def test_an_address_of_no_known_form_is_not_guessed_at():
    code, out, err = run("--socket", "not/absolute")
    assert (code, out) == (1, "")
    assert "'not/absolute'" in err


def test_a_beat_that_nobody_takes_holds_up_for_a_second_only(receiver):
    code, _, err = run("--socket", receiver.path)
    assert code == 0
    assert "not taken within 1000 ms" in err
    assert receiver.take().frame.nonce == 1


# ---- beats from a clock ---------------------------------------------------


# With four descriptors there is none left to hold the parent by.
@pytest.mark.parametrize("limit", ["true", "ulimit -n 4"])
def test_beats_go_on_while_the_parent_lives_and_end_with_it(receiver, limit):
    support.adopt_orphans()
    script = limit + '; "$0" beat --socket "$1" --every 10ms & read line'
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script, VARTA, receiver.path], stdin=subprocess.PIPE
    )
    beats = [receiver.take() for _ in range(3)]
    assert [b.frame.nonce for b in beats] == [1, 2, 3]
    [pid] = {b.pid for b in beats}
    assert shell.poll() is None
    shell.communicate(b"\n", timeout=support.DEADLINE_S)
    # Beats that lie unread would hold its end up for a second.
    end = []

    def ended():
        while not receiver.is_empty():
            receiver.take()
        got, status = os.waitpid(pid, os.WNOHANG)
        end.append(status)
        return got

    wait_for(ended, what="end of varta beat")
    assert os.waitstatus_to_exitcode(end[-1]) == 0


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
)
def test_a_regular_beater_that_is_told_to_stop_leaves_cleanly(
    receiver, number
):
    process = start("--every", "1h", "--socket", receiver.path)
    assert receiver.take().frame.nonce == 1
    process.send_signal(number)
    assert process.wait(support.DEADLINE_S) == 0


def test_a_regular_beater_outlives_the_absence_of_an_observer(folder):
    path = folder / "varta.sock"
    process = start("--every", "5ms", "--socket", path)
    assert "no observer" in process.stderr.readline()
    with Receiver(path) as receiver:
        assert receiver.take().frame.nonce == 1
        assert "sent again" in process.stderr.readline()
        process.terminate()
        while process.poll() is None:
            if not receiver.is_empty():
                receiver.take()
    assert process.returncode == 0


# ---- beats from lines -----------------------------------------------------


def test_each_line_is_a_beat(receiver):
    process = start(
        "--stdin", "--socket", receiver.path, stdin=subprocess.PIPE
    )
    process.stdin.write("ok\n\ndegraded 7\ncritical\t4294967295 \nok 0")
    process.stdin.close()
    got = [receiver.take().frame for _ in range(5)]
    assert [(f.nonce, f.status, f.payload) for f in got] == [
        (1, support.OK, 0),
        (2, support.OK, 0),
        (3, support.DEGRADED, 7),
        (4, support.CRITICAL, 4294967295),
        (5, support.OK, 0),
    ]
    assert process.wait(support.DEADLINE_S) == 0
    assert process.stderr.read() == ""


def test_a_line_is_sent_when_it_comes_and_not_at_the_end(receiver):
    process = start(
        "--stdin", "--socket", receiver.path, stdin=subprocess.PIPE
    )
    process.stdin.write("degraded 5\n")
    process.stdin.flush()
    assert receiver.take().frame.payload == 5
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(support.DEADLINE_S) == 0


def test_no_line_is_no_beat_and_no_error(receiver):
    assert run("--stdin", "--socket", receiver.path, given="") == (0, "", "")
    assert receiver.is_empty()


BAD_LINES = [
    ("fine\n", "not ok, degraded or critical"),
    ("OK\n", "not ok, degraded or critical"),
    ("stall\n", "not ok, degraded or critical"),
    ("ok -1\n", "not a number"),
    ("ok 4294967296\n", "not a number"),
    ("ok 0x7\n", "not a number"),
    ("ok 7 8\n", "more than a status and a payload"),
    ("ok\r\n", "not ok, degraded or critical"),
    ("o" * 64 + "\n", "longer than 63 bytes"),
    ("ok " * 3000 + "\n", "longer than 63 bytes"),
    ("ok\0\n", "not text"),
]


@pytest.mark.parametrize("line, reason", BAD_LINES)
def test_a_bad_line_is_named_and_the_others_are_sent(receiver, line, reason):
    process = start(
        "--stdin", "--socket", receiver.path, stdin=subprocess.PIPE
    )
    process.stdin.write("ok 1\n" + line + "ok 3\n")
    process.stdin.close()
    assert [receiver.take().frame.payload for _ in range(2)] == [1, 3]
    assert process.wait(support.DEADLINE_S) == 1
    err = process.stderr.read()
    assert re.search(f"line 2: .*{reason}", err)
    assert "2 sent, 0 not sent, 1 bad lines" in err
    assert receiver.is_empty()


def test_a_line_of_63_bytes_is_not_too_long(receiver):
    process = start(
        "--stdin", "--socket", receiver.path, stdin=subprocess.PIPE
    )
    process.stdin.write("ok" + " " * 60 + "7\n")
    process.stdin.close()
    assert receiver.take().frame.payload == 7
    assert process.wait(support.DEADLINE_S) == 0


def test_lines_that_find_a_full_queue_are_counted(receiver):
    code, _, err = run(
        "--stdin", "--socket", receiver.path, given="ok\n" * 20000
    )
    assert code == 1
    assert "queue full" in err
    [sent, unsent] = re.search(r"(\d+) sent, (\d+) not sent", err).groups()
    assert int(sent) + int(unsent) == 20000 and int(unsent) > 0
    # One line for the change, not one for each beat.
    assert len(err.splitlines()) < 10


def test_standard_input_that_cannot_be_read_is_an_error(receiver):
    with open(os.devnull, "wb") as unreadable:
        process = start(
            "--stdin", "--socket", receiver.path, stdin=unreadable
        )
        _, err = process.communicate(timeout=support.DEADLINE_S)
    assert process.returncode == 1
    assert "standard input" in err


# ---- with the real observer ------------------------------------------------


def end_of(watch, pid):
    """The row of a process that ended with 0: leave, or, on kernels that do
    not tell how, an exit of an unknown kind."""

    def rows():
        return watch.events("leave", pid) + watch.events("exit", pid)

    [row] = wait_for(rows, what=f"end of {pid}")
    assert row.kind == "leave" or row.status == "unknown"
    return row


def test_a_single_beat_is_seen_as_an_agent_that_came_and_left(observer):
    watch = observer(threshold_ms=60000)
    process = start("--status", "degraded", "--socket", watch.socket_path)
    assert process.wait(support.DEADLINE_S) == 0
    [join] = watch.wait_event("join", process.pid)
    assert (join.status, join.nonce) == ("degraded", "1")
    end_of(watch, process.pid)


def test_each_line_reaches_the_observer(observer):
    watch = observer(threshold_ms=60000)
    process = start(
        "--stdin", "--socket", watch.socket_path, stdin=subprocess.PIPE
    )
    for n in range(5):
        process.stdin.write(f"ok {n}\n")
        process.stdin.flush()
        watch.wait_event("beat", process.pid, count=n + 1)
    process.stdin.close()
    assert process.wait(support.DEADLINE_S) == 0
    rows = watch.events("beat", process.pid)
    assert [row.payload for row in rows] == ["0", "1", "2", "3", "4"]
    end_of(watch, process.pid)


def test_a_regular_beater_does_not_stall_until_it_is_stopped(observer):
    watch = observer(threshold_ms=1000)
    process = start("--every", "50ms", "--socket", watch.socket_path)
    watch.wait_event("beat", process.pid, count=10)
    assert watch.events("stall") == []
    process.send_signal(signal.SIGSTOP)
    watch.wait_event("stall", process.pid)
    process.send_signal(signal.SIGCONT)
    watch.wait_event("resume", process.pid)
    process.terminate()
    assert process.wait(support.DEADLINE_S) == 0
    end_of(watch, process.pid)


def test_a_regular_beater_finds_a_restarted_observer(observer):
    watch = observer(threshold_ms=60000)
    process = start("--every", "20ms", "--socket", watch.socket_path)
    watch.wait_event("join", process.pid)
    watch.restart()
    watch.wait_event("join", process.pid, count=2)
    process.terminate()
    assert process.wait(support.DEADLINE_S) == 0


# ---- usage ----------------------------------------------------------------


USAGE_ERRORS = [
    (["--every", "1s", "--stdin"], "--every and --stdin"),
    (["--stdin", "--status", "ok"], "--status and --payload"),
    (["--stdin", "--payload", "1"], "--status and --payload"),
    (["--every", "500"], "'500'"),
    (["--every", "0ms"], "from 1ms to 24h"),
    (["--every", "25h"], "'25h'"),
    (["--every", "86401s"], "from 1ms to 24h"),
    (["--every", "-1s"], "'-1s'"),
    (["--every", ""], "''"),
    (["--status", "stall"], "'stall'"),
    (["--payload", "4294967296"], "'4294967296'"),
    (["--payload", "-1"], "'-1'"),
    (["--payload", "1 "], "'1 '"),
    (["--socket"], "'--socket' needs a value"),
    (["--quiet=yes"], "'--quiet=yes' takes no value"),
    (["--stat", "ok"], "unknown option '--stat'"),
    (["--"], "unknown option '--'"),
    (["--nonsense"], "unknown option '--nonsense'"),
    (["-q"], "unknown option '-q'"),
    (["word"], "unexpected argument 'word'"),
]


@pytest.mark.parametrize("arguments, reason", USAGE_ERRORS, ids=str)
def test_arguments_without_sense_are_refused_and_nothing_is_sent(
    receiver, arguments, reason
):
    environment = {"VARTA_SOCKET": str(receiver.path)}
    code, out, err = run(*arguments, environment=environment)
    assert (code, out) == (2, "")
    assert reason in err
    assert receiver.is_empty()


def tool(*arguments, **settings):
    return subprocess.run(
        [VARTA, *arguments],
        capture_output=True,
        text=True,
        timeout=support.DEADLINE_S,
        **settings,
    )


def test_help_goes_to_standard_output_and_names_every_option():
    assert tool("--help").returncode == 0
    assert "beat" in tool("--help").stdout
    by_command, by_option = tool("help", "beat"), tool("beat", "--help")
    assert by_command.stdout == by_option.stdout
    assert by_option.returncode == 0 and by_option.stderr == ""
    for option in "socket status payload every stdin quiet help".split():
        assert f"  --{option}" in by_option.stdout


def test_the_version_is_that_of_the_project():
    version = re.search(
        r"version: '([^']+)'", (support.ROOT / "meson.build").read_text()
    )[1]
    answer = tool("--version")
    assert (answer.returncode, answer.stdout) == (0, f"varta {version}\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["dance"], ["help", "dance"], ["--dance"], ["help", "beat", "x"]],
    ids=str,
)
def test_what_varta_does_not_know_it_refuses(arguments):
    answer = tool(*arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr


def test_help_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        code = subprocess.run([VARTA, "--help"], stdout=full).returncode
    assert code == 1
