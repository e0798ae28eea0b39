"""How varta-watch starts and ends, what it tells a service manager, and its
log."""

import contextlib
import fcntl
import json
import os
import re
import resource
import signal
import socket
import time

import pytest

import support
from support import DEADLINE_S, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    descriptors,
    held,
    run_watch,
)

# ---- the end --------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(observer, agent, number):
    watch = observer(threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    assert watch.stop(number) == 0
    assert not watch.socket_path.exists()
    assert f"ending on signal {int(number)}" in watch.log()
    # What had happened is in the file.
    assert [row.kind for row in watch.events()] == ["join", "beat"]


def test_two_signals_are_as_good_as_one(observer):
    watch = observer(threshold_ms=HOUR_MS)
    with held(watch):
        watch.process.send_signal(signal.SIGTERM)
        watch.process.send_signal(signal.SIGINT)
    assert watch.wait_end() == 0
    assert watch.log().count("ending on signal") == 1


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGCONT])
def test_some_signals_do_not_end_it(observer, agent, number):
    watch = observer(threshold_ms=HOUR_MS)
    watch.process.send_signal(number)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)


@pytest.mark.parametrize("seconds", ["0", "1"])
def test_it_ends_by_itself_after_a_given_time(folder, observer, seconds):
    watch = observer(
        *METRICS, "--shutdown-after-secs", seconds, threshold_ms=HOUR_MS
    )
    assert watch.wait_end() == 0
    watch.wait_notice("STOPPING=1")
    assert not watch.socket_path.exists()
    assert watch.events_path.exists()
    assert watch.metrics_address()


def test_the_largest_times_are_no_trouble(observer, agent):
    longest = str(2**64 - 1)
    watch = observer(
        *METRICS,
        *("--shutdown-after-secs", longest),
        *("--recovery-debounce-ms", longest),
        *("--recovery-timeout-ms", longest),
        *("--recovery-exec", "/bin/true"),
        threshold_ms=longest,
    )
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    assert watch.metrics().value("varta_watch_pids_tracked") == 1
    assert watch.stop() == 0


def test_the_largest_table_is_no_trouble(observer, agent):
    watch = observer("--tracker-capacity", 1048576, threshold_ms=200)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", "<&- 2>&-"])
def test_nothing_else_is_taken_for_a_closed_standard_descriptor(
    folder, agent, closed
):
    """Log lines must not end up in the event file, nor the address of the
    metrics."""
    watch = support.Observer(
        folder,
        *("--recovery-audit-file", folder / "audit", *METRICS),
        threshold_ms=200,
        program=["sh", "-c", f'exec "$0" "$@" {closed}', support.WATCH],
        environment={"NOTIFY_SOCKET": ""},
    )
    try:
        watch.launch()
        wait_for(watch.events_path.exists)
        one = agent(watch.socket_path)
        one.beat()
        watch.wait_event("stall", one.pid)
        found = descriptors(watch.pid)
        assert {found[n] for n in range(3) if f"{n}>&-" in closed} <= {
            "/dev/null"
        }
        assert watch.stop() == 0
    finally:
        watch.close()
    assert {len(row) for row in watch.events()} == {6}


def test_a_reader_of_its_output_that_has_gone_does_not_end_it(folder, agent):
    for stream in ("stdout", "stderr"):
        read, write = os.pipe()
        os.close(read)
        watch = support.Observer(folder, *METRICS, threshold_ms=HOUR_MS)
        code, _, _ = run_watch(
            *watch.argv[1:],
            *("--shutdown-after-secs", 0),
            **{stream: write},
        )
        os.close(write)
        assert code == 0


def test_a_limit_on_the_size_of_files_is_an_error_not_an_end(folder):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    code, _, err = run_watch(
        *("--socket", folder / "s", "--threshold-ms", HOUR_MS),
        *("--recovery-audit-file", folder / "audit"),
        preexec_fn=limit,
    )
    assert code == 1
    assert "audit'" in err and "File too large" in err
    assert not (folder / "s").exists()


@pytest.mark.parametrize("option", ["--help", "--version", "--dump-config"])
def test_a_text_that_could_not_be_printed_whole_is_a_failure(folder, option):
    with open("/dev/full", "w") as full:
        code, _, err = run_watch(
            *("--socket", folder / "s", "--threshold-ms", HOUR_MS, option),
            stdout=full,
        )
    assert code == 1
    assert "standard output" in err


def test_a_second_signal_does_not_cut_the_end_short(
    observer, agent, folder, hanging_disk
):
    audit = folder / "audit"
    watch = observer(
        *("--recovery-audit-file", audit, "--recovery-audit-sync-every", 9),
        *("--recovery-exec", "/bin/true"),
        threshold_ms=50,
        environment=hanging_disk,
    )
    one = agent(watch.socket_path)
    one.beat()
    wait_for(lambda: "\tcomplete\t" in audit.read_text())
    watch.process.terminate()
    watch.wait_notice("STOPPING=1")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        watch.process.send_signal(number)
    assert watch.wait_end() == 0
    assert "closed after record" in watch.log()
    assert not watch.socket_path.exists()


def test_nothing_is_done_while_nothing_happens(observer, agent):
    """No pass of the loop without a reason."""
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    name = "varta_observer_passes_total"
    before = watch.metrics().value(name)
    time.sleep(1)  # how long nothing happens
    # A scrape takes a few passes of its own; a loop that polls every 10 ms
    # would have done a hundred.
    assert watch.metrics().value(name) - before < 50


# ---- the service manager --------------------------------------------------


def test_ready_is_told_once_everything_is_bound(observer):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)  # waits for READY=1
    assert watch.socket_path.is_socket()
    assert watch.get("/healthz").status == 200
    watch.process.terminate()
    watch.wait_notice("STOPPING=1")
    assert watch.wait_end() == 0


def test_an_abstract_socket_of_the_service_manager_is_found(folder):
    name = f"varta-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(DEADLINE_S)
        with support.Observer(
            folder,
            threshold_ms=HOUR_MS,
            environment={"NOTIFY_SOCKET": f"@{name}"},
        ).launch() as watch:
            assert manager.recv(100) == b"READY=1\n"
            assert watch.stop() == 0
            told = manager.recv(100)
            while told.startswith(b"STATUS="):
                told = manager.recv(100)
            assert told == b"STOPPING=1\n"


@pytest.mark.parametrize(
    "address", ["/nonexistent/notify", "relative", "@" + "x" * 200, "@"]
)
def test_a_service_manager_that_is_not_there_does_not_matter(
    folder, address
):
    code, _, err = run_watch(
        *("--socket", folder / "s", "--threshold-ms", HOUR_MS),
        *("--shutdown-after-secs", 0),
        env={**os.environ, "NOTIFY_SOCKET": address},
    )
    assert code == 0, err
    assert "NOTIFY_SOCKET" in err


def test_a_refused_start_tells_the_service_manager_nothing(folder):
    (folder / "varta.sock").write_text("")
    watch = support.Observer(folder, threshold_ms=HOUR_MS).launch()
    try:
        assert watch.wait_end() == 1
        with pytest.raises(support.Late):
            watch.wait_notice("READY=1")
    finally:
        watch.close(expect=None)


# ---- the log --------------------------------------------------------------


def test_one_line_says_what_was_started(observer):
    watch = observer(
        *METRICS, "--tracker-capacity=7", "--socket-mode=0640", threshold_ms=250
    )
    [line] = [x for x in watch.log().splitlines() if "started: " in x]
    assert re.fullmatch(
        rf"varta-watch: started: varta-watch \S+, pid {watch.pid}, socket "
        rf"'{watch.socket_path}' mode 0640, threshold 250 ms, 7 agents at "
        rf"most, metrics {watch.metrics_address()}",
        line,
    )


def test_every_plain_line_begins_with_the_name(observer, agent):
    watch = observer(*METRICS, threshold_ms=100)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    one.kill()
    watch.wait_event("exit", one.pid)
    watch.stop()
    for line in watch.log().splitlines():
        assert line.startswith("varta-watch: ")


def test_json_lines_have_their_keys_in_order(observer, agent):
    watch = observer(
        "--log-format=json",
        "--recovery-exec=/bin/false",
        "--recovery-exec=/nonexistent/program",
        threshold_ms=100,
    )
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    wait_for(lambda: "cannot start" in watch.log())
    one.kill()
    watch.wait_event("exit", one.pid)
    watch.stop()
    lines = [json.loads(line) for line in watch.log().splitlines()]
    order = ["ts_ns", "session_id", "level", "msg"]
    order += ["pid", "child_pid", "error"]
    for line in lines:
        assert list(line) == [key for key in order if key in line]
        assert list(line)[:4] == order[:4]
        assert isinstance(line["ts_ns"], int)
        assert re.fullmatch("[0-9a-f]{16}", line["session_id"])
        assert line["level"] in ("debug", "info", "warn", "error")
    assert len({line["session_id"] for line in lines}) == 1
    [stall] = [x for x in lines if "stalled" in x["msg"]]
    assert (stall["level"], stall["pid"]) == ("warn", one.pid)
    [failed] = [x for x in lines if "cannot start" in x["msg"]]
    assert failed["level"] == "error"
    assert "No such file" in failed["error"]


@pytest.mark.parametrize(
    "level, words",
    [
        ("error", []),
        ("warn", ["stalled"]),
        ("info", ["stalled", "started", "beats again"]),
        ("debug", ["stalled", "started", "beats again", "joined"]),
    ],
)
def test_the_log_says_as_much_as_is_asked_for(observer, agent, level, words):
    watch = observer("--log-level", level, threshold_ms=100)
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("stall", one.pid)
    one.beat()
    watch.wait_event("resume", one.pid)
    watch.stop()
    found = ["stalled", "started", "beats again", "joined"]
    assert {x for x in found if x in watch.log()} == set(words)


def test_the_name_of_an_agent_cannot_break_a_line_of_the_log(
    observer, folder
):
    watch = observer("--log-level=debug", threshold_ms=100)
    program = folder / "\x1b[31m\nb"
    program.symlink_to(support.VARTA)
    pid = os.posix_spawn(
        program,
        [program, "beat", "--socket", watch.socket_path, "--every", "10ms"],
        os.environ,
    )
    watch.wait_event("join", pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    watch.wait_event("exit", pid)
    assert "\x1b" not in watch.log()
    assert all(x.startswith("varta-watch: ") for x in watch.log().splitlines())


def test_a_log_that_nobody_reads_does_not_hold_the_observer_up(folder, agent):
    fifo = folder / "log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    said = b""

    def read():
        nonlocal said
        with contextlib.suppress(BlockingIOError):
            while part := os.read(reader, 65536):
                said += part
        return said.decode()

    with support.Observer(
        folder,
        threshold_ms=50,
        program=["sh", "-c", f'exec "$0" "$@" 2>{fifo}', support.WATCH],
    ) as watch:
        one = agent(watch.socket_path)
        for n in range(1, 41):
            one.beat()
            watch.wait_event("stall", one.pid, count=n)
        assert read().count(" stalled: ") < 40
        one.beat()
        watch.wait_event("stall", one.pid, count=41)
        wait_for(lambda: " lines lost before it)" in read())
        assert watch.stop() == 0
        assert "ending on signal" in read()
    os.close(reader)
