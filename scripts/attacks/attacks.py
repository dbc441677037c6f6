"""The attacks of hostile clients. Each function takes the broker and a size, and returns figures."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.measure import most_connections

from .wire import Wire, frame, length_of, publish

Figures = dict[str, float]


@dataclass(frozen=True)
class Target:
    """The broker that is attacked."""

    port: int
    websocket_port: int


@dataclass(frozen=True)
class Attack:
    """An attack, with its full size and the smallest size that shows the fault."""

    run: Callable[[Target, int], Figures]
    full: int
    light: int
    memory_mib: int
    """The memory by which the broker may grow during the full attack."""
    kept_mib: int
    """The part of it that the broker may keep when the attacker is gone."""
    login: tuple[str, str] | None = None
    """The user name and password of the bystander; the broker then asks for passwords."""
    beside_mosquitto: bool = True
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """For each figure the least and the largest value that it may have."""


def route_cache(target: Target, size: int) -> Figures:
    """QoS 0 messages to distinct topics of 65 KB that nobody wants."""
    with Wire(target.port) as wire:
        wire.connect("attacker")
        for number in range(size):
            wire.send(publish(b"%08d" % number + b"x" * 65_000))
        wire.ping()
    return {}


def many_filters(target: Target, size: int) -> Figures:
    """One SUBSCRIBE that names a filter ``size`` times."""
    body = struct.pack("!H", 1) + b"\0\1a\0" * size
    return _one_packet(target, b"\x82" + length_of(len(body)) + body)


def many_unsubscribes(target: Target, size: int) -> Figures:
    """One UNSUBSCRIBE that names a filter ``size`` times."""
    body = struct.pack("!H", 1) + b"\0\1a" * size
    return _one_packet(target, b"\xa2" + length_of(len(body)) + body)


def distinct_filters(target: Target, size: int) -> Figures:
    """One SUBSCRIBE of distinct filters of 100 levels."""
    filters = [b"%d" % number + b"/+" * 99 for number in range(size)]
    body = struct.pack("!H", 1) + b"".join(struct.pack("!H", len(f)) + f + b"\0" for f in filters)
    return _one_packet(target, b"\x82" + length_of(len(body)) + body)


def retained(target: Target, size: int) -> Figures:
    """``ret/#``, a hundred times in one SUBSCRIBE, over ``size`` retained messages; the answer is not
    read."""
    with Wire(target.port) as wire:
        wire.connect("filler")
        for start in range(0, size, 1000):
            wire.send(
                b"".join(publish(b"ret/%d" % n, b"payload", retain=True) for n in range(start, start + 1000))
            )
            wire.ping()
    with Wire(target.port, receive_buffer=4096) as attacker, Wire(target.port) as probe:
        attacker.connect("attacker")
        probe.connect("probe")
        body = struct.pack("!H", 1) + b"\0\5ret/#\0" * 100
        attacker.send(b"\x82" + length_of(len(body)) + body)
        time.sleep(0.5)
        probe.ping()
    return {}


def retained_answer(target: Target, size: int) -> Figures:
    """The same filter once, by a client that reads. It gets each message once."""
    with Wire(target.port) as wire:
        wire.connect("filler")
        for start in range(0, size, 1000):
            wire.send(
                b"".join(publish(b"ret/%d" % n, b"payload", retain=True) for n in range(start, start + 1000))
            )
            wire.ping()
    with Wire(target.port) as reader:
        reader.connect("reader")
        began = time.perf_counter()
        body = struct.pack("!H", 1) + b"\0\5ret/#\0"
        reader.send(b"\x82" + length_of(len(body)) + body)
        topics = {reader.packet()[:20] for _ in range(size + 1)}
        took = time.perf_counter() - began
    return {"got_all": float(len(topics) == size + 1), "took_ms": round(took * 1000, 1)}


def never_acknowledges(target: Target, size: int) -> Figures:
    """A subscriber reads large messages of QoS 1 and acknowledges none."""
    message = publish(b"large", bytes(9_900_000), qos=1)
    with Wire(target.port) as reader, Wire(target.port) as publisher:
        reader.connect("reader")
        reader.subscribe("large", qos=1)
        publisher.connect("publisher")
        threading.Thread(target=_drain, args=(reader,), daemon=True).start()
        for _ in range(size):
            publisher.send(message)
            publisher.packet()
        publisher.ping()
        time.sleep(0.2)
    return {}


def wrong_passwords(target: Target, size: int) -> Figures:
    """``size`` wrong logins at the same time, each on a connection of its own. Then two right ones: of
    another user from the same address, and of the same user from another address.

    ``right_times`` says how many times as long as a login without an attack these took.
    """
    with Wire(target.port) as wire:
        began = time.perf_counter()
        wire.connect("alone", username="dora", password=b"right4")
        alone = time.perf_counter() - began
    attackers = [Wire(target.port) for _ in range(size)]
    connect = b"\x10" + length_of(10 + 3 + 5 + 7) + b"\0\4MQTT\4\xc2\0\0\0\1%c\0\3ann\0\5wrong"
    for number, wire in enumerate(attackers):
        wire.send(connect % (97 + number % 26))
    time.sleep(0.05)
    with Wire(target.port) as wire:
        began = time.perf_counter()
        code = wire.connect("right", username="bob", password=b"right2")
        took = time.perf_counter() - began
    with Wire(target.port, source="127.0.0.2") as wire:
        began = time.perf_counter()
        same = wire.connect("right-ann", username="ann", password=b"right3")
        took_same = time.perf_counter() - began
    for wire in attackers:
        wire.socket.close()
    return {
        "right_code": code,
        "right_ms": round(took * 1000, 1),
        "same_user_code": same,
        "same_user_ms": round(took_same * 1000, 1),
        "right_times": round(max(took, took_same) / alone, 1),
    }


def user_properties(target: Target, size: int) -> Figures:
    """PUBLISH with ``size`` user properties."""
    section = b"&\0\0\0\0" * size
    body = b"\0\1t" + length_of(len(section)) + section
    return _one_packet(target, b"\x30" + length_of(len(body)) + body, version=5)


def subscription_identifiers(target: Target, size: int) -> Figures:
    """PUBLISH with ``size`` subscription identifiers, which no client may send."""
    section = b"\x0b\1" * size
    body = b"\0\1t" + length_of(len(section)) + section
    return _one_packet(target, b"\x30" + length_of(len(body)) + body, version=5)


def overlapping_filters(target: Target, size: int) -> Figures:
    """10 clients, each with ``size`` filters that all match one topic."""
    filters = _overlapping(size)
    topic = "/".join("abcdefghij")
    with Wire(target.port) as publisher:
        publisher.connect("publisher")
        subscribers = []
        for number in range(10):
            wire = Wire(target.port)
            wire.connect(f"s{number}")
            wire.subscribe(*filters)
            subscribers.append(wire)
            threading.Thread(target=_drain, args=(wire,), daemon=True).start()
        # A filter is subscribed again and again, each time with another QoS: first a filter that does not
        # match the topic, then one that does.
        figures = {"pairs_per_s": 0.0, "matching_pairs_per_s": 0.0}
        for name, churned in zip(figures, ("z/+", "a/#"), strict=True):
            began, pairs = time.perf_counter(), 0
            while time.perf_counter() - began < 0.5:
                publisher.subscribe(churned, qos=pairs % 2)
                publisher.send(publish(topic.encode(), b"x"))
                assert publisher.ping()
                pairs += 1
            figures[name] = round(pairs / (time.perf_counter() - began))
        for wire in subscribers:
            wire.socket.close()
    return figures


def websocket_pings(target: Target, size: int) -> Figures:
    """Pings over WebSocket, whose pongs are not read."""
    pings = frame(9, bytes(125)) * 500
    with Wire(target.websocket_port, receive_buffer=4096) as wire:
        wire.shake_hands()
        wire.send(frame(2, b"\x10\x0d\0\4MQTT\4\2\0\0\0\1w"))
        wire.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < size and wire.send(pings):
                sent += 500
        except TimeoutError:
            pass  # the broker has stopped reading
    return {"pings": sent}


def shared_groups(target: Target, size: int) -> Figures:
    """``size`` shared groups of one topic, and 200 messages to it in one write."""
    with Wire(target.port) as member, Wire(target.port) as publisher:
        member.connect("member", 5)
        for start in range(0, size, 90):
            names = [f"$share/g{n}/t" for n in range(start, min(start + 90, size))]
            member.subscribe(*names, version=5)
        threading.Thread(target=_drain, args=(member,), daemon=True).start()
        publisher.connect("publisher")
        for _ in range(5):
            publisher.send(publish(b"t", b"x") * 200)
            publisher.ping()
    return {}


def many_receivers(target: Target, size: int) -> Figures:
    """Messages of QoS 0 and 1 to ``size`` connected subscribers of one topic, or as many as can connect."""
    size = min(size, most_connections())
    subscribers = []
    for number in range(size):
        subscriber = Wire(target.port, source=f"127.0.0.{2 + number // 5000}")  # each has 28,000 ports
        subscriber.connect(f"s{number}")
        subscriber.subscribe("all", qos=1)
        subscribers.append(subscriber)
    messages = 10
    with Wire(target.port) as publisher:
        publisher.connect("publisher")
        began = time.perf_counter()
        for number in range(messages):
            publisher.send(publish(b"all", b"%d" % number, qos=number % 2))
            assert publisher.ping()
        took = time.perf_counter() - began
    whole = b"".join(b"%d" % number for number in range(messages))
    got = sum(b"".join(one.packet()[-1:] for _ in range(messages)) == whole for one in subscribers)
    for subscriber in subscribers:
        subscriber.socket.close()
        time.sleep(0.0005)  # closing them is not measured
    return {"receivers": size, "got_all": float(got == size), "copies_per_s": round(size * messages / took)}


def many_away(target: Target, size: int) -> Figures:
    """Messages of QoS 1 to ``size`` subscribers of one topic that are not connected."""
    disconnect = b"\xe0\0"
    for number in range(size):
        with Wire(target.port) as subscriber:
            name = b"s%06d" % number
            connect = b"\x10" + length_of(12 + len(name)) + b"\0\4MQTT\4\0\0\0" + _text(name)
            subscriber.send(connect + b"\x82\x08\0\1" + _text(b"all") + b"\1" + disconnect)
            while subscriber.packet():
                pass
    messages = 5
    with Wire(target.port) as publisher:
        publisher.connect("publisher")
        began = time.perf_counter()
        for number in range(messages):
            publisher.send(publish(b"all", b"%d" % number, qos=1))
            assert publisher.ping()
        took = time.perf_counter() - began
    return {"copies_per_s": round(size * messages / took)}


def _text(text: bytes) -> bytes:
    return struct.pack("!H", len(text)) + text


def _one_packet(target: Target, packet: bytes, version: int = 4) -> Figures:
    with Wire(target.port) as wire:
        wire.connect("attacker", version)
        wire.send(packet)
        began = time.perf_counter()
        stands = wire.ping()
        return {"took_ms": round((time.perf_counter() - began) * 1000, 1), "sent_away": float(not stands)}


def _overlapping(size: int) -> list[str]:
    levels = "abcdefghij"
    return [
        "/".join("+" if number >> place & 1 else level for place, level in enumerate(levels))
        for number in range(size)
    ]


def _drain(wire: Wire) -> None:
    try:
        while wire.socket.recv(1 << 20):
            pass
    except OSError:
        pass


ATTACKS = {
    "route-cache": Attack(route_cache, 8000, 1500, 60, 60),
    "many-filters": Attack(many_filters, 2_490_000, 250_000, 60, 40),
    "distinct-filters": Attack(distinct_filters, 50_000, 5_000, 60, 40),
    "many-unsubscribes": Attack(many_unsubscribes, 3_000_000, 250_000, 60, 40),
    "retained": Attack(retained, 100_000, 10_000, 150, 150),
    "retained-answer": Attack(retained_answer, 100_000, 10_000, 150, 150, bounds={"got_all": (1, 1)}),
    "never-acknowledges": Attack(never_acknowledges, 300, 30, 200, 120),
    "wrong-passwords": Attack(
        wrong_passwords,
        300,
        50,
        300,
        200,
        login=("carol", "right1"),
        beside_mosquitto=False,
        bounds={
            "right_code": (0, 0),
            "right_ms": (0, 1000),
            "same_user_code": (0, 0),
            "same_user_ms": (0, 1000),
            "right_times": (0, 12),
        },
    ),
    "user-properties": Attack(user_properties, 2_000_000, 200_000, 60, 40),
    "subscription-identifiers": Attack(subscription_identifiers, 5_000_000, 500_000, 60, 40),
    "overlapping-filters": Attack(overlapping_filters, 1000, 300, 60, 60),
    "websocket-pings": Attack(websocket_pings, 1_000_000, 50_000, 60, 40),
    "many-receivers": Attack(many_receivers, 10_000, 3_000, 300, 150, bounds={"got_all": (1, 1)}),
    "many-away": Attack(many_away, 100_000, 5_000, 600, 600),
    "shared-groups": Attack(shared_groups, 990, 990, 60, 60),
}
