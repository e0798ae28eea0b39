"""The event file of varta-watch: who may own it, its generations, and disks that
hang."""

import os
import signal

import pytest

import support
from support import wait_for
from watching import (
    HOUR_MS,
    METRICS,
    NOBODY,
    connected,
    needs_root,
    own_frame,
    run_watch,
    wait_metric,
)


def test_the_event_file_is_for_its_owner_alone_and_is_appended_to(
    observer, agent
):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    assert watch.events_path.stat().st_mode & 0o777 == 0o600
    watch.restart()
    one.beat()
    watch.wait_event("beat", one.pid, count=2)


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "fifo"])
def test_an_event_file_that_is_not_safe_is_refused(folder, kind):
    path, other = folder / "events", folder / "other"
    other.write_text("precious")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "hard link":
        path.hardlink_to(other)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    code, out, err = run_watch(
        *("--socket", folder / "s", "--threshold-ms", HOUR_MS),
        *("--export-file", path),
    )
    assert (code, out) == (1, "")
    [line] = [x for x in err.splitlines() if "--export-file" in x]
    assert f"'{path}'" in line
    assert other.read_text() == "precious"
    assert not (folder / "s").exists()


@needs_root
def test_an_event_file_of_another_user_is_refused(folder):
    path = folder / "events"
    path.write_text("")
    os.chown(path, NOBODY, NOBODY)
    code, _, err = run_watch(
        *("--socket", folder / "s", "--threshold-ms", HOUR_MS),
        *("--export-file", path),
    )
    assert code == 1
    assert str(NOBODY) in err


def test_an_event_file_is_rotated_and_five_are_kept(observer):
    watch = observer(
        *("--export-file-max-bytes", 4096, "--export-file-sync-every", 100),
        *("--max-beat-rate", 0, "--global-beat-rate", 0),
        threshold_ms=HOUR_MS,
    )
    with connected(watch.socket_path) as sock:
        for nonce in range(1, 1501):
            sock.send(own_frame(nonce=nonce))
    paths = [watch.events_path]
    paths += [watch.events_path.with_suffix(f".tsv.{i}") for i in range(1, 7)]

    def last_is_written():
        # It may just have been moved away.
        rows = [r for p in paths[:2] for r in support.read_events(p)]
        return "1500" in {row.nonce for row in rows}

    wait_for(last_is_written)
    assert [path.exists() for path in paths] == [True] * 6 + [False]
    rows = [r for p in reversed(paths[:6]) for r in support.read_events(p)]
    nonces = [int(row.nonce) for row in rows]
    assert nonces == list(range(nonces[0], 1501))
    for path in paths[1:6]:
        assert 4096 <= path.stat().st_size < 4096 + 200
        assert path.stat().st_mode & 0o777 == 0o600


# ---- a disk that hangs ----------------------------------------------------


def test_nobody_waits_while_the_event_file_is_synced(
    observer, hanging_disk
):
    watch = observer(
        *(*METRICS, "--export-file-sync-every", 1),
        *("--export-file-max-bytes", 4096, "--iteration-budget-ms", 1900),
        *("--max-beat-rate", 0, "--global-beat-rate", 0),
        *("--shutdown-grace-ms", 100),
        threshold_ms=HOUR_MS,
        environment=hanging_disk,
    )
    with connected(watch.socket_path) as sock:
        for nonce in range(1, 501):
            sock.send(own_frame(nonce=nonce))
        metrics = wait_metric(watch, "varta_beats_total", 500, pid=os.getpid())
    assert os.path.exists(f"{watch.events_path}.1")
    assert metrics.value("varta_observer_iteration_budget_exceeded_total") == 0
    assert metrics.value("varta_observer_late_total") == 0


def test_the_end_waits_for_the_event_file_as_long_as_it_may(
    observer, agent, hanging_disk
):
    watch = observer(
        *("--export-file-sync-every", 1, "--shutdown-grace-ms", 100),
        threshold_ms=HOUR_MS,
        environment=hanging_disk,
    )
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    assert watch.stop() == 0
    assert "event file's disk does not answer" in watch.log()
    assert len(watch.events("beat", one.pid)) == 1


def test_a_file_that_was_moved_away_is_begun_anew_on_sighup(observer, agent):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    moved = watch.events_path.with_name("events of yesterday")
    watch.events_path.rename(moved)
    watch.process.send_signal(signal.SIGHUP)
    wait_for(watch.events_path.exists)
    one.beat()
    [row] = watch.wait_event("beat", one.pid)
    assert row.nonce == "2"
    assert "\tbeat\t" in moved.read_text()
