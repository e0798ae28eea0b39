"""The configuration file of varta-watch: options by name, and agents with terms
of their own."""

import os
import pathlib
import pwd
import signal
import subprocess

import pytest

import support
from commands import Reporter, outcomes, stall
from watching import HOUR_MS, METRICS, NOBODY, needs_root, run_watch


@pytest.fixture
def write(folder):
    """write(text): a configuration file."""

    def put(text):
        path = folder / "varta.conf"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return put


@pytest.fixture
def dump(folder):
    """dump(*arguments): what is set then, by key."""

    def run(*arguments):
        code, out, err = run_watch(
            *("--socket", folder / "s", "--dump-config"), *arguments
        )
        assert (code, err) == (0, "")
        assert not (folder / "s").exists()
        return dict(x.split(" = ", 1) for x in out.splitlines())

    return run


@pytest.fixture
def refuse(folder, write):
    """refuse(text): why this file is refused, after its name; a check, a
    start and a dump all say the same."""

    def run(text):
        path = write(text)
        said = set()
        for more in ([], ["--check"], ["--dump-config"]):
            command = ["--config", path, "--socket", folder / "s"]
            command += ["--threshold-ms", 10, "--shutdown-after-secs", 0]
            code, out, err = run_watch(*command, *more)
            assert (code, out) == (2, ""), err
            said.add(err.splitlines()[0])
        assert not (folder / "s").exists()
        [why] = said
        opening = f"varta-watch: {path}:"
        assert why.startswith(opening), why
        return why[len(opening) :]

    return run


# ---- options --------------------------------------------------------------


def test_options_can_come_from_a_file(folder, write):
    path = write(
        f"""
        # All that is needed.
        socket = "{folder}/from file"
        threshold_ms = 250   // milliseconds
        socket_mode = 0640   /* for the group */
        tracker_capacity = 7
        shutdown_after_secs = 0
        """
    )
    code, out, err = run_watch("--config", path)
    assert (code, out) == (0, ""), err
    assert f"socket '{folder}/from file' mode 0640, threshold 250 ms" in err
    assert "7 agents at most" in err


def test_a_list_can_be_added_to(write, dump):
    path = write("allow_uid = {1, 2}\nmax_beat_rate = 1\nallow_uid += {3}\n")
    found = dump("--config", path, "--threshold-ms", 10)
    assert found["allow_uid"] == '{"1", "2", "3"}'


@pytest.mark.parametrize(
    "text, reason",
    [
        (
            '\nprom_token_file = "/t"\n',
            "2: prom_token_file: needs --prom-addr",
        ),
        ("\n\nudp_port = 7\n", "3: udp_port: needs --key-file, "),
        ('control_socket = "{socket}"\n', "1: control_socket: '{socket}': is --s"),
        ('\nrecovery_exec = "  "\n', "2: recovery_exec: no program is named"),
        ("recovery_cmd = 'a | b'\n", "1: recovery_cmd: '|' outside quotes"),
        (
            'agent "a" {{\n comm = x\n recovery_exec = " "\n}}\n',
            "3: agent 'a': recovery_exec: no program is named",
        ),
        ("recovery_on_exit = true\n", "1: recovery_on_exit: needs --recovery"),
    ],
)
def test_what_does_not_go_together_is_found_in_its_line(
    folder, refuse, text, reason
):
    socket = folder / "s"
    why = refuse(text.format(socket=socket))
    assert why.startswith(reason.format(socket=socket))


def test_a_flag_that_does_not_go_with_the_file_is_named(folder, write):
    """It wins over the file, so the fault is not in a line of that."""
    code, _, err = run_watch(
        *("--config", write("udp_port = 7\n"), "--socket", folder / "s"),
        *("--threshold-ms", 10, "--udp-port", 8),
    )
    assert code == 2
    assert err.startswith("varta-watch: --udp-port: needs ")


def test_flags_win_over_the_file_wherever_they_stand(write, dump):
    path = write("threshold_ms = 111\nmax_beat_rate = 5\nlog_level = debug\n")
    for arguments in (
        ["--config", path, "--threshold-ms", 222],
        ["--threshold-ms", 222, "--config", path],
    ):
        found = dump(*arguments)
        assert found["threshold_ms"] == "222"
        assert found["max_beat_rate"] == "5"
        assert found["log_level"] == "debug"


def test_values_of_lists_are_collected(write, dump):
    path = write(
        'allow_uid = {"1", 2}\nallow_gid = {3}\nrecovery_env = {"A=b c", "D=e"}\n'
    )
    found = dump("--config", path, "--threshold-ms", 10, "--allow-uid", 4)
    assert found["allow_uid"] == '{"1", "2", "4"}'
    assert found["allow_gid"] == '{"3"}'
    assert found["recovery_env"] == '{"A=b c", "D=e"}'


def test_what_is_required_may_be_missing_from_both(write):
    code, out, err = run_watch("--config", write("threshold_ms = 10"))
    assert (code, out) == (2, "")
    assert "--socket: is required" in err


@pytest.mark.parametrize(
    "text, reason",
    [
        ("nonsense = 1", "1: no such option 'nonsense'"),
        ("\n\nthreshold-ms = 10", "3: "),
        ("threshold_ms = 10\nthreshold_ms = 20", "2: threshold_ms: given twice"),
        ("allow_uid = {1, 2}\nallow_uid = {3}", "2: allow_uid: given twice"),
        ("allow_uid = {1}\n\nallow_uid = {2, 3}", "3: allow_uid: given twice"),
        ("allow_uid = 1\nallow_uid = 2", "2: allow_uid: given twice"),
        ("\nallow_gid = {1}\nallow_gid = {}", "2: allow_gid: given twice"),
        ('recovery_env = {"A=1"}\nrecovery_env = {"B=2"}', "2: recovery_env: g"),
        ('agent "a" {\n comm = x\n comm = y\n}', "3: comm: given twice"),
        (
            'agent "a" { comm = x }\nagent "b" { user = 0\n user = 1 }',
            "3: user: given twice",
        ),
        ("\nthreshold_ms = 9", "2: threshold_ms: '9': must be at least 10"),
        ("threshold_ms = many", "1: threshold_ms: 'many': not a whole number"),
        ("threshold_ms = {10}", "1: "),
        ("log_level = loud", "1: log_level: 'loud': must be one of "),
        ("prom_addr = nowhere", "1: prom_addr: 'nowhere': "),
        ('socket = ""', "1: socket: '': must not be empty"),
        ("recovery_on_exit = maybe", "1: recovery_on_exit: 'maybe': "),
        ("threshold_ms", "1: "),
        ("= 10", "1: "),
        ('socket = "open', "1: "),
        ("help = true", "1: "),
        ("version = true", "1: "),
        ("check = true", "1: "),
        ("dump_config = true", "1: "),
        ("config = other", "1: "),
        ("key_env = VARTA_KEY", "1: "),
        ('agent "a" {\n threshold_ms = 10\n}', "3: a: an agent needs one of "),
        ('agent "" {\n comm = x\n}', "3: agent: a name has 1 to 31 bytes"),
        (f'agent "{"a" * 32}" {{ comm = x }}', "1: agent: a name has 1 to "),
        ('agent "a" {\n comm = x\n nonsense = 1\n}', "3: "),
        ('agent "a" { comm = "" }', "1: comm: must not be empty"),
        ('agent "a" { user = no-such-user }', "1: agent 'a': user: "),
        ('agent "a" { comm = x\n threshold_ms = 9 }', "agent 'a': threshold_ms"),
        ('agent "a" { comm = x', "1: "),
        ("agent { comm = x }", "1: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(refuse, text, reason):
    assert reason in refuse(text)


def test_two_agents_cannot_have_one_name(refuse):
    refuse('agent "a" { comm = x }\nagent "a" { comm = y }\n')


def test_a_switch_is_true_or_false(write, dump):
    for word in ("true", "false"):
        path = write(f"allow_cross_namespace_agents = {word}\n")
        found = dump("--config", path, "--threshold-ms", 10)
        assert found["allow_cross_namespace_agents"] == word


# ---- the file itself ------------------------------------------------------


def refused_file(path):
    code, out, err = run_watch(
        "--config", path, "--socket", "/nowhere/s", "--threshold-ms", 10
    )
    assert (code, out) == (2, ""), err
    assert err.startswith(f"varta-watch: {path}: "), err
    return err


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_change_is_refused(write, mode):
    path = write("")
    path.chmod(mode)
    assert f"{mode:04o}" in refused_file(path)


def test_a_file_that_others_may_read_is_taken(write, dump):
    path = write("threshold_ms = 10")
    path.chmod(0o644)
    assert dump("--config", path)["threshold_ms"] == "10"


@needs_root
def test_a_file_of_another_user_is_refused(write):
    path = write("")
    os.chown(path, NOBODY, NOBODY)
    refused_file(path)


@pytest.mark.parametrize("kind", ["folder", "fifo", "missing", "device"])
def test_what_is_no_file_is_refused_and_holds_nothing_up(folder, kind):
    path = folder / "varta.conf"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "device":
        path = pathlib.Path("/dev/null")
    refused_file(path)


# ---- the dump -------------------------------------------------------------


def test_a_dump_is_a_file_that_gives_the_same_dump(folder, write):
    texts = ["a b", 'quo"te', "back\\slash", "dol$lar ${HOME}", "ha#sh //x"]
    texts += ["single'quote", "brace}{", "é", "tab\tin", "=", "/* x */"]
    command = [
        *("--socket", folder / 'so"ck $x\\', "--threshold-ms", 123),
        *("--socket-mode", "0660", "--clock-source", "boottime"),
        *("--allow-uid", 5, "--allow-uid", "nobody", "--allow-gid", 7),
        *("--prom-addr", "[::1]:0", "--export-events", "reference"),
        *("--recovery-cmd", "/bin/true 'a b' \"c\"", "--recovery-on-exit"),
        *("--recovery-timeout-ms", 100, "--shutdown-after-secs", 9),
        *(x for text in texts for x in ("--recovery-env", f"A={text}")),
    ]
    first = run_watch(*command, "--dump-config")
    assert first[0] == 0, first
    path = write(first[1] + 'agent "a b" { comm = "x\\"y" user = nobody }\n')
    second = run_watch("--config", path, "--dump-config")
    assert second[0] == 0, second
    assert second[1].startswith(first[1])
    assert 'comm = "x\\"y"' in second[1]
    third = run_watch("--config", write(second[1]), "--dump-config")
    assert third == second


@pytest.mark.parametrize("flag", ["recovery-on-exit", "recovery-capture-stdio"])
def test_a_command_in_a_section_is_a_recovery_command(write, flag):
    path = write('agent "a" { comm = "a"  recovery_exec = "/bin/true" }\n')
    given = ("--check", "--config", path, "--socket=s", "--threshold-ms=100")
    code, _, err = run_watch(*given, f"--{flag}")
    assert (code, err) == (0, "")
    path = write('agent "a" { comm = "a"  threshold_ms = 100 }\n')
    code, _, err = run_watch(*given, f"--{flag}")
    assert code == 2
    assert f"--{flag}: needs --recovery-exec" in err


# ---- agents ---------------------------------------------------------------


def comm_of(agent):
    return pathlib.Path(f"/proc/{agent.pid}/comm").read_text().strip()


@pytest.fixture
def beats():
    """beats(path, program): an agent with that program's name, of libvarta."""
    started = []

    def start(path, program):
        program.symlink_to(support.VARTA)
        command = [program, "beat", "--socket", path, "--every", "20ms"]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def user_of_tests():
    return pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("key", ["comm", "exe", "user"])
def test_an_agent_is_held_to_its_own_threshold(observer, agent, write, key):
    value = {
        "comm": pathlib.Path("/proc/self/comm").read_text().strip(),
        "exe": os.readlink("/proc/self/exe"),
        "user": user_of_tests(),
    }[key]
    path = write(f'agent "quick" {{ {key} = "{value}"\n threshold_ms = 100 }}')
    watch = observer("--config", path, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    stall(watch, one)
    assert "threshold 0.100 s" in watch.log()
    assert f"agent {one.pid} (quick)" in watch.log()


def test_the_first_section_that_matches_counts(observer, agent, write):
    comm = pathlib.Path("/proc/self/comm").read_text().strip()
    path = write(
        f"""
        agent "nobody" {{ comm = "no such name"  threshold_ms = 7777 }}
        agent "half" {{ comm = "{comm}"  exe = "/no/such"  threshold_ms = 8888 }}
        agent "right" {{ comm = "{comm}"  threshold_ms = 100 }}
        agent "late" {{ user = "{user_of_tests()}"  threshold_ms = 9999 }}
        """
    )
    watch = observer("--config", path, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    stall(watch, one)
    assert f"agent {one.pid} (right)" in watch.log()


def test_others_are_held_to_the_threshold_of_all(
    folder, observer, agent, beats, write
):
    path = write('agent "slow" { comm = "slowpoke"  threshold_ms = 3600000 }')
    watch = observer("--config", path, threshold_ms=100)
    pid = beats(watch.socket_path, folder / "slowpoke")
    watch.wait_event("beat", pid)
    os.kill(pid, signal.SIGSTOP)
    # Joined later, and twice as long silent as it may be.
    one = agent(watch.socket_path)
    stall(watch, one)
    stall(watch, one, n=2)
    assert watch.events("stall", pid) == []


def test_an_agent_is_not_judged_within_its_grace(observer, agent, write):
    comm = pathlib.Path("/proc/self/comm").read_text().strip()
    path = write(f'agent "a" {{ comm = "{comm}"  grace_ms = 1000 }}')
    watch = observer("--config", path, threshold_ms=50)
    one = agent(watch.socket_path)
    one.beat()
    [row] = watch.wait_event("stall", one.pid)
    [join] = watch.events("join", one.pid)
    assert row.observer_ns - join.observer_ns >= 1_000_000_000
    # That is for the start alone.
    one.beat()
    rows = watch.wait_event("stall", one.pid, count=2)
    assert len(rows) == 2


def test_an_agent_has_its_own_command(folder, observer, agent, beats, write):
    own, general = folder / "own", folder / "general"
    own.mkdir()
    general.mkdir()
    mine, others = Reporter(own), Reporter(general)
    path = write(
        f'agent "special" {{ comm = "special"\n'
        f' recovery_exec = "{mine.path} mine {{name}} {{pid}}" }}'
    )
    watch = observer(
        *METRICS,
        *("--config", path, "--recovery-exec", others.path),
        threshold_ms=300,
    )
    pid = beats(watch.socket_path, folder / "special")
    watch.wait_event("beat", pid)
    os.kill(pid, signal.SIGSTOP)
    one = agent(watch.socket_path)
    stall(watch, one)
    [report] = mine.reports()
    assert report["argv"] == ["mine", "special", str(pid)]
    [report] = others.reports()
    assert report["argv"] == [str(one.pid)]


def test_a_command_may_be_for_some_agents_only(
    folder, observer, agent, beats, write
):
    mine = Reporter(folder)
    path = write(
        f'agent "special" {{ comm = "special"  recovery_exec = "{mine.path}" }}'
    )
    watch = observer(*METRICS, "--config", path, threshold_ms=300)
    one = agent(watch.socket_path)
    stall(watch, one)
    pid = beats(watch.socket_path, folder / "special")
    watch.wait_event("beat", pid)
    os.kill(pid, signal.SIGSTOP)
    [report] = mine.reports()
    assert report["argv"] == [str(pid)]
    assert outcomes(watch)["spawned"] == 1


def test_a_bad_command_of_an_agent_is_refused_at_the_start(folder, write):
    path = write('agent "a" { comm = x  recovery_exec = "   " }')
    code, out, err = run_watch(
        *("--config", path, "--check", "--socket", folder / "s"),
        *("--threshold-ms", 10),
    )
    assert (code, out) == (2, "")
    assert "agent 'a'" in err
