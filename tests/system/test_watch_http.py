"""HTTP of varta-watch: paths, methods, tokens, limits, and clients who do not
behave."""

import contextlib
import re
import socket

import pytest

import support
from support import DEADLINE_S, wait_for
from watching import (
    HOUR_MS,
    METRICS,
    descriptors,
    needs_ipv6,
    run_watch,
    wait_metric,
)

TOKEN = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


@pytest.fixture
def guarded(folder, observer):
    path = support.write_secret(folder / "token", TOKEN)
    return observer(
        *METRICS, "--prom-token-file", path, threshold_ms=HOUR_MS, token=TOKEN
    )


def address_of(watch):
    host, port = watch.metrics_address().rsplit(":", 1)
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def connection(watch):
    with socket.create_connection(address_of(watch), DEADLINE_S) as sock:
        yield sock


def read_all(sock):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            data += part
    return data


def ask(watch, request):
    """Any bytes as a request; any bytes as an answer."""
    with connection(watch) as sock:
        sock.sendall(request)
        return read_all(sock)


def status_of(answer):
    return int(re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)[1])


# ---- paths and methods ----------------------------------------------------


def test_metrics_are_text_of_prometheus(watch):
    answer = watch.get("/metrics")
    assert answer.status == 200
    kind = answer.headers["Content-Type"]
    assert kind.startswith("text/plain; version=0.0.4")
    assert answer.body.startswith(b"# HELP varta_beats_total ")


def is_ready_or_late(answer):
    """A loaded machine may well have kept the observer from running."""
    return (answer.status, answer.body) == (200, b"ok\n") or (
        answer.status == 503 and answer.body.startswith(b"late: "))


def test_probes_are_answered(watch):
    answer = watch.get("/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert is_ready_or_late(watch.get("/readyz"))


@pytest.mark.parametrize(
    "path",
    ["/", "/metric", "/metrics/", "/metrics/x", "/Metrics", "//metrics"]
    + ["/metrics%00", "/metrics%00x", "/metrics%2", "/metrics%zz"]
    + ["/%2fmetrics"],
)
def test_other_paths_are_not_found(watch, path):
    assert watch.get(path).status == 404


@pytest.mark.parametrize(
    "target, status",
    [
        (b"http://varta:9848/metrics", 200),
        (b"HTTP://varta/metrics?x=1", 200),
        (b"/%6detrics", 200),
        (b"http://varta", 404),
        (b"http:///metrics", 404),
        (b"https://varta/metrics", 404),
        (b"http://varta//metrics", 404),
        (b"varta:9848", 404),
        (b"*", 404),
    ],
)
def test_a_target_may_be_a_whole_url(watch, target, status):
    answer = ask(watch, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) == status


@pytest.mark.parametrize(
    "version, fields, status",
    [
        (b"1.1", b"Host: x\r\n", 200),
        (b"1.1", b"Host:\r\n", 200),
        (b"1.1", b"", 400),
        (b"1.1", b"Host: x\r\nHost: x\r\n", 400),
        (b"1.0", b"", 200),
        (b"1.0", b"Host: x\r\nHost: y\r\n", 400),
        (b"1.1", b"Host: x\r\nX-Y : z\r\n", 400),
        (b"1.1", b"Host: x\r\nX-Y\t: z\r\n", 400),
        (
            b"1.1",
            b"Host: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n",
            400,
        ),
    ],
)
@pytest.mark.parametrize("path", [b"/metrics", b"/healthz"])
def test_what_http_does_not_allow_is_a_bad_request(
    watch, path, version, fields, status
):
    answer = ask(
        watch,
        b"GET " + path + b" HTTP/" + version + b"\r\n" + fields + b"\r\n",
    )
    assert status_of(answer) == status


def test_a_query_does_not_matter(watch):
    assert watch.get("/metrics?name[]=varta_beats_total").status == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_head_is_get_without_the_body(watch, path):
    answer = watch.get(path, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    kind = watch.get(path).headers.get("Content-Type")
    assert answer.headers.get("Content-Type") == kind


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "X"])
def test_other_methods_are_not_allowed(watch, method):
    answer = watch.get("/metrics", method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_request_with_a_body_is_too_large(watch):
    answer = ask(
        watch,
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    )
    assert status_of(answer) == 413


def test_a_request_with_too_many_headers_is_refused(watch):
    headers = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 500) for i in range(200))
    answer = ask(
        watch, b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
    )
    assert status_of(answer) == 431
    assert watch.get().status == 200


def test_a_request_line_that_is_too_long_is_refused(watch):
    line = b"GET /" + b"m" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    assert status_of(ask(watch, line)) == 414
    assert watch.get().status == 200


def test_the_first_of_several_requests_at_once_is_answered(watch):
    answer = ask(watch, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert (status_of(answer), body) == (200, b"ok\n")
    assert b"connection: close" in head.lower()


def test_a_long_request_as_prometheus_sends_it_is_understood(guarded):
    """Some 600 bytes before the token."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.5," * 12
    assert guarded.get(headers={"Accept": accept}).status == 200


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_old_and_new_clients_get_a_whole_body(watch, version):
    answer = ask(
        watch, b"GET /metrics HTTP/" + version + b"\r\nHost: x\r\n\r\n"
    )
    assert status_of(answer) == 200
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"connection: close" in head.lower()
    assert b"varta_watch_pids_tracked 0" in body


@pytest.mark.parametrize(
    "junk",
    [b"\0" * 100, b"\xff" * 5000, b"GET", b"GET /metrics\r\n\r\n", b"\r\n" * 50]
    + [b"GET /metrics HTTP/9.9\r\n\r\n", b"A" * 100000],
    ids=range(7),
)
def test_junk_does_no_harm(watch, junk):
    with connection(watch) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(junk)
        assert watch.get("/healthz").status == 200
    assert watch.get("/healthz").status == 200


def test_a_client_may_close_its_half_after_the_request(watch):
    with connection(watch) as sock:
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"\r\n\r\nok\n")


# ---- the token ------------------------------------------------------------


def test_metrics_are_for_those_who_have_the_token(guarded):
    assert guarded.get().status == 200
    guarded.token = None
    answer = guarded.get()
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="varta"'
    assert b"varta_" not in answer.body
    # Probes need none.
    assert guarded.get("/healthz").status == 200
    assert is_ready_or_late(guarded.get("/readyz"))


@pytest.mark.parametrize(
    "value, status",
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER   {TOKEN.upper()}", 200),
        (f"Bearer {TOKEN[:-1]}0", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}0", 401),
        (f"Bearer {TOKEN} x", 401),
        (f"Bearer {TOKEN[:-1]}g", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("", 401),
    ],
)
def test_the_token_must_be_exactly_right(guarded, value, status):
    guarded.token = None
    answer = guarded.get(headers={"Authorization": value})
    assert answer.status == status


def test_wrong_tokens_are_counted(guarded):
    guarded.token = "f" * 64
    for _ in range(3):
        assert guarded.get().status == 401
    guarded.token = TOKEN
    metrics = guarded.metrics()
    assert metrics.value("varta_prom_auth_failures_total") == 3
    # These are not those of beats.
    assert metrics.value("varta_frame_auth_failures_total") == 0


def test_without_a_token_the_log_warns(watch):
    assert "are open to every user of this host" in watch.log()


def test_with_a_token_the_log_does_not_warn(guarded):
    assert "open to every user" not in guarded.log()


def test_outside_this_host_the_log_warns_in_any_case(folder, observer):
    path = support.write_secret(folder / "token", TOKEN)
    watch = observer(
        *("--prom-addr", "0.0.0.0:0", "--prom-token-file", path),
        threshold_ms=HOUR_MS,
    )
    assert "non-loopback" in watch.log()


# ---- limits ---------------------------------------------------------------


def wait_served(watch):
    """Connections of ours that were given up may still count as ours."""

    def served():
        with contextlib.suppress(OSError):
            return watch.get("/healthz").status == 200

    wait_for(served, step_s=0.05)


def test_too_many_requests_of_one_address_are_told_so(observer):
    watch = observer(
        *("--prom-addr", "127.0.0.1:0", "--prom-rate-limit-per-sec", 1),
        *("--prom-rate-limit-burst", 2),
        threshold_ms=HOUR_MS,
    )
    answers = []

    def refused():
        answers.append(watch.get("/healthz"))
        return answers[-1].status == 429

    wait_for(refused)
    assert {answer.status for answer in answers[:-1]} == {200}
    assert len(answers) > 2
    assert answers[-1].headers["Retry-After"] == "1"

    def served_again():
        answer = watch.get()
        return answer if answer.status == 200 else None

    body = wait_for(served_again, step_s=0.2).body.decode()
    name = 'varta_prom_connections_dropped_total{reason="rate_limit"} '
    assert int(body.split(name)[1].split("\n")[0]) >= 1


def test_silent_clients_keep_nobody_from_being_served(watch, agent):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connection(watch))
        assert watch.get("/healthz").status == 200
        assert watch.get().status == 200
        one = agent(watch.socket_path)
        one.beat()
        watch.wait_event("beat", one.pid)


def test_more_connections_than_one_address_may_have_are_closed(watch):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            with contextlib.suppress(OSError):
                stack.enter_context(connection(watch))
        sockets = [x for x in descriptors(watch.pid).values() if "socket" in x]
        assert len(sockets) < 40
    wait_served(watch)
    name = "varta_prom_connections_dropped_total"
    wait_metric(watch, name, 1, reason="drain")


def test_a_client_that_sends_a_byte_at_a_time_is_cut_off(watch):
    """There is one time limit for a connection, which no byte extends."""
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10000
    sent = 0
    with connection(watch) as sock:
        sock.settimeout(0.2)

        def cut_off():
            nonlocal sent
            try:
                sock.sendall(request[sent : sent + 1])
                sent += 1
                return sock.recv(1000) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_for(cut_off)
    assert sent < len(request)


def test_a_client_that_goes_away_does_no_harm(watch):
    for _ in range(20):
        with connection(watch) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_served(watch)
    wait_for(
        lambda: sum("socket" in x for x in descriptors(watch.pid).values()) < 8
    )


def test_an_address_in_use_is_refused(watch, folder):
    address = watch.metrics_address()
    code, out, err = run_watch(
        *("--socket", folder / "other", "--threshold-ms", HOUR_MS),
        *("--prom-addr", address),
    )
    assert (code, out) == (1, "")
    assert "--prom-addr" in err
    assert address in err
    assert "Address already in use" in err
    assert not (folder / "other").exists()


@needs_ipv6
def test_metrics_can_be_on_an_address_of_ipv6(observer):
    watch = observer("--prom-addr", "[::1]:0", threshold_ms=HOUR_MS)
    assert watch.metrics_address().startswith("[::1]:")
    assert watch.get("/healthz").status == 200
