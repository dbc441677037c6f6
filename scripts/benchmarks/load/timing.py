"""Scenarios with one message at a time, which measure latency."""

from __future__ import annotations

import time

from .client import packet, publish_packet
from .run import Outcome, Run


def latency(run: Run) -> Outcome:
    subscriber, publisher = run.connect("s"), run.connect("p")
    subscriber.subscribe(["b/latency"], run.flow.qos)
    message = publish_packet("b/latency", run.flow.size, run.flow.qos, run.version, 1)
    id_at = 2 + len("b/latency")

    def one() -> None:
        publisher.send(message)
        _, arrived = subscriber.receive()
        times.append(time.perf_counter() - started)
        if run.flow.qos == 1:
            subscriber.send(packet(0x40, arrived[id_at : id_at + 2]))
            publisher.receive()

    times: list[float] = []
    end = time.monotonic() + run.options.limit
    with run.meter:
        while len(times) < run.messages and time.monotonic() < end:
            started = time.perf_counter()
            one()
            pause(run)
    return timed(run, times)


def puback(run: Run) -> Outcome:
    publisher = run.connect("p")
    message = publish_packet("b/puback", run.flow.size, 1, run.version, 1)
    times: list[float] = []
    end = time.monotonic() + run.options.limit
    with run.meter:
        while len(times) < run.messages and time.monotonic() < end:
            started = time.perf_counter()
            publisher.send(message)
            publisher.receive()
            times.append(time.perf_counter() - started)
            pause(run)
    return timed(run, times)


def pause(run: Run) -> None:
    if run.options.pause_ms:
        time.sleep(run.options.pause_ms / 1000)


def timed(run: Run, times: list[float]) -> Outcome:
    ordered = sorted(times)
    facts = {f"p{percent}_us": round(ordered[len(ordered) * percent // 100] * 1e6, 1) for percent in (50, 99)}
    return Outcome(run.messages, len(times), run.meter, cut=len(times) < run.messages, facts=facts)
