"""Scenarios with many messages."""

from __future__ import annotations

import selectors
import time

from ..process import resident_mib
from .client import publish_packet
from .run import Outcome, Run

FILTERS_A_CLIENT = 500


def pairs(run: Run) -> Outcome:
    topics = run.topics()
    subscribers = run.subscribers(topics)
    return run.drive(run.publishers(topics), subscribers, run.messages * run.clients)


def fanout(run: Run) -> Outcome:
    topic = run.topics()[0]
    subscribers = run.subscribers([topic] * run.clients)
    return run.drive(run.publishers([topic]), subscribers, run.messages * run.clients)


def fanin(run: Run) -> Outcome:
    topics = run.topics()
    subscriber = run.subscriber("s", "b/#", topics[0])
    return run.drive(run.publishers(topics), [subscriber], run.messages * run.clients)


def filters(run: Run) -> Outcome:
    first, count = run.clients + 1, run.options.filters
    unrelated = [
        f"w/{i}/+/x{i % 97}/#" if i % 3 else f"b/{i}/#"  # near the topics in use, but none of them
        for i in range(first, first + count)
    ]
    keep = []
    for at in range(0, count, FILTERS_A_CLIENT):
        client = run.connect(f"f{at}")
        client.subscribe(unrelated[at : at + FILTERS_A_CLIENT])
        keep.append(client)
    return pairs(run)


def crowd(run: Run) -> Outcome:
    keep = []
    for i in range(run.options.crowd):
        client = run.connect(f"i{i}")
        client.subscribe([f"idle/{i}"])
        keep.append(client)
    return pairs(run)


def sink(run: Run) -> Outcome:
    publishers = run.publishers(run.topics())
    outcome = run.drive(publishers, [], 0)
    with run.meter:  # QoS 0 is not acknowledged: until all was read
        for publisher in publishers:
            publisher.client.settle(run.options.limit)
    outcome.want = run.messages * run.clients
    outcome.got = 0 if outcome.cut else outcome.want
    return outcome


def trickle(run: Run) -> Outcome:
    each = max(1, run.messages // run.clients)
    selector = selectors.DefaultSelector()
    first_sends = []
    size = 0
    for i, topic in enumerate(run.topics()):
        subscriber, publisher = run.connect(f"s{i}"), run.connect(f"p{i}")
        subscriber.subscribe([topic])
        message = publish_packet(topic, run.flow.size, 0, run.version)
        size = len(message)
        state = [each - 1, 0]  # left to send, bytes read
        selector.register(
            subscriber.socket, selectors.EVENT_READ, (subscriber.socket, publisher, message, state)
        )
        first_sends.append((publisher, message))
    got, want = 0, each * run.clients
    with run.meter:
        end = time.monotonic() + run.options.limit
        for publisher, message in first_sends:
            publisher.send(message)
        while got < want and time.monotonic() < end:
            ready = selector.select(run.options.stall)
            if not ready:
                break
            for key, _ in ready:
                socket, publisher, message, state = key.data
                state[1] += len(socket.recv(65_536))
                while state[1] >= size:
                    state[1] -= size
                    got += 1
                    if state[0]:
                        state[0] -= 1
                        publisher.socket.send(message)
    return Outcome(want, got, run.meter, cut=got < want and time.monotonic() >= end)


def slow(run: Run) -> Outcome:
    topic = run.topics()[0]
    stuck = [run.connect(f"x{i}") for i in range(run.options.stuck)]
    for client in stuck:
        client.subscribe([topic], run.flow.qos)
    subscriber = run.subscriber("s", topic, topic)
    before = resident_mib(run.pid)
    outcome = run.drive(run.publishers([topic]), [subscriber], run.messages)
    outcome.facts["rss_grown_mib"] = round(resident_mib(run.pid) - before, 1)
    return outcome
