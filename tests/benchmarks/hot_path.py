"""The ways of a message through the broker, each as a scenario that hands its work to a counter.

What is counted is the broker's part alone: bytes come in at a channel, bytes leave at its link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from pybroker.broker.config.settings import SysSettings
from pybroker.broker.engine import handlers
from pybroker.broker.engine.channel import Channel
from pybroker.broker.events import MessagePublished
from pybroker.broker.hooks import Hooks
from pybroker.broker.packets.encoder import encode, make_publish
from pybroker.broker.packets.model import (
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    SubscribeFilter,
)
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.parts.presence import Presence
from pybroker.webhook.settings import Rule, WebhookSettings
from pybroker.webhook.sink import Sink
from tests.harness import FOR_EVER, Broker, Client, FakeLink, connect_packet

from .bridging import FarBroker
from .instructions import Counter, of_the_fixed_loop

MESSAGES = 50
"""That one read brings."""
READ = 256_000
"""Bytes that uvloop reads at a time."""
TOPIC, PAYLOAD = "sensors/7/temperature", b"x" * 64

Scenario = Callable[[Counter], int]
"""Hands the work to the counter; how many messages (or deliveries, or connections) it was."""


def publishes(qos: int, version: int, number: int = MESSAGES) -> bytes:
    packets = (
        make_publish(TOPIC, PAYLOAD, qos=qos, packet_id=i if qos else 0, version=version)
        for i in range(1, number + 1)
    )
    return b"".join(encode(packet, version) for packet in packets)


def pair(
    version: int, qos: int = 0, receivers: int = 1, hooks: Hooks | None = None
) -> tuple[Client, list[Client]]:
    """A publisher and its subscribers. Access control is on, as in the default configuration."""
    broker = Broker(hooks=hooks)
    broker.engine.access.authorizers = (lambda client, topic, action: True,)
    subscribers = [broker.connect(f"s{i}", version) for i in range(receivers)]
    for subscriber in subscribers:
        subscriber.subscribe(TOPIC, qos)
    return broker.connect("p", version), subscribers


def qos0(version: int) -> Scenario:
    publisher, [subscriber] = pair(version)
    data = publishes(0, version)

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        return len(subscriber.packets())

    return run


def one_a_read(version: int) -> Scenario:
    """Nothing to gather: each message comes alone."""
    publisher, [subscriber] = pair(version)
    data = publishes(0, version, 1)

    def run(counter: Counter) -> int:
        for _ in range(MESSAGES):
            counter.call(publisher.channel.received, data)
        return len(subscriber.packets())

    return run


def large(version: int) -> Scenario:
    """64 KiB each; a packet begins in one read and ends in another."""
    publisher, [subscriber] = pair(version)
    message = make_publish(TOPIC, b"x" * 65_536, version=version).wire * 8
    reads = [message[at : at + READ] for at in range(0, len(message), READ)]

    def run(counter: Counter) -> int:
        for data in reads:
            counter.call(publisher.channel.received, data)
        return len(subscriber.packets())

    return run


def stored(version: int) -> Scenario:
    """Retained messages, each of a topic that is new."""
    publisher, _ = pair(version, receivers=0)
    topics = (f"sensors/{number}/temperature" for number in count())

    def run(counter: Counter) -> int:
        packets = [make_publish(next(topics), PAYLOAD, retain=True, version=version) for _ in range(MESSAGES)]
        counter.call(publisher.channel.received, b"".join(packet.wire for packet in packets))
        return MESSAGES

    return run


def sent_to_subscriber(version: int) -> Scenario:
    """Retained messages, to a new subscriber of all of them."""
    publisher, [subscriber] = pair(version)
    for number in range(MESSAGES):
        topic = f"sensors/{number}/humidity"
        publisher.send_bytes(make_publish(topic, PAYLOAD, retain=True, version=version).wire)
    subscribe = encode(Subscribe(1, [SubscribeFilter("#", 0)]), version)

    def run(counter: Counter) -> int:
        counter.call(subscriber.channel.received, subscribe)
        _, *retained = subscriber.packets()
        assert len(retained) == MESSAGES
        return MESSAGES

    return run


def fanout(version: int) -> Scenario:
    publisher, subscribers = pair(version, receivers=100)
    data = publishes(0, version)

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        return sum(len(subscriber.packets()) for subscriber in subscribers)

    return run


def sink(version: int) -> Scenario:
    publisher, _ = pair(version, receivers=0)
    data = publishes(0, version)

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        return MESSAGES

    return run


def qos1(version: int) -> Scenario:
    publisher, [subscriber] = pair(version, 1)
    data = publishes(1, version)

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        delivered = [packet for packet in subscriber.packets() if isinstance(packet, Publish)]
        pubacks = b"".join(encode(Puback(packet.packet_id), version) for packet in delivered)
        counter.call(subscriber.channel.received, pubacks)
        assert len(publisher.packets()) == MESSAGES
        return len(delivered)

    return run


def qos2(version: int) -> Scenario:
    publisher, [subscriber] = pair(version, 2)
    data = publishes(2, version)
    pubrels = b"".join(encode(Pubrel(i), version) for i in range(1, MESSAGES + 1))

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        counter.call(publisher.channel.received, pubrels)
        ids = [packet.packet_id for packet in subscriber.packets() if isinstance(packet, Publish)]
        for answer in (Pubrec, Pubcomp):
            counter.call(subscriber.channel.received, b"".join(encode(answer(id), version) for id in ids))
        assert len(publisher.packets()) == 2 * MESSAGES
        assert len(subscriber.packets()) == MESSAGES
        return len(ids)

    return run


def webhook(version: int) -> Scenario:
    """Every message matches a rule: it is encoded and queued."""
    endpoint = WebhookSettings("webhook", "http://192.0.2.1/", rules=(Rule("on_message_publish", "#"),))
    sink = Sink([endpoint])
    hooks = Hooks()
    hooks.observe(MessagePublished, sink.offer, topics=sink.wants_topic)
    publisher, [subscriber] = pair(version, hooks=hooks)
    data = publishes(0, version)

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        assert sink.stats()[0].dropped == 0
        return len(subscriber.packets())

    return run


def connect(version: int) -> Scenario:
    """CONNECT and DISCONNECT, one client after another, with what the default configuration tells of them."""
    return _connects(version, clean_start=True)


def reconnect(version: int) -> Scenario:
    """The same for a client whose session is there."""
    expiry = {"session_expiry_interval": FOR_EVER} if version == 5 else {}
    return _connects(version, clean_start=False, **expiry)


def _connects(version: int, **options: Any) -> Scenario:
    broker = Broker()
    asyncio.run(Presence(broker.engine, SysSettings()).start())
    broker.engine.access.authorizers = (lambda client, topic, action: True,)
    come = encode(connect_packet("c", version, keepalive=600, **options), version)
    go = encode(Disconnect(ReasonCode.NORMAL_DISCONNECTION), version)

    def arrive(link: FakeLink) -> None:
        link.channel = Channel(broker.engine, handlers, link, listener="tcp", peer="192.0.2.1:50000")

    def run(counter: Counter) -> int:
        for _ in range(MESSAGES):
            link = FakeLink()
            counter.call(arrive, link)
            channel = link.channel
            assert channel is not None
            counter.call(channel.received, come)
            counter.call(channel.received, go)
            assert link.written
            assert link.closed
        return MESSAGES

    return run


def bridge_out(version: int, qos: int) -> Scenario:
    """To the remote broker of a bridge, which acknowledges."""
    broker = Broker()
    far, publisher = FarBroker(broker, version), broker.connect("p", version)
    data = publishes(qos, version)

    def run(counter: Counter) -> int:
        counter.call(publisher.channel.received, data)
        sent = [packet for packet in far.packets() if isinstance(packet, Publish)]
        if qos:
            pubacks = b"".join(encode(Puback(packet.packet_id), version) for packet in sent)
            counter.call(far.uplink.received, pubacks)
            assert len(publisher.packets()) == MESSAGES
        return len(sent)

    return run


def bridge_in(version: int, qos: int) -> Scenario:
    """From the remote broker of a bridge to a subscriber."""
    broker = Broker()
    far, subscriber = FarBroker(broker, version), broker.connect("s", version)
    subscriber.subscribe(TOPIC, qos)
    data = publishes(qos, version)

    def run(counter: Counter) -> int:
        counter.call(far.uplink.received, data)
        delivered = [packet for packet in subscriber.packets() if isinstance(packet, Publish)]
        if qos:
            assert far.packets() == [Puback(n) for n in range(1, MESSAGES + 1)]
            pubacks = b"".join(encode(Puback(packet.packet_id), version) for packet in delivered)
            counter.call(subscriber.channel.received, pubacks)
        return len(delivered)

    return run


def bridge_out_qos0(version: int) -> Scenario:
    return bridge_out(version, 0)


def bridge_out_qos1(version: int) -> Scenario:
    return bridge_out(version, 1)


def bridge_in_qos0(version: int) -> Scenario:
    return bridge_in(version, 0)


def bridge_in_qos1(version: int) -> Scenario:
    return bridge_in(version, 1)


SCENARIOS: dict[str, Callable[[int], Scenario]] = {
    one.__name__: one
    for one in (
        *(qos0, one_a_read, large, fanout, sink, qos1, qos2, webhook, connect, reconnect),
        *(stored, sent_to_subscriber),
        *(bridge_out_qos0, bridge_out_qos1, bridge_in_qos0, bridge_in_qos1),
    )
}


def cost(name: str, version: int) -> float:
    """Instructions a message, once the caches know it, in rounds of the fixed loop."""
    run = SCENARIOS[name](version)
    run(Counter())
    counter = Counter()
    done = run(counter)
    assert done
    return counter.instructions / done / of_the_fixed_loop()
