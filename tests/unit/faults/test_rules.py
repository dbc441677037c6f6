"""Which faults there can be, and which packets they strike."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker.broker.faults.fault import ACTIONS, Fault
from pybroker.broker.faults.rules import FaultError, Faults, make, reason_code
from pybroker.broker.faults.seen import SeenPacket
from pybroker.broker.packets.reasons import ReasonCode


def seen(type: str = "PUBACK", client: str = "dev-1", direction: str = "out", *topics: str) -> SeenPacket:
    return SeenPacket(at=0.0, direction=direction, client=client, type=type, topics=topics)


def strikes(fault: dict[str, Any], *packets: SeenPacket) -> list[bool]:
    """For each packet of one connection whether the fault strikes it."""
    rule = Faults().add(make(fault))
    matched: dict[Any, int] = {}
    return [rule.strikes(one, matched) for one in packets]


@pytest.mark.parametrize(
    ("aim", "packet", "struck"),
    [
        ({}, seen(), True),
        ({"packet": "PUBACK"}, seen(), True),
        ({"packet": "PUBREC"}, seen(), False),
        ({"client": "dev-*"}, seen(), True),
        ({"client": "dev-[23]"}, seen(), False),
        ({"client": "*"}, seen(client=""), False),
        ({"direction": "out"}, seen(), True),
        ({"direction": "in"}, seen(), False),
        ({"topic": "a/#"}, seen("PUBLISH", "dev-1", "in", "a/b"), True),
        ({"topic": "a/+"}, seen("PUBLISH", "dev-1", "in", "b/b"), False),
        ({"topic": "a/+"}, seen("SUBSCRIBE", "dev-1", "in", "x", "a/+"), True),
        ({"topic": "#"}, seen("PINGREQ", "dev-1", "in"), False),
        ({"packet": "PUBACK", "client": "dev-1", "topic": "a"}, seen("PUBACK", "dev-1", "out", "a"), True),
    ],
)
def test_aim(aim: dict[str, Any], packet: SeenPacket, struck: bool) -> None:
    assert strikes({"action": "drop", **aim}, packet) == [struck]


def test_only_the_nth_of_a_connection() -> None:
    assert strikes({"action": "drop", "nth": 2}, seen(), seen(), seen()) == [False, True, False]


def test_nth_counts_only_what_it_is_aimed_at() -> None:
    fault = {"action": "drop", "packet": "PUBACK", "nth": 2}
    assert strikes(fault, seen(), seen("PINGRESP"), seen()) == [False, False, True]


def test_at_most_so_often_in_all_connections() -> None:
    rule = Faults().add(make({"action": "drop", "times": 2}))
    assert [rule.strikes(seen(), {}) for _ in range(4)] == [True, True, False, False]
    assert rule.fired == 2


def test_the_same_seed_strikes_the_same_packets() -> None:
    fault = {"action": "drop", "probability": 0.5, "seed": 7}
    first, again = strikes(fault, *[seen()] * 200), strikes(fault, *[seen()] * 200)
    other = strikes({**fault, "seed": 8}, *[seen()] * 200)
    assert first == again != other
    assert 50 < sum(first) < 150


def test_refuse_and_lose_session_strike_connect_alone() -> None:
    for action in ("refuse", "lose_session"):
        assert strikes({"action": action}, seen("CONNECT", "dev-1", "in"), seen()) == [True, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs an action: refuse, drop"),
        ({"action": "explode"}, '"explode" is not a fault; there are refuse'),
        ({"action": "drop", "colour": "red"}, "colour is not a key of a fault; there are action, client"),
        ({"action": "drop", "seconds": 1}, "drop has no key seconds; its keys are client"),
        ({"action": "delay"}, "delay needs seconds"),
        ({"action": "limit"}, "limit needs rate"),
        ({"action": "limit", "rate": 0}, "stops all traffic"),
        ({"action": "cut", "after_bytes": 10, "topic": "a"}, "cut has no key topic"),
        ({"action": "stall", "packet": "PUBLISH"}, "stall has no key packet"),
        ({"action": "drop", "packet": "PUBLISHED"}, 'packet "PUBLISHED" is not one of CONNECT'),
        ({"action": "drop", "direction": "up"}, 'direction "up" is neither in'),
        ({"action": "drop", "topic": "a#"}, 'topic "a#": '),
        ({"action": "drop", "nth": 0}, "nth = 0 is less than 1"),
        ({"action": "drop", "nth": "two"}, 'nth = "two": write a number'),
        ({"action": "restart", "keep_state": "maybe"}, "write true or false"),
        ({"action": "drop", "probability": 1.5}, "not between 0 and 1"),
        ({"action": "delay", "seconds": float("nan")}, "seconds = nan is not a finite number"),
        ({"action": "limit", "rate": float("inf")}, "rate = inf is not a finite number"),
        ({"action": "refuse", "code": "nonsense"}, 'code "nonsense" is not a refusal'),
        ({"action": "refuse", "code": 0}, 'code "0" is not a refusal'),
    ],
)
def test_what_cannot_be_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultError) as caught:
        make(values)
    assert message in str(caught.value)


def test_the_words_of_the_command_line() -> None:
    fault = make({"action": "delay", "packet": "puback", "seconds": "0.5", "times": "2"})
    assert fault == Fault(action="delay", packet="PUBACK", seconds=0.5, times=2)
    assert str(fault) == "delay packet=PUBACK times=2 seconds=0.5"
    assert make({"action": "restart", "keep_state": "false"}).keep_state is False
    assert make({"action": "refuse", "code": "0x88"}).code == 0x88


@pytest.mark.parametrize("code", [0x88, "server_unavailable"])
def test_reason_codes_by_number_and_name(code: int | str) -> None:
    assert reason_code(code) is ReasonCode.SERVER_UNAVAILABLE


def test_every_action_is_explained() -> None:
    assert Fault.__doc__ is not None
    for action in ACTIONS:
        assert f"``{action}``" in Fault.__doc__


def test_a_lifted_fault_is_gone() -> None:
    faults, changes = Faults(), []
    faults.watch(lambda: changes.append(len(faults.rules)))
    one, two = faults.add(Fault(action="drop")), faults.add(Fault(action="stall"))
    assert faults.remove(one.number)
    assert not faults.remove(one.number)
    assert list(faults) == [two]
    faults.clear()
    assert changes[0] == 1
    assert changes[-1] == 0
