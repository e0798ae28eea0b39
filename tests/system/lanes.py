"""Lanes without the library: the memory that an agent hands over, written from
its description alone (src/lib/lane_page.h), agents in processes of their own
that have lanes, and what the observer tells of lanes."""

import contextlib
import fcntl
import mmap
import os
import pathlib
import signal
import socket
import struct
import sys
import threading
import time

from agents import Agent, AgentProcess
from processes import (
    DEADLINE_S,
    PR_SET_PDEATHSIG,
    Late,
    prctl,
    wait_for,
)

PAGE, RECORD, RECORDS = 4096, 64, 63
MAGIC, VERSION = 0x454E414C, 1
HELLO, BELL = b"varta-lanes-1", b"!"
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
EXACT = 1
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1


def lanes_path(path):
    return os.fspath(path) + ".lanes"


class Memory:
    """The memory of lanes. What is written into it may be anything."""

    def __init__(self, pages=1, size=None, seals=SEALS, **head):
        size = pages * PAGE if size is None else size
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        self.fd = os.memfd_create("lanes", flags)
        os.ftruncate(self.fd, size)
        if seals:
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
        self.size = size
        self.bytes = mmap.mmap(self.fd, max(size, 1)) if size else None
        # A store through these is one of a whole word.
        if size and size % 8 == 0:
            self.u64 = memoryview(self.bytes).cast("B").cast("Q")
            self.u32 = memoryview(self.bytes).cast("B").cast("I")
        if size >= RECORD:
            self.write_head(pages=pages, **head)

    def write_head(
        self, magic=MAGIC, version=VERSION, record=RECORD, pages=1, lanes=0
    ):
        struct.pack_into(
            "<IHHII", self.bytes, 0, magic, version, record, pages, lanes
        )

    @staticmethod
    def offset(i):
        return i // RECORDS * PAGE + (1 + i % RECORDS) * RECORD

    def open(self, i, name, threshold_ms, exact=True):
        """Lane i; name may be any 32 bytes or less."""
        at = self.offset(i)
        assert self.u32[at // 4 + 4] % 2 == 0
        self.u64[at // 8] = 0
        self.u64[at // 8 + 1] = 0
        self.u32[at // 4 + 5] = threshold_ms
        self.bytes[at + 24] = 0
        self.bytes[at + 25] = EXACT if exact else 0
        self.bytes[at + 32 : at + 64] = name.ljust(32, b"\0")
        self.u32[at // 4 + 4] = (self.u32[at // 4 + 4] + 1) & U32_MAX
        self.u32[3] = max(self.u32[3], i + 1)

    def close(self, i):
        at = self.offset(i)
        self.u64[at // 8] = 0
        self.u32[at // 4 + 4] = (self.u32[at // 4 + 4] + 1) & U32_MAX

    def beat(self, i, at_ns=None):
        at = self.offset(i)
        self.u64[at // 8] = time.monotonic_ns() if at_ns is None else at_ns
        self.u64[at // 8 + 1] = (self.u64[at // 8 + 1] + 1) & U64_MAX

    def idle(self, i):
        self.u64[self.offset(i) // 8] = 0

    def status(self, i, status):
        self.bytes[self.offset(i) + 24] = status

    def free(self):
        """The memory of this process; the observer keeps its own view."""
        with contextlib.suppress(OSError):
            os.close(self.fd)


def connect(path):
    """Waits for room among those who are to be accepted."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(lanes_path(path))
        sock.settimeout(DEADLINE_S)
    except BaseException:
        sock.close()
        raise
    return sock


def is_hung_up(sock):
    """Waits for it; nothing is ever answered."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def hand_over(path, fds, hello=HELLO):
    """A connection over which these descriptors were handed over."""
    sock = connect(path)
    socket.send_fds(sock, [hello], fds)
    return sock


# ---- agents -----------------------------------------------------------------


class _LanesProcess(AgentProcess):
    """The inside of an agent with lanes. They are known by name."""

    script = __file__

    def __init__(self, *args):
        super().__init__(*args)
        self.memory = None
        self.connection = None
        self.index = {}
        self.beating = []
        self.lock = threading.Lock()

    def obey(self, verb, argument):
        if verb != "lanes":
            super().obey(verb, argument)
            return
        try:
            answer = getattr(self, "do_" + argument.pop("do"))(**argument)
            self.answer({"answer": answer})
        except OSError as error:
            self.answer({"error": str(error)})

    def do_attach(self):
        self.memory = self.memory or Memory(pages=16)
        self.connection = hand_over(self.address, [self.memory.fd])

    def do_detach(self):
        self.connection.close()
        self.connection = None

    def do_open(self, names, threshold_ms, exact, ring):
        for name in names:
            taken = set(self.index.values())
            free = min(set(range(len(taken) + 1)) - taken)
            self.memory.open(free, os.fsencode(name), threshold_ms, exact)
            self.index[name] = free
        if ring:
            self.do_ring()

    def do_ring(self, times=1):
        for _ in range(times):
            self.connection.send(BELL)

    def do_close(self, names, ring):
        for name in names:
            with self.lock:
                self.beating = [one for one in self.beating if one != name]
                self.memory.close(self.index.pop(name))
        if ring:
            self.do_ring()

    def do_beat(self, names):
        for name in names:
            self.memory.beat(self.index[name])

    def do_idle(self, names):
        with self.lock:
            self.beating = [one for one in self.beating if one not in names]
            for name in names:
                self.memory.idle(self.index[name])

    def do_status(self, name, status):
        self.memory.status(self.index[name], status)

    def do_keep_beating(self, names, every_s):
        """From now on, by a thread of the agent's own."""

        def go_on():
            while True:
                with self.lock:
                    self.do_beat(self.beating)
                time.sleep(every_s)

        with self.lock:
            is_first = not hasattr(self, "thread")
            self.beating = list(names)
            self.do_beat(names)
        if is_first:
            self.thread = threading.Thread(target=go_on, daemon=True)
            self.thread.start()

    def do_fork(self):
        """A child that has inherited all of it, and lives until it is
        killed."""
        pid = os.fork()
        if pid == 0:
            prctl(PR_SET_PDEATHSIG, 0)
            while True:
                signal.pause()
        return pid

    def do_exec_other(self):
        """The same process is another program, which knows of no lanes. What
        the test had to say is over."""
        os.execv("/bin/sleep", ["sleep", "3600"])


class LaneAgent(Agent):
    """An agent in a process of its own that has lanes."""

    inside = _LanesProcess

    def __init__(self, address, attach=True, **settings):
        super().__init__(address, **settings)
        if attach:
            self.attach()

    def do(self, what, **arguments):
        self._tell("lanes", {"do": what, **arguments})
        answer = self._answer()
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["answer"]

    def attach(self):
        self.do("attach")

    def detach(self):
        self.do("detach")

    def open(self, *names, threshold_ms=3_600_000, exact=True, ring=True):
        self.do(
            "open",
            names=names,
            threshold_ms=threshold_ms,
            exact=exact,
            ring=ring,
        )

    def close_lanes(self, *names, ring=True):
        self.do("close", names=names, ring=ring)

    def beat_lanes(self, *names):
        self.do("beat", names=names)

    def idle(self, *names):
        self.do("idle", names=names)

    def set_status(self, name, status):
        self.do("status", name=name, status=status)

    def keep_beating(self, *names, every_s=0.02):
        self.do("keep_beating", names=names, every_s=every_s)

    def ring(self, times=1):
        self.do("ring", times=times)

    def fork(self):
        return self.do("fork")

    def exec_other(self):
        self._tell("lanes", {"do": "exec_other"})

        def is_other():
            comm = pathlib.Path(f"/proc/{self.pid}/comm")
            return comm.read_text() == "sleep\n"

        wait_for(is_other, what="another program")


# ---- what the observer tells ------------------------------------------------


def lane_rows(watch, name=None, kind=None, pid=None):
    """Rows of the event file about lanes: of all, or of one."""
    return [
        row
        for row in watch.events(kind, pid)
        if row.payload.startswith("lane=")
        and name in (None, row.payload.removeprefix("lane="))
    ]


def kinds(watch, name, pid=None):
    return [row.kind for row in lane_rows(watch, name, pid=pid)]


def wait_lane(watch, name, kind, count=1, pid=None):
    """At least count rows of this kind about this lane; all of them."""

    def enough():
        rows = lane_rows(watch, name, kind, pid)
        return rows if len(rows) >= count else None

    try:
        return wait_for(enough, what=f"{count} {kind} of lane {name}")
    except Late as late:
        raise Late(f"{late}\n{watch.events()}\n{watch.log()}") from None


def lane_values(metrics, name):
    """Those of a family of lanes: from (pid, lane)."""
    found = {}
    for family in metrics.families:
        for sample in family.samples:
            if sample.name == name and "lane" in sample.labels:
                key = int(sample.labels["pid"]), sample.labels["lane"]
                assert key not in found, f"{sample} comes up twice"
                found[key] = sample.value
    return found


if __name__ == "__main__":
    # The second life of an agent, see AgentProcess.exec_self().
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _LanesProcess(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()

# What the metrics say of each.
OF_LANES = [
    "varta_lane_beats_total",
    "varta_lane_stalls_total",
    "varta_lane_status",
    "varta_lane_busy",
    "varta_lane_last_beat_timestamp_seconds",
]


def one_threshold_passes(watch):
    """Whatever was to happen within 200 ms has happened: another lane, opened
    now, has stalled."""
    with LaneAgent(watch.socket_path) as clock:
        clock.open("clock", threshold_ms=200)
        clock.beat_lanes("clock")
        wait_lane(watch, "clock", "stall", pid=clock.pid)
