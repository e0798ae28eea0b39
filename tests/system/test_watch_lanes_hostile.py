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

from lanes import (
    BELL,
    HELLO,
    PAGE,
    SEALS,
    U32_MAX,
    U64_MAX,
    LaneAgent,
    Memory,
    connect,
    hand_over,
    is_hung_up,
    kinds,
    lane_rows,
    lane_values,
    wait_lane,
)
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)
from support import WATCH, wait_for
from watching import HOUR_MS, METRICS, descriptors, wait_metric

REFUSED = "varta_lanes_refused_total"
OPEN = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def watch(observer):
    return observer(*METRICS, "--log-level=debug", threshold_ms=HOUR_MS)


@pytest.fixture
def lane_agent():
    with contextlib.ExitStack() as stack:

        def start(watch, **settings):
            return stack.enter_context(
                LaneAgent(watch.socket_path, **settings)
            )

        yield start


@pytest.fixture
def memory():
    """memory(**head) makes one, freed at the end."""
    with contextlib.ExitStack() as stack:

        def make(*args, **settings):
            made = Memory(*args, **settings)
            stack.callback(made.free)
            return made

        yield make


@pytest.fixture
def attach():
    """attach(watch, memory): the test itself is an agent with lanes."""
    with contextlib.ExitStack() as stack:

        def hand(watch, memory):
            return stack.enter_context(
                hand_over(watch.socket_path, [memory.fd])
            )

        yield hand


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def memory_of(pid):
    """How many mappings there are of memory that was handed over."""
    return pathlib.Path(f"/proc/{pid}/maps").read_text().count("memfd:lanes")


def wait_descriptors(watch, n):
    """No more than n: those of scrapes are closed a little later."""
    wait_for(lambda: len(descriptors(watch.pid)) <= n, what="descriptors")


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


def refused(metrics, reason):
    return metrics.value(REFUSED, reason=reason)


def passes(watch):
    return watch.metrics().value("varta_observer_passes_total")


def is_well(watch):
    """All that it shows can be read, and no series comes up twice."""
    text = watch.get().body.decode()
    samples = [line for line in text.splitlines() if line[:1] != "#"]
    names = [line.rsplit(" ", 1)[0] for line in samples]
    assert len(names) == len(set(names))
    list(parse_open(watch.get(headers={"Accept": OPEN}).body.decode()))
    assert watch.process.poll() is None
    watch.events()
    return watch.metrics()


def still_watches(watch, lane_agent):
    """Another agent is watched as ever: beats, lanes, stalls."""
    other = lane_agent(watch)
    other.beat()
    watch.wait_event("beat", other.pid)
    other.open("good", "hung", threshold_ms=HOUR_MS)
    other.open("short", threshold_ms=200)
    other.beat_lanes("good", "hung", "short")
    wait_lane(watch, "short", "stall", pid=other.pid)
    assert kinds(watch, "good", other.pid) == ["join"]
    beats = lane_values(is_well(watch), "varta_lane_beats_total")
    assert beats[other.pid, "good"] == 1


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


def wait_quiet(watch):
    """No pass follows the other any more: between scrapes there are no more
    than these need."""

    def is_quiet():
        before = passes(watch)
        for _ in range(10):
            after = passes(watch)
        return after - before <= 10 * 8

    wait_for(is_quiet, what="an observer at rest")


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


# ---- many connections -------------------------------------------------------


@pytest.mark.parametrize("lanes_max", [1, 8, 4096])
def test_connections_that_say_nothing_keep_nobody_out(
    observer, lane_agent, lanes_max
):
    watch = observer(*METRICS, f"--lanes-max={lanes_max}", threshold_ms=HOUR_MS)
    before = len(descriptors(watch.pid))
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(watch.socket_path))
        other = lane_agent(watch)
        other.open("w")
        wait_lane(watch, "w", "join", pid=other.pid)
        # Those who may be silent, and the other: connection and process.
        wait_descriptors(watch, before + 64 + 2)
        counted = watch.metrics()
        assert refused(counted, "memory") + refused(counted, "room") >= 230
    other.kill()
    wait_descriptors(watch, before)


def test_connections_that_come_and_go_leave_nothing_behind(
    watch, memory, lane_agent
):
    made = memory()
    made.open(0, b"w", HOUR_MS)
    n = 2000

    def churn(times):
        for _ in range(times):
            hand_over(watch.socket_path, [made.fd]).close()

    churn(n)
    # A memory is given up when its process has had the time to end.
    wait_for(lambda: memory_of(watch.pid) == 0)
    wait_lane_balance(watch)
    before = len(descriptors(watch.pid)), resident(watch.pid)
    churn(n)
    wait_for(lambda: memory_of(watch.pid) == 0)
    metrics = wait_lane_balance(watch)
    wait_descriptors(watch, before[0])
    assert resident(watch.pid) <= before[1] + 2**20
    counted = metrics.value("varta_lane_attaches_total")
    reasons = ("user", "memory", "agent", "room")
    counted += sum(refused(metrics, reason) for reason in reasons)
    assert counted == 2 * n
    still_watches(watch, lane_agent)


def wait_lane_balance(watch):
    """Every lane that has joined has left."""

    def balanced():
        metrics = watch.metrics()
        gone = metrics.value("varta_lanes") == 0
        joins = metrics.value("varta_lane_joins_total")
        return (
            gone
            and joins == metrics.value("varta_lane_leaves_total")
            and metrics
        )

    return wait_for(balanced, what="as many leaves as joins")


def test_a_process_that_takes_all_connections_takes_no_more(
    observer, memory, attach, lane_agent
):
    watch = observer(*METRICS, "--lanes-max=16", threshold_ms=HOUR_MS)
    made = memory()
    socks = [attach(watch, made) for _ in range(16)]
    wait_metric(watch, "varta_lane_attaches_total", 16)
    with contextlib.suppress(BrokenPipeError):
        with hand_over(watch.socket_path, [made.fd]) as sock:
            assert is_hung_up(sock)
    wait_metric(watch, REFUSED, 1, reason="room")
    for sock in socks:
        sock.close()
    wait_for(lambda: memory_of(watch.pid) == 0)
    still_watches(watch, lane_agent)


def test_an_observer_without_descriptors_refuses_and_goes_on(
    observer, memory, lane_agent
):
    limited = ["sh", "-c", 'ulimit -n 48; exec "$@"', "sh", WATCH]
    watch = observer(*METRICS, threshold_ms=HOUR_MS, program=limited)
    one = lane_agent(watch)
    one.open("w", threshold_ms=HOUR_MS)
    wait_lane(watch, "w", "join", pid=one.pid)
    before = len(descriptors(watch.pid))
    made = memory()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock = hand_over(watch.socket_path, [made.fd])
                stack.enter_context(sock)
        # Metrics have no descriptors either.
        assert watch.process.poll() is None
        one.open("x", threshold_ms=100)
        one.beat_lanes("x")
        wait_lane(watch, "x", "stall", pid=one.pid)
    wait_descriptors(watch, before)
    # Some find no room; some do, and their memory does not: which of the two is
    # a matter of who is quicker.
    counted = [refused(watch.metrics(), why) for why in ("room", "memory")]
    assert sum(counted) >= 100
    still_watches(watch, lane_agent)


# ---- at full speed ----------------------------------------------------------


def test_a_flood_of_bells_holds_nobody_up(watch, memory, attach, lane_agent):
    made = memory(pages=16)
    for i in range(1008):
        made.open(i, b"w%d" % i, HOUR_MS)
    sock = attach(watch, made)
    wait_metric(watch, "varta_lanes", 1008)
    over = threading.Event()

    def flood():
        for _ in range(200_000):
            if over.is_set():
                return
            with contextlib.suppress(TimeoutError):
                sock.send(BELL)

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        still_watches(watch, lane_agent)
    finally:
        over.set()
        flooder.join()
    assert is_well(watch).value("varta_lane_joins_total") == 1008 + 3
    wait_quiet(watch)


def garbage(made, over):
    """Anything, everywhere, as fast as it goes, until it is over."""
    # Not the first pages' magic, which is looked at once.
    blocks = [os.urandom(made.size - 16) for _ in range(4)]
    while not over.is_set():
        for block in blocks:
            made.bytes[16:] = block
            made.u32[3] = U32_MAX


def test_garbage_that_changes_while_it_is_read_does_no_harm(
    watch, memory, lane_agent
):
    made = memory(pages=4)
    made.u32[3] = U32_MAX
    before = len(descriptors(watch.pid))
    over = threading.Event()
    writer = threading.Thread(target=garbage, args=(made, over))
    writer.start()
    try:
        with hand_over(watch.socket_path, [made.fd]) as sock:
            wait_metric(watch, "varta_lane_attaches_total", 1)

            def many_have_joined():
                sock.send(BELL)
                joins = watch.metrics().value("varta_lane_joins_total")
                return joins >= 100

            wait_for(many_have_joined)
            still_watches(watch, lane_agent)
    finally:
        over.set()
        writer.join()
    wait_for(lambda: memory_of(watch.pid) == 1)  # that of the other
    is_well(watch)
    wait_descriptors(watch, before + 2)


def test_generations_that_never_rest_do_not_hold_the_observer(
    watch, memory, attach, lane_agent
):
    """A record that is always being written, beside agents that are well."""
    made = memory()
    made.open(0, b"w", 10)
    attach(watch, made)
    wait_lane(watch, "w", "join")
    at = made.offset(0) // 4 + 4
    over = threading.Event()

    def flip():
        generation = 1
        while not over.is_set():
            generation = (generation + 2) & U32_MAX
            made.u32[at] = generation

    flipper = threading.Thread(target=flip)
    flipper.start()
    try:
        wait_lane(watch, "w", "leave")
        still_watches(watch, lane_agent)
    finally:
        over.set()
        flipper.join()
    wait_quiet(watch)


def test_a_lane_cannot_stall_and_resume_at_any_speed(watch, memory, attach):
    made = memory(pages=2)
    lanes = range(100)
    for i in lanes:
        made.open(i, b"w%d" % i, 10)
    attach(watch, made)

    def each_has_stalled_thrice():
        for i in lanes:
            made.beat(i)
        return all(len(kinds(watch, f"w{i}")) >= 6 for i in (0, 99))

    wait_for(each_has_stalled_thrice, step_s=0.05)
    begun = {}
    for row in lane_rows(watch):
        if row.kind == "stall":
            begun[row.payload] = row.observer_ns
        elif row.kind == "resume":
            # Looked at with others that are due, some moments early.
            assert row.observer_ns - begun[row.payload] >= 900_000_000


def test_lanes_cannot_be_opened_and_closed_at_any_speed(
    observer, memory, attach
):
    """A thousand a second, and two thousand at once, where there is no room
    for more; those of others have their turn."""
    watch = observer(*METRICS, "--lanes-max=200", threshold_ms=HOUR_MS)
    made = memory(pages=2)
    for i in range(100):
        made.open(i, b"w%d" % i, 10)
    sock = attach(watch, made)
    over = threading.Event()

    def flap():
        while not over.is_set():
            for i in range(100):
                at = made.offset(i) // 4 + 4
                made.u32[at] = (made.u32[at] + 2) & U32_MAX
            with contextlib.suppress(TimeoutError):
                sock.send(BELL)

    flapper = threading.Thread(target=flap)
    flapper.start()
    try:
        wait_metric(watch, "varta_lane_joins_total", 3000)
        with LaneAgent(watch.socket_path) as other:
            other.open("other")
            wait_lane(watch, "other", "join", pid=other.pid)
    finally:
        over.set()
        flapper.join()
    times = [row.observer_ns for row in lane_rows(watch, kind="join")]
    lasted_s = (times[-1] - times[0]) / 1e9
    assert len(times) <= 2000 + 1000 * lasted_s + 1
    wait_quiet(watch)
