"""The manual: pages are well formed, and say of each flag and exit code what
the programs do."""

import os
import re
import shutil
import subprocess

import pytest

from support import ROOT, VARTA, WATCH
from tree import project_files

PAGES = sorted(
    path for path in project_files() if re.fullmatch(r"man/.*\.[1-8]", str(path))
)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def page(name):
    return (ROOT / "man" / name).read_text()


def section(text, title):
    found = re.search(
        rf"^\.Sh {title}$(.*?)(?=^\.Sh |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"no section {title}"
    return found[1]


def unformatted(text):
    """Words of mdoc without its macros, well enough to look for words."""
    text = re.sub(r"^\.\S+ ?", "", text, flags=re.MULTILINE)
    return re.sub(r"\\[&e]| Ns ", "", text)


# ---- form -----------------------------------------------------------------


@pytest.fixture(scope="module")
def manpath(tmp_path_factory):
    """A folder in which references between our own pages are found."""
    folder = tmp_path_factory.mktemp("man")
    for path in PAGES:
        under = folder / f"man{path.suffix[1:]}"
        under.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, under)
    return folder


@pytest.mark.skipif(not shutil.which("mandoc"), reason="needs mandoc")
@pytest.mark.parametrize("path", PAGES, ids=str)
def test_a_page_has_nothing_to_be_complained_of(path, manpath):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", ROOT / path],
        env={**os.environ, "MANPATH": os.fspath(manpath)},
        capture_output=True,
        text=True,
    )
    # Pages of the system may not be installed; ours are.
    others = r"referenced manual not found: Xr (?!varta|vlp)\S+ [23]"
    lines = done.stdout.splitlines()
    assert [x for x in lines if not re.search(others, x)] == []


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_a_page_is_installed(path):
    assert f"'{path.name}'" in (ROOT / "man" / "meson.build").read_text()


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_sections_come_in_their_usual_order(path):
    usual = ["NAME", "SYNOPSIS", "DESCRIPTION", "RETURN VALUES", "ENVIRONMENT"]
    usual += ["FILES", "EXIT STATUS", "EXAMPLES", "ERRORS", "SEE ALSO"]
    usual += ["STANDARDS", "HISTORY", "CAVEATS", "BUGS"]
    found = re.findall(r"^\.Sh (.*)$", (ROOT / path).read_text(), re.MULTILINE)
    known = [title for title in found if title in usual]
    assert known == sorted(known, key=usual.index)


# ---- varta-watch ----------------------------------------------------------


def watch_flags_of_help():
    """Flag: (value, default or None)."""
    flags = {}
    for line in run(WATCH, "--help").splitlines():
        found = re.match(r"  --([a-z0-9-]+)( [A-Z][A-Z:=]*)?  ", line)
        if found:
            default = re.search(r"\[([^\]]+)\]$", line)
            flags[found[1]] = (
                (found[2] or "").strip(),
                default and default[1],
            )
    return flags


def watch_items_of_page():
    """Flag: (value, text of its item)."""
    items = {}
    for found in re.finditer(
        r"^\.It Fl -([a-z0-9-]+)(?: Ar (\S+))?$(.*?)(?=^\.It |^\.El|^\.Ss |^\.Sh )",
        page("varta-watch.8"),
        re.MULTILINE | re.DOTALL,
    ):
        assert found[1] not in items, f"--{found[1]} is explained twice"
        items[found[1]] = (found[2] or "", unformatted(found[3]))
    return items


def test_the_page_has_the_flags_of_the_help_and_no_others():
    in_help, on_page = watch_flags_of_help(), watch_items_of_page()
    assert sorted(on_page) == sorted(in_help)
    assert {f: v for f, (v, _) in on_page.items()} == {
        f: v for f, (v, _) in in_help.items()
    }


def test_the_page_has_the_defaults_of_the_help():
    on_page = watch_items_of_page()
    missing = []
    for flag, (_, default) in watch_flags_of_help().items():
        text = " ".join(on_page.get(flag, ("", ""))[1].split())
        # What has no effect need not be explained in full.
        if default is None or "without effect" in text:
            continue
        if not re.search(rf"(?<![\w-]){re.escape(default)}(?![\w-])", text):
            missing.append(flag)
    assert missing == []


def test_flags_named_in_other_documents_exist():
    """Words like --threshold-ms, in lines that are about the observer."""
    known = set(watch_flags_of_help()) | {"help", "version"}
    unknown = set()
    for path in project_files(".md", ".service", ".conf", ".sh", ".yml", ".8"):
        if path.name == "CONTRIBUTING.md":
            continue
        text = (ROOT / path).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if "varta-watch --" not in line:
                continue
            line = line.split("varta-watch --", 1)[1]
            flags = re.findall(r"(?<=\s)--([a-z][a-z0-9-]+)", f" --{line}")
            unknown |= {(str(path), f) for f in flags if f not in known}
    assert unknown == set()


# ---- exit codes -----------------------------------------------------------


@pytest.mark.parametrize(
    "name, codes", [("varta-watch.8", {"0", "1", "2"}), ("varta.1", {"0", "1", "2"})]
)
def test_the_exit_codes_are_documented(name, codes):
    text = section(page(name), "EXIT STATUS")
    assert set(re.findall(r"^\.It (?:Li )?(\d+)$", text, re.MULTILINE)) == codes


# ---- varta ----------------------------------------------------------------


def test_the_page_of_varta_has_the_options_of_each_command():
    text = page("varta.1")
    commands = re.findall(r"^  ([a-z]+)  ", run(VARTA, "--help"), re.MULTILINE)
    assert commands, "no commands in the help"
    for command in commands:
        flags = re.findall(
            r"^\s+--([a-z-]+)", run(VARTA, command, "--help"), re.MULTILINE
        )
        for flag in flags:
            if flag != "help":
                assert f".It Fl -{flag}" in text, f"varta {command} --{flag}"
