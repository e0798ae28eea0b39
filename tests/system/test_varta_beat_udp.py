"""varta beat over UDP: to whoever listens, and what is said when nobody can."""

import os
import socket
import subprocess

import pytest

import support
from support import VARTA, Frame


def beat(*words, environment=None):
    done = subprocess.run(
        [VARTA, "beat", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=support.DEADLINE_S,
        env={**os.environ, "VARTA_SOCKET": "", **(environment or {})},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def listener():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(support.DEADLINE_S)
        yield made


def address_of(listener):
    return "udp:{}:{}".format(*listener.getsockname())


def test_a_beat_is_one_datagram(listener):
    words = ("--socket", address_of(listener), "--status", "degraded")
    assert beat(*words, "--payload", "9") == (0, "", "")
    frame = Frame.decode(listener.recv(100))
    assert (frame.status, frame.nonce, frame.payload) == (support.DEGRADED, 1, 9)


def test_the_address_may_come_from_the_environment(listener):
    settings = {"VARTA_SOCKET": address_of(listener)}
    assert beat(environment=settings) == (0, "", "")
    assert Frame.decode(listener.recv(100)).nonce == 1


@pytest.mark.parametrize(
    "address, reason",
    [
        ("udp:localhost", "address is not /PATH, unix:/PATH or udp:HOST:PORT"),
        ("udp:::1:9", "address is not /PATH, unix:/PATH or udp:HOST:PORT"),
        ("udp:host.invalid:9", "host name"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(address, reason):
    code, out, err = beat("--socket", address)
    assert (code, out) == (1, "")
    assert err.startswith(f"varta beat: observer '{address}': {reason}")
