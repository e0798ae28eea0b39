"""Limits of varta-watch: how often one agent and all of them may beat.

Datagrams are gathered while the observer is held, so that it takes them in at
one moment and the numbers are exact on any machine."""

import pytest

import support
from watching import (
    HOUR_MS,
    METRICS,
    connected,
    held,
    own_frame,
    values,
    wait_metric,
)


@pytest.fixture
def limited(observer):
    """limited(per_agent, of_all, burst): rates of which 0 is any."""

    def start(per_agent, of_all=0, burst=0, *options):
        return observer(
            *METRICS,
            *("--max-beat-rate", per_agent),
            *("--global-beat-rate", of_all, "--global-beat-burst", burst),
            *options,
            threshold_ms=HOUR_MS,
        )

    return start


def take_at_once(watch, frames):
    """All of these as the observer takes them in at one moment; the numbers
    of accepted beats, and of those dropped by reason."""
    with held(watch), connected(watch.socket_path) as sock:
        for frame in frames:
            sock.send(frame)
    metrics = wait_metric(watch, "varta_datagrams_total", len(frames))
    dropped = values(metrics, "varta_rate_limited_total", "reason")
    return metrics.value("varta_beats_all_total"), dropped


def frames(n, **fields):
    return [own_frame(nonce=i + 1, timestamp=i, **fields) for i in range(n)]


def test_an_agent_that_beats_too_often_has_beats_dropped(limited):
    watch = limited(1)
    assert take_at_once(watch, frames(9)) == (1, {"per_pid": 8, "global": 0})


def test_a_few_beats_that_waited_together_are_not_too_often(limited):
    watch = limited(100)
    accepted, dropped = take_at_once(watch, frames(5))
    assert (accepted, dropped["per_pid"]) == (5, 0)


def test_no_limit_drops_nothing(limited):
    watch = limited(0)
    assert take_at_once(watch, frames(9)) == (9, {"per_pid": 0, "global": 0})


def test_a_change_of_status_passes_the_limit_of_an_agent(limited):
    watch = limited(1)
    sent = [
        own_frame(nonce=1 + i, timestamp=i, status=status)
        for i, status in enumerate([0, 0, 1, 1, 2, 2, 0])
    ]
    accepted, dropped = take_at_once(watch, sent)
    assert (accepted, dropped["per_pid"]) == (4, 3)
    assert [row.status for row in watch.events("beat")] == [
        "ok",
        "degraded",
        "critical",
        "ok",
    ]


def test_nothing_is_kept_of_a_beat_that_was_dropped(limited):
    """Nothing is kept of it: its nonce may be used again."""
    watch = limited(1)
    sent = [own_frame(nonce=1), own_frame(nonce=2, payload=1)]
    assert take_at_once(watch, sent)[0] == 1
    # Accepted for its status, with the nonce that was dropped.
    with connected(watch.socket_path) as sock:
        sock.send(own_frame(nonce=2, payload=2, status=support.DEGRADED))
    rows = watch.wait_event("beat", count=2)
    assert [(row.nonce, row.payload) for row in rows] == [
        ("1", "0"),
        ("2", "2"),
    ]


def test_all_agents_together_have_a_limit(limited):
    watch = limited(0, 1, 3)
    accepted, dropped = take_at_once(watch, frames(8))
    # One more may have been earned while the datagrams gathered.
    assert 3 <= accepted <= 4
    assert dropped == {"per_pid": 0, "global": 8 - accepted}


def test_events_of_bad_datagrams_count_for_the_limit_of_all(limited):
    watch = limited(0, 1, 3)
    accepted, dropped = take_at_once(watch, [b"x" * 32] * 8)
    told = len(watch.events("decode"))
    assert accepted == 0
    assert 3 <= told <= 4
    assert dropped["global"] == 8 - told
    # Untold is not uncounted.
    kinds = values(watch.metrics(), "varta_decode_errors_total", "kind")
    assert kinds["bad_magic"] == 8


def test_a_noisy_agent_does_not_use_up_what_belongs_to_all(limited, agent):
    watch = limited(1, 1, 2)
    quiet = agent(watch.socket_path)
    with held(watch):
        with connected(watch.socket_path) as sock:
            for frame in frames(8):
                sock.send(frame)
        quiet.beat()
    watch.wait_event("join", quiet.pid)
    metrics = wait_metric(watch, "varta_datagrams_total", 9)
    dropped = values(metrics, "varta_rate_limited_total", "reason")
    assert dropped == {"per_pid": 7, "global": 0}


def test_the_last_word_of_a_process_passes_both_limits_once(limited):
    watch = limited(1, 1, 1)

    def last_word(timestamp):
        return own_frame(
            status=support.CRITICAL,
            nonce=support.NONCE_TERMINAL,
            timestamp=timestamp,
        )

    sent = [
        own_frame(nonce=1, timestamp=1),
        last_word(2),
        last_word(3),
        last_word(4),
    ]
    accepted, dropped = take_at_once(watch, sent)
    assert accepted == 2
    assert sum(dropped.values()) == 2
    assert [row.nonce for row in watch.wait_event("beat", count=2)] == [
        "1",
        str(support.NONCE_TERMINAL),
    ]


def test_a_first_beat_passes_the_limit_of_an_agent(limited, agent):
    watch = limited(1)
    agents = [agent(watch.socket_path) for _ in range(5)]
    with held(watch):
        for one in agents:
            one.beat()
    for one in agents:
        watch.wait_event("join", one.pid)
