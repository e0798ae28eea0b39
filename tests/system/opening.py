"""Sealed frames by the letter of the standards: ChaCha20-Poly1305 (RFC 8439)
and HKDF-SHA256 (RFC 5869) with nothing but integers, so that what the library
sends is opened by something that shares no code with it. Slow, and not for
secrets: its time depends on them."""

import hmac
import struct
from typing import NamedTuple

from agents import Frame

SHARED_BYTES, MASTER_BYTES = 60, 64


class AuthError(Exception):
    """A datagram that this key did not seal."""


# ---- ChaCha20-Poly1305 ----------------------------------------------------


def _rotate(x, n):
    return (x << n | x >> 32 - n) & 0xFFFFFFFF


def _quarter_round(s, a, b, c, d):
    for to, add, turn, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[to] = (s[to] + s[add]) & 0xFFFFFFFF
        s[turn] = _rotate(s[turn] ^ s[to], by)


def _block(key, counter, nonce):
    start = struct.unpack("<4I", b"expand 32-byte k")
    start += struct.unpack("<8I", key) + (counter,) + struct.unpack("<3I", nonce)
    s = list(start)
    for _ in range(10):
        for i in range(4):
            _quarter_round(s, i, i + 4, i + 8, i + 12)
        for i in range(4):
            _quarter_round(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(s, start)))


def _chacha20(key, nonce, data):
    out = bytearray()
    for i in range(0, len(data), 64):
        stream = _block(key, 1 + i // 64, nonce)
        out += bytes(x ^ y for x, y in zip(data[i : i + 64], stream))
    return bytes(out)


def _poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(data), 16):
        total += int.from_bytes(data[i : i + 16] + b"\1", "little")
        total = total * r % (2**130 - 5)
    total += int.from_bytes(key[16:], "little")
    return (total % 2**128).to_bytes(16, "little")


def _tag(key, nonce, aad, sealed):
    def padded(data):
        return data + bytes(-len(data) % 16)

    lengths = struct.pack("<QQ", len(aad), len(sealed))
    text = padded(aad) + padded(sealed) + lengths
    return _poly1305(_block(key, 0, nonce)[:32], text)


def aead_seal(key, nonce, aad, plain):
    sealed = _chacha20(key, nonce, plain)
    return sealed + _tag(key, nonce, aad, sealed)


def aead_open(key, nonce, aad, data):
    sealed, tag = data[:-16], data[-16:]
    if tag != _tag(key, nonce, aad, sealed):
        raise AuthError(data.hex())
    return _chacha20(key, nonce, sealed)


# ---- derivations ----------------------------------------------------------


def hkdf(ikm, info, length):
    prk = hmac.digest(bytes(32), ikm, "sha256")
    out, block = b"", b""
    while len(out) < length:
        number = bytes([len(out) // 32 + 1])
        block = hmac.digest(prk, block + info + number, "sha256")
        out += block
    return out[:length]


def agent_key(master, pid):
    return hkdf(master, b"varta-agent-v1\0" + struct.pack("<I", pid), 32)


# ---- frames ---------------------------------------------------------------


class Opened(NamedTuple):
    frame: Frame
    prefix: bytes
    counter: int
    key_pid: int | None  # of a master frame


def seal_shared(key, prefix, counter, frame):
    nonce = prefix + struct.pack("<I", counter)
    return nonce + aead_seal(key, nonce, b"", frame.encode())


def seal_master(master, prefix, counter, frame):
    pid, nonce = struct.pack("<I", frame.pid), prefix + struct.pack("<I", counter)
    key = agent_key(master, frame.pid)
    return pid + nonce + aead_seal(key, nonce, pid, frame.encode())


def open_frame(key, data):
    """Of a datagram that must be a frame sealed with this key: the shared one
    or the master key, by the length."""
    assert len(data) in (SHARED_BYTES, MASTER_BYTES), f"{len(data)} bytes"
    pid, rest = data[:-SHARED_BYTES], data[-SHARED_BYTES:]
    if pid:
        key = agent_key(key, *struct.unpack("<I", pid))
    frame = Frame.decode(aead_open(key, rest[:12], pid, rest[12:]))
    prefix, counter = struct.unpack("<8sI", rest[:12])
    key_pid = struct.unpack("<I", pid)[0] if pid else None
    assert key_pid in (None, frame.pid)
    return Opened(frame, prefix, counter, key_pid)
