"""Processes that do with the socket and the memory of lanes what no library
would: whatever they try, the observer lives, tells the truth about others, has
counted it, and has nothing left over."""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import socket
import struct
import threading
import time

import pytest

from hostile import (
    REFUSED,
    is_well,
    memory_of,
    refused,
    still_watches,
    threads,
    wait_descriptors,
    wait_quiet,
)
from lanes import (
    BELL,
    HELLO,
    PAGE,
    SEALS,
    U32_MAX,
    U64_MAX,
    Memory,
    connect,
    hand_over,
    is_hung_up,
    kinds,
    lane_rows,
    lane_values,
    wait_lane,
)
from support import wait_for
from watching import HOUR_MS, METRICS, descriptors, wait_metric


@pytest.fixture
def watch(observer):
    return observer(*METRICS, "--log-level=debug", threshold_ms=HOUR_MS)


# ---- what is handed over ----------------------------------------------------


def regular_file(folder):
    fd = os.open(folder / "file", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, struct.pack("<IHHII", 0x454E414C, 1, 64, 1, 0).ljust(PAGE))
    return fd


NOT_LANES = {
    "regular file": regular_file,
    "directory": lambda folder: os.open(folder, os.O_RDONLY),
    "device": lambda _: os.open("/dev/zero", os.O_RDWR),
    "pipe": lambda _: os.pipe()[0],
    "socket": lambda _: socket.socket().detach(),
    "unsealed": lambda _: Memory(seals=0).fd,
    "may shrink": lambda _: Memory(seals=SEALS & ~2).fd,
    "may grow": lambda _: Memory(seals=SEALS & ~4).fd,
    "empty": lambda _: Memory(size=0).fd,
    "odd size": lambda _: Memory(size=PAGE + 1).fd,
    "half a page": lambda _: Memory(size=PAGE // 2).fd,
    "too many pages": lambda _: Memory(pages=17).fd,
    "a terabyte": lambda _: huge(),
    "fewer pages than said": lambda _: headed(pages=2),
    "more pages than said": lambda _: headed(size=2 * PAGE, pages=1),
    "huge count of pages": lambda _: headed(pages=U32_MAX),
    "another magic": lambda _: headed(magic=1),
    "another version": lambda _: headed(version=2),
    "another record": lambda _: headed(record=128),
    "all zero": lambda _: headed(magic=0, version=0, record=0, pages=0),
}


def headed(size=PAGE, **head):
    made = Memory(size=size)
    made.write_head(**head)
    return made.fd


def huge():
    fd = os.memfd_create("lanes", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 2**40)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


@pytest.mark.parametrize("what", NOT_LANES)
def test_what_is_not_the_memory_of_lanes_is_refused(
    folder, watch, lane_agent, what
):
    fd = NOT_LANES[what](folder)
    with hand_over(watch.socket_path, [fd]) as sock:
        os.close(fd)
        assert is_hung_up(sock)
    metrics = wait_metric(watch, REFUSED, 1, reason="memory")
    assert metrics.value("varta_lane_attaches_total") == 0
    assert memory_of(watch.pid) == 0
    still_watches(watch, lane_agent)


@pytest.mark.parametrize(
    "hello", [b"", b"v", HELLO + b"\0", b"varta-lanes-2", b"x" * 70000, BELL]
)
def test_who_does_not_say_hello_is_refused(watch, memory, hello):
    made = memory()
    with connect(watch.socket_path) as sock:
        socket.send_fds(sock, [hello], [made.fd])
        assert is_hung_up(sock)
    wait_metric(watch, REFUSED, 1, reason="memory")
    assert memory_of(watch.pid) == 0


@pytest.mark.parametrize("n", [0, 2, 3, 200])
def test_one_descriptor_is_taken_and_no_other_number(watch, memory, n):
    made = memory()
    before = len(descriptors(watch.pid))
    with connect(watch.socket_path) as sock:
        if n == 0:
            sock.send(HELLO)
        else:
            socket.send_fds(sock, [HELLO], [made.fd] * n)
        assert is_hung_up(sock)
    wait_metric(watch, REFUSED, 1, reason="memory")
    wait_descriptors(watch, before)
    assert memory_of(watch.pid) == 0


def sent_along(sock, fd):
    """Whether the kernel takes a descriptor along with a bell, which it refuses
    from Linux 6.16 on."""
    try:
        socket.send_fds(sock, [BELL], [fd])
    except PermissionError:
        return False
    return True


def test_descriptors_in_every_message_are_not_taken_and_counted(
    watch, memory, attach, lane_agent
):
    made = memory()
    sock = attach(watch, made)
    wait_metric(watch, "varta_lane_attaches_total", 1)
    before = len(descriptors(watch.pid))
    sent = sum(sent_along(sock, made.fd) for _ in range(200))
    made.open(0, b"w", HOUR_MS)
    sock.send(BELL)
    wait_lane(watch, "w", "join")
    metrics = watch.metrics()
    assert metrics.value("varta_injected_descriptors_total") == sent
    wait_descriptors(watch, before)
    assert memory_of(watch.pid) == 1
    still_watches(watch, lane_agent)


class Fuse:
    """A file that this process serves itself. Whoever closes it waits until
    end()."""

    INIT, GETATTR, OPEN, RELEASE, FLUSH, FORGET = 26, 3, 14, 18, 25, 2

    def __init__(self, path):
        path.touch()
        self.path = os.fsencode(path)
        self.libc = ctypes.CDLL(None, use_errno=True)
        try:
            self.fd = os.open("/dev/fuse", os.O_RDWR)
        except OSError as error:
            pytest.skip(f"needs privilege: /dev/fuse: {error}")
        options = f"fd={self.fd},rootmode=100000,user_id=0,group_id=0"
        mounted = self.libc.mount(
            b"fuse", self.path, b"fuse", 0, options.encode()
        )
        if mounted != 0:
            os.close(self.fd)
            pytest.skip("needs privilege: to mount")
        self.flushes = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        answers = {
            # Version, most bytes of a write, steps of time.
            self.INIT: struct.pack(
                "<4I2H10I", 7, 31, *[0] * 4, 65536, 1, *[0] * 8
            ),
            # A plain file of no bytes.
            self.GETATTR: struct.pack(
                "<QII6Q10I",
                *(*[0] * 3, 1, *[0] * 8, 0o100600, 1, *[0] * 3, 4096, 0),
            ),
            self.OPEN: struct.pack("<QII", 1, 0, 0),
            self.RELEASE: b"",
        }
        while True:
            try:
                request = os.read(self.fd, 1 << 17)
            except OSError:
                return
            _, op, unique = struct.unpack_from("<IIQ", request)
            if op == self.FLUSH:
                self.flushes += 1
            elif op in answers:
                head = struct.pack("<IiQ", 16 + len(answers[op]), 0, unique)
                os.write(self.fd, head + answers[op])

    def end(self):
        self.libc.umount2(self.path, 2)
        os.close(self.fd)


def test_a_descriptor_whose_sender_never_lets_it_be_closed_holds_nobody_up(
    folder, watch, lane_agent
):
    # Before there is anything that it would have to close.
    other = lane_agent(watch, attach=False)
    served = Fuse(folder / "served")
    try:
        fd = os.open(served.path, os.O_RDONLY)
        for n in range(1, 21):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                with hand_over(watch.socket_path, [fd]) as sock:
                    assert is_hung_up(sock)
            wait_metric(watch, REFUSED, n, reason="memory")
        # Agents are watched; lanes will be when there is an end to it.
        assert 1 <= served.flushes <= 8
        other.beat()
        watch.wait_event("beat", other.pid)
    finally:
        served.end()
    with contextlib.suppress(OSError):
        os.close(fd)
    wait_for(lambda: threads(watch.pid) == 1, what="no thread that waits")
    still_watches(watch, lane_agent)


# ---- what the memory says ---------------------------------------------------


@pytest.mark.parametrize("lanes", [64, 2**31, U32_MAX])
def test_more_lanes_than_there_is_room_for_are_not_looked_for(
    watch, memory, attach, lane_agent, lanes
):
    made = memory()
    made.open(62, b"last", HOUR_MS)
    made.u32[3] = lanes
    attach(watch, made)
    wait_lane(watch, "last", "join")
    still_watches(watch, lane_agent)


def test_a_head_that_changes_later_changes_nothing(
    watch, memory, attach, lane_agent
):
    made = memory()
    made.open(0, b"w", 100)
    made.beat(0)
    sock = attach(watch, made)
    wait_lane(watch, "w", "stall")
    made.write_head(U32_MAX, 0xFFFF, 0xFFFF, U32_MAX, U32_MAX)
    sock.send(BELL)
    made.beat(0)
    wait_lane(watch, "w", "resume")
    still_watches(watch, lane_agent)


NAMES = {
    b"no NUL in all of the 32 bytes, x": "no NUL in all of the 32 bytes, ",
    b"a\nb\tc": "a\\nb\\tc",
    b"\x1b[31mred\x07": "\\x1b[31mred\\x07",
    b'q"u\\o\'te{}': "q\"u\\\\o'te{}",
    b"\xff\xfe\x80": "\\xff\\xfe\\x80",
    "w\u00f6rker \u202e".encode(): "w\u00f6rker \\xe2\\x80\\xae",
    b'x"} 1\nvarta_up{a="': 'x"} 1\\nvarta_up{a="',
    b"\r\nstalled": "\\r\\nstalled",
}


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_a_line_or_a_scrape(
    watch, memory, attach, lane_agent, name
):
    made = memory()
    made.open(0, name, 100)
    made.beat(0)
    attach(watch, made)
    wait_lane(watch, NAMES[name], "stall")
    wait_for(lambda: " stalled: " in watch.log())
    for line in watch.log().splitlines():
        assert line.startswith("varta-watch: ") and line.isprintable()
    assert len(lane_values(is_well(watch), "varta_lane_status")) == 1
    still_watches(watch, lane_agent)


def test_no_name_breaks_a_line_of_json(observer, memory, attach):
    watch = observer("--log-format=json", threshold_ms=HOUR_MS)
    made = memory()
    for i, name in enumerate(NAMES):
        made.open(i, name, 100)
        made.beat(i)
    attach(watch, made)
    for name in NAMES.values():
        wait_lane(watch, name, "stall")

    def told():
        text = watch.log()
        lines = [json.loads(line) for line in text.splitlines()]
        stalls = [line for line in lines if " stalled: " in str(line)]
        return len(stalls) == len(NAMES)

    wait_for(told)


def test_lanes_without_a_name_or_with_one_twice_are_refused(
    watch, memory, attach, lane_agent
):
    made = memory()
    for i, name in enumerate([b"", b"\0hidden", b"w", b"w", b"last"]):
        made.open(i, name, HOUR_MS)
    attach(watch, made)
    wait_lane(watch, "last", "join")
    assert [row.payload for row in lane_rows(watch)] == ["lane=w", "lane=last"]
    assert refused(watch.metrics(), "record") == 3
    still_watches(watch, lane_agent)


def test_names_that_are_shown_alike_are_not_shown_twice(
    watch, memory, attach
):
    made = memory()
    for i, name in enumerate([b"\xff", b"\xfe", b"a\x01", b"a\x02", b"last"]):
        made.open(i, name, HOUR_MS)
    attach(watch, made)
    wait_lane(watch, "last", "join")
    is_well(watch)


def test_a_name_is_taken_once_in_a_process_whatever_it_hands_over(
    watch, memory, attach
):
    for _ in range(2):
        made = memory()
        made.open(0, b"w", HOUR_MS)
        attach(watch, made)
    metrics = wait_metric(watch, REFUSED, 1, reason="record")
    assert metrics.value("varta_lanes") == 1
    is_well(watch)


def test_the_least_threshold_is_ten_milliseconds(
    watch, memory, attach, lane_agent
):
    made = memory()
    made.open(0, b"w", 0)
    made.beat(0)
    attach(watch, made)
    wait_lane(watch, "w", "stall")
    assert "lane 'w' stalled: silent for 0.0" in watch.log()
    assert "threshold 0.010 s" in watch.log()
    still_watches(watch, lane_agent)


def test_the_greatest_threshold_is_as_long_as_it_says(
    watch, memory, attach, lane_agent
):
    made = memory()
    made.open(0, b"w", U32_MAX)
    made.beat(0)
    attach(watch, made)
    still_watches(watch, lane_agent)
    assert kinds(watch, "w") == ["join"]


@pytest.mark.parametrize("at_ns", [U64_MAX, 2**63, 1])
@pytest.mark.parametrize("exact", [False, True])
def test_a_beat_of_any_time_is_one_of_now_at_the_latest(
    watch, memory, attach, lane_agent, at_ns, exact
):
    made = memory()
    made.open(0, b"w", 100, exact)
    made.beat(0, at_ns)
    attach(watch, made)
    wait_lane(watch, "w", "stall")
    [at] = lane_values(
        is_well(watch), "varta_lane_last_beat_timestamp_seconds"
    ).values()
    assert abs(at - time.time()) < 60
    still_watches(watch, lane_agent)


@pytest.mark.parametrize("status", [3, 4, 255])
def test_any_other_status_is_critical(watch, memory, attach, status):
    made = memory()
    made.open(0, b"w", 100)
    made.status(0, status)
    made.beat(0)
    attach(watch, made)
    wait_lane(watch, "w", "stall")
    assert "last status critical" in watch.log()
    made.beat(0)
    [row] = wait_lane(watch, "w", "resume")
    assert row.status == "critical"


def test_holes_in_the_memory_do_no_harm(
    watch, memory, attach, lane_agent
):
    made = memory(pages=2)
    for i in range(126):
        made.open(i, b"w%d" % i, HOUR_MS)
        made.beat(i)
    sock = attach(watch, made)
    wait_metric(watch, "varta_lanes", 126)
    libc = ctypes.CDLL(None, use_errno=True)
    punch = 0x02 | 0x01  # PUNCH_HOLE, KEEP_SIZE
    libc.fallocate.argtypes = [ctypes.c_int] * 2 + [ctypes.c_int64] * 2
    assert libc.fallocate(made.fd, punch, 0, 2 * PAGE) == 0
    sock.send(BELL)
    still_watches(watch, lane_agent)
    sock.close()
    wait_metric(watch, "varta_lane_leaves_total", 126)


def test_a_memory_that_was_never_written_to_costs_no_more_than_its_size(
    watch, memory, attach, lane_agent
):
    made = memory(pages=16)
    made.u32[3] = U32_MAX
    sock = attach(watch, made)
    wait_metric(watch, "varta_lane_attaches_total", 1)
    sock.send(BELL)
    still_watches(watch, lane_agent)
    text = pathlib.Path(f"/proc/{watch.pid}/status").read_text()
    # That of the other, and this one.
    assert int(re.search(r"RssShmem:\s+(\d+)", text)[1]) <= 2 * 64


# ---- searches come to an end ------------------------------------------------


def test_lanes_behind_many_that_are_refused_are_found(
    watch, memory, attach
):
    made = memory(pages=2)
    for i in range(100):
        made.open(i, b"", HOUR_MS)
    made.open(100, b"good", HOUR_MS)
    attach(watch, made)
    wait_lane(watch, "good", "join")
    assert refused(watch.metrics(), "record") == 100
    wait_quiet(watch)
    assert refused(watch.metrics(), "record") == 100


def test_lanes_for_which_there_is_no_room_are_counted_once(
    observer, memory, attach
):
    watch = observer(*METRICS, "--lanes-max=70", threshold_ms=HOUR_MS)
    made = memory(pages=16)
    for i in range(500):
        made.open(i, b"w%d" % i, HOUR_MS)
    attach(watch, made)
    metrics = wait_metric(watch, REFUSED, 430, reason="room")
    assert metrics.value("varta_lanes") == 70
    wait_quiet(watch)
    assert refused(watch.metrics(), "room") == 430
