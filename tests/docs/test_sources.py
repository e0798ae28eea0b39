"""The sources keep to their own rules: who includes whom, sizes, formatting,
and what is not said in them."""

import pathlib
import re
import shutil
import subprocess

import pytest

from tree import ROOT, project_files, text_of

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

SOURCES = project_files(".c", ".h")
PROGRAMS = [path for path in SOURCES if path.parts[0] != "tests"]
ROOMS = {"intake", "track", "judge", "act", "tell", "host"}
# Used by the daemon and by the tool; they know of nothing but src/base.
LIBRARIES = {"lib", "secure", "audit"}
# What all rooms share.
SHARED = {"watch/event.h", "watch/stats.h"}


# ---- who includes whom ----------------------------------------------------


def layer_of(path):
    """The part of the house that a file below src/ is in: "watch" for the
    joiners, a room by its name."""
    parts = pathlib.PurePath(path).parts
    if parts[0] == "watch" and len(parts) > 2:
        return parts[1]
    return parts[0]


def includes(path):
    return re.findall(r'^#include "(.*)"$', text_of(path), re.MULTILINE)


def may_include(layer, included):
    if included in SHARED:
        return layer in ROOMS | {"watch"}
    target = layer_of(included)
    if target in (layer, "base"):
        return True
    if target == "varta":  # version.h, which the build makes
        return layer in ("lib", "watch", "tool")
    # Observer, lives and what starts them see all faces.
    below = {
        "secure": {"lib"},
        "tool": LIBRARIES,
        "watch": ROOMS | LIBRARIES,
        **{room: LIBRARIES for room in ROOMS},
    }
    return target in below.get(layer, set())


def test_nobody_includes_what_is_not_below():
    wrong = []
    for path in SOURCES:
        if path.parts[0] != "src":
            continue
        below = pathlib.PurePath(*path.parts[1:])
        wrong += [
            f"{path} includes {included}"
            for included in includes(path)
            if not may_include(layer_of(below), included)
        ]
    assert wrong == []


def test_only_known_files_of_the_observer_see_several_rooms():
    """The others of src/watch know one room at most, besides its own."""
    joiners = {"observer", "lives", "life", "contact", "watch", "ports", "loop"}
    joiners |= {"setup", "commands", "health", "network", "main"}
    joiners |= {"lanes", "berth", "recovery"}
    wrong = []
    for path in SOURCES:
        if path.parts[:2] != ("src", "watch") or len(path.parts) > 3:
            continue
        rooms = {layer_of(i) for i in includes(path)} & ROOMS
        if len(rooms) > 1 and path.stem not in joiners:
            wrong.append(f"{path}: {sorted(rooms)}")
    assert wrong == []


def test_a_source_includes_its_own_header_first():
    wrong = []
    for path in SOURCES:
        if path.parts[0] != "src" or path.suffix != ".c":
            continue
        own = path.with_suffix(".h")
        first = re.search(r"^#include .*$", text_of(path), re.MULTILINE)
        if own in SOURCES:
            name = pathlib.PurePath(*own.parts[1:])
            if first is None or first[0] != f'#include "{name}"':
                wrong.append(str(path))
    assert wrong == []


def test_headers_are_guarded_by_their_path():
    wrong = []
    for path in SOURCES:
        if path.suffix != ".h" or path.parts[0] not in ("src", "include"):
            continue
        guard = re.sub(r"\W", "_", "_".join(path.parts[1:])).upper()
        if f"#ifndef {guard}\n#define {guard}\n" not in text_of(path):
            wrong.append(f"{path}: {guard}")
    assert wrong == []


# ---- sizes ----------------------------------------------------------------


def test_no_file_is_longer_than_a_reader_can_take():
    lengths = {str(path): text_of(path).count("\n") for path in PROGRAMS}
    assert {p: n for p, n in lengths.items() if n > FILE_LINES_MAX} == {}


def functions(text):
    """(name, lines) of the definitions in a C file as it is formatted here:
    the name and the closing brace stand in the first column."""
    pattern = r"^(\w+)\([^;{}]*?\)\n\{\n(.*?)^\}$"
    for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        yield found[1], found[0].count("\n") + 1


def test_no_function_is_longer_than_a_screen():
    long = {
        f"{path}: {name}": lines
        for path in PROGRAMS
        for name, lines in functions(text_of(path))
        if lines > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_the_search_finds_functions():
    text = "static int\nf(void)\n{\n\treturn g(\n\t    1);\n}\n"
    text += "\nint\nmain(int argc,\n    char *argv[])\n{\n}\n"
    assert list(functions(text)) == [("f", 5), ("main", 4)]


def test_lines_of_python_fit_the_screen():
    wide = [
        f"{path}:{number}"
        for path in project_files(".py")
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if len(line) > 88
    ]
    assert wide == []


# ---- formatting -----------------------------------------------------------


@pytest.mark.skipif(
    not shutil.which("clang-format"), reason="needs clang-format"
)
def test_sources_are_formatted():
    version = subprocess.run(
        ["clang-format", "--version"], capture_output=True, text=True
    ).stdout
    if "version 14." not in version:
        pytest.skip(f"needs version 14 of clang-format: {version.strip()}")
    done = subprocess.run(
        ["clang-format", "--dry-run", "-Werror", *SOURCES],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    files = {line.split(":")[0] for line in done.stderr.splitlines() if "error" in line}
    assert (done.returncode, files) == (0, set())


def test_texts_end_with_a_newline_and_have_no_blanks_at_ends_of_lines():
    suffixes = (".c", ".h", ".py", ".md", ".build", ".sh", ".8", ".7", ".3", ".1")
    wrong = []
    for path in project_files(*suffixes):
        text = text_of(path)
        if not text.endswith("\n") or text.endswith("\n\n"):
            wrong.append(f"{path}: end")
        if re.search(r"[ \t]$", text, re.MULTILINE):
            wrong.append(f"{path}: blanks")
    assert wrong == []


# ---- words ----------------------------------------------------------------

# In pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of some machine": r"/(wo" r"rk|ho" r"me/\w+|Us" r"ers/\w+)/",
    "a number of an issue": r"\b(?i:is" r"sue|b" r"ug|tic" r"ket)s? ?#?\d+",
    "a mark of unfinished work": r"\b(FI" r"XME|X" r"XX)\b",
}


def lines_with(pattern, paths):
    return [
        f"{path}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if re.search(pattern, line)
    ]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nowhere_in_the_tree_stands(what):
    texts = [path for path in project_files() if "corpus" not in path.parts]
    assert lines_with(FORBIDDEN[what], texts) == []


def test_no_program_calls_a_function_without_bounds():
    names = r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|alloca)\("
    assert lines_with(names, PROGRAMS) == []


def test_no_source_has_a_licence_of_its_own():
    """There is one for all, in one file."""
    wrong = [str(p) for p in SOURCES if re.search(r"(?i)copyright", text_of(p))]
    assert wrong == []
