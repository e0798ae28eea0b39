"""What varta-watch uses in the long run: after a million beats, and after
twenty thousand agents that came and went, it holds no more than before."""

import json
import subprocess

import pytest

from support import BUILD, WATCH, Metrics, wait_for
from watching import ask, descriptors, rss_kib, with_queue_of

SOAK_AGENTS = BUILD / "tests" / "soak_agents"
QUEUE = 512
WORKERS = 4
BEATS = 1_000_000
VISITORS = 20_000
GROWTH_KIB = 256

pytestmark = pytest.mark.skipif(
    not SOAK_AGENTS.exists(), reason="soak_agents is not built"
)


def program():
    """With a queue that lets a million beats through in some seconds."""
    with open("/proc/sys/net/unix/max_dgram_qlen") as f:
        return WATCH if int(f.read()) >= QUEUE else with_queue_of(QUEUE)


class Soak:
    def __init__(self, watch, control):
        self.watch, self.control = watch, control
        self.sent = 0

    def metrics(self):
        return Metrics(ask(self.control).body.decode())

    def taken(self):
        """Beats that were accepted, or that were not for want of a place."""
        metrics = self.metrics()
        names = ("varta_beats_all_total", "varta_tracker_capacity_exceeded_total")
        return sum(metrics.value(name) for name in names)

    def run(self, beats, visitors):
        """All of them are sent, and have been taken; scraped meanwhile."""
        command = [SOAK_AGENTS, self.watch.socket_path]
        command += map(str, (WORKERS, beats, visitors))
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as agents:

            def have_ended():
                self.taken()
                return agents.poll() is not None

            wait_for(have_ended, 90, "agents", step_s=0.2)
            told = json.loads(agents.stdout.read())
        assert told["failed_workers"] == 0
        assert told["sent"] >= beats + visitors
        self.sent += told["sent"]
        wait_for(lambda: self.taken() == self.sent, what="all beats")

    def descriptors(self):
        return len(descriptors(self.watch.pid))

    def wait_end_of_all(self):
        """Nobody is there any more who could be waited for."""

        def are_gone():
            found = descriptors(self.watch.pid).values()
            return not any("pidfd" in what for what in found)

        wait_for(are_gone, what="end of all agents")


@pytest.mark.limit(120)
def test_a_million_beats_and_twenty_thousand_agents_leave_nothing_behind(
    observer, folder
):
    watch = observer(
        *("--max-beat-rate", 0, "--global-beat-rate", 0),
        *("--tracker-capacity", 256, "--control-socket", folder / "control"),
        *("--export-file-max-bytes", 1 << 20),
        *("--export-file-sync-every", 10_000, "--log-level", "error"),
        threshold_ms=100,
        program=program(),
    )
    soak = Soak(watch, folder / "control")
    # All places of the table, and all generations of the file, once.
    soak.run(BEATS // 5, VISITORS // 20)
    soak.wait_end_of_all()
    open_before, kib_before = soak.descriptors(), rss_kib(watch.pid)
    soak.run(BEATS, VISITORS)
    soak.wait_end_of_all()
    # The connection of the last scrape may be on its way out.
    wait_for(lambda: soak.descriptors() <= open_before, what="descriptors")
    assert rss_kib(watch.pid) - kib_before <= GROWTH_KIB
    metrics = soak.metrics()
    arrived = metrics.value("varta_joins_total") + metrics.value(
        "varta_tracker_capacity_exceeded_total"
    )
    assert arrived >= VISITORS + VISITORS // 20 + 2 * WORKERS
    assert metrics.value("varta_export_rows_lost_total") == 0
    assert metrics.value("varta_export_errors_total") == 0
