"""Batches arrive once and in order, whatever is lost; a new process gets the rest of a dead one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.cluster.link import WINDOW, Link

from .memory import Ways


class End:
    """A node with one link, and all that came over it."""

    def __init__(self, incarnation: int, told: list[bytes] | None = None) -> None:
        self.link = Link(incarnation)
        self.got: list[bytes] = []
        self.resets = 0
        self.holds = False
        self._unhandled: list[int] = []
        self.now = 0.0
        self.link.handle = self._handle
        self.link.reset = self._reset
        self.link.tell_all = lambda: told or []

    def up(self, peer: str, transmit: object) -> None:
        self.link.up(transmit)  # type: ignore[arg-type]

    def down(self, peer: str) -> None:
        self.link.down()

    def received(self, peer: str, frame: bytes) -> None:
        self.link.received(frame, self.now)

    def send(self, *records: bytes) -> None:
        self.link.chunks += records
        self.link.flush()

    def handle_all(self) -> None:
        self.holds = False
        for number in self._unhandled:
            self.link.handled(number)
        self._unhandled.clear()

    def _handle(self, number: int, batch: bytes) -> None:
        self.got.append(batch)
        if self.holds:
            self._unhandled.append(number)
        else:
            self.link.handled(number)

    def _reset(self) -> None:
        self.resets += 1


def pair(told: list[bytes] | None = None) -> tuple[Ways, End, End]:
    ways, one, other = Ways(), End(1, told), End(2)
    ways.enter(0, one)
    ways.enter(1, other)
    ways.deliver()
    return ways, one, other


def test_what_is_sent_before_there_is_a_way_arrives() -> None:
    ways, one, other = Ways(), End(1), End(2)
    one.send(b"a")
    ways.enter(0, one)
    ways.enter(1, other)
    ways.deliver()
    assert other.got == [b"a"]
    assert one.link.held == 0


def test_a_new_one_is_told_all_first() -> None:
    ways, one, other = Ways(), End(1, [b"all"]), End(2)
    one.send(b"a")
    ways.enter(0, one)
    ways.enter(1, other)
    ways.deliver()
    assert other.got == [b"all", b"a"]
    ways.cut(0, 1)
    ways.join(0, 1)
    one.send(b"b")
    ways.deliver()
    assert other.got == [b"all", b"a", b"b"]


def test_the_next_incarnation_gets_what_the_last_did_not_handle() -> None:
    ways, one, other = pair([b"all"])
    one.send(b"handled")
    ways.deliver()
    other.holds = True
    one.send(b"half")
    ways.deliver()
    one.send(b"unsent")
    ways.leave(1)
    successor = End(3)
    ways.enter(1, successor)
    ways.deliver()
    assert successor.got == [b"all", b"half", b"unsent"]
    assert one.resets == 2


def test_no_more_than_a_window_is_under_way() -> None:
    ways, one, other = pair()
    other.holds = True
    large = bytes(WINDOW // 4)
    for _ in range(10):
        one.send(large)
    ways.deliver()
    assert len(other.got) == 4
    other.handle_all()
    ways.deliver()
    assert len(other.got) == 10
    assert one.link.held == 0


def test_one_is_told_when_all_is_handled() -> None:
    ways, one, other = pair()
    done: list[str] = []
    one.link.when_done(lambda: done.append("nothing"))
    assert done == ["nothing"]
    other.holds = True
    one.send(b"a")
    one.link.when_done(lambda: done.append("a"))
    ways.deliver()
    assert done == ["nothing"]
    other.handle_all()
    ways.deliver()
    assert done == ["nothing", "a"]


def test_who_waits_is_told_when_the_other_is_forgotten() -> None:
    _, one, _ = pair()
    one.send(b"a")
    done: list[int] = []
    one.link.when_done(lambda: done.append(1))
    assert b"".join(one.link.forget()) == b"a"
    assert done == [1]
    assert one.link.held == 0


@pytest.mark.parametrize("frame", [b"", b"\0", b"\1", b"\2short", b"\3", b"\xff" * 100])
def test_a_frame_that_is_none_is_ignored(frame: bytes) -> None:
    ways, one, other = pair()
    other.received(0, frame)
    one.send(b"a")
    ways.deliver()
    assert other.got == [b"a"]


def test_many_are_acknowledged_together_unless_somebody_waits() -> None:
    ways, one, other = pair()
    other.link.together = 16
    for n in range(10):
        one.send(b"%d" % n)
    ways.deliver()
    assert one.link.held == 10
    done: list[int] = []
    one.link.when_done(lambda: done.append(1))
    ways.deliver()
    assert (done, one.link.held) == ([1], 0)
    one.link.when_done(lambda: done.append(2))
    one.send(b"x")
    other.link.tick(1.0)
    ways.deliver()
    assert (done, one.link.held) == ([1, 2], 1)
    other.link.tick(2.0)
    ways.deliver()
    assert one.link.held == 0


@given(st.integers(0, 2**32), st.sampled_from([1, 16]))
def test_each_batch_is_handled_once_and_in_order_whatever_is_lost(seed: int, together: int) -> None:
    chance = random.Random(seed)
    ways, one, other = pair()
    ends = [one, other]
    for end in ends:
        end.link.together = together
    sent = [0, 0]
    for _ in range(chance.randrange(10, 200)):
        what = chance.choice(["send", "send", "deliver", "deliver", "deliver", "lose", "cut", "tick", "hold"])
        side = chance.randrange(2)
        if what == "send":
            ends[side].send(b"%d" % sent[side])
            sent[side] += 1
        elif what == "deliver":
            ways.deliver_one(side, 1 - side)
        elif what == "lose":
            ways.lose(side, 1 - side)
        elif what == "cut":
            ways.cut(0, 1)
            ways.join(0, 1)
        elif what == "hold":
            if ends[side].holds:
                ends[side].handle_all()
            else:
                ends[side].holds = True
        else:
            for end in ends:
                end.now += chance.random() * 3
                end.link.tick(end.now)
    for _ in range(20):
        for end in ends:
            end.handle_all()
            end.now += 5
            end.link.tick(end.now)
        ways.deliver()
    assert one.got == [b"%d" % n for n in range(sent[1])]
    assert other.got == [b"%d" % n for n in range(sent[0])]
    assert one.link.held == other.link.held == 0


def test_a_node_that_stood_still_gets_nothing_twice_for_each_greeting() -> None:
    ways, one, other = pair()
    for number in range(100):
        one.send(b"%d" % number)
        one.now += 3.0
        one.link.tick(one.now)
    before = ways.delivered
    other.now = one.now
    ways.deliver()
    assert other.got == [b"%d" % n for n in range(100)]
    assert ways.delivered - before < 600
