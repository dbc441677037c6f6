from __future__ import annotations

from pybroker.broker.packets.encoder import make_publish
from pybroker.broker.session.inflight import Outgoing
from pybroker.broker.session.queue import OVERHEAD, MessageQueue


def message(number: int, qos: int, size: int = 100) -> Outgoing:
    return Outgoing(make_publish(f"t/{number}", b"x" * size, qos=qos), qos)


def topics(messages: list[Outgoing]) -> list[str]:
    return [m.publish.topic for m in messages]


def test_each_line_keeps_its_order() -> None:
    queue = MessageQueue(10, 1 << 20)
    for number in range(6):
        assert queue.add(message(number, qos=number % 3)) == []
    assert len(queue) == 6
    plain = [queue.next_plain(), queue.next_plain(), queue.next_plain()]
    assert [m and m.publish.topic for m in plain] == ["t/0", "t/3", None]
    rest = []
    while (one := queue.next_acknowledged()) is not None:
        rest.append(one)
    assert topics(rest) == ["t/1", "t/2", "t/4", "t/5"]
    assert queue.bytes == 0


def test_the_number_bounds_qos_1_and_2_only() -> None:
    queue = MessageQueue(2, 1 << 20)
    for number in range(5):
        assert queue.add(message(number, qos=0)) == []
    assert queue.add(message(10, qos=1)) == []
    assert queue.add(message(11, qos=2)) == []
    assert topics(queue.add(message(12, qos=1))) == ["t/12"]
    assert len(queue) == 7


def test_the_bytes_bound_all_and_qos_0_gives_way() -> None:
    one = len(message(0, 1).publish.wire) + OVERHEAD
    queue = MessageQueue(100, 3 * one)
    for number, qos in enumerate([0, 0, 1]):
        assert queue.add(message(number, qos)) == []
    assert topics(queue.add(message(3, 0))) == ["t/3"]
    assert topics(queue.add(message(4, 1))) == ["t/0"]
    assert topics(queue.add(message(5, 1))) == ["t/1"]
    assert topics(queue.add(message(6, 1))) == ["t/6"]
    assert queue.bytes <= 3 * one


def test_what_expired_is_taken_from_the_front() -> None:
    queue = MessageQueue(100, 1 << 20)
    for number, expires_at in enumerate((5.0, 4.0, None, 3.0)):
        for qos in (0, 1):
            one = message(10 * qos + number, qos)
            one.publish.expires_at = expires_at
            queue.add(one)
    assert topics(queue.take_expired(4.9)) == []
    assert topics(queue.take_expired(5.0)) == ["t/0", "t/1", "t/10", "t/11"]
    assert topics(queue.messages()) == ["t/2", "t/3", "t/12", "t/13"]
    queue.next_plain(), queue.next_acknowledged()
    assert topics(queue.take_expired(5.0)) == ["t/3", "t/13"]
    assert (len(queue), queue.bytes) == (0, 0)


def test_a_message_larger_than_the_bound_pushes_nobody_out() -> None:
    queue = MessageQueue(100, 1000)
    assert queue.add(message(0, 0)) == []
    assert topics(queue.add(message(1, 2, size=2000))) == ["t/1"]
    assert len(queue) == 1
