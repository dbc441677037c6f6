"""Notifications of one kind that come close together."""

from __future__ import annotations

import random

from pybroker.webhook.parcels import Delivery
from pybroker.webhook.push import collapse
from pybroker.webhook.push.collapse import Collapse

KEY = "c1", "doors"


def event(seq: int) -> Delivery:
    return Delivery(seq, f"e{seq}", 0.0, "message_queued", "t", "c1", (), b"body")


def decided(collapsed: Collapse, group: list[Delivery], now: float, key=KEY) -> list[int | float | None]:
    """The numbers of what is to be pushed; what is not is as it comes."""
    found = collapsed.decide(key, group, now)
    return [one.seq if isinstance(one, Delivery) else one for one in found]


def test_one_goes_at_once_and_the_newest_after_the_interval() -> None:
    collapsed = Collapse(10.0)
    one, two, three = event(1), event(2), event(3)
    assert decided(collapsed, [one], 100.0) == [1]
    collapsed.pushed(KEY, one)
    assert collapsed.decide(KEY, [two], now=103.0) == [7.0]
    assert collapsed.decide(KEY, [three], now=104.0) == [None]
    assert collapsed.decide(("c1", "windows"), [event(4)], now=104.0) != [None]
    assert decided(collapsed, [two], 110.0) == [3]
    collapsed.pushed(KEY, three)
    assert collapsed.decide(KEY, [event(9)], now=111.0) == [9.0]


def test_those_of_one_batch_are_one() -> None:
    collapsed = Collapse(10.0)
    group = [event(1), event(2), event(3)]
    assert decided(collapsed, group, 0.0) == [None, None, 3]


def test_the_one_that_is_held_carries_those_of_its_batch() -> None:
    collapsed = Collapse(10.0)
    assert collapsed.decide(KEY, [event(1)], now=0.0)
    held, newer = event(2), event(3)
    assert collapsed.decide(KEY, [held], now=1.0) == [9.0]
    assert decided(collapsed, [newer, held], 10.0) == [None, 3]


def test_a_failure_is_tried_again_at_once_and_not_after_a_newer_one() -> None:
    collapsed = Collapse(10.0)
    one, two = event(1), event(2)
    assert decided(collapsed, [one], 0.0) == [1]
    collapsed.failed(KEY, now=0.5)
    assert decided(collapsed, [two], 1.0) == [2]
    collapsed.pushed(KEY, two)
    assert collapsed.decide(KEY, [one], now=2.0) == [None]


def test_an_aborted_notification_delays_no_other() -> None:
    collapsed = Collapse(10.0)
    collapsed.decide(KEY, [event(1)], now=0.0)
    assert collapsed.decide(KEY, [event(2)], now=1.0) == [9.0]
    collapsed.cut_off(KEY, event(2))  # and is given up
    three = event(3)
    assert decided(collapsed, [three], 20.0) == [3]


def test_without_an_interval_each_is_pushed() -> None:
    group = [event(1), event(2)]
    assert decided(Collapse(0.0), group, 0.0) == [1, 2]


def test_it_remembers_so_many_keys(monkeypatch) -> None:
    monkeypatch.setattr(collapse, "MOST_KEYS", 10)
    collapsed = Collapse(10.0)
    for number in range(100):
        collapsed.decide((str(number), ""), [event(number)], now=0.0)
    assert len(collapsed._slots) <= 10
    collapsed.decide(KEY, [event(1)], now=1000.0)
    assert list(collapsed._slots) == [KEY]


def test_nothing_is_lost_whatever_comes() -> None:
    """The newest event of each key is pushed in the end, and no older one after it."""
    for seed in range(200):
        rng = random.Random(seed)
        collapsed, now, seq = Collapse(5.0), 0.0, 0
        waiting: list[tuple[float, Delivery]] = []
        pushed: list[int] = []
        for step in range(60):
            now += rng.random() * 3
            fresh = step < 40 and rng.random() < 0.7
            group = [one for due, one in waiting if due <= now]
            waiting = [pair for pair in waiting if pair[0] > now]
            if fresh:
                seq += 1
                group.append(event(seq))
            if not group:
                continue
            for one, decision in zip(group, collapsed.decide(KEY, group, now), strict=True):
                if isinstance(decision, float):
                    waiting.append((now + decision, one))
                elif decision is not None and rng.random() < 0.2 and step < 50:
                    collapsed.failed(KEY, now)
                    waiting.append((now + rng.random() * 2, one))
                elif decision is not None:
                    collapsed.pushed(KEY, decision)
                    pushed.append(decision.seq)
        assert not waiting
        assert pushed[-1] == seq
        assert pushed == sorted(set(pushed))


def test_no_body_is_kept() -> None:
    collapsed = Collapse(10.0)
    (first,) = collapsed.decide(KEY, [event(1)], now=0.0)
    assert isinstance(first, Delivery)
    assert first.body == b""
    collapsed.pushed(KEY, first)
    assert collapsed._slots[KEY].latest is None
