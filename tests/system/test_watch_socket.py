"""The socket of varta-watch: what it binds, what it leaves alone, and what it
takes away at its end."""

import os
import signal
import socket
import stat

import pytest

import support
from watching import HOUR_MS, NOBODY, needs_root, run_watch


def refused(path, **settings):
    """Start on this path, which must fail; what it says."""
    code, out, err = run_watch(
        "--socket", path, "--threshold-ms", HOUR_MS, **settings
    )
    assert (code, out) == (1, ""), err
    [line] = [line for line in err.splitlines() if "--socket" in line]
    shown = os.fsdecode(path)[:100]
    assert line.startswith(f"varta-watch: --socket: socket '{shown}"), line
    return line


def leave_stale_socket(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(os.fspath(path))


def identity(path):
    found = os.lstat(path)
    return found.st_dev, found.st_ino


# ---- who else is there ----------------------------------------------------


def test_a_second_observer_is_refused_and_the_first_goes_on(observer, agent):
    first = observer(threshold_ms=HOUR_MS)
    before = identity(first.socket_path)
    assert "another observer is using it" in refused(first.socket_path)
    assert identity(first.socket_path) == before
    one = agent(first.socket_path)
    one.beat()
    first.wait_event("beat", one.pid)
    # The second one only looked: nothing but the agent was heard.
    assert {row.kind for row in first.events()} == {"join", "beat"}


def test_the_probe_leaves_nothing_in_a_live_queue(receiver):
    refused(receiver.path)
    assert receiver.is_empty()


def test_a_stale_socket_is_replaced_and_the_log_says_so(
    folder, observer, agent
):
    path = folder / "varta.sock"
    leave_stale_socket(path)
    watch = observer(threshold_ms=HOUR_MS)
    assert "left behind by an observer that is gone" in watch.log()
    one = agent(path)
    one.beat()
    watch.wait_event("beat", one.pid)


def test_an_observer_that_was_killed_can_be_started_again(observer):
    watch = observer(threshold_ms=HOUR_MS)
    assert watch.stop(signal.SIGKILL) == -signal.SIGKILL
    assert watch.socket_path.is_socket()
    watch.restart()
    assert "taken over" in watch.log()


# ---- what is no socket ----------------------------------------------------


def test_a_regular_file_is_refused_and_kept(folder):
    path = folder / "varta.sock"
    path.write_text("precious")
    assert "not a socket" in refused(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "dead link"])
def test_whatever_else_has_the_name_is_refused_and_kept(folder, kind):
    path = folder / "varta.sock"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if kind == "link":
            leave_stale_socket(folder / "target")
        path.symlink_to(folder / "target")
    before = identity(path)
    refused(path)
    assert identity(path) == before


def test_a_stream_socket_in_use_is_refused_and_kept(folder):
    path = folder / "varta.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(path))
        other.listen()
        assert "another kind" in refused(path)
        assert path.is_socket()


# ---- the end --------------------------------------------------------------


def test_the_socket_goes_with_a_clean_end(observer):
    watch = observer(threshold_ms=HOUR_MS)
    assert watch.stop() == 0
    assert not watch.socket_path.exists()


def test_a_socket_that_is_not_ours_survives_our_end(observer):
    watch = observer(threshold_ms=HOUR_MS)
    watch.socket_path.unlink()
    with support.Receiver(watch.socket_path) as foreign:
        before = identity(foreign.path)
        assert watch.stop() == 0
        assert identity(foreign.path) == before


def test_a_file_put_in_place_of_the_socket_survives_our_end(observer):
    watch = observer(threshold_ms=HOUR_MS)
    watch.socket_path.unlink()
    watch.socket_path.write_text("precious")
    assert watch.stop() == 0
    assert watch.socket_path.read_text() == "precious"


def test_a_socket_that_is_gone_already_does_not_matter(observer):
    watch = observer(threshold_ms=HOUR_MS)
    watch.socket_path.unlink()
    assert watch.stop() == 0


def test_a_failed_start_leaves_no_socket(folder):
    path = folder / "varta.sock"
    code, _, err = run_watch(
        "--socket",
        path,
        "--threshold-ms",
        HOUR_MS,
        "--export-file",
        folder / "missing" / "events",
    )
    assert code == 1
    assert "--export-file" in err
    assert not path.exists()


# ---- the folder -----------------------------------------------------------


def test_a_folder_that_is_a_symbolic_link_is_refused(folder):
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    assert "symbolic link" in refused(folder / "link" / "varta.sock")
    assert "symbolic link" in refused(f"{folder}/link//varta.sock")
    assert list((folder / "real").iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_that_others_may_write_to_is_refused(folder, mode):
    folder.chmod(mode)
    assert f"{mode:04o}" in refused(folder / "varta.sock")


def test_a_sticky_folder_is_good_enough(folder, observer):
    folder.chmod(0o1777)
    assert observer(threshold_ms=HOUR_MS).socket_path.is_socket()


@needs_root
def test_a_folder_of_another_user_is_refused(folder):
    os.chown(folder, NOBODY, NOBODY)
    assert f"uid {NOBODY}" in refused(folder / "varta.sock")


def test_a_folder_that_is_missing_is_named_as_the_reason(folder):
    reason = refused(folder / "missing" / "varta.sock")
    assert "No such file or directory" in reason


def test_a_file_in_place_of_the_folder_is_refused(folder):
    (folder / "file").write_text("")
    refused(folder / "file" / "varta.sock")


# ---- mode and name --------------------------------------------------------


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.parametrize("mode", ["0600", "0660", "0666", "0"])
def test_the_socket_has_exactly_the_mode_asked_for(observer, mode, umask):
    before = os.umask(umask)
    try:
        watch = observer("--socket-mode", mode, threshold_ms=HOUR_MS)
    finally:
        os.umask(before)
    found = stat.S_IMODE(watch.socket_path.lstat().st_mode)
    assert found == int(mode, 8)
    # The umask is as before for everything else that is made.
    assert stat.S_IMODE(watch.events_path.stat().st_mode) == 0o600


def test_the_socket_is_for_its_owner_alone_by_default(observer):
    watch = observer(threshold_ms=HOUR_MS)
    assert stat.S_IMODE(watch.socket_path.lstat().st_mode) == 0o600


def test_a_path_with_spaces_works(spaced_folder, observer, agent):
    watch = observer(where=spaced_folder, socket_name="the socket")
    one = agent(spaced_folder / "the socket")
    one.beat()
    watch.wait_event("beat", one.pid)


def test_a_path_of_bytes_that_are_no_text_works(folder):
    path = os.fsencode(folder) + b"/\xff\xfe\n"
    code, out, err = run_watch(
        "--socket", path, "--threshold-ms", 10, "--shutdown-after-secs", 0
    )
    assert (code, out) == (0, ""), err
    assert len(err.splitlines()) == err.count("varta-watch: "), err


def test_the_longest_path_works_and_one_more_byte_is_refused(
    folder, observer, agent
):
    longest = 107 - len(f"{folder}/")
    watch = observer(socket_name="s" * longest)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    reason = refused(folder / ("s" * (longest + 1)))
    assert "108 bytes long, at most 107" in reason
    # Nothing was cut off to fit.
    assert list(folder.glob("sss*")) == [watch.socket_path]


def test_a_relative_path_is_taken_from_where_it_was_started(folder):
    with support.Receiver(folder / "varta.sock"):
        assert "another observer" in refused("varta.sock", cwd=folder)


def test_a_path_that_names_no_file_is_refused(folder):
    assert "not the name of a file" in refused(f"{folder}/")
