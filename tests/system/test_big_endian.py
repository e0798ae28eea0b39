"""The codec, and sealing where there is libsodium for it, on a machine whose
integers begin with their highest byte: s390x, under an emulator."""

import shutil
import subprocess

import pytest

import support
from support import ROOT

VECTORS = ROOT / "tests" / "vectors"
CODEC = ["src/lib/crc32c.c", "src/lib/error.c", "src/lib/frame.c"]
SEALING = ["src/secure/hkdf.c", "src/secure/seal.c"]


def built(compiler, folder, *more):
    """The program for the machine of this compiler; None where it cannot be
    linked."""
    program = folder / "plain_vectors"
    done = subprocess.run(
        [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"]
        + ["-D_GNU_SOURCE", "-Iinclude", "-Isrc", "-Itests", f"-I{folder}"]
        + ["tests/system/plain_vectors.c", *CODEC, *more, "-o", program]
        + (["-lsodium", "-lpthread"] if more else []),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return None if done.returncode else program


@pytest.fixture
def version_header(folder):
    """varta/version.h, as the build makes it."""
    (folder / "varta").mkdir()
    text = (ROOT / "include/varta/version.h.in").read_text()
    for word in ("version", "major", "minor", "patch"):
        text = text.replace(f"@{word}@", "0")
    (folder / "varta" / "version.h").write_text(text)
    return folder


def said(*command):
    names = ("vlp-test-vectors.json", "extra-vectors.json")
    done = subprocess.run(
        [*command, *(VECTORS / name for name in names)],
        capture_output=True,
        text=True,
        timeout=support.DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_vectors_pass_on_this_machine(version_header):
    assert said(built("cc", version_header)) == "little: 15 frames, 0 sealed\n"
    program = built("cc", version_header, "-DWITH_SODIUM", *SEALING)
    if program is None:
        pytest.skip("no static libsodium")
    assert said(program) == "little: 15 frames, 12 sealed\n"


needs_s390x = pytest.mark.skipif(
    not shutil.which("s390x-linux-gnu-gcc") or not shutil.which("qemu-s390x"),
    reason="needs gcc-s390x-linux-gnu, libc6-dev-s390x-cross and qemu-user",
)


@needs_s390x
def test_the_frames_pass_on_a_big_endian_machine(version_header):
    program = built("s390x-linux-gnu-gcc", version_header)
    assert said("qemu-s390x", program) == "big: 15 frames, 0 sealed\n"


@needs_s390x
def test_the_sealed_frames_pass_on_a_big_endian_machine(version_header):
    compiler = "s390x-linux-gnu-gcc"
    program = built(compiler, version_header, "-DWITH_SODIUM", *SEALING)
    if program is None:
        pytest.skip("no libsodium for s390x")
    assert said("qemu-s390x", program) == "big: 15 frames, 12 sealed\n"
