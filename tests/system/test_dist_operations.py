"""docs/operations.md: what it shows is run, in its order, on a host of its
own; its tables of alerts and log lines say what there is."""

import json
import os
import pathlib
import re
import shutil
import signal

import pytest

import prometheus
import support
import units
from support import ROOT, Agent, wait_for
from units import DIST, Service, Unit, needs, on_own_host, run
from watching import NOBODY, tells_exits

PAGE = ROOT / "docs" / "operations.md"


def blocks():
    """(language, path named before it, text) of each example."""
    found = []
    before = ""
    for text, language, block in re.findall(
        r"(.*?)^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.S | re.M
    ):
        before = text
        paths = re.findall(r"`(/[^`\s]+)`", before)
        found.append((language, paths[-1] if paths else None, block))
    return found


def blocks_in(language):
    return [(path, text) for lang, path, text in blocks() if lang == language]


def environment(text):
    """VARTA_WATCH as the service manager reads it from a file."""
    match = re.fullmatch(r'VARTA_WATCH="(.*)"\n', text)
    assert match, text
    return {"VARTA_WATCH": match[1].replace('\\"', '"')}


# ---- a host on which all may be written ------------------------------------


def install():
    """What make install PREFIX=/usr does; test_dist_install looks at that."""
    for program in (support.WATCH, support.VARTA):
        shutil.copy(program, "/usr/bin")
    for name, to in (
        ("sysusers.d/varta.conf", "/usr/lib/sysusers.d"),
        ("tmpfiles.d/varta.conf", "/usr/lib/tmpfiles.d"),
        ("sysctl.d/60-varta.conf", "/usr/lib/sysctl.d"),
        ("systemd/varta-watch.service", "/usr/lib/systemd/system"),
        ("prometheus/varta-rules.yml", "/usr/share/varta/prometheus"),
        ("prometheus/scrape-example.yml", "/usr/share/varta/prometheus"),
    ):
        pathlib.Path(to).mkdir(parents=True, exist_ok=True)
        shutil.copy(DIST / name, to)
    # Stands in for the system's log.
    logger = pathlib.Path("/usr/bin/logger")
    logger.write_text('#!/bin/sh\necho "$@" >>/var/lib/varta/logged\n')
    logger.chmod(0o755)


def write_files():
    for language in ("conf", "script", "ini"):
        for path, text in blocks_in(language):
            path = pathlib.Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if language == "script" else 0o644)


def shell(text):
    run("bash", "-e", "-o", "pipefail", "-c", text)


def make_host(folder):
    units.make_writable(folder, "/etc", "/usr")
    for top in ("/run", "/var/lib"):
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "none", top)
    run("ip", "link", "set", "lo", "up")
    install()
    write_files()


def make_state_folder(unit):
    """As the service manager does before the unit is started."""
    os.makedirs("/var/lib/varta", exist_ok=True)
    shutil.chown("/var/lib/varta", unit["User"], unit["Group"])


needs_host = needs(
    *("setpriv", "systemd-sysusers", "systemd-tmpfiles", "systemd-analyze"),
    *("ip", "sysctl", "curl", "promtool"),
)


@needs_host
@on_own_host
def test_every_example_does_what_the_page_says(folder):
    pytest.importorskip("seccomp", reason="not installed: python3-seccomp")
    make_host(folder)
    unit = Unit()
    commands = [text for _, text in blocks_in("sh")]

    # The first is make, for which targets must be there.
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert commands[0] == "make\nmake install PREFIX=/usr\n"
    assert {"install", "deb"} <= set(targets)
    shell(commands[1])
    make_state_folder(unit)
    with Service(folder, unit) as watch:
        assert "max_dgram_qlen" not in watch.log()
        shell(commands[2])
    for text in commands[3:]:
        shell(text)

    # The observer takes every line for VARTA_WATCH, as its user.
    lines = [environment(text) for _, text in blocks_in("env")]
    for line in lines:
        argv = unit.argv(line)
        run(*unit.launcher([argv[0], "--check", *argv[1:]]))
    assert len(lines) >= 5


@needs_host
@on_own_host
def test_the_installation_in_the_readme(folder):
    make_host(folder)
    text = (ROOT / "README.md").read_text()
    script = re.search(r"^## Install\n\n```sh\n(.*?)```", text, re.S | re.M)[1]
    first, *prepare, last = script.splitlines()
    assert first == "make && make install PREFIX=/usr"
    shell("\n".join(prepare))
    assert pathlib.Path("/run/varta").owner() == "varta"
    # There is no service manager here that would start it.
    assert last == "systemctl enable --now varta-watch"
    run("systemctl", "--root=/", "enable", "varta-watch")


@needs_host
@on_own_host
def test_the_units_of_the_page_are_good(folder):
    make_host(folder)
    units_folder = pathlib.Path("/etc/systemd/system")
    (units_folder / "ingest.service").write_text(
        "[Service]\nExecStart=/bin/true\n"
    )
    for name in (
        "varta-restart@ingest.path",
        "varta-restart@ingest.service",
        "ingest.service",
        "varta-watch.service",
    ):
        assert run("systemd-analyze", "verify", "--man=no", name) == ""
    run("systemctl", "--root=/", "enable", "varta-restart@ingest.path")


def drop_in(unit, name):
    """The unit with the drop-in of that name on the page."""
    [text] = [t for path, t in blocks_in("ini") if path.endswith(name)]
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        unit.settings[key] = [value]
    return unit


def environment_with(word):
    [found] = [t for _, t in blocks_in("env") if word in t]
    # As shipped for agents of others, and sooner.
    found = found.replace("--threshold-ms 5000", "--threshold-ms 200")
    line = environment(found)
    line["VARTA_WATCH"] += " --socket-mode 0666 --allow-uid nobody"
    return line


@needs_host
@on_own_host
def test_the_recovery_commands_of_the_page_help(folder):
    pytest.importorskip("seccomp", reason="not installed: python3-seccomp")
    make_host(folder)
    shell([text for _, text in blocks_in("sh")][1])
    make_state_folder(Unit())

    def nobody(watch):
        return Agent(watch.socket_path, uid=NOBODY, gid=NOBODY)

    # Tell somebody.
    with Service(folder, Unit(), environment_with("logger")) as watch:
        with nobody(watch) as agent:
            agent.beat()
            told = pathlib.Path("/var/lib/varta/logged")
            wait_for(told.exists, what="a word to the log")
            assert f"({agent.pid}) does not beat" in told.read_text()

    # End what hangs: not without the drop-in, but with it.
    ends = environment_with("varta-end")
    with Service(folder, Unit(), ends) as watch, nobody(watch) as agent:
        agent.beat()
        wait_for(
            lambda: "ended with exit code 1" in watch.log(),
            what="a command that may not signal",
        )
    audit = pathlib.Path("/var/lib/varta/audit.log")
    audit.unlink()
    with Service(folder, drop_in(Unit(), "kill.conf"), ends) as watch:
        with nobody(watch) as hangs, nobody(watch) as crashes:
            hangs.beat()
            assert hangs.reap() == -signal.SIGKILL
            # What has ended needs nothing, and the command does not fail.
            crashes.beat()
            crashes.kill()
            pattern = r"\tcomplete\t(\d+)\t\d+\treaped\t0\t"
            wait_for(
                lambda: set(re.findall(pattern, audit.read_text()))
                == {str(hangs.pid), str(crashes.pid)},
                what="two commands that end well",
            )

    # Ask the service manager. Which service this is cannot be had here.
    conf = pathlib.Path("/etc/varta/varta.conf")
    text = conf.read_text()
    for ours, here in (
        ('unit = "ingest.service"', 'comm = "python3"'),
        ("grace_ms = 10000", "grace_ms = 1"),
        ("socket_mode = 0660", "socket_mode = 0666"),
        ('"www-data"', '"nobody"'),
    ):
        assert ours in text
        text = text.replace(ours, here)
    conf.write_text(text)
    [asks] = [t for _, t in blocks_in("env") if "--config" in t]
    with Service(folder, Unit(), environment(asks)) as watch:
        with nobody(watch) as agent:
            agent.beat()
            asked = pathlib.Path("/var/lib/varta/restart-ingest")
            wait_for(asked.exists, what="a file for the service manager")


# ---- tables ----------------------------------------------------------------


def table(head):
    """Rows of the table that begins with this column."""
    text = PAGE.read_text()
    rows = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [row.strip("|").split(" | ") for row in rows]
    return [[cell.strip(" `") for cell in row] for row in cells]


def test_every_alert_is_explained():
    shown = [(name, severity) for name, severity, _ in table("Alert")]
    there = [
        (alert["alert"], alert["labels"]["severity"])
        for alert in prometheus.alerts()
    ]
    assert shown == there


def sources():
    """The observer's sources, literals that are split over lines joined."""
    text = "\n".join(
        path.read_text() for path in sorted((ROOT / "src/watch").rglob("*.c"))
    )
    return re.sub(r'"\s*\n\s*"', "", text)


def parts(line):
    """What a line says in any case, cut at values and punctuation."""
    values = r'\b[A-Z]+\b|%[0-9.*]*[a-z]*|"[^"]*"'
    found = re.split(rf"{values}|[,:;()'=]", line)
    return [part.strip() for part in found if len(part.strip()) > 4]


def test_every_line_on_the_page_is_one_that_the_observer_writes():
    text = sources()
    for line, _, _ in table("Line"):
        for part in parts(line):
            assert part in text, f"{part!r} of {line!r}"


def test_every_line_that_the_observer_writes_is_on_the_page():
    shown = "\n".join(line for line, _, _ in table("Line"))
    # Errors at the start are what the last row says.
    call = r'log_(?:warn|info|limited)\((?:[^"();]|\([^")]*\))*"(.*?)"[,)]'
    found = re.findall(call, sources(), re.S)
    assert len(found) > 20
    for line in found:
        said = parts(line)
        if said:
            known = [part for part in said if part in shown]
            assert max(map(len, known), default=0) > 8, line


def matcher(line):
    """A line of the page as a pattern: words in capitals are anything."""
    fixed = re.split(r"\b[A-Z]+\b", line)
    return re.compile(".*".join(re.escape(part.strip()) for part in fixed))


def test_what_the_log_says_is_explained(folder, observer):
    watch = observer(
        *("--log-format", "json", "--prom-addr", "127.0.0.1:0"),
        *("--recovery-cmd", "false {pid}"),
        *("--recovery-audit-file", folder / "audit.log"),
        threshold_ms=100,
    )
    with Agent(watch.socket_path) as hangs, Agent(watch.socket_path) as leaves:
        hangs.beat()
        watch.wait_event("stall", hangs.pid)
        hangs.beat()
        watch.wait_event("resume", hangs.pid)
        hangs.kill()
        watch.wait_event("stall", hangs.pid, count=2)
        leaves.beat()
        leaves.exit(0)
        watch.wait_event("exit" if not tells_exits() else "leave", leaves.pid)
    watch.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "read again" in watch.log(), what="a reload")
    watch.stop()

    # The last row takes anything.
    rows = [(matcher(line), level) for line, level, _ in table("Line")[:-1]]
    said = [json.loads(line) for line in watch.log().splitlines()]
    assert len(said) >= 10
    for line in said:
        level = next(
            (level for row, level in rows if row.fullmatch(line["msg"])), None
        )
        assert level == line["level"], line
