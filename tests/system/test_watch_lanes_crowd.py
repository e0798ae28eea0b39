"""Processes that want more of the lanes of an observer than there is, by their
number or by their speed: nobody is kept out or held up by them."""

import contextlib
import os
import threading

import pytest

from hostile import (
    REFUSED,
    is_well,
    memory_of,
    refused,
    resident,
    still_watches,
    wait_descriptors,
    wait_quiet,
)
from lanes import (
    BELL,
    U32_MAX,
    LaneAgent,
    connect,
    hand_over,
    is_hung_up,
    kinds,
    lane_rows,
    wait_lane,
)
from support import WATCH, wait_for
from watching import HOUR_MS, METRICS, descriptors, wait_metric


@pytest.fixture
def watch(observer):
    return observer(*METRICS, "--log-level=debug", threshold_ms=HOUR_MS)


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
