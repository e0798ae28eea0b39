"""SIGHUP: varta-watch reads its configuration, its token and its commands
again, all of it or nothing, and loses no agent by it."""

import os
import signal

import pytest

import support
from commands import Reporter, outcomes, stall
from support import wait_for
from watching import HOUR_MS, METRICS, NOBODY, connected, needs_root, own_frame

TAKEN, REFUSED = "configuration read again", "configuration not read again"


class Reloading:
    """An observer with a configuration file."""

    def __init__(self, folder, observer):
        self.path = folder / "varta.conf"
        self.folder = folder
        self._observer = observer

    def start(self, text, *options, **settings):
        """The text has the threshold, which a flag would win over."""
        self.write(text)
        options = ["--config", self.path, *METRICS, *options]
        self.watch = self._observer(*options, threshold_ms=None, **settings)
        return self.watch

    def write(self, text):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o600)
        fresh.rename(self.path)

    def reload(self, expect=TAKEN):
        """SIGHUP; the line of the log that says what came of it."""

        def lines():
            log = self.watch.log().splitlines()
            return [line for line in log if TAKEN in line or REFUSED in line]

        before = len(lines())
        self.watch.process.send_signal(signal.SIGHUP)
        self.watch.wait_notice("RELOADING=1")
        self.watch.wait_notice("READY=1")
        [line] = wait_for(lambda: lines()[before:], what="reload")
        assert expect in line, line
        return line

    def change(self, text, expect=TAKEN):
        self.write(text)
        return self.reload(expect)


@pytest.fixture
def reloading(folder, observer):
    return Reloading(folder, observer)


def tracked(watch):
    return watch.metrics().value("varta_watch_pids_tracked")


def test_without_a_file_sighup_changes_nothing(observer, agent):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    watch.process.send_signal(signal.SIGHUP)
    wait_for(lambda: TAKEN in watch.log())
    one.beat()
    watch.wait_event("beat", one.pid, count=2)
    assert tracked(watch) == 1
    assert len(watch.events("join")) == 1


def test_a_new_threshold_holds_for_agents_that_are_there(reloading, agent):
    watch = reloading.start("threshold_ms = 3600000")
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    line = reloading.change("threshold_ms = 100")
    assert "threshold 100 ms" in line
    watch.wait_event("stall", one.pid)
    assert [row.kind for row in watch.events()] == ["join", "beat", "stall"]


def test_agents_of_a_section_get_new_terms(reloading, agent):
    comm = open("/proc/self/comm").read().strip()
    section = 'agent "mine" {{ comm = "{}"  threshold_ms = {} }}\n'
    base = "threshold_ms = 3600000\n"
    watch = reloading.start(base)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    line = reloading.change(base + section.format(comm, 100))
    assert "1 agent sections" in line
    watch.wait_event("stall", one.pid)
    # And lose them again.
    reloading.change(base)
    one.beat()
    watch.wait_event("resume", one.pid)
    assert len(watch.events("stall", one.pid)) == 1


def test_the_level_of_the_log_changes(reloading, agent):
    watch = reloading.start("threshold_ms = 3600000\nlog_level = info")
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    reloading.change("threshold_ms = 3600000\nlog_level = debug")
    two.beat()
    watch.wait_event("beat", two.pid)
    wait_for(lambda: f"agent {two.pid}" in watch.log())
    assert f"agent {one.pid}" not in watch.log()


def test_a_new_token_replaces_the_old_one(folder, reloading):
    old, new = "a" * 64, "b" * 64
    path = support.write_secret(folder / "token", old)
    text = f'threshold_ms = 3600000\nprom_token_file = "{path}"\n'
    watch = reloading.start(text)
    watch.token = old
    assert watch.get().status == 200
    support.write_secret(path, new)
    assert watch.get().status == 200
    reloading.reload()
    assert watch.get().status == 401
    watch.token = new
    assert watch.get().status == 200


@needs_root
def test_another_user_is_allowed_and_forbidden_again(reloading, agent):
    reloading.folder.chmod(0o755)
    text = "threshold_ms = 3600000\n"
    watch = reloading.start(text, "--socket-mode=0666")
    one = agent(watch.socket_path, uid=NOBODY, gid=NOBODY)
    one.beat()
    watch.wait_event("io")
    reloading.change(text + f"allow_uid = {{{NOBODY}}}\n")
    one.beat()
    watch.wait_event("join", one.pid)
    reloading.change(text)
    one.beat()
    watch.wait_event("io", count=2)


def test_a_new_command_is_run_at_the_next_stall(folder, reloading, agent):
    mine = Reporter(folder)
    text = "threshold_ms = 50\nrecovery_debounce_ms = 0\n"
    command = 'recovery_exec = "{} {}"\n'
    watch = reloading.start(text + command.format(mine.path, "old"))
    one = agent(watch.socket_path)
    stall(watch, one)
    assert mine.reports()[0]["argv"][0] == "old"
    reloading.change(text + command.format(mine.path, "new"))
    stall(watch, one, n=2)
    assert mine.reports(2)[1]["argv"][0] == "new"


@pytest.mark.parametrize("keeps", [True, False])
def test_who_has_ended_stays_with_its_section(
    folder, reloading, agent, keeps
):
    """It stalls at its deadline, when sections stand in another order or are
    gone; then the command for all is run."""
    mine = Reporter(folder)
    comm = open("/proc/self/comm").read().strip()
    section = 'agent "{}" {{ comm = "{}"  recovery_exec = "{} {}" }}\n'
    before = section.format("mine", comm, mine.path, "mine")
    other = section.format("other", "other", mine.path, "other")
    text = f'threshold_ms = 1500\nrecovery_exec = "{mine.path} all"\n'
    watch = reloading.start(text + before)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("join", one.pid)
    one.kill()
    watch.wait_event("exit", one.pid)
    reloading.change(text + other + (before if keeps else ""))
    expect = ["mine", "all"][not keeps]
    assert mine.reports()[0]["argv"][0] == expect


def test_a_reload_acts_on_nobody(folder, reloading, agent):
    """Neither on those who have stalled nor on those who have not."""
    mine = Reporter(folder)
    text = f'threshold_ms = 3600000\nrecovery_exec = "{mine.path}"\n'
    watch = reloading.start(text)
    agents = [agent(watch.socket_path) for _ in range(3)]
    for one in agents:
        one.beat()
        watch.wait_event("beat", one.pid)
    for _ in range(5):
        reloading.reload()
    assert outcomes(watch) == {}
    assert {row.kind for row in watch.events()} == {"join", "beat"}
    assert tracked(watch) == 3


@pytest.mark.parametrize(
    "text",
    [
        "threshold_ms = 5",
        "nonsense = 1",
        "threshold_ms = 100\ntracker_capacity = 5",
        "threshold_ms = 100\nlog_format = json",
        "threshold_ms = 100\nmax_beat_rate = 7",
        'threshold_ms = 100\nrecovery_exec = "/bin/true"',
        'threshold_ms = 100\nagent "a" { comm = x  recovery_exec = " " }',
        'threshold_ms = 100\nprom_token_file = "/nowhere/token"',
        "",
    ],
)
def test_on_any_fault_the_old_state_stays_as_a_whole(
    reloading, agent, text
):
    watch = reloading.start("threshold_ms = 3600000\n")
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    line = reloading.change(text, expect=REFUSED)
    assert "the old one stays: " in line
    assert not line.endswith("the old one stays: ")
    # Not even what was right in it holds.
    with support.Agent(watch.socket_path) as other:
        other.beat()
        watch.wait_event("beat", other.pid)
    one.beat()
    watch.wait_event("beat", one.pid, count=2)
    assert watch.events("stall") == []
    # And it can be mended.
    reloading.change("threshold_ms = 100\n")
    watch.wait_event("stall", one.pid)


def test_what_cannot_be_changed_is_named_with_its_line(reloading):
    reloading.start("threshold_ms = 3600000\n")
    line = reloading.change(
        "threshold_ms = 3600000\ntracker_capacity = 5\n", expect=REFUSED
    )
    place = f"{reloading.path}:2: tracker_capacity: cannot be changed while "
    assert f"the old one stays: {place}" in line


def test_a_file_that_is_gone_or_not_safe_is_refused(reloading):
    reloading.start("threshold_ms = 3600000\n")
    reloading.path.chmod(0o666)
    assert "0666" in reloading.reload(expect=REFUSED)
    reloading.path.unlink()
    assert "No such file" in reloading.reload(expect=REFUSED)
    reloading.change("threshold_ms = 3600000\n")


def test_reloads_lose_no_beat(reloading):
    watch = reloading.start(
        "threshold_ms = 3600000\n",
        *("--max-beat-rate", 0, "--global-beat-rate", 0),
    )
    n = 2000
    with connected(watch.socket_path) as sock:
        for nonce in range(1, n + 1):
            if nonce % 100 == 0:
                watch.process.send_signal(signal.SIGHUP)
            sock.send(own_frame(nonce=nonce))
    rows = watch.wait_event("beat", os.getpid(), count=n)
    assert [int(row.nonce) for row in rows] == list(range(1, n + 1))
    assert REFUSED not in watch.log()
