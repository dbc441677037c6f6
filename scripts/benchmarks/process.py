"""Resources used by a broker, read from outside, including its child processes."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType


def cpu_seconds(pid: int) -> float:
    """User and system time; 0 if there is no process ``pid``."""
    total = 0.0
    for one in family(pid):
        try:
            total += time.clock_gettime(_cpu_clock(one))
        except OSError:  # gone meanwhile
            continue
    return total


def resident_mib(pid: int) -> float:
    """Resident memory; 0 if there is no process ``pid``."""
    kib = 0
    for one in family(pid):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return kib / 1024


def family(pid: int) -> list[int]:
    """``pid`` and its descendants."""
    found: list[int] = []
    todo = [pid] if pid else []
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            for thread in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
        except OSError:
            continue
    return found


def _cpu_clock(pid: int) -> int:
    """The clock of clock_getcpuclockid(3) on Linux. It is finer than the ticks of /proc/PID/stat."""
    per_process_scheduler_clock = 2
    return (~pid << 3) | per_process_scheduler_clock


class Meter:
    """A context manager that measures a piece of work; times add up when it is entered again."""

    def __init__(self, pid: int) -> None:
        self.wall = 0.0
        """Seconds by the clock."""
        self.cpu = 0.0
        """CPU seconds of the process ``pid``."""
        self._pid = pid

    def __enter__(self) -> Meter:
        self._cpu_before = cpu_seconds(self._pid)
        self._wall_before = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall += time.perf_counter() - self._wall_before
        self.cpu += cpu_seconds(self._pid) - self._cpu_before
