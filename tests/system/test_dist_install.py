"""make install: what goes where, and that a program can be built with nothing
else."""

import os
import re

import pytest

from support import ROOT, short_folder
from units import run

PROGRAM = r"""
#include <varta/varta.h>

int
main(int argc, char *argv[])
{
	struct varta_agent *agent;

	if (argc != 2 || varta_open(argv[1], &agent) != 0)
		return 1;
	if (varta_beat(agent, VARTA_OK, 4711) != VARTA_SENT)
		return 2;
	varta_close(agent);
	return 0;
}
"""


def make_install(build, destination, prefix):
    run(
        *("make", "-s", "-C", ROOT, "install", f"BUILD={build}"),
        f"DESTDIR={destination}",
        f"PREFIX={prefix}",
        env={**os.environ, "MAKEFLAGS": "", "NINJAFLAGS": "-j2"},
    )


@pytest.fixture(scope="module")
def installed():
    """(build folder, destination) after make install PREFIX=/usr."""
    with short_folder() as folder:
        build = folder / "build"
        run(
            *("meson", "setup", "-Dtests=disabled", "-Dbench=false"),
            *("-Dbuildtype=debug", "--prefix=/usr", build, ROOT),
        )
        make_install(build, folder / "to", "/usr")
        yield build, folder / "to"


def files_under(folder):
    return {
        f"{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


def libdir_of(destination):
    [pc] = destination.glob("usr/lib/**/pkgconfig/varta.pc")
    return pc.parent.parent


@pytest.mark.limit(180)
def test_everything_goes_where_it_belongs(installed):
    _, destination = installed
    found = files_under(destination)
    lib = libdir_of(destination).relative_to(destination)

    libraries = {name for name in found if re.match(rf"{lib}/libvarta", name)}
    assert {f"{lib}/libvarta.so", f"{lib}/libvarta.so.0"} <= libraries
    packages = {n for n in found if n.startswith(f"{lib}/pkgconfig/varta")}
    headers = {
        f"usr/include/varta/{path.name.removesuffix('.in')}"
        for path in (ROOT / "include/varta").glob("*.h*")
    }
    pages = {
        f"usr/share/man/man{path.suffix[1:]}/{path.name}"
        for path in (ROOT / "man").glob("*.[1-8]")
    }
    unit_name = "lib/systemd/system/varta-watch.service"
    unit = {name for name in found if name.endswith(unit_name)}
    assert len(unit) == 1
    others = {
        "usr/bin/varta",
        "usr/bin/varta-watch",
        "usr/lib/sysctl.d/60-varta.conf",
        "usr/lib/sysusers.d/varta.conf",
        "usr/lib/tmpfiles.d/varta.conf",
        "usr/share/bash-completion/completions/varta",
        "usr/share/bash-completion/completions/varta-watch",
        "usr/share/doc/varta/operations.md",
        "usr/share/doc/varta/security.md",
        "usr/share/varta/grafana/varta.json",
        "usr/share/varta/prometheus/scrape-example.yml",
        "usr/share/varta/prometheus/varta-rules.yml",
    }
    expected = libraries | packages | headers | pages | unit | others
    assert found - expected == set()
    assert expected - found == set()


def test_the_unit_starts_the_program_that_was_installed(installed):
    build, destination = installed
    other = destination.with_name("other")
    make_install(build, other, "/opt/varta")
    unit = other / "opt/varta/lib/systemd/system/varta-watch.service"
    start = "\nExecStart=/opt/varta/bin/varta-watch --socket"
    assert start in unit.read_text()
    assert (other / "opt/varta/bin/varta-watch").exists()
    assert {name.split("/")[0] for name in files_under(other)} == {"opt"}


@pytest.mark.parametrize("link", ["shared", "static"])
def test_a_program_needs_only_what_pkg_config_says(
    installed, folder, receiver, link
):
    _, destination = installed
    lib = libdir_of(destination)
    static = ["--static"] if link == "static" else []
    flags = run(
        *("pkg-config", "--cflags", "--libs", *static, "varta"),
        env={
            **os.environ,
            "PKG_CONFIG_PATH": f"{lib}/pkgconfig",
            "PKG_CONFIG_SYSROOT_DIR": f"{destination}",
        },
    ).split()
    (folder / "program.c").write_text(PROGRAM)
    compiler = os.environ.get("CC", "cc")
    run(
        *(compiler, "-Wall", "-Werror", "-o", folder / "program"),
        *([f"-{link}"] if static else []),
        *(folder / "program.c", *flags),
    )
    run(
        *(folder / "program", receiver.path),
        env={"LD_LIBRARY_PATH": f"{lib}"},
    )
    assert receiver.take().frame.payload == 4711


def test_the_installed_programs_run(installed):
    _, destination = installed
    version = run(destination / "usr/bin/varta-watch", "--version")
    assert version.split()[0] == "varta-watch"
    assert run(destination / "usr/bin/varta", "--version").split()[1:] == (
        version.split()[1:]
    )
