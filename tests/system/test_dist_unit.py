"""What the service manager is given: the unit, its user, its folders, and the
kernel setting. Each is read by the program it is for, and the unit's command
line is run as it stands."""

import os
import pathlib
import pwd
import re

import pytest

import support
import units
from support import Agent
from units import DIST, UNIT, Service, Unit, needs, on_own_host, run
from watching import (
    NOBODY,
    can_have_network,
    needs_root,
    wait_metric,
    with_queue_of,
)


@needs("systemd-analyze")
def test_the_service_manager_has_nothing_to_say_about_the_unit(folder):
    # The program is looked for where the unit has it.
    (folder / "bin").symlink_to(support.WATCH.parent)
    there = UNIT.read_text().replace("/usr/bin/", f"{folder}/bin/")
    (folder / UNIT.name).write_text(there)
    done = run("systemd-analyze", "verify", "--man=no", folder / UNIT.name)
    assert done == ""


@needs("systemd-analyze")
def test_the_unit_is_exposed_no_more_than_is_needed(folder):
    (folder / UNIT.name).write_text(UNIT.read_text())
    run(
        *("systemd-analyze", "security", "--offline=yes", "--threshold=20"),
        folder / UNIT.name,
    )


@needs("systemd-sysusers")
def test_the_user_is_made_without_a_password_and_a_shell(folder):
    root = units.make_users(folder)
    passwd = (root / "etc/passwd").read_text()
    assert re.search(r"^varta:x:\d+:\d+:.*nologin$", passwd, re.M)
    assert re.search(r"^varta:x:\d+:$", (root / "etc/group").read_text(), re.M)


@needs("systemd-sysusers", "systemd-tmpfiles")
@needs_root
def test_the_folder_of_the_socket_is_one_that_the_observer_accepts(folder):
    root = units.make_users(folder)
    conf = DIST / "tmpfiles.d/varta.conf"
    run("systemd-tmpfiles", f"--root={root}", "--create", conf)
    made = (root / "run/varta").stat()
    varta = re.search(
        r"^varta:x:(\d+):(\d+):", (root / "etc/passwd").read_text(), re.M
    )
    assert (made.st_uid, made.st_gid) == (int(varta[1]), int(varta[2]))
    assert made.st_mode & 0o7777 == 0o755
    assert Unit()["RuntimeDirectoryMode"] == "0755"


def test_with_the_kernel_setting_the_queue_is_long_enough(observer):
    if not can_have_network():
        pytest.skip("needs privilege: a network namespace of one's own")
    conf = DIST / "sysctl.d/60-varta.conf"
    program = with_queue_of(10)
    with_file = 'sysctl -q -p "$1"; shift; exec "$@"'
    program[program.index(support.WATCH) :] = [
        *("sh", "-ec", with_file, "sh", conf, support.WATCH)
    ]
    watch = observer(program=program)
    assert "max_dgram_qlen" not in watch.log()


@needs("setpriv", "systemd-sysusers", "systemd-analyze", "ip", "sysctl")
@on_own_host
def test_the_unit_starts_as_shipped_and_does_its_work(folder):
    pytest.importorskip("seccomp", reason="not installed: python3-seccomp")
    unit = Unit()
    units.prepare_host(folder, unit)
    varta = pwd.getpwnam("varta")
    with Service(folder, unit) as watch:
        assert "max_dgram_qlen" not in watch.log()
        status = pathlib.Path(f"/proc/{watch.pid}/status").read_text()
        for line in (
            f"Uid:\t{varta.pw_uid}\t{varta.pw_uid}\t",
            "CapBnd:\t" + "0" * 16,
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ):
            assert line in status

        # It runs first, and what it starts does not.
        policy = os.sched_getscheduler(watch.pid)
        assert policy == os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
        if unit.limits():
            assert os.getpriority(os.PRIO_PROCESS, watch.pid) == -20

        # Whom it accepts as shipped: root, and who has the group varta.
        with Agent(watch.socket_path) as root, Agent(
            watch.socket_path, uid=NOBODY, gid=varta.pw_gid
        ) as member, Agent(
            watch.socket_path, uid=NOBODY, gid=NOBODY
        ) as other:
            root.beat()
            member.beat()
            assert other.try_beat() == "EACCES"
            wait_metric(watch, "varta_watch_pids_tracked", 2)
            root.kill()
            member.exit(0)
            wait_metric(watch, "varta_exits_total", 1)
        assert watch.metrics().value("varta_unix_queue_length") == 512

        # systemctl reload, and stop.
        reload = unit["ExecReload"].replace("$MAINPID", str(watch.pid))
        run(*reload.split())
        watch.wait_notice("RELOADING=1")
        watch.wait_notice("READY=1")
        assert watch.get("/readyz").status == 200
        watch.wait_notice("WATCHDOG=1")
        assert watch.stop() == 0
    assert pathlib.Path("/var/lib/varta/audit.log").stat().st_size > 0


def test_the_environment_file_shows_what_the_unit_has():
    text = (DIST / "default" / "varta-watch").read_text()
    shown = re.findall(r"^#   (--.*)$", text, re.M)
    assert " ".join(shown) == Unit().environment()["VARTA_WATCH"]


@needs("systemd-sysusers", "ip", "sysctl")
@on_own_host
def test_the_example_in_the_environment_file_is_good(folder):
    text = (DIST / "default" / "varta-watch").read_text()
    [example] = re.findall(r'^#VARTA_WATCH="(.*)"$', text, re.M)
    unit = Unit()
    units.prepare_host(folder, unit)
    argv = unit.argv({"VARTA_WATCH": example})
    run(support.WATCH, "--check", *argv[1:])
