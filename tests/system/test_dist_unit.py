"""What the service manager is given: the unit, its user, its folders, and the
kernel setting. Each is read by the program it is for, and the unit's command
line is run as it stands."""

import pathlib
import pwd
import re
import signal

import pytest

import support
import units
from support import Agent, wait_for
from units import DIST, UNIT, Unit, needs, on_own_host, run
from watching import NOBODY, can_have_network, needs_root, with_queue_of


class Service(support.Observer):
    """The unit's observer on a prepared host."""

    def __init__(self, folder, unit, environment=None):
        super().__init__(folder)
        self.unit = unit
        argv = [support.WATCH, *unit.argv(environment)[1:]]
        self.socket_path = pathlib.Path(argv[argv.index("--socket") + 1])
        self.argv = unit.launcher(argv)
        # The folder of NOTIFY_SOCKET is the manager's, and open to all.
        self.folder.chmod(0o777)

    def launch(self):
        super().launch()
        (self.folder / "notify").chmod(0o777)
        return self


@pytest.fixture
def service(folder):
    made = []

    def start(environment=None, unit=None):
        made.append(Service(folder, unit or Unit(), environment))
        return made[-1].start()

    yield start
    for one in made:
        print(one.log())
        one.close()


@needs("systemd-analyze")
def test_the_service_manager_has_nothing_to_say_about_the_unit(folder):
    # The program is looked for where the unit has it.
    there = UNIT.read_text().replace("/usr/bin/", f"{support.WATCH.parent}/")
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
def test_the_unit_starts_as_shipped_and_does_its_work(folder, service):
    pytest.importorskip("seccomp", reason="not installed: python3-seccomp")
    unit = Unit()
    units.prepare_host(folder, unit)
    watch = service()
    assert "max_dgram_qlen" not in watch.log()

    status = pathlib.Path(f"/proc/{watch.pid}/status").read_text()
    varta = pwd.getpwnam("varta")
    assert f"Uid:\t{varta.pw_uid}\t{varta.pw_uid}\t" in status
    for line in ("CapBnd:\t" + "0" * 16, "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status

    # Whom it accepts as shipped: root, and who has the group varta.
    with Agent(watch.socket_path) as root, Agent(
        watch.socket_path, uid=NOBODY, gid=varta.pw_gid
    ) as member, Agent(watch.socket_path, uid=NOBODY, gid=NOBODY) as other:
        root.beat()
        member.beat()
        assert other.try_beat() == "EACCES"
        wait_for(
            lambda: watch.metrics().value("varta_watch_pids_tracked") == 2,
            what="two agents",
        )
        root.kill()
        member.exit(0)
        wait_for(
            lambda: watch.metrics().value("varta_leaves_total") == 1
            and watch.metrics().value("varta_exits_total") == 1,
            what="the end of both",
        )
    assert watch.metrics().value("varta_unix_queue_length") == 512

    # systemctl reload, and stop.
    reload = re.sub(r"\$MAINPID", str(watch.pid), unit["ExecReload"])
    run(*reload.split())
    watch.wait_notice("RELOADING=1")
    watch.wait_notice("READY=1")
    assert watch.metrics().value("varta_watch_pids_tracked") is not None
    assert watch.stop() == 0
    assert pathlib.Path("/var/lib/varta/audit.log").stat().st_size > 0


@needs("setpriv", "systemd-sysusers", "systemd-analyze", "ip", "sysctl")
@on_own_host
def test_recovery_under_the_unit_may_signal_once_it_is_allowed_to(
    folder, service
):
    pytest.importorskip("seccomp", reason="not installed: python3-seccomp")
    unit = Unit()
    units.prepare_host(folder, unit)
    drop_in = re.search(
        r"CapabilityBoundingSet=CAP_KILL\n.*?AmbientCapabilities=CAP_KILL",
        UNIT.read_text(),
        re.S,
    )
    assert drop_in
    words = "--threshold-ms 100 --allow-uid nobody --socket-mode 0666"
    kill = words + " --recovery-exec 'kill -KILL {pid}'"

    watch = service({"VARTA_WATCH": kill})
    with Agent(watch.socket_path, uid=NOBODY, gid=NOBODY) as hangs:
        hangs.beat()
        wait_for(
            lambda: "ended with exit code 1" in watch.log(),
            what="a command that may not signal",
        )
    watch.stop()

    unit.settings["CapabilityBoundingSet"] = ["CAP_KILL"]
    unit.settings["AmbientCapabilities"] = ["CAP_KILL"]
    watch = service({"VARTA_WATCH": kill}, unit)
    with Agent(watch.socket_path, uid=NOBODY, gid=NOBODY) as hangs:
        hangs.beat()
        assert hangs.reap() == -signal.SIGKILL


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
