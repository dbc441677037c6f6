"""Scenarios with many topics, one message each."""

from __future__ import annotations

import selectors
from collections.abc import Iterable, Iterator

from ..process import Meter, cpu_seconds, resident_mib
from .client import Client, publish_packet
from .flow import READ_AT_ONCE, Subscriber
from .run import Outcome, Run

MESSAGES_A_WRITE = 500
TENTHS = 10


def retained(run: Run) -> Outcome:
    publisher, subscriber = run.connect("p"), run.connect("s")
    names = [f"r/{i:08}" for i in range(run.messages)]
    size = len(publish_packet(names[0], run.flow.size, version=run.version))
    storing = Meter(run.pid)
    with storing:
        for data in joined(names, run, retain=True):
            publisher.send(data)
        publisher.settle(run.options.limit)
    suback = 6 if run.version == 5 else 5
    want, got = run.messages * size + suback, 0
    subscriber.socket.settimeout(run.options.stall)
    with run.meter:
        subscriber.send(subscriber.subscribe_packet(["#"]))
        try:
            while got < want:
                got += len(subscriber.socket.recv(READ_AT_ONCE))
        except TimeoutError:
            pass  # what did not come is told as lost
    facts = {"stored_per_cpu_s": round(run.messages / storing.cpu) if storing.cpu else None}
    return Outcome(run.messages, max(0, got - suback) // size, run.meter, facts=facts)


def topics(run: Run) -> Outcome:
    """Each tenth has arrived before the next is sent, so that each is charged what it cost."""
    pattern = "t/{:08}"
    publisher, subscriber = run.connect("p"), run.subscriber("s", "t/#", pattern.format(0))
    before = resident_mib(run.pid)
    costs, got = [], 0
    with run.meter:
        for tenth in range(TENTHS):
            first, last = (run.messages * part // TENTHS for part in (tenth, tenth + 1))
            cpu_before, got_before = cpu_seconds(run.pid), got
            for data in joined((pattern.format(i) for i in range(first, last)), run):
                got += exchange(publisher, subscriber, data, 0, run)
            got += exchange(publisher, subscriber, b"", last - got, run)
            costs.append(1e6 * (cpu_seconds(run.pid) - cpu_before) / max(1, got - got_before))
    facts = {
        "us_each": [round(cost, 2) for cost in costs],
        "rss_grown_mib": round(resident_mib(run.pid) - before, 1),
    }
    return Outcome(run.messages, got, run.meter, facts=facts)


def exchange(publisher: Client, subscriber: Subscriber, data: bytes, want: int, run: Run) -> int:
    """Write all of ``data`` and read until ``want`` messages came, or none for the time of a stall; how
    many came."""
    left, got = memoryview(data), 0
    publisher.socket.setblocking(False)
    subscriber.socket.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(subscriber.socket, selectors.EVENT_READ)
        if left:
            selector.register(publisher.socket, selectors.EVENT_WRITE)
        while left or got < want:
            ready = selector.select(run.options.stall)
            if not ready:
                break
            for key, _ in ready:
                if key.fileobj is subscriber.socket:
                    got += subscriber.on_readable()
                elif left:
                    left = left[publisher.socket.send(left) :]
    return got


def joined(names: Iterable[str], run: Run, *, retain: bool = False) -> Iterator[bytes]:
    """A message on each topic, many to a piece."""
    piece: list[bytes] = []
    for name in names:
        piece.append(publish_packet(name, run.flow.size, 0, run.version, retain=retain))
        if len(piece) == MESSAGES_A_WRITE:
            yield b"".join(piece)
            piece.clear()
    if piece:
        yield b"".join(piece)
