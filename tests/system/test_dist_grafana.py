"""The dashboard: Grafana can import it, and a real Prometheus that scrapes a
real observer has an answer to all that it asks, whoever is watched."""

import pathlib

import pytest

import prometheus
import support
from prometheus import Prometheus, as_one_of, dashboard_expressions
from sealing import Session, hex_key, udp_address, udp_socket
from support import wait_for
from units import needs
from watching import METRICS, connected, wait_metric

ACK_SEALED = "--secure-udp-i-accept-recovery-on-unauthenticated-transport"
KEY, KEY_TEXT = hex_key(1)

# A panel that shows what is not there while all is well.
EMPTY_WHEN_WELL = {"Refused"}

# Grafana's words for units, of those that are of use here.
UNITS = {"short", "s", "cps", "percentunit", "bytes", "none"}


@pytest.fixture(scope="module")
def board():
    return prometheus.dashboard()


def panels_with_data(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_it_is_of_a_kind_that_grafana_10_reads(board):
    # 36 to 38 are those of Grafana 9.1 to 10; it makes newer ones of them.
    assert 36 <= board["schemaVersion"] <= 38
    assert board["uid"] == "varta-health"
    assert board.get("id") is None
    assert {panel["type"] for panel in board["panels"]} <= {
        *("row", "stat", "gauge", "timeseries", "table")
    }
    names = {one["name"] for one in board["templating"]["list"]}
    assert names == {"datasource", "instance"}


def test_no_two_panels_are_in_the_same_place(board):
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken and max(cells)[0] < 24
        taken |= cells


def test_all_of_it_is_of_the_data_source_that_is_chosen(board):
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels_with_data(board):
        assert panel["datasource"] == chosen
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))
        for target in panel["targets"]:
            assert target["datasource"] == chosen
    for one in board["templating"]["list"]:
        assert one["type"] == "datasource" or one["datasource"] == chosen


def test_what_a_panel_shows_has_a_unit(board):
    for panel in panels_with_data(board):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        assert panel["type"] == "table" or unit in UNITS, panel["title"]


def test_a_row_has_no_panels_of_its_own_when_it_is_open(board):
    for panel in board["panels"]:
        if panel["type"] == "row":
            assert panel["collapsed"] is False and panel["panels"] == []


# ---- what it asks -----------------------------------------------------------


@pytest.fixture
def watch(folder, observer):
    """Takes beats of this host, and of the network with and without a key."""
    key = support.write_secret(folder / "key", KEY_TEXT)
    state = folder / "state"
    state.mkdir(mode=0o700)
    return observer(
        *METRICS,
        *("--udp-port", 0, "--key-file", key, "--state-dir", state),
        *("--recovery-cmd", "false {pid}", ACK_SEALED),
        *("--recovery-audit-file", folder / "audit.log"),
        threshold_ms=300,
    )


def beat_and_stall(watch, agent):
    """An agent here, one of the same pid behind the network, one that has
    ended, and one that is no agent at all."""
    hangs, ends = agent(watch.socket_path), agent(watch.socket_path)
    hangs.beat()
    ends.beat()
    ends.kill()
    with udp_socket(udp_address(watch)) as sock:
        sock.send(Session(KEY, hangs.pid).frame())
    with connected(watch.socket_path) as sock:
        sock.send(bytes(32))
        sock.send(b"short")
    wait_metric(watch, "varta_stalls_all_total", 2, reason="silent")
    wait_metric(watch, "varta_stalls_all_total", 1, reason="gone")
    outcome = {"outcome": "reaped_nonzero"}
    wait_metric(watch, "varta_recovery_outcomes_total", 3, **outcome)
    return hangs


def rows_of_agents(server):
    """Those of the table of agents, of all of its columns."""
    return [
        (labels, value)
        for panel, expr in dashboard_expressions()
        if panel == "Agents"
        for labels, value in server.query(expr)
    ]


@needs("prometheus")
@pytest.mark.limit(90)
def test_every_panel_has_data_of_agents_near_and_far(folder, watch, agent):
    data = folder / "prometheus"
    data.mkdir()
    text = prometheus.hurried_rules()
    with Prometheus(data, watch.metrics_address(), text) as server:
        wait_for(
            lambda: server.query("varta:tracker:utilization"),
            what="the first scrape",
            step_s=0.1,
        )
        hangs = beat_and_stall(watch, agent)

        for panel, expr in dashboard_expressions():
            if panel in EMPTY_WHEN_WELL:
                server.query(expr)
            else:
                wait_for(lambda: server.query(expr), what=expr, step_s=0.1)
        assert server.rule_faults() == []

        # Hosts as the variable finds them, and one of them, or two, chosen.
        up = 'up{job="varta-watch"}'
        hosts = server.label_values("instance", up)
        assert hosts == [watch.metrics_address()]
        for chosen in (as_one_of(hosts), as_one_of([*hosts, "other:1"])):
            for all_of_them, some in zip(
                dashboard_expressions(), dashboard_expressions(chosen)
            ):
                answers = server.query(all_of_them[1]), server.query(some[1])
                assert len(answers[0]) == len(answers[1]), some

        # Both agents of that pid are told apart, there and in the alert.
        rows = [
            labels
            for labels, _ in rows_of_agents(server)
            if labels["pid"] == f"{hangs.pid}"
        ]
        assert len({labels.get("source") for labels in rows}) == 2
        [alert] = server.wait_firing("VartaAgentStalled")
        text = alert["annotations"]["description"]
        assert "error" not in text
        assert text.count(f" pid {hangs.pid}") == 2


@needs("prometheus")
def test_agents_that_are_shown_by_name_have_rows_by_name(
    folder, observer, agent
):
    watch = observer(
        *(*METRICS, "--prom-agent-series", "name"), threshold_ms=300
    )
    data = folder / "prometheus"
    data.mkdir()
    text = prometheus.hurried_rules()
    with Prometheus(data, watch.metrics_address(), text) as server:
        agent(watch.socket_path).beat()

        def rows_of_all_columns():
            rows = rows_of_agents(server)
            return rows if len(rows) == 4 else None

        rows = wait_for(rows_of_all_columns, what="a row", step_s=0.1)
        name = pathlib.Path("/proc/self/comm").read_text().strip()
        assert {labels.get("name") for labels, _ in rows} == {name}
        assert not any("pid" in labels for labels, _ in rows)
