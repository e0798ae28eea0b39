"""The example of two hosts runs as it stands, in network namespaces."""

import shutil
import subprocess

import pytest

from support import BUILD, ROOT
from watching import can_have_network


def test_two_hosts_with_a_cable_between_them():
    if not can_have_network():
        pytest.skip("needs privilege: network namespaces of one's own")
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        pytest.skip("needs ip and nsenter")
    done = subprocess.run(
        [ROOT / "examples" / "two-hosts.sh", BUILD],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
    )
    if "Unknown device type" in done.stderr:
        pytest.skip("needs a kernel with veth")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [
        line.split(": ", 1)[1]
        for line in done.stdout.splitlines()
        if line.startswith("== observer: ")
    ]
    assert said == [
        "an agent of another host beats",
        "it has stalled",
        "it beats again",
        "it is there, as a process of another number",
        "the agent beats on",
    ]
