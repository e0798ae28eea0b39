"""The observer's own health: watchdogs, heartbeat file, service manager."""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import sys
import time

import pytest

from support import WATCH, Agent, Observer, process_state, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    connected,
    held,
    own_frame,
    run_watch,
    wait_metric,
)

ABORTED = -signal.SIGABRT

# Looked at 40 times a second, so that a test need not wait for long.
OFTEN = {"WATCHDOG_USEC": "100000"}

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def threads(watch):
    return {int(name) for name in os.listdir(f"/proc/{watch.pid}/task")}


def switches(watch, thread):
    """How often a thread has gone to sleep."""
    text = pathlib.Path(f"/proc/{watch.pid}/task/{thread}/status").read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M)[1])


def let_it_look(watch, times):
    """Until the watchdog thread has gone to sleep so often again."""
    [dog] = threads(watch) - {watch.pid}
    start = switches(watch, dog)
    wait_for(
        lambda: switches(watch, dog) >= start + times, what=f"{times} looks"
    )


def notices(watch):
    """All that the service manager has been told and not read yet."""
    lines = []
    while True:
        notice = watch._take_notice(0)
        if notice is None:
            return lines
        lines += notice.splitlines()


def wait_notice_that(watch, pattern):
    """The first line that matches, from now on."""

    def seen():
        for line in notices(watch):
            found = re.fullmatch(pattern, line)
            if found:
                return found
        return None

    return wait_for(seen, what=pattern, step_s=0.02)


@contextlib.contextmanager
def hung(watch):
    """The main thread stands still as soon as it waits, the others go on. It
    goes on at the end, if there is still one."""
    wait_for(lambda: process_state(watch.pid) == "S", what="sleep")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 3
    libc.ptrace.restype = ctypes.c_long

    def ptrace(request):
        if libc.ptrace(request, watch.pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    try:
        ptrace(PTRACE_SEIZE)
    except PermissionError:
        pytest.skip("needs privilege: ptrace")
    ptrace(PTRACE_INTERRUPT)
    _, status = os.waitpid(watch.pid, 0)
    assert os.WIFSTOPPED(status)
    yield
    with contextlib.suppress(ProcessLookupError):
        if watch.process.poll() is None:
            ptrace(PTRACE_DETACH)


# ---- a service manager that waits for WATCHDOG=1 --------------------------


def test_there_is_one_thread_unless_a_watchdog_is_asked_for(observer):
    watch = observer()
    watch.wait_notice("STATUS=agents 0, stalls 0, exits 0")
    assert threads(watch) == {watch.pid}


def test_a_manager_that_waits_is_told_that_all_is_well(observer):
    watch = observer(environment=OFTEN, threshold_ms=HOUR_MS)
    for _ in range(3):
        watch.wait_notice("WATCHDOG=1")
    assert len(threads(watch)) == 2


def test_nothing_is_told_after_stopping(observer):
    watch = observer(environment=OFTEN)
    watch.wait_notice("WATCHDOG=1")
    assert watch.stop() == 0
    told = notices(watch)
    assert told[-1] == "STOPPING=1"
    assert told.count("STOPPING=1") == 1


def test_a_watchdog_of_another_process_is_none_of_ours(observer):
    watch = observer(environment={**OFTEN, "WATCHDOG_PID": "1"})
    watch.wait_notice("STATUS=agents 0, stalls 0, exits 0")
    assert threads(watch) == {watch.pid}


def test_a_watchdog_of_this_very_process_is_ours(observer):
    watch = observer(
        environment=OFTEN,
        program=["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", WATCH],
    )
    watch.wait_notice("WATCHDOG=1")


def test_a_watchdog_time_that_is_no_number_is_warned_of(observer):
    watch = observer(environment={"WATCHDOG_USEC": "8s"})
    watch.wait_notice("STATUS=agents 0, stalls 0, exits 0")
    assert threads(watch) == {watch.pid}
    assert "WATCHDOG_USEC '8s'" in watch.log()


def test_a_watchdog_without_a_socket_is_warned_of(folder):
    code, _, err = run_watch(
        "--socket",
        folder / "varta.sock",
        "--threshold-ms",
        HOUR_MS,
        "--shutdown-after-secs",
        0,
        env={**os.environ, **OFTEN, "NOTIFY_SOCKET": ""},
    )
    assert code == 0
    assert "no NOTIFY_SOCKET" in err


# ---- a loop that does not hang --------------------------------------------


def test_an_idle_observer_is_not_shot_and_not_woken(observer):
    watch = observer(
        "--self-watchdog-secs", 1, environment=OFTEN, threshold_ms=HOUR_MS
    )
    watch.wait_notice("WATCHDOG=1")
    wait_for(lambda: process_state(watch.pid) == "S", what="sleep")
    before = switches(watch, watch.pid)
    # Looks are 25 ms apart: for more than twice the deadline.
    let_it_look(watch, 90)
    assert switches(watch, watch.pid) == before
    assert watch.process.poll() is None


def test_an_observer_with_work_is_not_shot(observer, agent):
    watch = observer(
        "--self-watchdog-secs", 1, environment=OFTEN, threshold_ms=100
    )
    one = agent(watch.socket_path)
    [dog] = threads(watch) - {watch.pid}
    end = switches(watch, dog) + 60
    while switches(watch, dog) < end:
        one.beat()
        time.sleep(0.01)
    assert watch.process.poll() is None


def test_a_stopped_observer_is_not_shot_when_it_goes_on(observer):
    watch = observer(
        "--self-watchdog-secs", 1, environment=OFTEN, threshold_ms=HOUR_MS
    )
    with connected(watch.socket_path) as sock:
        for nonce in (1, 2):
            with held(watch):
                sock.send(own_frame(nonce=nonce))
                time.sleep(1.2)  # longer than the deadline
        watch.wait_event("beat", os.getpid(), count=2)
    let_it_look(watch, 10)
    assert watch.process.poll() is None


# ---- a loop that hangs ----------------------------------------------------


def shot(watch, words):
    assert watch.wait_end() == ABORTED
    last = watch.log().splitlines()[-1]
    assert last.startswith("varta-watch: the loop hangs: "), watch.log()
    assert words in last
    assert last.endswith("; aborting")


def test_a_loop_that_does_not_wake_in_time_is_shot(observer, agent):
    watch = observer("--self-watchdog-secs", 1, threshold_ms=300)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    with hung(watch):
        shot(watch, "it waits for ")


def test_a_loop_that_leaves_beats_unread_is_shot(observer):
    watch = observer("--self-watchdog-secs", 1, threshold_ms=HOUR_MS)
    watch.wait_notice("STATUS=agents 0, stalls 0, exits 0")
    with connected(watch.socket_path) as sock, hung(watch):
        sock.send(own_frame())
        shot(watch, "beats have been waiting for ")


def test_it_is_shot_under_a_manager_without_asking_for_it(observer):
    watch = observer(environment=OFTEN, threshold_ms=HOUR_MS)
    watch.wait_notice("WATCHDOG=1")
    with connected(watch.socket_path) as sock, hung(watch):
        sock.send(own_frame())
        shot(watch, ", deadline 4000 ms")


def test_the_line_is_plain_in_a_log_of_json(observer):
    watch = observer(
        "--self-watchdog-secs", 1, "--log-format", "json", threshold_ms=HOUR_MS
    )
    with connected(watch.socket_path) as sock, hung(watch):
        sock.send(own_frame())
        shot(watch, "")


@contextlib.contextmanager
def full_standard_error():
    """The program for Observer, with a standard error that can be made to
    take no more: yields it and a function that fills it."""
    read_fd, write_fd = os.pipe()
    os.set_inheritable(write_fd, True)

    def fill():
        os.set_blocking(write_fd, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_fd, b"-" * 4096)
        os.set_blocking(write_fd, True)

    path = f"/proc/{os.getpid()}/fd/{write_fd}"
    try:
        yield ["sh", "-c", f'exec "$@" 2>{path}', "sh", WATCH], fill
    finally:
        os.close(read_fd)
        os.close(write_fd)


def test_a_loop_that_hangs_is_shot_although_nobody_can_be_told(folder):
    with full_standard_error() as (program, fill):
        watch = Observer(
            folder, "--self-watchdog-secs", 1, threshold_ms=HOUR_MS,
            program=program,
        ).start()
        fill()
        with connected(watch.socket_path) as sock, hung(watch):
            sock.send(own_frame())
            assert watch.wait_end() == ABORTED
        watch.close()


def test_an_observer_whose_log_nobody_reads_is_not_shot(folder):
    with full_standard_error() as (program, fill):
        watch = Observer(
            folder, "--self-watchdog-secs", 1, threshold_ms=100,
            program=program, environment=OFTEN,
        ).start()
        with Agent(watch.socket_path) as one:
            one.beat()
            watch.wait_event("beat", one.pid)
            fill()
            one.kill()
            watch.wait_event("exit", one.pid)
            let_it_look(watch, 10)
        assert watch.stop() == 0
        watch.close()


# ---- the heartbeat file ---------------------------------------------------


def read_heartbeat(path):
    passes, observer_ns = path.read_text().splitlines()[0].split(" ")
    return int(passes), int(observer_ns)


def wait_heartbeat_after(path, last):
    def newer():
        now = read_heartbeat(path)
        return now if now[0] > last[0] and now[1] > last[1] else None

    return wait_for(newer, what=f"heartbeat after {last}")


def test_the_heartbeat_of_an_idle_observer_goes_on(folder, observer):
    path = folder / "heartbeat"
    watch = observer("--heartbeat-file", path, threshold_ms=HOUR_MS)
    wait_for(path.exists, what="heartbeat file")
    last = read_heartbeat(path)
    for _ in range(3):
        last = wait_heartbeat_after(path, last)
    assert path.stat().st_mode & 0o777 == 0o600
    assert watch.stop() == 0
    # It stays, and nothing else does.
    assert read_heartbeat(path) >= last
    assert [p.name for p in folder.glob("heartbeat*")] == ["heartbeat"]


def test_the_heartbeat_of_a_stopped_observer_stands_still(folder, observer):
    path = folder / "heartbeat"
    watch = observer("--heartbeat-file", path, threshold_ms=HOUR_MS)
    wait_for(path.exists, what="heartbeat file")
    with held(watch):
        last = read_heartbeat(path)
        time.sleep(1.5)
        assert read_heartbeat(path) == last
    wait_heartbeat_after(path, last)


def test_a_heartbeat_that_cannot_be_written_is_told_and_tried_again(
    folder, observer
):
    path = folder / "later" / "heartbeat"
    watch = observer("--heartbeat-file", path, *METRICS, threshold_ms=HOUR_MS)
    wait_metric(watch, "varta_heartbeat_errors_total", 1)
    assert f"cannot write heartbeat file '{path}'" in watch.log()
    path.parent.mkdir()
    wait_for(path.exists, what="heartbeat file")


# ---- the hardware watchdog ------------------------------------------------


@pytest.mark.parametrize(
    "device, reason",
    [
        ("/dev/null", "not a watchdog"),
        ("/", "not a character device"),
        ("{folder}/file", "not a character device"),
        ("{folder}/none", "cannot open"),
    ],
)
def test_what_is_no_hardware_watchdog_stops_the_start(folder, device, reason):
    (folder / "file").write_text("precious")
    device = device.format(folder=folder)
    code, out, err = run_watch(
        "--socket",
        folder / "varta.sock",
        "--threshold-ms",
        HOUR_MS,
        "--hw-watchdog",
        device,
        "--self-watchdog-secs",
        1,
    )
    assert (code, out) == (1, "")
    assert f"--hw-watchdog: device '{device}': {reason}" in err
    assert "started" not in err
    assert not (folder / "varta.sock").exists()
    assert (folder / "file").read_text() == "precious"


def test_check_does_not_touch_the_hardware_watchdog(folder):
    code, _, _ = run_watch(
        "--check",
        "--socket",
        folder / "varta.sock",
        "--threshold-ms",
        HOUR_MS,
        "--hw-watchdog",
        "/dev/null",
    )
    assert code == 0


# ---- what the manager shows -----------------------------------------------


def test_the_status_line_tells_numbers_when_they_change(observer, agent):
    watch = observer(threshold_ms=HOUR_MS)
    watch.wait_notice("STATUS=agents 0, stalls 0, exits 0")
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat()
    two.beat()
    wait_notice_that(watch, "STATUS=agents 2, stalls 0, exits 0")
    one.kill()
    wait_notice_that(watch, "STATUS=agents 2, stalls 0, exits 1")


def test_the_status_line_is_told_once_a_second_at_most(observer, agent):
    watch = observer(threshold_ms=HOUR_MS)
    start = time.monotonic()
    lines = []
    for _ in range(20):
        one = agent(watch.socket_path)
        one.beat()
        watch.wait_event("beat", one.pid)
        lines += [n for n in notices(watch) if n.startswith("STATUS=")]
    assert 1 <= len(lines) <= 2 + time.monotonic() - start


# Sends to the service manager until it has more to read than the kernel keeps,
# and then becomes the observer.
CROWD = """
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.setblocking(False)
    try:
        while True:
            sock.sendto(b"X_CROWD=1\\n", os.environ["NOTIFY_SOCKET"])
    except BlockingIOError:
        pass
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_manager_with_much_to_read_hears_all_the_same(folder):
    """Else it would end the observer, for not being ready in time."""
    crowd = [sys.executable, "-c", CROWD, WATCH]
    watch = Observer(folder, *METRICS, program=crowd, threshold_ms=HOUR_MS)
    with watch.launch():
        wait_for(watch.stdout, what="metrics address")
        assert watch.get("/healthz").status == 200
        watch.wait_notice("READY=1")


def test_a_reload_begins_with_the_time_of_it(observer):
    watch = observer(threshold_ms=HOUR_MS)
    before = time.monotonic_ns() // 1000
    watch.process.send_signal(signal.SIGHUP)
    found = wait_notice_that(watch, r"MONOTONIC_USEC=(\d+)")
    assert before <= int(found[1]) <= time.monotonic_ns() // 1000
