"""/metrics of varta-watch: what is in it, from the first scrape on."""

import re
import shutil
import socket
import subprocess

import pytest

import support
from support import wait_for
from watching import (
    HOUR_MS,
    METRICS,
    WATCH_NONE,
    connected,
    own_frame,
    run_watch,
    values,
    wait_metric,
)

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

STAGES = ["drain_pending", "poll", "maintenance", "recovery_reap"]
STAGES += ["serve_pending", "housekeeping"]
DECODE = ["bad_magic", "bad_version", "bad_status", "bad_pid"]
DECODE += ["bad_timestamp", "bad_nonce", "stall_on_wire", "bad_crc"]
OUTCOMES = ["spawned", "debounced", "reaped_zero", "reaped_nonzero", "killed"]
OUTCOMES += ["spawn_failed", "refused_unauthenticated_transport"]
OUTCOMES += ["refused_cross_namespace", "refused_debounce_capacity"]
OUTCOMES += ["refused_outstanding_capacity", "refused_socket_mode_only"]
OUTCOMES += ["skipped_agent_resumed", "skipped_pid_recycled"]
OUTCOMES += ["skipped_stall_unverifiable"]
REFUSED = ["unauthenticated_transport", "cross_namespace_agent"]
REFUSED += ["debounce_capacity", "outstanding_capacity", "socket_mode_only"]
LOGS = ["file_export_io", "audit_io", "prom_serve", "heartbeat_io"]
LOGS += ["audit_ring_warn", "audit_ring_critical"]

# The families that dashboards and rules made for the reference may ask for:
# type, and the label with the values that it has from the first scrape on.
REFERENCE = {
    "varta_beats_total": (COUNTER, "pid", []),
    "varta_stalls_total": (COUNTER, "pid", []),
    "varta_status": (GAUGE, "pid", []),
    "varta_tracker_evicted_total": (COUNTER,),
    "varta_frame_auth_failures_total": (COUNTER,),
    "varta_decode_errors_total": (COUNTER, "kind", DECODE),
    "varta_io_errors_total": (COUNTER,),
    "varta_ctrl_truncated_total": (COUNTER,),
    "varta_tracker_capacity_exceeded_total": (COUNTER,),
    "varta_tracker_eviction_scan_truncated_total": (COUNTER,),
    "varta_tracker_capacity": (GAUGE,),
    "varta_tracker_eviction_scan_window_max": (GAUGE,),
    "varta_recovery_outcomes_total": (COUNTER, "outcome", OUTCOMES),
    "varta_recovery_duration_ns_sum": (COUNTER,),
    "varta_recovery_duration_count_total": (COUNTER,),
    "varta_recovery_refused_total": (COUNTER, "reason", REFUSED),
    "varta_recovery_last_fired_evictions_total": (COUNTER,),
    "varta_recovery_debounce_recycle_resets_total": (COUNTER,),
    "varta_recovery_outstanding_recycle_resets_total": (COUNTER,),
    "varta_recovery_spawn_budget_exceeded_total": (COUNTER,),
    "varta_recovery_invariant_violations_total": (COUNTER,),
    "varta_log_suppressed_total": (COUNTER, "kind", LOGS),
    "varta_origin_conflict_total": (COUNTER,),
    "varta_frame_namespace_mismatch_total": (COUNTER,),
    "varta_frame_rejected_pid_above_max_total": (COUNTER,),
    "varta_pid_max_current": (GAUGE,),
    "varta_tracker_namespace_conflict_total": (COUNTER,),
    "varta_tracker_pid_recycle_total": (COUNTER,),
    "varta_tracker_invariant_violations_total": (COUNTER,),
    "varta_tracker_removed_pid_drops_total": (COUNTER,),
    "varta_tracker_pid_index_probe_exhausted_total": (COUNTER,),
    "varta_recovery_outstanding_probe_exhausted_total": (COUNTER,),
    "varta_recovery_reap_truncated_total": (COUNTER,),
    "varta_recovery_audit_dropped_total": (COUNTER,),
    "varta_recovery_audit_flush_budget_exceeded_total": (COUNTER,),
    "varta_audit_fsync_seconds": (HISTOGRAM,),
    "varta_socket_bind_dir_fsync_failed_total": (COUNTER,),
    "varta_audit_fsync_budget_exceeded_total": (COUNTER,),
    "varta_audit_rotation_budget_exceeded_total": (COUNTER,),
    "varta_audit_ring_watermark_total": (
        COUNTER,
        "level",
        ["warn", "critical"],
    ),
    "varta_prom_ip_state_probe_exhausted_total": (COUNTER,),
    "varta_prom_pid_row_refused_total": (COUNTER,),
    "varta_frame_decrypt_failures_total": (COUNTER,),
    "varta_secure_replay_refused_total": (COUNTER,),
    "varta_truncated_datagrams_total": (COUNTER,),
    "varta_sender_state_full_total": (COUNTER,),
    "varta_secure_aead_attempts_total": (COUNTER,),
    "varta_rate_limited_total": (COUNTER, "reason", ["per_pid", "global"]),
    "varta_observer_uds_rcvbuf_bytes": (GAUGE,),
    "varta_observer_clock_regression_total": (COUNTER,),
    "varta_observer_clock_jump_forward_total": (COUNTER,),
    "varta_scrape_skipped_total": (COUNTER,),
    "varta_scrape_budget_exhausted_total": (COUNTER,),
    "varta_observer_iteration_seconds": (HISTOGRAM,),
    "varta_observer_iteration_budget_exceeded_total": (COUNTER,),
    "varta_observer_serve_pending_seconds": (HISTOGRAM,),
    "varta_observer_scrape_budget_exceeded_total": (COUNTER,),
    "varta_observer_stage_seconds": (HISTOGRAM, "stage", STAGES),
    "varta_prom_auth_failures_total": (COUNTER,),
    "varta_prom_connections_dropped_total": (
        COUNTER,
        "reason",
        ["drain", "rate_limit", "ip_table_full"],
    ),
    "varta_nonce_wrap_total": (COUNTER,),
    "varta_signal_handler_install_total": (COUNTER, "mode", ["libc"]),
    "varta_watch_uptime_seconds": (GAUGE,),
    "varta_watch_last_poll_loop_timestamp_seconds": (GAUGE,),
    "varta_watch_pids_tracked": (GAUGE,),
}
# What is not 0 in an observer to whom nothing has happened.
NOT_0 = {
    "varta_tracker_capacity",
    "varta_tracker_eviction_scan_window_max",
    "varta_pid_max_current",
    "varta_observer_uds_rcvbuf_bytes",
    "varta_observer_iteration_seconds",
    "varta_observer_serve_pending_seconds",
    "varta_observer_stage_seconds",
    "varta_signal_handler_install_total",
    "varta_watch_uptime_seconds",
    "varta_watch_last_poll_loop_timestamp_seconds",
}
BOUNDS = ["0.001", "0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "+Inf"]


@pytest.fixture
def watch(observer):
    return observer(*METRICS, threshold_ms=HOUR_MS)


def text_of(watch):
    return watch.get().body.decode()


def lines_of(text, name):
    """Samples by their labels as written."""
    pattern = rf"^{name}(\{{.*\}})? (\S+)$"
    return dict(re.findall(pattern, text, re.MULTILINE))


@pytest.fixture(scope="module")
def first_scrape():
    """Of an observer to whom nothing has happened."""
    with support.short_folder() as folder:
        with support.Observer(folder, *METRICS, threshold_ms=HOUR_MS) as watch:
            yield text_of(watch)


@pytest.mark.parametrize("name", REFERENCE)
def test_a_family_of_the_reference_is_there_from_the_first_scrape(
    first_scrape, name
):
    kind, *labels = REFERENCE[name]
    text = first_scrape
    assert re.search(rf"^# HELP {name} \S", text, re.MULTILINE)
    assert f"# TYPE {name} {kind}\n" in text
    if kind == HISTOGRAM:
        return
    expected = {""}
    if labels:
        label, words = labels
        expected = {f'{{{label}="{word}"}}' for word in words}
    found = lines_of(text, name)
    # An outcome of its own that the reference has no word for may be added.
    assert expected <= found.keys()
    if name not in NOT_0:
        assert set(found.values()) <= {"0"}


def test_families_come_in_the_order_of_the_reference(first_scrape):
    assert len(REFERENCE) == 65
    found = re.findall(r"^# TYPE (\S+)", first_scrape, re.MULTILINE)
    assert len(found) == len(set(found))
    assert [name for name in found if name in REFERENCE] == list(REFERENCE)


def test_every_sample_belongs_to_a_family_with_help_and_type(first_scrape):
    helped = re.findall(r"^# HELP (\S+) .+$", first_scrape, re.MULTILINE)
    typed = re.findall(r"^# TYPE (\S+) \w+$", first_scrape, re.MULTILINE)
    assert helped == typed
    named = set(re.findall(r"^([a-z_]+)[ {]", first_scrape, re.MULTILINE))
    histograms = re.findall(r"# TYPE (\S+) histogram", first_scrape)
    parts = ("bucket", "sum", "count")
    assert named - set(typed) == {
        f"{name}_{part}" for name in histograms for part in parts
    }


@pytest.mark.parametrize(
    "name, labels",
    [
        ("varta_observer_iteration_seconds", [""]),
        ("varta_observer_serve_pending_seconds", [""]),
        ("varta_observer_stage_seconds", STAGES),
    ],
)
def test_a_histogram_has_the_bounds_of_the_reference(watch, name, labels):
    watch.metrics()
    text = text_of(watch)
    for word in labels:
        stage = f'stage="{word}",' if word else ""
        buckets = [
            int(lines_of(text, f"{name}_bucket")[f'{{{stage}le="{le}"}}'])
            for le in BOUNDS
        ]
        assert buckets == sorted(buckets)
        key = f'{{stage="{word}"}}' if word else ""
        assert int(lines_of(text, f"{name}_count")[key]) == buckets[-1]
        total = lines_of(text, f"{name}_sum")[key]
        assert re.fullmatch(r"\d+\.\d{9}", total)
    assert len(lines_of(text, f"{name}_bucket")) == len(labels) * len(BOUNDS)


def test_prometheus_itself_has_nothing_to_say_against_it(watch, agent):
    if not shutil.which("promtool"):
        pytest.skip("needs promtool")
    one = agent(watch.socket_path)
    one.beat()
    watch.wait_event("beat", one.pid)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text_of(watch),
        text=True,
        capture_output=True,
    )
    # The names of the reference break its rules of style; nothing else may.
    known = "varta_recovery_duration_|_install_total|varta_.*_count_total"
    rest = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if not re.search(known, line)
    ]
    assert rest == []


def test_agents_have_rows_in_the_order_of_their_pids(watch, agent):
    agents = [agent(watch.socket_path) for _ in range(5)]
    for one in reversed(agents):
        one.beat()
        watch.wait_event("join", one.pid)
    text = text_of(watch)
    for name in ("varta_beats_total", "varta_stalls_total", "varta_status"):
        pids = [int(x[6:-2]) for x in lines_of(text, name)]
        assert sorted(pids) == sorted(one.pid for one in agents)


def test_values_follow_what_happens(watch, agent):
    one, two = agent(watch.socket_path), agent(watch.socket_path)
    for _ in range(3):
        one.beat()
    two.beat("critical")
    metrics = wait_metric(watch, "varta_beats_all_total", 4)
    beats = values(metrics, "varta_beats_total", "pid")
    assert beats == {str(one.pid): 3, str(two.pid): 1}
    assert metrics.value("varta_status", pid=two.pid) == 2
    assert metrics.value("varta_watch_pids_tracked") == 2
    assert metrics.value("varta_joins_total") == 2


def test_gauges_say_how_it_is_set(observer):
    watch = observer(
        *METRICS,
        *("--tracker-capacity", 123, "--eviction-scan-window", 45),
        *("--uds-rcvbuf-bytes", 0),
        threshold_ms=HOUR_MS,
    )
    metrics = watch.metrics()
    assert metrics.value("varta_tracker_capacity") == 123
    assert metrics.value("varta_tracker_eviction_scan_window_max") == 45
    assert metrics.value("varta_observer_uds_rcvbuf_bytes") == 0
    with open("/proc/sys/net/unix/max_dgram_qlen") as f:
        assert metrics.value("varta_unix_queue_length") == int(f.read())
    with open("/proc/sys/kernel/pid_max") as f:
        assert metrics.value("varta_pid_max_current") == int(f.read())


def test_the_version_that_runs_is_told(first_scrape):
    version = run_watch("--version")[1].split()[1]
    assert f'\nvarta_build_info{{version="{version}"}} 1\n' in first_scrape


def test_time_goes_on(watch):
    name = "varta_watch_uptime_seconds"
    first = watch.metrics().value(name)
    wait_for(lambda: watch.metrics().value(name) > first)
    text = text_of(watch)
    for gauge in (name, "varta_watch_last_poll_loop_timestamp_seconds"):
        assert re.fullmatch(r"\d+\.\d{3}", lines_of(text, gauge)[""])


@pytest.fixture
def crowded(observer):
    """An observer with so many agents that a scrape comes in pieces. Where
    the kernel names no senders, one process can be them all."""
    n = 3000
    watch = observer(
        *METRICS,
        *("--global-beat-rate", 0, "--tracker-capacity", n),
        program=WATCH_NONE,
        threshold_ms=HOUR_MS,
    )
    with connected(watch.socket_path) as sock:
        for pid in range(2, n + 2):
            sock.send(own_frame(pid=pid))
    wait_metric(watch, "varta_watch_pids_tracked", n)
    return watch, n


def assert_whole(text, n):
    assert text.endswith("\n")
    for name in ("varta_beats_total", "varta_stalls_total", "varta_status"):
        found = lines_of(text, name)
        assert list(found) == [f'{{pid="{pid}"}}' for pid in range(2, n + 2)]
    assert "\nvarta_prom_requests_total " in text


def test_a_scrape_of_many_agents_is_whole(crowded):
    watch, n = crowded
    assert_whole(text_of(watch), n)


def test_a_slow_reader_gets_a_whole_scrape_and_holds_nobody_up(
    crowded, agent
):
    watch, n = crowded
    host, port = watch.metrics_address().split(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect((host, int(port)))
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = sock.recv(100)
        # It has begun, and waits for us; others need not.
        one = agent(watch.socket_path)
        one.beat()
        assert watch.get("/healthz").status == 200
        while part := sock.recv(65536):
            answer += part
    assert_whole(answer.split(b"\r\n\r\n", 1)[1].decode(), n)
