"""The audit trail as varta-watch writes it."""

import os
import signal
import stat

import pytest

from audit import (
    HEADER,
    Book,
    generations,
    read,
    rows_of,
    verify,
    wait_rows,
)
from commands import stall, write_program
from support import wait_for
from watching import METRICS, run_watch, wait_metric


@pytest.fixture
def path(folder):
    return folder / "audit"


def assert_good(path):
    code, out, err = verify(path)
    assert (code, err) == (0, ""), (out, err)
    rows = read(path)
    assert out.splitlines()[-1] == f"last chain: {rows[-1].link.hex()}"
    return rows


def kinds(rows):
    return [row.kind for row in rows]


# ---- what is in it --------------------------------------------------------


def test_each_step_of_a_recovery_has_its_row(observer, agent, folder, path):
    command = write_program(folder / "cmd", "#!/bin/sh\necho abc\nexit 3\n")
    watch = observer(
        *("--recovery-exec", f"{command} --token hunter2 {{pid}}"),
        *("--recovery-audit-file", path, "--recovery-debounce-ms", 3_600_000),
        threshold_ms=50,
    )
    one = agent(watch.socket_path)
    stall(watch, one)
    wait_rows(path, "complete")
    stall(watch, one, n=2)
    wait_rows(path, "refused")
    pid = watch.pid
    watch.stop()

    boot, spawn, complete, refused = assert_good(path)
    assert kinds([boot, spawn, complete, refused]) == [
        *("boot", "spawn", "complete", "refused")
    ]
    assert (boot.seq, boot.pid, boot.observer_ns) == (1, pid, 0)
    assert boot.rest == ["-", "fresh"]
    length = len(f"{command} --token hunter2 {one.pid}")
    child, *rest = spawn.rest
    assert spawn.pid == one.pid
    assert rest == ["exec", str(command), "inline", str(length)]
    assert complete.pid == one.pid
    assert complete.rest[:4] == [child, "reaped", "3", "-"]
    assert int(complete.rest[4]) > 0
    assert complete.rest[5:] == ["4", "0", "false"]
    assert refused.rest == ["debounced"]
    assert 0 < spawn.observer_ns < complete.observer_ns < refused.observer_ns
    assert boot.wall_ms <= spawn.wall_ms <= refused.wall_ms
    # What a command is called with may be secret.
    assert "hunter2" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_begun_without_a_recovery_command_as_well(observer, path):
    observer("--recovery-audit-file", path).stop()
    assert kinds(assert_good(path)) == ["boot"]


def test_commands_that_are_killed_at_the_end_have_their_rows(
    observer, agent, folder, path
):
    command = write_program(folder / "cmd", "#!/bin/sh\nexec sleep 3600\n")
    watch = observer(
        *("--recovery-exec", command, "--recovery-audit-file", path),
        threshold_ms=50,
    )
    agents = [agent(watch.socket_path) for _ in range(8)]
    for one in agents:
        one.beat()
    wait_rows(path, "spawn", len(agents))
    watch.stop()
    rows = assert_good(path)
    killed = [row for row in rows if row.kind == "complete"]
    assert sorted(row.pid for row in killed) == sorted(a.pid for a in agents)
    for row in killed:
        assert row.rest[1:4] == ["killed", "-", str(int(signal.SIGKILL))]


def test_rows_are_there_before_the_observer_ends(observer, agent, path):
    watch = observer(
        *METRICS,
        *("--recovery-exec", "/bin/true", "--recovery-audit-file", path),
        threshold_ms=50,
    )
    stall(watch, agent(watch.socket_path))
    metrics = wait_metric(watch, "varta_audit_rows_total", 2)
    assert metrics.value("varta_recovery_audit_dropped_total") == 0
    wait_metric(watch, "varta_audit_fsync_seconds_count", 1)
    assert kinds(read(path)) == ["boot", "spawn", "complete"]


# ---- going on -------------------------------------------------------------


def test_a_restart_goes_on_with_number_and_chain(observer, agent, path):
    watch = observer(
        *("--recovery-exec", "/bin/true", "--recovery-audit-file", path),
        threshold_ms=50,
    )
    stall(watch, agent(watch.socket_path))
    wait_rows(path, "complete")
    watch.restart()
    assert "audit file '" in watch.log()
    assert "': continued with record 4\n" in watch.log()
    watch.stop()
    rows = assert_good(path)
    assert kinds(rows) == ["boot", "spawn", "complete", "boot"]
    assert rows[3].rest == [rows[2].link.hex(), "resume"]


def test_after_a_kill_it_goes_on_with_all_that_was_synced(
    observer, agent, path
):
    watch = observer(
        *("--recovery-exec", "/bin/true", "--recovery-audit-file", path),
        *("--recovery-debounce-ms", 0),
        threshold_ms=20,
    )
    agents = [agent(watch.socket_path) for _ in range(4)]
    synced = 0
    for number in range(4):
        for one in agents:
            one.beat()
        synced = wait_rows(path, "spawn", 3 * (number + 1))[-1].seq
        watch.process.kill()
        watch.wait_end()
        watch.restart()
        assert read(path)[-1].seq > synced
    watch.stop()
    rows = assert_good(path)
    assert {row.rest[1] for row in rows if row.kind == "boot"} <= {
        *("fresh", "resume", "corrupt_tail")
    }


def test_a_torn_row_is_cut_off(observer, path):
    watch = observer("--recovery-audit-file", path)
    watch.stop()
    os.truncate(path, path.stat().st_size - 5)
    code, out, _ = verify(path)
    assert code == 1 and ":2: broken: the last line has no end" in out
    watch.restart()
    assert "torn" in watch.log() and "were cut off" in watch.log()
    watch.stop()
    [boot] = rows_of(path)
    assert (boot.seq, boot.rest) == (1, ["-", "corrupt_tail"])
    code, out, _ = verify(path)
    assert code == 0 and "cut it off" in out


def test_a_trail_of_another_implementation_is_continued(observer, path):
    book = Book().boot("fresh").refused().refused().write(path)
    observer("--recovery-audit-file", path).stop()
    rows = assert_good(path)
    assert rows[3].rest == [book.prev.hex(), "resume"]
    assert rows[3].seq == 4


def test_what_is_of_an_older_schema_is_kept(observer, path):
    old = "# varta-watch recovery audit v1\n1700\tspawn\t42\n"
    path.write_text(old)
    watch = observer("--recovery-audit-file", path)
    assert "schema v1" in watch.log()
    watch.stop()
    assert path.read_text().startswith(old + HEADER)
    code, out, _ = verify(path)
    assert code == 0
    assert f"{path}:1: lines of an earlier schema, not verified: 2\n" in out


# ---- rotation -------------------------------------------------------------


def fill_up_to(path, size, book=None):
    book = book or Book().boot("fresh")
    while len(book.text) < size:
        book.refused()
    return book.write(path)


def test_a_file_that_has_reached_its_size_is_rotated(observer, path):
    fill_up_to(path, 4096)
    options = ["--recovery-audit-max-bytes", 4096]
    watch = observer("--recovery-audit-file", path, *options)
    wait_for(lambda: len(generations(path)) == 2, what="rotation")
    watch.stop()
    rows = assert_good(path)
    first = rows_of(path)[0]
    assert first.rest == [rows_of(f"{path}.1")[-1].link.hex(), "rotation"]
    assert rows[-1].seq == first.seq
    assert not path.with_name("audit.next").exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_five_generations_are_kept(observer, path):
    for _ in range(8):
        if path.exists():
            last = rows_of(path)[-1]
            book = Book(last.link, last.seq)
            book.text = path.read_text()
            fill_up_to(path, 4096, book)
        else:
            fill_up_to(path, 4096)
        before = path.stat().st_ino
        watch = observer(
            "--recovery-audit-file", path, "--recovery-audit-max-bytes", 4096
        )
        wait_for(
            lambda: path.exists() and path.stat().st_ino != before,
            what="rotation",
        )
        watch.stop()
    assert len(generations(path)) == 6
    rows = assert_good(path)
    assert rows[0].seq > 1 and rows[0].rest[1] == "rotation"


# ---- what it refuses ------------------------------------------------------


def assert_refused(folder, path, *words):
    code, out, err = run_watch(
        *("--socket", folder / "other.sock", "--threshold-ms", 1000),
        *("--recovery-audit-file", path, "--shutdown-after-secs", 0),
    )
    assert (code, out) == (1, "")
    for word in ("--recovery-audit-file", str(path), *words):
        assert word in err


def test_a_file_that_cannot_be_written_safely_ends_the_start(folder, path):
    assert_refused(folder, folder / "none" / "audit", "No such file")
    target = folder / "target"
    target.touch()
    path.symlink_to(target)
    assert_refused(folder, path, "symbolic link")
    path.unlink()
    path.hardlink_to(target)
    assert_refused(folder, path, "2 hard links, need 1")
    assert target.read_bytes() == b""


def test_two_observers_do_not_share_a_file(observer, folder, path):
    watch = observer("--recovery-audit-file", path)
    assert_refused(folder, path, "another observer")
    watch.stop()
    assert kinds(assert_good(path)) == ["boot"]


def test_a_file_that_others_may_write_is_warned_about(observer, path):
    Book().boot("fresh").write(path)
    path.chmod(0o660)
    watch = observer("--recovery-audit-file", path)
    assert "mode 0660, others may write it" in watch.log()
