"""The Debian packages: they build without a network, lintian finds nothing,
and they install, serve and go away again on a host of our own."""

import os
import pathlib
import re
import shutil

import pytest

import units
from support import ROOT, Agent, Observer, short_folder
from units import Unit, on_own_host, run

DEBIAN = ROOT / "dist" / "debian"
NAMES = {
    "libvarta-dev",
    "libvarta-secure0",
    "libvarta0",
    "varta",
    "varta-watch",
}

# Whoever asks for it by VARTA_DEB=1 hears what is missing.
needs_packaging = pytest.mark.skipif(
    os.environ.get("VARTA_DEB") != "1"
    and not (shutil.which("dh") and shutil.which("lintian")),
    reason="not installed: debhelper lintian",
)


@pytest.fixture(scope="module")
def packages():
    """Name to file. Built once, also for tests on a host of their own."""
    with short_folder() as folder:
        built = os.environ.get("VARTA_DEBS")
        if built is None:
            built = folder / "build/deb"
            without_network = (
                ["unshare", "-n"] if units.can_have_host() else []
            )
            run(
                *without_network,
                *("make", "-s", "-C", ROOT, "deb"),
                f"BUILD={built.parent}",
                env={**os.environ, "MAKEFLAGS": "", "NINJAFLAGS": "-j2"},
            )
            os.environ["VARTA_DEBS"] = f"{built}"
        found = pathlib.Path(built).glob("*.deb")
        yield {path.name.split("_")[0]: path for path in found}
        os.environ.pop("VARTA_DEBS", None)


def test_the_packages_have_the_version_of_the_source():
    version = re.search(
        r"version: '(.*?)'", (ROOT / "meson.build").read_text()
    )[1]
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"varta ({version}-")


def test_every_node_of_a_symbol_map_is_in_a_symbols_file():
    for path in ROOT.glob("src/*/*.map"):
        [symbols] = DEBIAN.glob(f"{path.stem}[0-9]*.symbols")
        nodes = re.findall(r"^(VARTA\w+\S*) \{", path.read_text(), re.M)
        listed = re.findall(r"\(symver\)(\S+)", symbols.read_text())
        assert sorted(nodes) == sorted(listed)


def test_they_are_built_with_what_the_source_is_built_with():
    control = (DEBIAN / "control").read_text()
    for line in (ROOT / ".ci/packages").read_text().splitlines():
        name, kind = (line.split() + ["", ""])[:2]
        if kind == "build" and re.match(r"lib.*-dev$", name):
            assert name == "libc6-dev" or f" {name}" in control, name


@needs_packaging
@pytest.mark.limit(120)
def test_lintian_finds_no_fault(packages):
    assert NAMES <= set(packages)
    # It closes no bug of Debian's, as the first package there would.
    run(
        *("lintian", "--fail-on", "error,warning", "--allow-root"),
        *("--suppress-tags", "initial-upload-closes-no-bugs"),
        *(packages[name] for name in sorted(NAMES)),
    )


def install(packages, folder):
    units.make_writable(folder, "/etc", "/usr", "/var")
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "none", "/run")
    run("ip", "link", "set", "lo", "up")
    dpkg("-i", *(packages[name] for name in sorted(NAMES)))


def dpkg(*arguments):
    run(
        *("dpkg", *arguments),
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


@needs_packaging
@pytest.mark.limit(120)
@on_own_host
def test_what_is_installed_works_and_goes_away_again(packages, folder):
    install(packages, folder)
    there = pathlib.Path("/lib/systemd/system/varta-watch.service")
    assert there.read_text() == units.UNIT.read_text()
    assert pathlib.Path("/run/varta").owner() == "varta"
    # The setting is in force before the service is started.
    length = pathlib.Path("/proc/sys/net/unix/max_dgram_qlen")
    assert length.read_text() == "512\n"

    argv = Unit(there).argv()
    options = argv[argv.index("/var/lib/varta/audit.log") + 1 :]
    with Observer(
        folder, *options, program="/usr/bin/varta-watch"
    ) as watch, Agent(watch.socket_path) as agent:
        agent.beat()
        watch.wait_event("join", agent.pid)
    assert "varta" in run("man", "-w", "8", "varta-watch")

    dpkg("-P", *sorted(NAMES))
    assert not pathlib.Path("/usr/bin/varta-watch").exists()
    assert not pathlib.Path("/etc/default/varta-watch").exists()


@needs_packaging
@pytest.mark.limit(120)
@on_own_host
def test_what_is_the_hosts_own_goes_with_a_purge_only(packages, folder):
    install(packages, folder)
    options = pathlib.Path("/etc/default/varta-watch")
    options.write_text('VARTA_WATCH="--threshold-ms 1000"\n')
    audit = pathlib.Path("/var/lib/varta/audit.log")
    audit.parent.mkdir()
    audit.touch()

    # A new version, and a package that is removed for a while.
    dpkg("-i", packages["varta-watch"])
    dpkg("-r", "varta-watch")
    dpkg("-i", packages["varta-watch"])
    assert "--threshold-ms 1000" in options.read_text()
    assert audit.exists()

    dpkg("-P", "varta-watch")
    left = [options, audit.parent, pathlib.Path("/run/varta")]
    assert [path for path in left if path.exists()] == []
