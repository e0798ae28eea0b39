"""varta audit verify: what it finds, and how it says so."""

import json
import os
import random
import subprocess

import pytest

import support
from audit import HEADER, Book, verify


@pytest.fixture
def path(folder):
    return folder / "audit"


def usual():
    return Book().boot("fresh").refused().boot("resume", True).refused()


def three_files(path):
    """A trail that was rotated twice."""
    one = usual().write(f"{path}.2")
    two = one.next().refused().write(f"{path}.1")
    return two.next().refused().write(path)


def findings(*arguments):
    """Each as (file, line, what), and the whole object."""
    code, out, err = verify("--json", *arguments)
    assert out.count("\n") == 1
    answer = json.loads(out)
    assert code == (answer["verdict"] != "good")
    found = [(f["file"], f["line"], f["what"]) for f in answer["findings"]]
    return found, answer


# ---- good -----------------------------------------------------------------


def test_a_good_trail_is_good_through_its_files(path):
    book = three_files(path)
    code, out, err = verify(path)
    assert (code, err) == (0, "")
    assert out == (
        "good: 8 records (1 to 8) in 3 files, 4 starts\n"
        f"last chain: {book.prev.hex()}\n"
    )
    assert verify(f"{path}.2", f"{path}.1", path) == (0, out, "")
    found, answer = findings(path)
    assert found == []
    assert answer == {
        **{"verdict": "good", "breaks": 0, "findings": [], "error": None},
        "files": [f"{path}.2", f"{path}.1", str(path)],
        **{"records": 8, "first_seq": 1, "last_seq": 8, "boots": 4},
        **{"gaps": 0, "dropped": 0, "unchained": 0, "legacy_lines": 0},
        "last_chain": book.prev.hex(),
    }


def test_a_trail_may_begin_with_a_file_that_was_rotated_in(path):
    three_files(path)
    os.unlink(f"{path}.2")
    assert verify(path)[0] == 0


def test_dropped_records_are_told_and_do_not_break(path):
    book = usual()
    book.seq += 3
    book.refused().write(path)
    code, out, _ = verify(path)
    assert code == 0
    assert f"{path}:6: records before this one that the observer had" in out
    assert ": 3\n" in out and "3 records dropped" in out
    found, answer = findings(path)
    assert found == [(str(path), 6, "dropped")]
    assert (answer["gaps"], answer["dropped"]) == (1, 3)


def test_records_without_a_chain_are_told(path):
    rows = ["1\t17\t0\tboot\t12\t-\tfresh\t-", "2\t17\t5\trefused\t4\tx\t-"]
    path.write_text(HEADER + "\n".join(rows) + "\n")
    found, answer = findings(path)
    assert found == [(str(path), 2, "unlinked")]
    assert (answer["verdict"], answer["unchained"]) == ("good", 2)


# ---- broken ---------------------------------------------------------------


def test_every_changed_byte_of_a_file_is_found(path):
    text = usual().text.encode()
    chosen = random.Random(1).sample(range(len(text)), 60)
    for i in chosen:
        changed = bytearray(text)
        changed[i] ^= 1
        path.write_bytes(changed)
        code, _, err = verify(path)
        assert (code, err) == (1, ""), i


def test_a_change_is_shown_with_file_and_line(path):
    three_files(path)
    middle = path.with_name("audit.1")
    text = middle.read_text().replace("debounced", "resumed")
    middle.write_text(text)
    code, out, _ = verify(path)
    assert code == 1
    assert f"{middle}:3: broken: the chain does not lead here" in out
    assert "broken: 8 records (1 to 8) in 3 files, 4 starts, 1 break\n" in out


def test_a_removed_record_is_found_and_not_taken_for_a_dropped_one(path):
    lines = usual().text.splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    found, answer = findings(path)
    assert found == [(str(path), 3, "prev")]
    assert answer["dropped"] == 0


def test_a_missing_generation_is_found(path):
    three_files(path)
    os.unlink(f"{path}.1")
    found, _ = findings(path)
    assert found == [(str(path), 2, "prev")]


def test_files_in_a_wrong_order_are_found(path):
    three_files(path)
    assert verify(f"{path}.1", f"{path}.2", path)[0] == 1


def test_a_trail_that_was_begun_anew_is_found(path):
    usual().write(f"{path}.1")
    usual().write(path)
    found, _ = findings(path)
    assert found[0] == (str(path), 2, "starts_over")


def test_what_is_no_trail_is_not_good(path):
    for text in ("", HEADER, "root:x:0:0\n", HEADER[:10]):
        path.write_text(text)
        code, out, err = verify(path)
        assert (code, err) == (1, "")
        assert "broken: " in out
    path.write_bytes(random.Random(2).randbytes(300_000))
    assert verify(path)[0] == 1


def test_a_great_many_breaks_are_counted_and_some_shown(path):
    book = usual()
    for _ in range(500):
        book.prev = bytes(32)
        book.refused()
    book.write(path)
    code, out, _ = verify(path)
    assert code == 1
    assert len(out.splitlines()) == 103 and "and 400 more\n" in out
    found, answer = findings(path)
    assert len(found) == 100 and answer["breaks"] == 500


# ---- how it is asked ------------------------------------------------------


def test_quietly_the_exit_code_tells(path):
    usual().write(path)
    assert verify("--quiet", path) == (0, "", "")
    path.write_text(usual().text[:-2])
    assert verify("--quiet", path) == (1, "", "")


def test_a_file_that_cannot_be_read_is_named(path, folder):
    for name in (path, folder):
        code, out, err = verify(name)
        assert (code, out) == (1, "")
        assert f"file '{name}':" in err
    usual().write(path)
    code, out, err = verify("--json", path, folder / "none")
    answer = json.loads(out)
    assert code == 1 and answer["verdict"] == "error"
    assert "No such file" in answer["error"] and "none" in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--quiet"],
        ["--json", "--quiet", "file"],
        ["--unknown", "file"],
        ["--json=1", "file"],
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments):
    code, out, err = verify(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("varta audit: ")


@pytest.mark.parametrize("arguments", [[], ["write"], ["--quiet"]])
def test_it_is_to_be_said_what_to_do(arguments):
    done = subprocess.run(
        [support.VARTA, "audit", *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "verify" in done.stderr


def test_help_is_there(path):
    code, out, err = verify("--help")
    assert (code, err) == (0, "")
    assert "--json" in out and "FILE.1" in out


def test_a_name_that_is_no_text_is_a_name(folder):
    name = os.fsencode(folder) + b"/a\xffb"
    with open(name, "w") as f:
        f.write(usual().text)
    code, out, _ = verify("--json", name)
    assert code == 0
    assert json.loads(out)["files"] == [f"{folder}/a\\xffb"]


def test_a_large_file_needs_little_memory(path):
    with open(path, "w") as f:
        f.write(usual().text)
        f.truncate(200_000_000)
    process = subprocess.Popen(
        [support.VARTA, "audit", "verify", path], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1
    # Half of the file, in KiB; Python's own memory before exec counts, too.
    assert usage.ru_maxrss < 100_000
