"""The support of the system tests does what it says, so that a failing test
means a failing program."""

import json
import os
import signal
import sys
import textwrap

import pytest

import support

VECTORS = support.ROOT / "tests" / "vectors" / "vlp-test-vectors.json"


def vectors(kind):
    return json.loads(VECTORS.read_text())[kind]


@pytest.mark.parametrize(
    "vector", vectors("crc32c_vectors"), ids=lambda v: v["id"]
)
def test_the_checksum_is_that_of_the_published_vectors(vector):
    data = bytes.fromhex(vector["input_hex"])
    assert f"{support.crc32c(data):08x}" == vector["expected_crc_hex"]


@pytest.mark.parametrize(
    "vector",
    [v for v in vectors("frame_vectors") if v["expected_decode_error"] is None],
    ids=lambda v: v["id"],
)
def test_frames_are_those_of_the_published_vectors(vector):
    fields = dict(vector["inputs"])
    fields["status"] = support.STATUS[fields["status"]]
    frame = support.Frame(**{k: int(v) for k, v in fields.items()})
    wire = bytes.fromhex(vector["expected_wire_hex"])
    assert frame.encode() == wire
    assert support.Frame.decode(wire) == frame


def test_an_agent_beats_in_its_own_name(receiver, agent):
    one, two = agent(receiver.path), agent(receiver.path)
    one.beat("degraded", 7)
    two.beat()
    first, second = receiver.take(), receiver.take()
    assert (first.pid, second.pid) == (one.pid, two.pid)
    assert one.pid != two.pid != os.getpid()
    assert (first.frame.status, first.frame.payload) == (support.DEGRADED, 7)
    assert first.frame.nonce == 1


def test_an_agent_that_executes_itself_keeps_its_pid_and_starts_over(
    receiver, agent
):
    one = agent(receiver.path)
    assert [one.beat(), one.beat()] == [1, 2]
    one.exec_self()
    assert one.beat() == 1
    assert {receiver.take().pid for _ in range(3)} == {one.pid}


def test_a_stopped_agent_is_stopped_until_continued(receiver, agent):
    one = agent(receiver.path)
    one.stop()
    assert support.process_state(one.pid) == "T"
    one.cont()
    one.beat()
    assert receiver.take().pid == one.pid


def test_the_end_of_an_agent_is_told_with_code_or_signal(receiver, agent):
    one, two, three = (agent(receiver.path) for _ in range(3))
    one.exit(7)
    assert one.exit_code == 7
    two.kill(signal.SIGKILL)
    assert two.exit_code == -signal.SIGKILL
    three.exit(3, reap=False)
    assert support.process_state(three.pid) == "Z"
    assert three.reap() == 3


def test_an_agent_finds_a_receiver_that_has_come_back(folder, agent):
    path = folder / "varta.sock"
    one = agent(path)
    assert one.try_beat() == "ENOENT"
    with support.Receiver(path) as receiver:
        assert one.beat() == 1
        assert receiver.take().frame.nonce == 1
    assert one.try_beat() == "ENOENT"
    with support.Receiver(path) as receiver:
        assert one.beat() == 2
        assert receiver.take().frame.nonce == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_an_agent_can_be_another_user(folder, agent):
    folder.chmod(0o711)
    with support.Receiver(folder / "varta.sock") as receiver:
        receiver.path.chmod(0o666)
        one = agent(receiver.path, uid=65534, gid=65534)
        one.beat()
        assert receiver.take().uid == 65534


# A program with the outward manners of the observer.
STAND_IN = textwrap.dedent(
    """
    import http.server, os, signal, socket, sys, threading
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    beats = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    beats.bind(options["--socket"])
    if "--fail" in options:
        sys.exit("stand-in: told to fail")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers["Authorization"] == "Bearer t"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(b'x_total{pid="5"} 3\\n')

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("127.0.0.1:%d" % server.server_port, flush=True)
    with open(options["--export-file"], "w") as events:
        events.write("5\\tbeat\\t9\\t1\\tok\\t0\\n6\\tbeat\\t9")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def say(line):
        notify.sendto(line, os.environ["NOTIFY_SOCKET"])

    say(b"READY=1\\n")
    signal.sigwait([signal.SIGTERM])
    say(b"STOPPING=1\\n")
    os.unlink(options["--socket"])
    print("stopped", file=sys.stderr)
    """
)


@pytest.fixture
def stand_in(observer):
    def start(*options, **settings):
        return observer(
            *options, program=[sys.executable, "-c", STAND_IN], **settings
        )

    return start


def test_an_observer_is_ready_when_started_and_is_stopped_cleanly(stand_in):
    watch = stand_in()
    assert watch.socket_path.is_socket()
    assert watch.stop() == 0
    watch.wait_notice("STOPPING=1")
    assert "stopped" in watch.log()


def test_an_observer_works_under_a_path_with_spaces(stand_in, spaced_folder):
    watch = stand_in(where=spaced_folder)
    assert watch.socket_path.is_socket()


def test_an_observer_that_cannot_start_fails_the_test_with_its_words(stand_in):
    with pytest.raises(support.Late, match="told to fail"):
        stand_in("--fail", "yes")


def test_an_observer_is_restarted_with_the_same_command(stand_in):
    watch = stand_in()
    before = watch.pid
    watch.restart()
    assert watch.pid != before
    assert watch.socket_path.is_socket()


def test_metrics_are_read_from_the_printed_address(stand_in):
    watch = stand_in(token="t")
    assert watch.metrics().value("x_total", pid=5) == 3
    assert watch.metrics().value("x_total", pid=6) is None
    assert watch.get(headers={"Authorization": "Bearer u"}).status == 401


def test_only_whole_rows_of_the_event_file_are_read(stand_in):
    watch = stand_in()
    [row] = watch.wait_event("beat", pid=9)
    assert row == support.EventRow(5, "beat", "9", "1", "ok", "0")
    assert watch.events("stall") == []


def test_waiting_ends_at_the_deadline_with_a_reason():
    with pytest.raises(support.Late, match="the moon"):
        support.wait_for(lambda: False, 0.01, "the moon")
