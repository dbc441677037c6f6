"""A broker that works for an hour takes no more memory than after its first minutes, and loses nothing.

`SOAK_SECONDS` sets another length: `SOAK_SECONDS=300 .venv/bin/python -m pytest tests/soak`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.integration.support import ROOT, RunningBroker, wait_for
from tests.waiting import DEADLINE

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
FEWEST_CYCLES = 8
WARM_UP = 20
"""Cycles until caches are full and the allocator has what it needs; at most half of them."""
GROWTH = 1.03
"""How much more memory the last cycles may take than those after the warm-up."""
CONF = """\
listeners.tcp.bind = "127.0.0.1:0"
mqtt.max_packet_size = 2MB
sqlite { enable = true, mounted_file_path = "DIRECTORY" }
webhook {
  enable = true
  url = "http://127.0.0.1:RECEIVER/hook"
  pool_size = 4
  events = [{ event = "on_client_connected" }, { event = "on_message_publish", topic = "b/0" }]
}
"""
LOADS = [
    "pairs --clients 10 --messages 5000",
    "pairs --clients 10 --messages 1000 --qos 1 --version 5",
    "pairs --clients 10 --messages 1000 --qos 2",
    "pairs --clients 4 --messages 100 --size 65536",
    "pairs --clients 2 --messages 20 --size 1048576 --version 5",
    "fanout --clients 100 --messages 200",
    "filters --filters 1000 --messages 500",
    "trickle --clients 50 --messages 2000",
    "slow --messages 5000 --size 1024",
    "connect --messages 500 --version 5",
    "retained --messages 5000",
    "topics --messages 5000",
]
"""One cycle: what clients do, with names of their own each time, and how they leave."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads memory from Linux's /proc"),
]


def load(broker: RunningBroker, arguments: str) -> dict[str, Any]:
    scenario, *options = arguments.split()
    command = [sys.executable, "-m", "benchmarks.load", scenario, f"127.0.0.1:{broker.port}", *options]
    done = subprocess.run(
        [*command, f"--stall={DEADLINE}", "--limit=600"], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the broker has no memory")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_memory_stays_as_it_is_and_nothing_is_lost(tmp_path: Path) -> None:
    receiver = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hooksink", "0"],
        cwd=ROOT / "scripts",
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert receiver.stdout is not None
        port = receiver.stdout.readline().strip()
        broker = RunningBroker(tmp_path, CONF.replace("RECEIVER", port).replace("DIRECTORY", str(tmp_path)))
        try:
            memory = soak(broker)
            with urlopen(f"http://127.0.0.1:{port}/stats", timeout=DEADLINE) as answer:
                events = json.load(answer)["events"]
        finally:
            status = broker.stop()
    finally:
        receiver.kill()
        receiver.wait()
    assert status == 0, broker.output
    assert "Traceback" not in broker.output
    assert events > len(memory)
    warm = memory[min(WARM_UP, len(memory) // 2) :]
    half = len(warm) // 2
    shown = ", ".join(f"{mib:.1f}" for mib in memory)
    assert statistics.median(warm[half:]) <= GROWTH * max(warm[:half]), f"memory has grown, in MiB: {shown}"


def soak(broker: RunningBroker) -> list[float]:
    """Repeat the cycle until the time is over; the memory after each, in MiB."""
    pid = broker.process.pid
    files, memory = open_files(pid), []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(memory) < FEWEST_CYCLES:
        for arguments in LOADS:
            values = load(broker, arguments)
            assert values["lost"] == 0, (arguments, values)
        # The few more are connections to the receiver of webhooks.
        wait_for(
            lambda: open_files(pid) <= files + 20, "the connections of clients that are gone to be closed"
        )
        memory.append(resident_mib(pid))
        print(f"cycle {len(memory)}: {memory[-1]:.1f} MiB", flush=True)
    return memory
