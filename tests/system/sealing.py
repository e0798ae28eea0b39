"""Senders of sealed frames, by the letter of the protocol: what the observer
takes is made here by code that shares nothing with it (opening.py has the
cryptography)."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import struct

import opening
from agents import CRITICAL, NONCE_TERMINAL, OK, Frame
from support import wait_for, write_secret
from watching import HOUR_MS, METRICS, wait_metric


def iv_prefix(salt, index):
    info = b"varta-iv-prefix-v1\0" + struct.pack("<I", index)
    return opening.hkdf(salt, info, 8)


def crash_prefix(salt, pid, timestamp, counter):
    info = b"varta-panic-iv-v1\0" + struct.pack(
        "<IQI", pid, timestamp, counter
    )
    return opening.hkdf(salt, info, 8)


class Session:
    """What a sender of sealed frames keeps. frame() makes the next one;
    nothing is sent here."""

    def __init__(self, key, pid, master=False):
        self.key = key
        self.pid = pid
        self.master = master
        self.begin()

    def begin(self):
        """As a process that has just started."""
        self.salt = os.urandom(16)
        self.index = 0
        self.counter = 0
        self.nonce = 0
        self.timestamp = 0
        self.crashes = 0

    def rotate(self):
        """The next prefix, as when the counter is used up."""
        self.index += 1
        self.counter = 0

    def frame(self, status=OK, payload=0):
        self.nonce += 1
        self.timestamp += 1_000_000
        frame = Frame(status, self.pid, self.timestamp, self.nonce, payload)
        seal = opening.seal_master if self.master else opening.seal_shared
        wire = seal(
            self.key, iv_prefix(self.salt, self.index), self.counter, frame
        )
        self.counter += 1
        return wire

    def frames(self, count):
        return [self.frame() for _ in range(count)]

    def crash_frame(self):
        """The last word; under a shared key, whatever the others are."""
        self.timestamp += 1_000_000
        frame = Frame(CRITICAL, self.pid, self.timestamp, NONCE_TERMINAL)
        prefix = crash_prefix(
            self.salt, self.pid, self.timestamp, self.crashes
        )
        wire = opening.seal_shared(self.key, prefix, self.crashes, frame)
        self.crashes += 1
        return wire


# ---- core files -----------------------------------------------------------


def with_core(folder, program):
    """The words before a command line whose core file is to lie in folder."""
    script = 'cd "$1"; shift; ulimit -c unlimited; exec "$@"'
    return ["sh", "-ec", script, "sh", folder, *program]


def core_of(folder):
    """The bytes of the core file in there; None where the system does not
    leave one."""
    found = list(folder.glob("core*"))
    return found[0].read_bytes() if found else None


def traces(core, secret):
    """Places in secret from which eight bytes and more are in the core."""
    return [
        at
        for at in range(0, len(secret) - 7, 4)
        if secret[at : at + 8] in core
    ]


# ---- the observer's end ---------------------------------------------------


def hex_key(number=1):
    """A key, and its text for a file."""
    key = hashlib.sha256(b"key %d" % number).digest()
    return key, key.hex() + "\n"


def udp_address(watch):
    """Host and port, as the line of its last start says."""
    found = wait_for(
        lambda: re.findall(r", UDP (\S+):(\d+)$", watch.log(), re.MULTILINE),
        what="UDP address",
    )
    host, port = found[-1]
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def udp_socket(address):
    """A socket of a sender on this host."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        yield sock


KEY, KEY_TEXT = hex_key(1)
OTHER_KEY, OTHER_TEXT = hex_key(2)
MASTER, MASTER_TEXT = hex_key(3)

DECRYPT = "varta_frame_decrypt_failures_total"
REPLAY = "varta_secure_replay_refused_total"
ATTEMPTS = "varta_secure_aead_attempts_total"


class Sealed:
    """An observer with keys and a folder for its state, and a socket to it."""

    def __init__(self, folder, observer):
        self.folder = folder
        self._observer = observer
        self.key = write_secret(folder / "key", KEY_TEXT)
        self.accepted = write_secret(folder / "accepted", OTHER_TEXT)
        self.master = write_secret(folder / "master", MASTER_TEXT)
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.socket = None

    def start(self, *options, keys=("key", "master"), state=True, **settings):
        files = {
            "key": ["--key-file", self.key],
            "accepted": ["--accepted-key-file", self.accepted],
            "master": ["--master-key-file", self.master],
        }
        options = ["--udp-port=0", "--max-beat-rate=0", *METRICS, *options]
        for name in keys:
            options += files[name]
        if state:
            options += ["--state-dir", self.state]
        settings.setdefault("threshold_ms", HOUR_MS)
        self.watch = self._observer(*options, **settings)
        self.connect()
        return self.watch

    def connect(self):
        """From another address than before."""
        self.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(udp_address(self.watch))

    def restart(self, number=signal.SIGTERM):
        self.watch.stop(number)
        self.watch.restart()
        self.connect()

    def send(self, *datagrams):
        for datagram in datagrams:
            self.socket.send(datagram)

    def offer(self, *datagrams):
        """Send, wait until all were looked at, and say how many beats were
        taken. No more at once than the kernel holds."""
        metrics = self.watch.metrics()
        before = metrics.value("varta_beats_all_total")
        seen = metrics.value("varta_datagrams_total")
        for i in range(0, len(datagrams), 100):
            part = datagrams[i : i + 100]
            self.send(*part)
            seen += len(part)
            metrics = wait_metric(self.watch, "varta_datagrams_total", seen)
        return int(metrics.value("varta_beats_all_total") - before)

    def close(self):
        if self.socket is not None:
            self.socket.close()

    def reload(self):
        self.watch.process.send_signal(signal.SIGHUP)
        self.watch.wait_notice("RELOADING=1")
        self.watch.wait_notice("READY=1")
