"""How many instructions the interpreter executes: the same number in each run, on whatever machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COUNTED = (str(ROOT / "pybroker") + "/",)


class Counter:
    """Counts the instructions of our packages, or of files ``within``, in functions called through it."""

    def __init__(self, within: tuple[str, ...] = COUNTED) -> None:
        self.instructions = 0
        self._within = within

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        with self._monitored() if sys.version_info >= (3, 12) else self._traced():
            function(*arguments)

    @contextmanager
    def _traced(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._within):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.instructions += 1
        return self._step

    @contextmanager
    def _monitored(self) -> Iterator[None]:
        """From Python 3.12 on, where tracing misses instructions of functions it meets for the first time."""
        monitoring = sys.monitoring
        tool, instruction = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION
        monitoring.use_tool_id(tool, "instructions")
        monitoring.register_callback(tool, instruction, self._executed)
        monitoring.set_events(tool, instruction)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

    def _executed(self, code: CodeType, offset: int) -> Any:
        if code.co_filename.startswith(self._within):
            self.instructions += 1


def of_the_fixed_loop(rounds: int = 200) -> float:
    """Instructions of one round of a loop that never changes: the yardstick for those of a message."""
    counter = Counter((__file__,))
    counter.call(_fixed_loop, rounds)
    return counter.instructions / rounds


class _Box:
    __slots__ = ("count", "kept")

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.count = 0

    def put(self, name: str, data: bytes) -> bool:
        if data[0] & 0x0F and name not in self.kept:
            return False
        self.kept[name] = data
        self.count += 1
        return True


def _fixed_loop(rounds: int) -> None:
    """A bit of everything: attributes, calls, tests, bytes, dictionaries, lists."""
    box = _Box()
    packet = bytes(range(0x30, 0x70))
    for number in range(rounds):
        end = 2 + (packet[1] & 0x1F)
        pieces = [packet[:2], packet[2:end]]
        if box.put(f"a/{number % 7}", b"".join(pieces)):
            box.count -= 1
        for piece in pieces:
            if not piece:
                raise AssertionError
