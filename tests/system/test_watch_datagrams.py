"""What varta-watch makes of the datagrams that it gets: beats, and everything
that is none."""

import array
import json
import os
import pathlib
import re
import shutil
import socket

import pytest

import support
from support import ROOT, WATCH
from watching import (
    HOUR_MS,
    METRICS,
    NOBODY,
    connected,
    descriptors,
    held,
    needs_root,
    own_frame,
    values,
    wait_metric,
)

VECTORS = json.loads(
    (ROOT / "tests" / "vectors" / "vlp-test-vectors.json").read_text()
)["frame_vectors"]
BAD = [v for v in VECTORS if v["expected_decode_error"] is not None]


def kind_of(error):
    """The metric's word: bad_magic for BadMagic."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error).lower()


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


# ---- beats ----------------------------------------------------------------


def test_a_beat_is_told_with_all_its_columns(watch, agent):
    one = agent(watch.socket_path)
    one.beat("degraded", payload=4294967295)
    [row] = watch.wait_event("beat", one.pid)
    assert row[1:] == ("beat", str(one.pid), "1", "degraded", "4294967295")
    [join] = watch.events("join")
    assert join[2:] == row[2:]
    assert join.observer_ns == row.observer_ns


@pytest.mark.parametrize("status", ["ok", "degraded", "critical"])
def test_the_status_of_an_agent_is_that_of_its_last_beat(
    watch, agent, status
):
    one = agent(watch.socket_path)
    one.beat("degraded" if status == "ok" else "ok")
    one.beat(status, payload=1)
    metrics = wait_metric(watch, "varta_beats_total", 2, pid=one.pid)
    found = metrics.value("varta_status", pid=one.pid)
    assert found == support.STATUS[status]


def test_beats_keep_their_order_and_none_is_lost(observer):
    n = 3000
    watch = observer(
        *METRICS,
        *("--max-beat-rate", 0, "--global-beat-rate", 0),
        threshold_ms=HOUR_MS,
    )
    with connected(watch.socket_path) as sock:
        for nonce in range(1, n + 1):
            sock.send(own_frame(nonce=nonce, payload=nonce))
    metrics = wait_metric(watch, "varta_beats_all_total", n)
    assert metrics.value("varta_beats_all_total") == n
    assert metrics.value("varta_datagrams_total") == n
    rows = watch.wait_event("beat", os.getpid(), count=n)
    assert [int(row.nonce) for row in rows] == list(range(1, n + 1))


def test_nonces_that_do_not_grow_are_counted_by_cause(watch, agent):
    one = agent(watch.socket_path)
    one.beat(nonce=10, timestamp=100)
    one.beat(nonce=10, timestamp=101)
    one.beat(nonce=9, timestamp=102)
    one.beat("critical", nonce=support.NONCE_TERMINAL, timestamp=200)
    one.beat("critical", nonce=support.NONCE_TERMINAL, timestamp=200)
    name = "varta_out_of_order_total"
    wait_metric(watch, name, 1, cause="nonce_repeated")
    wait_metric(watch, name, 1, cause="nonce_regressed")
    metrics = wait_metric(watch, name, 1, cause="terminal_replayed")
    assert values(metrics, name, "cause") == {
        "nonce_repeated": 1,
        "nonce_regressed": 1,
        "terminal_replayed": 1,
    }
    assert metrics.value("varta_beats_total", pid=one.pid) == 2


def test_a_nonce_that_wraps_goes_on_from_0(watch, agent):
    one = agent(watch.socket_path)
    one.beat(nonce=support.NONCE_TERMINAL - 1)
    one.beat(nonce=0)
    rows = watch.wait_event("beat", one.pid, count=2)
    assert rows[1].nonce == "0"
    assert wait_metric(watch, "varta_nonce_wrap_total", 1)


# ---- what is no frame -----------------------------------------------------


def test_datagrams_of_a_wrong_length_are_counted_and_no_event(watch, agent):
    one = agent(watch.socket_path)
    whole = support.Frame(pid=one.pid).encode()
    lengths = [0, 1, 31, 33, 34, 40, 64, 1000]
    for length in lengths:
        assert one.send_raw((whole * 40)[:length]) is None
    one.beat()
    watch.wait_event("beat", one.pid)
    assert {row.kind for row in watch.events()} == {"join", "beat"}
    metrics = watch.metrics()
    found = metrics.value("varta_truncated_datagrams_total")
    assert found == len(lengths)
    assert metrics.value("varta_ctrl_truncated_total") == 0


@pytest.mark.parametrize("vector", BAD, ids=lambda v: v["id"])
def test_a_published_frame_with_an_error_is_told_by_its_name(
    watch, agent, vector
):
    one = agent(watch.socket_path)
    assert one.send_raw(bytes.fromhex(vector["wire_hex"])) is None
    error = vector["expected_decode_error"]
    [row] = watch.wait_event("decode")
    assert row[2:5] == ("-", "-", "-")
    assert row.payload.startswith(error)
    kinds = values(watch.metrics(), "varta_decode_errors_total", "kind")
    assert {k for k, n in kinds.items() if n} == {kind_of(error)}


def test_every_kind_of_decode_error_is_counted_from_0(watch):
    kinds = values(watch.metrics(), "varta_decode_errors_total", "kind")
    assert kinds == {kind_of(v["expected_decode_error"]): 0 for v in BAD}


def test_a_frame_of_version_1_is_refused(watch, agent):
    one = agent(watch.socket_path)
    one.beat(version=1)
    [row] = watch.wait_event("decode")
    assert row.payload.startswith("BadVersion")
    assert watch.events("join") == []


# ---- who sends ------------------------------------------------------------


def test_a_beat_in_the_name_of_another_process_is_a_mismatch(watch, agent):
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    one.beat(pid=two.pid)
    [row] = watch.wait_event("mismatch")
    assert row[2:] == (str(two.pid), "-", "-", "auth_failure")
    two.beat()
    watch.wait_event("join", two.pid)
    assert watch.events("join", one.pid) == []
    metrics = watch.metrics()
    assert metrics.value("varta_frame_auth_failures_total") == 1


def kernel_refuses_descriptors():
    """At their sender, for whoever asks for it: from Linux 6.16 on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.getsockopt(socket.SOL_SOCKET, 83)  # SO_PASSRIGHTS
        except OSError:
            return False
    return True


REFUSED = pytest.mark.skipif(
    not kernel_refuses_descriptors(), reason="this kernel lets descriptors in"
)
LET_IN = pytest.mark.skipif(
    kernel_refuses_descriptors(), reason="this kernel refuses descriptors"
)


@REFUSED
def test_descriptors_are_refused_at_their_sender(watch):
    with connected(watch.socket_path) as sock, open(os.devnull) as gift:
        with pytest.raises(PermissionError):
            socket.send_fds(sock, [own_frame(nonce=1)], [gift.fileno()])
        sock.send(own_frame(nonce=1))
        watch.wait_event("beat")
    assert watch.metrics().value("varta_injected_descriptors_total") == 0


@LET_IN
def test_descriptors_sent_along_are_closed(watch):
    with connected(watch.socket_path) as sock:
        sock.send(own_frame(nonce=1))
        watch.wait_event("beat")
        before = set(descriptors(watch.pid).values())
        with open(os.devnull) as gift:
            for nonce in range(2, 12):
                socket.send_fds(sock, [own_frame(nonce=nonce)], [gift.fileno()])
        wait_metric(watch, "varta_datagrams_total", 11)
        name = "varta_injected_descriptors_total"
        metrics = wait_metric(watch, name, 10)
        assert metrics.value(name) == 10
        assert os.devnull not in set(descriptors(watch.pid).values()) - before


@LET_IN
def test_more_descriptors_than_there_is_room_for_leave_none_behind(watch):
    with connected(watch.socket_path) as sock:
        sock.send(own_frame(nonce=1))
        watch.wait_event("beat")
        with open("/dev/zero") as gift:
            socket.send_fds(sock, [own_frame(nonce=2)], [gift.fileno()] * 253)
        watch.wait_event("ctrunc")
        assert "/dev/zero" not in descriptors(watch.pid).values()
    assert watch.metrics().value("varta_ctrl_truncated_total") == 1
    # Cut-off control data may have cut off the sender: it is no beat.
    assert len(watch.events("beat")) == 1


def test_a_sender_cannot_name_itself_another(watch, agent):
    """Credentials may be sent along; those of others the kernel refuses, and
    one's own change nothing."""
    one = agent(watch.socket_path)
    with connected(watch.socket_path) as sock:
        mine = array.array("i", [os.getpid(), os.geteuid(), os.getegid()])
        record = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, mine)
        sock.sendmsg([own_frame(pid=one.pid)], [record])
    [row] = watch.wait_event("mismatch")
    assert row.pid == str(one.pid)


@pytest.fixture
def open_watch(folder, observer):
    """An observer to whose socket all may write."""

    def start(*options, **settings):
        folder.chmod(0o755)
        return observer(
            *METRICS,
            *("--socket-mode", "0666"),
            *options,
            threshold_ms=HOUR_MS,
            **settings,
        )

    return start


@needs_root
def test_a_beat_of_another_user_is_refused(open_watch, agent):
    watch = open_watch()
    one = agent(watch.socket_path, uid=NOBODY, gid=NOBODY)
    one.beat()
    [row] = watch.wait_event("io")
    assert row[2:] == ("-", "-", "-", os.strerror(13))
    metrics = watch.metrics()
    assert metrics.value("varta_uid_refused_total") == 1
    assert metrics.value("varta_io_errors_total") == 1
    assert watch.events("join") == []


@needs_root
@pytest.mark.parametrize(
    "options",
    [
        ["--allow-uid", NOBODY],
        ["--allow-uid=nobody"],
        ["--allow-gid", NOBODY],
        ["--allow-gid=nogroup"],
        ["--allow-uid", 1, "--allow-uid", NOBODY, "--allow-uid", 2],
    ],
    ids=str,
)
def test_users_and_groups_that_are_allowed_may_beat(
    open_watch, agent, options
):
    watch = open_watch(*options)
    one = agent(watch.socket_path, uid=NOBODY, gid=NOBODY)
    one.beat()
    watch.wait_event("beat", one.pid)
    mine = agent(watch.socket_path)
    mine.beat()
    watch.wait_event("beat", mine.pid)
    assert watch.events("io") == []


@needs_root
@pytest.mark.parametrize("option", ["--allow-uid", "--allow-gid"])
def test_to_allow_one_user_is_not_to_allow_others(open_watch, agent, option):
    watch = open_watch(option, NOBODY - 1)
    one = agent(watch.socket_path, uid=NOBODY, gid=NOBODY)
    one.beat()
    watch.wait_event("io")
    assert watch.events("join") == []


@needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_not_even_root_may_beat_to_an_ordinary_users_observer(
    folder, open_watch, agent
):
    for path in [*pathlib.Path(WATCH).parents, WATCH]:
        if not os.stat(path).st_mode & 0o001:
            pytest.skip(f"others may not run {path}")
    os.chown(folder, NOBODY, NOBODY)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}"]
    user += ["--clear-groups", WATCH]
    watch = open_watch(program=user)
    one = agent(watch.socket_path)
    one.beat()
    [row] = watch.wait_event("io")
    assert row.payload == os.strerror(13)
    two = agent(watch.socket_path, uid=NOBODY, gid=NOBODY)
    two.beat()
    watch.wait_event("beat", two.pid)


def test_a_flood_of_bad_datagrams_keeps_no_beat_from_being_read(
    watch, agent
):
    one = agent(watch.socket_path)
    with held(watch), connected(watch.socket_path) as sock:
        for junk in [b"", b"x" * 32, b"y" * 31, b"z" * 100, own_frame(pid=1)]:
            sock.send(junk)
        one.beat()
    watch.wait_event("beat", one.pid)
    watch.wait_event("decode", count=2)
    kinds = [row.kind for row in watch.events() if row.kind != "late"]
    assert sorted(kinds) == ["beat", "decode", "decode", "join"]
    assert watch.metrics().value("varta_truncated_datagrams_total") == 3
