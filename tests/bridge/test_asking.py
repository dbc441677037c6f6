"""SUBSCRIBE and UNSUBSCRIBE of a link, against a remote broker that is slow to answer."""

from __future__ import annotations

import pytest

from pybroker.broker.bridge.asking import MOST_OPEN, Asking
from pybroker.broker.bridge.greeting import AT_ONCE
from pybroker.broker.bridge.settings import BridgeSettings
from pybroker.broker.packets.decoder import Decoder
from pybroker.broker.packets.model import Suback, Subscribe, SubscribeFilter, Unsuback, Unsubscribe
from pybroker.broker.packets.reasons import ReasonCode

from .test_relay import Sides


class Asked:
    """What a remote broker has been sent, and the filters that it has then."""

    def __init__(self, *known: str, version: int = 5) -> None:
        relay = Sides(version=version).relay
        self.known = set(known)
        self.has = set(known)
        self.asking = Asking(BridgeSettings("up", True, (), "bridge"), relay, version, self.known)
        self._decoder = Decoder(1 << 28)
        self._decoder.version = version

    def sent(self) -> list[Subscribe | Unsubscribe]:
        found = []
        for packet in self._decoder.feed(b"".join(self.asking.packets())):
            assert isinstance(packet, Subscribe | Unsubscribe)
            if isinstance(packet, Subscribe):
                self.has.update(one.topic_filter for one in packet.filters)
            else:
                self.has.difference_update(packet.topic_filters)
            found.append(packet)
        return found

    def answer(self, packet: Subscribe | Unsubscribe, reason: ReasonCode = ReasonCode.SUCCESS) -> list[str]:
        if isinstance(packet, Subscribe):
            return self.asking.answered(Suback(packet.packet_id, [reason] * len(packet.filters)))
        return self.asking.answered(Unsuback(packet.packet_id, [reason] * len(packet.topic_filters)))

    def until_all_is_answered(self) -> None:
        while packets := self.sent():
            for packet in packets:
                self.answer(packet)


def filters(*names: str) -> list[SubscribeFilter]:
    return [SubscribeFilter(name, 1) for name in names]


@pytest.mark.parametrize("version", [4, 5])
def test_a_new_link_asks_for_what_is_wanted_and_nothing_else(version: int) -> None:
    asked = Asked("kept", "gone", version=version)
    asked.asking.begin(filters("kept", "new"), session_present=True)
    asked.until_all_is_answered()
    assert asked.has == asked.known == {"kept", "new"}


def test_a_new_session_has_nothing_to_take_back() -> None:
    asked = Asked("gone")
    asked.asking.begin(filters("new"), session_present=False)
    (packet,) = asked.sent()
    assert isinstance(packet, Subscribe)
    assert asked.known == {"new"}


def test_a_remote_broker_that_does_not_answer_costs_no_memory() -> None:
    asked = Asked()
    packets = 0
    for number in range(20_000):
        asked.asking.subscribe(filters(f"t/{number}"))
        packets += len(asked.sent())
        asked.asking.unsubscribe(f"t/{number}")
        packets += len(asked.sent())
    assert packets == MOST_OPEN
    assert len(asked.asking._waiting) <= MOST_OPEN * AT_ONCE
    assert len(asked.known) <= MOST_OPEN * AT_ONCE


def test_the_last_request_for_a_filter_counts() -> None:
    asked = Asked()
    asked.asking.begin(
        filters(*(f"f/{number}" for number in range(AT_ONCE * MOST_OPEN))), session_present=False
    )
    open_packets = asked.sent()
    assert len(open_packets) == MOST_OPEN
    asked.asking.unsubscribe("f/1")
    asked.asking.subscribe(filters("f/1", "late"))
    asked.asking.unsubscribe("f/2")
    asked.asking.subscribe(filters("never"))
    asked.asking.unsubscribe("never")
    assert not asked.sent()
    for packet in open_packets:
        asked.answer(packet)
    asked.until_all_is_answered()
    assert "f/2" not in asked.has
    assert {"f/1", "late"} <= asked.has
    assert "never" not in asked.has
    assert asked.has == asked.known


def test_refusals_are_told() -> None:
    asked = Asked()
    asked.asking.begin(filters("secret"), session_present=False)
    (packet,) = asked.sent()
    assert asked.answer(packet, ReasonCode.NOT_AUTHORIZED) == [
        'it refuses the subscription to "secret": not authorized'
    ]
    assert asked.answer(packet, ReasonCode.NOT_AUTHORIZED) == [], "nobody has asked"
