"""Audit trails, read, checked and made without any of the code under test."""

import hashlib
import pathlib
import subprocess
from typing import NamedTuple

from support import DEADLINE_S, VARTA, wait_for

HEADER = "# varta-watch recovery audit v2\n"
ZEROS = bytes(32)
COLUMNS = {"boot": 8, "spawn": 11, "complete": 14, "refused": 7}


def link(prev, kind, body):
    """The link of a record that follows prev."""
    text = b"VARTA-AUDIT-v2\0" + kind.encode() + b"\0" + prev + b"\0"
    return hashlib.sha256(text + body.encode()).digest()


class Row(NamedTuple):
    seq: int
    wall_ms: int
    observer_ns: int
    kind: str
    pid: int
    rest: list  # without the link
    link: bytes
    body: str


def parse(line):
    body, chain = line.rsplit("\t", 1)
    seq, wall_ms, observer_ns, kind, pid, *rest = body.split("\t")
    assert len(line.split("\t")) == COLUMNS[kind], line
    assert len(chain) == 64 and chain == chain.lower()
    return Row(
        *(int(seq), int(wall_ms), int(observer_ns), kind, int(pid), rest),
        *(bytes.fromhex(chain), body),
    )


def rows_of(path):
    """Of one file, which must be whole."""
    text = pathlib.Path(path).read_text()
    assert text.startswith(HEADER)
    assert text.endswith("\n")
    return [parse(line) for line in text[len(HEADER) :].splitlines()]


def generations(path):
    """What there is of PATH.5 to PATH."""
    names = [f"{path}.{i}" for i in range(5, 0, -1)] + [str(path)]
    return [name for name in names if pathlib.Path(name).exists()]


def read(path):
    """All rows of a trail, whose links and numbers must follow each other.
    Files that were dropped may be missing before it, and nothing else."""
    rows = []
    for name in generations(path):
        of_file = rows_of(name)
        assert of_file[0].kind == "boot"
        rows += of_file
    first = rows[0].rest
    prev = ZEROS if first[0] == "-" else bytes.fromhex(first[0])
    for i, row in enumerate(rows):
        assert row.link == link(prev, row.kind, row.body), row
        assert i == 0 or row.seq == rows[i - 1].seq + 1
        if row.kind == "boot" and row.rest[1] in ("resume", "rotation"):
            assert bytes.fromhex(row.rest[0]) == prev
        prev = row.link
    return rows


def wait_rows(path, kind, n=1):
    """Once there are n of them."""

    def enough():
        text = pathlib.Path(path).read_text()
        text = text[: text.rfind("\n") + 1].removeprefix(HEADER)
        rows = [parse(line) for line in text.splitlines()]
        rows = [row for row in rows if row.kind == kind]
        return rows if len(rows) >= n else None

    return wait_for(enough, what=f"{n} {kind} in {path}")


class Book:
    """A file being made."""

    def __init__(self, prev=ZEROS, seq=0):
        self.text = HEADER
        self.prev = prev
        self.seq = seq

    def add(self, kind, *columns):
        self.seq += 1
        body = "\t".join(map(str, (self.seq, 1700000000000, 5, kind, *columns)))
        self.prev = link(self.prev, kind, body)
        self.text += f"{body}\t{self.prev.hex()}\n"
        return self

    def boot(self, reason, named=False):
        prev = self.prev.hex() if named else "-"
        return self.add("boot", 1234, prev, reason)

    def refused(self, reason="debounced"):
        return self.add("refused", 42, reason)

    def next(self):
        """The file that this one is rotated in for."""
        return Book(self.prev, self.seq).boot("rotation", named=True)

    def write(self, path):
        pathlib.Path(path).write_text(self.text)
        pathlib.Path(path).chmod(0o600)
        return self


def verify(*arguments):
    """varta audit verify: exit code, standard output, standard error."""
    done = subprocess.run(
        [VARTA, "audit", "verify", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        timeout=DEADLINE_S,
    )
    return done.returncode, done.stdout, done.stderr
