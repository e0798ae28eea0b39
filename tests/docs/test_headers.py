"""The installed headers: each stands alone, in C99 and in C++, and declares
exactly what the library exports."""

import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
INCLUDE = os.path.join(ROOT, "include")
HEADERS = sorted(name for name in os.listdir(os.path.join(INCLUDE, "varta"))
                 if name.endswith(".h"))
LANGUAGES = {
    "gcc -std=c99": ["gcc", "-x", "c", "-std=c99"],
    "clang -std=c99": ["clang", "-x", "c", "-std=c99"],
    "g++ -std=c++11": ["g++", "-x", "c++", "-std=c++11"],
    "clang++ -std=c++11": ["clang++", "-x", "c++", "-std=c++11"],
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A folder with varta/version.h in it, as the build makes it."""
    folder = tmp_path_factory.mktemp("include")
    with open(os.path.join(INCLUDE, "varta", "version.h.in")) as f:
        text = re.sub(r"@\w+@", "0", f.read())
    (folder / "varta").mkdir()
    (folder / "varta" / "version.h").write_text(text)
    return folder


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_stands_alone(header, language, generated):
    compiler = LANGUAGES[language]
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no {compiler[0]}")
    program = f"#include <varta/{header}>\n#include <varta/{header}>\n"
    done = subprocess.run(
        compiler + ["-Wall", "-Wextra", "-Wpedantic", "-Werror",
                    "-fsyntax-only", "-I", INCLUDE, "-I", generated, "-"],
        input=program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def declared(header):
    with open(os.path.join(INCLUDE, "varta", header)) as f:
        code = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return set(re.findall(r"\b(varta_\w+)\(", code))


def exported(symbol_map):
    """What applications may use: without the names between the libraries."""
    with open(os.path.join(ROOT, "src", symbol_map)) as f:
        names = set(re.findall(r"\b(varta_\w+);", f.read()))
    return {name for name in names if not name.startswith("varta__")}


def test_what_is_declared_is_what_is_exported():
    plain = set()
    for header in HEADERS:
        if header != "secure.h":
            plain |= declared(header)
    assert plain == exported("lib/libvarta.map")
    assert declared("secure.h") == exported("secure/libvarta-secure.map")
