"""Metrics that are named anywhere are there."""

import re

import pytest

from support import ROOT, Observer, short_folder
from tree import project_files, text_of
from watching import HOUR_MS, METRICS

# Where a name that is no metric is a function, a type or a shell word.
SUFFIXES = (".md", ".yml", ".json", ".service", ".conf")
SUFFIXES += tuple(f".{n}" for n in range(1, 9))


@pytest.fixture(scope="module")
def families():
    """Names of all series that an observer has, whether or not there is one
    now."""
    with short_folder() as folder:
        with Observer(folder, *METRICS, threshold_ms=HOUR_MS) as watch:
            text = watch.get().body.decode()
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names.add(name)
        if kind == "histogram":
            names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def library_names():
    """Functions and types of the library, and files named after them."""
    names = set()
    for path in project_files(".h", ".h.in", ".map"):
        if path.parts[0] == "include":
            names |= set(re.findall(r"\bvarta_\w+", text_of(path)))
    return names | {"varta_frame", "varta_secure"}


def documents():
    return [
        path
        for path in project_files(*SUFFIXES)
        if path.parts[0] in ("docs", "man", "dist") or len(path.parts) == 1
    ]


def test_every_metric_that_a_document_names_is_there(families):
    known = families | library_names()
    unknown = {
        (str(path), word)
        for path in documents()
        for word in re.findall(r"\bvarta_[a-z0-9_]+", text_of(path))
        if word not in known and not word.endswith("_")
    }
    assert unknown == set()


def test_the_search_finds_metrics_in_documents(families):
    found = {
        word
        for path in documents()
        for word in re.findall(r"\bvarta_[a-z0-9_]+", text_of(path))
    }
    assert len(found & families) > 10


def test_what_is_counted_somewhere_is_not_always_0():
    """A counter that nothing changes has no place in an alert."""
    table = (ROOT / "src/watch/tell/metrics_table.c").read_text()
    fields = re.findall(
        r'(?:COUNTER|COUNTER_NS|HISTOGRAM|FINE)\("\w+",\s*(\w+)', table
    )
    fields += re.findall(r'COUNTER_BY\("\w+", "\w+",\s*\w+,\s*(\w+)', table)
    assert len(fields) > 50
    sources = "".join(
        path.read_text()
        for path in (ROOT / "src/watch").rglob("*.c")
        if not path.name.startswith("metrics")
    )
    changed = r"\b{0}\b(\[[^]]*\])?\s*(\+\+|\+=|=[^=])|&[\w>.-]*\b{0}\b"
    dead = [f for f in fields if not re.search(changed.format(f), sources)]
    assert dead == []
