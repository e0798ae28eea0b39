"""The shipped unit, as the service manager would run it: on a host of its own
(mount and network namespaces), as its user, under its restrictions."""

import functools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from support import ROOT, WATCH, Observer

DIST = ROOT / "dist"
UNIT = DIST / "systemd" / "varta-watch.service"

# Puts on SystemCallFilter=, RestrictAddressFamilies=, RestrictRealtime= and
# MemoryDenyWriteExecute= as the service manager does, by seccomp, and becomes
# the program.
CONFINE = """
import errno, os, re, seccomp, subprocess, sys
from seccomp import ALLOW, ERRNO, EQ, LE, MASKED_EQ, Arg, SyscallFilter

names, families = sys.argv[1].split(), sys.argv[2].split()
listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"],
                        check=True, capture_output=True, text=True).stdout
sets = {}
for line in listed.splitlines():
    line = line.split("#")[0]
    if line.startswith("@"):
        members = sets.setdefault(line.strip(), [])
    elif line.startswith("    "):
        members.append(line.strip())
allowed = set()
while names:
    name = names.pop()
    if name.startswith("@"):
        names += sets.pop(name, [])
    elif name:
        allowed.add(name)
rules = SyscallFilter(ERRNO(errno.EPERM))
special = {"socket", "mmap", "mprotect", "sched_setscheduler"}
for name in sorted(allowed - special):
    number = seccomp.resolve_syscall(seccomp.Arch(), name)
    if number >= 0:
        rules.add_rule(ALLOW, name)
import socket
for family in families:
    rules.add_rule(ALLOW, "socket", Arg(0, EQ, getattr(socket, family)))
# MemoryDenyWriteExecute: 2 is PROT_WRITE, 4 is PROT_EXEC.
for prot in (0, 2, 4):
    rules.add_rule(ALLOW, "mmap", Arg(2, MASKED_EQ, 6, prot))
rules.add_rule(ALLOW, "mprotect", Arg(2, MASKED_EQ, 4, 0))
# RestrictRealtime: ordinary policies, without any flag.
highest = os.SCHED_IDLE if sys.argv[3] == "yes" else 0xffffffff
rules.add_rule(ALLOW, "sched_setscheduler", Arg(1, LE, highest))
rules.load()
os.execv(sys.argv[4], sys.argv[4:])
"""


class Unit:
    """Settings of a unit file; an empty assignment clears a list."""

    def __init__(self, path=UNIT):
        self.settings = {}
        for line in path.read_text().splitlines():
            match = re.match(r"(\w+)=(.*)", line)
            if not match:
                continue
            values = self.settings.setdefault(match[1], [])
            if match[2]:
                values.append(match[2])
            else:
                values.clear()

    def all(self, name):
        return self.settings.get(name, [])

    def __getitem__(self, name):
        """The one value of a setting that stands once."""
        [value] = self.settings[name]
        return value

    def environment(self):
        lines = self.all("Environment")
        words = [word for line in lines for word in shlex.split(line)]
        return dict(word.split("=", 1) for word in words)

    def argv(self, environment=None):
        """ExecStart, expanded by the rules of systemd.service(5)."""
        values = {**self.environment(), **(environment or {})}
        argv = []
        for word in shlex.split(self["ExecStart"]):
            if re.fullmatch(r"\$\w+", word):
                argv += shlex.split(values.get(word[1:], ""))
            else:
                argv.append(
                    re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], word)
                )
        return argv

    def limits(self):
        """Raises the limits as the unit asks for, where that is allowed."""
        # The limit of a nice value is 20 less that value.
        prlimit = [
            "prlimit",
            f"--nice={20 - int(self['LimitNICE'])}",
            f"--nofile={self['LimitNOFILE']}",
        ]
        return prlimit if succeeds(*prlimit, "true") else []

    def launcher(self, argv):
        """This command line as the unit's user, under its restrictions."""
        bounding = " ".join(self.all("CapabilityBoundingSet")).split()
        ambient = " ".join(self.all("AmbientCapabilities")).split()
        small = [name.removeprefix("CAP_").lower() for name in ambient]
        keep = [name.removeprefix("CAP_").lower() for name in bounding]
        assert self["NoNewPrivileges"] == "yes"
        assert self["MemoryDenyWriteExecute"] == "yes"
        return [
            *self.limits(),
            "setpriv",
            f"--reuid={self['User']}",
            f"--regid={self['Group']}",
            "--init-groups",
            "--inh-caps=" + ",".join(["-all"] + [f"+{n}" for n in small]),
            "--ambient-caps=" + ",".join(["-all"] + [f"+{n}" for n in small]),
            "--bounding-set=" + ",".join(["-all"] + [f"+{n}" for n in keep]),
            "--no-new-privs",
            sys.executable,
            "-c",
            CONFINE,
            self["SystemCallFilter"],
            self["RestrictAddressFamilies"],
            self["RestrictRealtime"],
            *map(str, argv),
        ]


def succeeds(*argv):
    try:
        done = subprocess.run(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return done.returncode == 0


@functools.cache
def can_have_host():
    """Whether mount and network namespaces are to be had."""
    return succeeds(
        *("unshare", "-mn", "--propagation", "private"),
        *("mount", "-t", "tmpfs", "none", "/run"),
    )


def needs(*programs):
    """Skip a test where one of these is not installed."""
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {' '.join(missing)}"
    )


def on_own_host(test):
    """The test runs in mount and network namespaces of its own: what it
    mounts, sets and serves is seen by its own processes only."""
    inside = "VARTA_ON_OWN_HOST"

    @functools.wraps(test)
    def outer(*args, **kwargs):
        if inside in os.environ:
            return test(*args, **kwargs)
        if not can_have_host():
            pytest.skip("needs privilege: namespaces of one's own")
        case = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]
        done = subprocess.run(
            ["unshare", "-mn", "--propagation", "private"]
            + [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            + [case],
            cwd=ROOT,
            env={**os.environ, inside: "yes"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert "1 passed" in done.stdout, done.stdout
        return None

    return outer


def run(*argv, **settings):
    """A program that must succeed; its output."""
    done = subprocess.run(
        [*map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **settings,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def make_users(folder):
    """The user and group files of a new system after systemd-sysusers."""
    root = pathlib.Path(folder, "root")
    (root / "etc").mkdir(parents=True)
    run("systemd-sysusers", f"--root={root}", DIST / "sysusers.d/varta.conf")
    return root


def prepare_host(folder, unit):
    """What is there before the unit is started: users, a network that is up,
    the shipped kernel setting, and the folders that the unit asks for."""
    root = make_users(folder)
    for name in ("passwd", "group"):
        both = root / f"{name}.both"
        both.write_text(
            pathlib.Path("/etc", name).read_text()
            + (root / "etc" / name).read_text()
        )
        both.chmod(0o644)
        run("mount", "--bind", both, f"/etc/{name}")
    run("ip", "link", "set", "lo", "up")
    run("sysctl", "-q", "-p", DIST / "sysctl.d/60-varta.conf")
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "none", "/run")
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "none", "/var/lib")
    for setting, parent in (("Runtime", "/run"), ("State", "/var/lib")):
        run(
            "install",
            "-d",
            *("-o", unit["User"], "-g", unit["Group"]),
            *("-m", unit[f"{setting}DirectoryMode"]),
            pathlib.Path(parent, unit[f"{setting}Directory"]),
        )


def make_writable(folder, *tops):
    """What is written below these folders is seen here alone."""
    store = pathlib.Path(folder, "overlay")
    store.mkdir()
    run("mount", "-t", "tmpfs", "none", store)
    for n, top in enumerate(tops):
        upper, work = store / f"upper{n}", store / f"work{n}"
        upper.mkdir()
        work.mkdir()
        run(
            *("mount", "-t", "overlay", "none", top, "-o"),
            f"lowerdir={top},upperdir={upper},workdir={work}",
        )


class Service(Observer):
    """The unit's observer on a prepared host."""

    def __init__(self, folder, unit, environment=None):
        watchdog_usec = int(unit["WatchdogSec"]) * 1_000_000
        super().__init__(
            folder, environment={"WATCHDOG_USEC": str(watchdog_usec)}
        )
        argv = [WATCH, *unit.argv(environment)[1:]]
        self.socket_path = pathlib.Path(argv[argv.index("--socket") + 1])
        self.argv = unit.launcher(argv)
        # The folder of NOTIFY_SOCKET is the manager's, and open to all.
        self.folder.chmod(0o777)

    def launch(self):
        super().launch()
        (self.folder / "notify").chmod(0o777)
        return self
