"""Frames, agents that are processes of their own, and a receiver that stands
in for the observer where a test wants to see the bytes. The encoder knows
nothing of the library, on purpose."""

import contextlib
import errno
import json
import os
import pathlib
import selectors
import signal
import socket
import struct
import sys
import time
from typing import NamedTuple

from processes import (
    DEADLINE_S,
    PR_SET_PDEATHSIG,
    Late,
    prctl,
    process_state,
    wait_end,
    wait_for,
)

OK, DEGRADED, CRITICAL, STALL = 0, 1, 2, 3
STATUS = {"ok": OK, "degraded": DEGRADED, "critical": CRITICAL, "stall": STALL}
U64_MAX = 2**64 - 1
NONCE_TERMINAL = U64_MAX


# ---- frames ---------------------------------------------------------------


def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Frame(NamedTuple):
    """A frame of the lifeline protocol, version 2."""

    status: int = OK
    pid: int = 0
    timestamp: int = 0
    nonce: int = 1
    payload: int = 0

    def encode(self, version=2):
        head = b"VA" + struct.pack(
            "<BBIQQI",
            version,
            self.status,
            self.pid,
            self.timestamp,
            self.nonce,
            self.payload,
        )
        return head + struct.pack("<I", crc32c(head))

    @classmethod
    def decode(cls, data):
        """Of bytes that must be a well-formed frame."""
        assert len(data) == 32, f"{len(data)} bytes"
        magic, version, *fields, crc = struct.unpack("<2sBBIQQII", data)
        assert (magic, version) == (b"VA", 2), data.hex()
        assert crc == crc32c(data[:28]), data.hex()
        return cls(*fields)


# ---- a receiver in place of the observer ----------------------------------


class Received(NamedTuple):
    frame: Frame
    pid: int  # as the kernel says
    uid: int


class Receiver:
    """A bound datagram socket that tells who sent what."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(os.fspath(path))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Go away as an observer does: the file goes, too."""
        self._socket.close()
        pathlib.Path(self.path).unlink(missing_ok=True)

    def take(self, deadline_s=DEADLINE_S):
        """The next frame, whose pid must be the kernel's."""
        self._socket.settimeout(deadline_s)
        size = struct.calcsize("3i")
        try:
            data, control, flags, _ = self._socket.recvmsg(
                64, socket.CMSG_SPACE(size)
            )
        except TimeoutError:
            raise Late(f"no datagram within {deadline_s} s") from None
        assert flags & socket.MSG_TRUNC == 0
        [(_, kind, credentials)] = control
        assert kind == socket.SCM_CREDENTIALS
        pid, uid, _ = struct.unpack("3i", credentials)
        frame = Frame.decode(data)
        assert frame.pid == pid
        return Received(frame, pid, uid)

    def is_empty(self):
        self._socket.setblocking(False)
        try:
            self._socket.recv(64, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


# ---- agents ---------------------------------------------------------------


class AgentProcess:
    """The inside of an agent: does what the test says, one line each way."""

    script = __file__  # which exec_self() starts

    def __init__(self, address, commands_fd, answers_fd):
        self.address = address
        self.commands_fd = commands_fd
        self.answers_fd = answers_fd
        self.commands = os.fdopen(commands_fd, "rb", closefd=False)
        self.socket = None
        self.nonce = 0
        self.started_ns = time.monotonic_ns()

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(self.address)

    def send(self, data):
        """None when sent, else the name of the error. Finds a restarted
        observer, as libvarta does."""
        for attempt in range(2):
            try:
                if self.socket is None:
                    self.connect()
                self.socket.send(data)
                return None
            except OSError as error:
                lost = error.errno in (errno.ECONNREFUSED, errno.ENOTCONN)
                if lost or self.socket is None or attempt:
                    self.socket = None
                if not lost or attempt:
                    return errno.errorcode[error.errno]
        return None

    def beat(self, fields):
        version = fields.pop("version", 2)
        frame = Frame(
            **{
                "pid": os.getpid(),
                "nonce": self.nonce + 1,
                "timestamp": time.monotonic_ns() - self.started_ns,
                **fields,
            }
        )
        problem = self.send(frame.encode(version))
        if problem is None and frame.nonce != NONCE_TERMINAL:
            self.nonce = frame.nonce
        return {"error": problem, "nonce": frame.nonce}

    def exec_self(self):
        for fd in (self.commands_fd, self.answers_fd):
            os.set_inheritable(fd, True)
        os.execv(
            sys.executable,
            [
                sys.executable,
                "-S",
                self.script,
                self.address,
                str(self.commands_fd),
                str(self.answers_fd),
            ],
        )

    def run(self):
        self.answer({"pid": os.getpid()})
        for line in self.commands:
            self.obey(*json.loads(line))
        os._exit(0)

    def obey(self, verb, argument):
        if verb == "beat":
            self.answer(self.beat(argument))
        elif verb == "raw":
            self.answer({"error": self.send(bytes.fromhex(argument))})
        elif verb == "exec":
            self.exec_self()
        elif verb == "exit":
            os._exit(argument)

    def answer(self, value):
        os.write(self.answers_fd, json.dumps(value).encode() + b"\n")


class Agent:
    """An agent in a process of its own, with a pid of its own.

    Its end is seen by this process as its parent; with reap=False it stays a
    zombie until reap() is called.
    """

    inside = AgentProcess

    def __init__(self, address, uid=None, gid=None):
        commands_read, self._commands = os.pipe()
        self._answers, answers_write = os.pipe()
        self.exit_code = None
        self.pid = os.fork()
        if self.pid == 0:
            self._become_agent(
                os.fspath(address), commands_read, answers_write, uid, gid
            )
        os.close(commands_read)
        os.close(answers_write)
        assert self._answer()["pid"] == self.pid

    def _become_agent(self, address, commands_fd, answers_fd, uid, gid):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            keep = sorted({0, 1, 2, commands_fd, answers_fd})
            for low, high in zip(keep, keep[1:] + [1024]):
                os.closerange(low + 1, high)
            if gid is not None:
                os.setgroups([])
                os.setgid(gid)
            if uid is not None:
                os.setuid(uid)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            self.inside(address, commands_fd, answers_fd).run()
        finally:
            os._exit(99)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _tell(self, verb, argument=None):
        os.write(self._commands, json.dumps([verb, argument]).encode() + b"\n")

    def _answer(self):
        """One line from the agent, whole, within the deadline."""
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(DEADLINE_S):
                    raise Late(f"agent {self.pid} does not answer")
                part = os.read(self._answers, 4096)
                if not part:
                    raise AssertionError(f"agent {self.pid} has ended")
                line += part
        return json.loads(line)

    def try_beat(self, status="ok", payload=0, **fields):
        """One beat. None when sent, else the name of the error. Fields of the
        frame may be given: pid, nonce, timestamp, version."""
        self._tell(
            "beat", {"status": STATUS[status], "payload": payload, **fields}
        )
        answer = self._answer()
        self.last_nonce = answer["nonce"]
        return answer["error"]

    def beat(self, *args, **fields):
        """One beat, which must be sent; where the queue is full it is tried
        again. Returns its nonce."""
        problem = []

        def tried():
            problem[:] = [self.try_beat(*args, **fields)]
            return problem != ["EAGAIN"]

        wait_for(tried, what=f"room for a beat of agent {self.pid}")
        assert problem == [None], problem
        return self.last_nonce

    def send_raw(self, data):
        """Any bytes as one datagram. None, or the name of the error."""
        self._tell("raw", data.hex())
        return self._answer()["error"]

    def stop(self):
        """Stopped (SIGSTOP) once this returns."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(self.pid) == "T", what="stopped agent")

    def cont(self):
        os.kill(self.pid, signal.SIGCONT)
        wait_for(lambda: process_state(self.pid) != "T", what="running agent")

    def exec_self(self):
        """The same process starts its program anew: nonce and clock begin
        again, the pid stays."""
        self._tell("exec")
        assert self._answer()["pid"] == self.pid

    def exit(self, code=0, reap=True):
        self._tell("exit", code)
        self._ended(reap)

    def kill(self, number=signal.SIGKILL, reap=True):
        os.kill(self.pid, number)
        self._ended(reap)

    def _ended(self, reap):
        if reap:
            self.reap()
        else:
            wait_for(
                lambda: process_state(self.pid) == "Z", what="ended agent"
            )

    def reap(self):
        """The exit code, or minus the signal's number."""
        self.exit_code = wait_end(self.pid)
        return self.exit_code

    def close(self):
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.reap()
        for fd in (self._commands, self._answers):
            with contextlib.suppress(OSError):
                os.close(fd)


if __name__ == "__main__":
    # The second life of an agent, see AgentProcess.exec_self().
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    AgentProcess(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()
