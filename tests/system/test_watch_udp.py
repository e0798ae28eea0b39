"""Beats over UDP: what must be said before they are taken, and plain ones."""

import os
import socket

import pytest

import support
from commands import Reporter, wait_outcome
from sealing import hex_key, udp_address, udp_socket
from support import Frame
from watching import (
    HOUR_MS,
    METRICS,
    connected,
    needs_ipv6,
    run_watch,
    wait_metric,
)

PLAIN = ["--udp-port", "0", "--i-accept-plaintext-udp"]
RECOVERY = ["--recovery-exec", "/bin/true"]
ACK_PLAIN = "--plaintext-udp-i-accept-recovery-on-unauthenticated-transport"
ACK_SEALED = "--secure-udp-i-accept-recovery-on-unauthenticated-transport"
ACK_REACH = "--i-accept-secure-udp-non-loopback"
ANY = ["--udp-bind-addr", "0.0.0.0"]
REMOTE_PID = 4_000_000  # above what this kernel may give


@pytest.fixture
def key(folder):
    return support.write_secret(folder / "key", hex_key()[1])


@pytest.fixture
def start(folder, key):
    """start(*options): exit code and standard error; {key} is a key file."""

    def run(*options):
        options = [key if option == "KEY" else option for option in options]
        code, out, err = run_watch(
            "--socket",
            folder / "varta.sock",
            "--threshold-ms",
            "1000",
            "--shutdown-after-secs",
            "0",
            *options,
        )
        assert out == ""
        return code, err

    return run


# ---- what must be said ----------------------------------------------------


@pytest.mark.parametrize(
    "options, missing",
    [
        (["--udp-port=0"], "--i-accept-plaintext-udp"),
        (["--udp-port=0"], "--key-file"),
        (["--udp-port=0", *RECOVERY], "--i-accept-plaintext-udp"),
        ([*PLAIN, *RECOVERY], ACK_PLAIN),
        ([*PLAIN, *RECOVERY, ACK_SEALED], ACK_PLAIN),
        (["--udp-port=0", "--key-file=KEY", *ANY], ACK_REACH),
        (["--udp-port=0", "--key-file", "KEY", *RECOVERY], ACK_SEALED),
        (
            ["--udp-port=0", "--key-file", "KEY", *RECOVERY, ACK_PLAIN],
            ACK_SEALED,
        ),
        (
            ["--udp-port=0", "--master-key-file", "KEY", *ANY, *RECOVERY]
            + [ACK_SEALED],
            ACK_REACH,
        ),
        ([*PLAIN, "--key-file", "KEY", *ANY], ACK_REACH),
    ],
)
def test_what_was_not_accepted_is_named_before_anything_is_bound(
    start, folder, options, missing
):
    code, err = start(*options)
    assert code == 2
    assert missing in err
    assert not (folder / "varta.sock").exists()


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        [*PLAIN, *RECOVERY, ACK_PLAIN],
        ["--udp-port=0", "--key-file", "KEY"],
        ["--udp-port=0", "--accepted-key-file", "KEY"],
        ["--udp-port=0", "--master-key-file", "KEY"],
        ["--udp-port=0", "--key-file", "KEY", *ANY, ACK_REACH],
        ["--udp-port=0", "--key-file", "KEY", *RECOVERY, ACK_SEALED],
        ["--udp-port=0", "--key-file", "KEY", "--udp-bind-addr=127.1.2.3"],
        # Acknowledgements of what is not there, and what needs none.
        ["--i-accept-plaintext-udp", ACK_PLAIN, ACK_SEALED, ACK_REACH],
        ["--udp-bind-addr", "203.0.113.7"],
        ["--key-file", "KEY"],
        [*PLAIN, "--udp-bind-addr=127.0.0.1"],
    ],
)
def test_what_was_accepted_is_started(start, options):
    code, err = start(*options)
    assert code == 0, err


@pytest.mark.parametrize(
    "option, word",
    [
        ("--udp-port=65536", "65535"),
        ("--udp-port=x", "port"),
        ("--udp-port=-1", "port"),
        ("--udp-bind-addr=localhost", "numeric"),
        ("--udp-bind-addr=[::1]", "numeric"),
        ("--udp-bind-addr=127.0.0.1:5", "numeric"),
        ("--udp-senders-max=0", "at least 1"),
        ("--udp-senders-max=65537", "at most 65536"),
    ],
)
def test_values_out_of_range_are_refused(start, option, word):
    code, err = start(*PLAIN, option)
    assert code == 2
    assert word in err


def test_plain_beats_are_warned_of_loudly(start):
    assert "WITHOUT authentication" in start(*PLAIN)[1]
    assert "WITHOUT" not in start("--udp-port=0", "--key-file", "KEY")[1]


def test_sealed_beats_from_other_hosts_are_warned_of(start):
    sealed = ["--udp-port=0", "--key-file", "KEY"]
    assert "non-loopback" in start(*sealed, *ANY, ACK_REACH)[1]
    assert "non-loopback" not in start(*sealed)[1]


def test_recovery_on_the_word_of_the_network_is_warned_of(start):
    word = "over the network alone"
    sealed = ["--udp-port=0", "--key-file", "KEY", ACK_SEALED]
    assert word in start(*PLAIN, *RECOVERY, ACK_PLAIN)[1]
    assert word in start(*sealed, *RECOVERY)[1]
    assert word not in start(*sealed)[1]


def test_a_port_in_use_is_named(start, folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        port = sock.getsockname()[1]
        code, err = start(
            "--udp-port", str(port), "--i-accept-plaintext-udp"
        )
    assert code == 1
    assert f"0.0.0.0:{port}" in err
    assert not (folder / "varta.sock").exists()


def test_where_it_is_bound_unless_told(observer, folder, key):
    assert udp_address(observer(*PLAIN))[0] == "0.0.0.0"
    other = folder / "other"
    other.mkdir(mode=0o700)
    watch = observer("--udp-port=0", "--key-file", key, where=other)
    assert udp_address(watch)[0] == "127.0.0.1"


@needs_ipv6
def test_ipv6(observer):
    watch = observer(*PLAIN, "--udp-bind-addr", "::1")
    with udp_socket(udp_address(watch)) as sock:
        sock.send(Frame(pid=REMOTE_PID).encode())
    watch.wait_event("beat", REMOTE_PID)


# ---- plain beats ----------------------------------------------------------


@pytest.fixture
def plain(observer):
    """plain(*options): an observer of this host's own UDP, and a socket to
    it."""
    sockets = []

    def run(*options, **settings):
        watch = observer(
            *PLAIN, "--udp-bind-addr=127.0.0.1", *METRICS, *options, **settings
        )
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets.append(sock)
        sock.connect(udp_address(watch))
        return watch, sock

    yield run
    for sock in sockets:
        sock.close()


def test_an_agent_of_the_network_lives_and_stalls(plain):
    watch, sock = plain(threshold_ms=100)
    sock.send(Frame(pid=REMOTE_PID, payload=7).encode())
    [row] = watch.wait_event("beat", REMOTE_PID)
    assert row.payload == "7"
    watch.wait_event("stall", REMOTE_PID)
    sock.send(Frame(pid=REMOTE_PID, nonce=2).encode())
    watch.wait_event("resume", REMOTE_PID)
    metrics = watch.metrics()
    labels = {"pid": REMOTE_PID, "source": "udp"}
    assert metrics.value("varta_beats_total", **labels) == 2
    assert metrics.value("varta_beats_total", pid=REMOTE_PID) is None


def test_a_pid_of_the_network_is_not_a_process_of_this_host(plain, agent):
    watch, sock = plain(threshold_ms=HOUR_MS)
    local = agent(watch.socket_path)
    local.beat(payload=1)
    watch.wait_event("beat", local.pid)
    # The same number elsewhere: no conflict, and no end with the process.
    sock.send(Frame(pid=local.pid, nonce=1, payload=2).encode())
    rows = watch.wait_event("beat", local.pid, count=2)
    assert [row.payload for row in rows] == ["1", "2"]
    metrics = watch.metrics()
    name = "varta_beats_total"
    assert metrics.value(name, pid=local.pid) == 1
    assert metrics.value(name, pid=local.pid, source="udp") == 1
    local.kill()
    assert len(watch.wait_event("exit", local.pid)) == 1
    sock.send(Frame(pid=local.pid, nonce=2, payload=3).encode())
    watch.wait_event("beat", local.pid, count=3)
    assert len(watch.events("exit")) == 1
    assert watch.metrics().value("varta_watch_pids_tracked") == 2


def test_a_silent_agent_whose_pid_is_a_process_here_stalls_as_silent(plain):
    watch, sock = plain(threshold_ms=100)
    sock.send(Frame(pid=os.getpid()).encode())
    watch.wait_event("stall", os.getpid())
    metrics = watch.metrics()
    assert metrics.value("varta_stalls_all_total", reason="silent") == 1
    assert metrics.value("varta_stalls_all_total", reason="gone") == 0
    assert not watch.events("exit") + watch.events("leave")


def test_other_datagrams_are_counted_and_do_no_harm(plain):
    watch, sock = plain(threshold_ms=HOUR_MS)
    for size in (0, 1, 31, 33, 60, 64, 1400):
        sock.send(bytes(size))
    sock.send(bytes(32))
    sock.send(Frame(pid=2**22 + 1).encode())
    sock.send(Frame(pid=REMOTE_PID).encode())
    watch.wait_event("beat", REMOTE_PID)
    metrics = watch.metrics()
    assert metrics.value("varta_truncated_datagrams_total") == 7
    assert metrics.value("varta_decode_errors_total", kind="bad_magic") == 1
    name = "varta_frame_rejected_pid_above_max_total"
    assert metrics.value(name) == 1
    assert [row.payload for row in watch.events("decode")] == ["BadMagic"]


def test_recovery_needs_that_the_operator_vouches_for_the_network(
    observer, folder
):
    reporter = Reporter(folder)
    watch = observer(
        *PLAIN,
        *METRICS,
        ACK_PLAIN,
        "--recovery-exec",
        reporter.path,
        threshold_ms=100,
    )
    host, port = udp_address(watch)
    with udp_socket(("127.0.0.1", port)) as sock:
        sock.send(Frame(pid=REMOTE_PID).encode())
        [report] = reporter.reports()
    assert report["environ"]["VARTA_AGENT_PID"] == str(REMOTE_PID)
    wait_outcome(watch, "reaped_zero")


def test_the_port_cannot_change_while_running(observer, folder):
    config = folder / "varta.conf"

    def write(port):
        config.write_text(
            f"udp_port = {port}\ni_accept_plaintext_udp = true\n"
        )
        config.chmod(0o600)

    write(0)
    watch = observer("--config", config, threshold_ms=HOUR_MS)
    write(9)
    watch.process.send_signal(support.signal.SIGHUP)
    support.wait_for(
        lambda: ":1: udp_port: cannot be changed while running" in watch.log(),
        what="refused reload",
    )


def test_dumped_options_are_read_again(folder, key):
    options = ["--udp-port=123", "--udp-bind-addr=::1", "--key-file", key]
    options += ["--udp-senders-max=7", "--state-dir", folder, ACK_SEALED]
    options += ["--accept-v01-frames"]
    needed = ["--socket", "/s", "--threshold-ms", "1000"]
    code, first, err = run_watch(*needed, *options, "--dump-config")
    assert code == 0, err
    path = folder / "dumped"
    path.write_text(first)
    path.chmod(0o600)
    code, second, err = run_watch("--config", path, "--dump-config")
    assert (code, second) == (0, first), err
    assert 'udp_bind_addr = "::1"' in first


# ---- version 1 ------------------------------------------------------------


def v01(pid, nonce=1, payload=0):
    head = b"VA\1\0" + pid.to_bytes(4, "little") + bytes(8)
    return head + nonce.to_bytes(8, "little") + payload.to_bytes(8, "little")


def test_frames_of_version_1_are_taken_where_asked_for(observer):
    watch = observer("--accept-v01-frames", *METRICS, threshold_ms=HOUR_MS)
    with connected(watch.socket_path) as sock:
        sock.send(v01(os.getpid(), 1, 0x1122334455667788))
        sock.send(v01(os.getpid() + 1, 2))
        [row] = watch.wait_event("beat", os.getpid())
    assert row.payload == str(0x55667788)
    wait_metric(watch, "varta_frame_auth_failures_total", 1)
    assert watch.metrics().value("varta_v01_frames_total") == 2


def test_frames_of_version_1_are_refused_unless_asked_for(observer):
    watch = observer(*METRICS, threshold_ms=HOUR_MS)
    with connected(watch.socket_path) as sock:
        sock.send(v01(os.getpid()))
        [row] = watch.wait_event("decode")
    assert row.payload == "BadVersion"


def test_frames_of_version_1_are_not_taken_from_the_network(plain):
    watch, sock = plain("--accept-v01-frames", threshold_ms=HOUR_MS)
    sock.send(v01(REMOTE_PID))
    [row] = watch.wait_event("decode")
    assert row.payload == "BadVersion"
