"""Who is there by signs of life, and frames in pieces."""

from __future__ import annotations

import random

import pytest

from pybroker.broker.cluster.pieces import Cutter, Joiner, PieceError, read_piece
from pybroker.broker.cluster.presence import DEAD_AFTER, MAX_LEFT, Presence, Present


class Watch:
    """What a Presence says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.presence = Presence(self._up, self._down)

    def _up(self, node: Present) -> None:
        self.said.append(f"+{node.name}{node.instance}")

    def _down(self, node: Present, why: str) -> None:
        self.said.append(f"-{node.name}{node.instance}")

    def look_every_second(self, start: float, end: float) -> None:
        now = start
        while now <= end:
            self.presence.look(now)
            now += 1.0


def test_a_silent_node_is_dead_and_may_come_back() -> None:
    watch = Watch()
    watch.presence.heard("a", 1, 0.0)
    watch.presence.heard("b", 1, 0.0)
    watch.look_every_second(0.0, DEAD_AFTER)
    assert watch.said == ["+a1", "+b1"]
    watch.presence.heard("b", 1, DEAD_AFTER)
    watch.presence.look(DEAD_AFTER + 1)
    assert watch.said[2:] == ["-a1"]
    watch.presence.heard("a", 1, DEAD_AFTER + 2)
    assert watch.said[3:] == ["+a1"]


def test_a_later_process_takes_the_place_of_an_earlier_one() -> None:
    watch = Watch()
    assert watch.presence.heard("a", 1, 0.0) is not None
    assert watch.presence.heard("a", 2, 0.0) is not None
    assert watch.presence.heard("a", 1, 0.0) is None
    assert watch.said == ["+a1", "-a1", "+a2"]


def test_a_process_whose_clock_is_behind_waits_for_the_end_of_the_earlier_one() -> None:
    watch = Watch()
    watch.presence.heard("a", 7, 0.0)
    for second in range(10):
        watch.presence.look(float(second))
        watch.presence.heard("a", 3, float(second))
    assert watch.said == ["+a7", "-a7", "+a3"]


def test_what_comes_late_from_one_that_has_left_is_ignored() -> None:
    watch = Watch()
    watch.presence.heard("a", 5, 0.0)
    watch.presence.left("a", 5)
    assert watch.presence.heard("a", 5, 0.0) is None
    assert watch.presence.heard("a", 6, 0.0) is not None
    watch.presence.left("a", 5)
    assert watch.said == ["+a5", "-a5", "+a6"]


def test_names_that_have_left_are_bounded() -> None:
    watch = Watch()
    for number in range(3 * MAX_LEFT):
        watch.presence.left(f"pod-{number}", 1)
    assert len(watch.presence._left) == MAX_LEFT


def test_after_a_stop_of_this_process_nobody_is_dead() -> None:
    watch = Watch()
    watch.presence.heard("a", 1, 0.0)
    watch.look_every_second(0.0, 3.0)
    watch.presence.look(1000.0)
    assert watch.said == ["+a1"]
    watch.look_every_second(1001.0, 1010.0)
    assert watch.said == ["+a1", "-a1"]


@pytest.mark.parametrize("length", [0, 1, 75, 76, 77, 78, 1000])
def test_frames_are_whole_again(length: int) -> None:
    cutter, joiner = Cutter("node", 1, 2, 104), Joiner()
    frame = random.Random(length).randbytes(length)
    pieces = cutter.cut(frame)
    assert max(map(len, pieces)) <= 104
    found = [joiner.take(read_piece(piece)) for piece in pieces]
    assert found[:-1] == [None] * (len(pieces) - 1)
    assert found[-1] == frame
    piece = read_piece(pieces[0])
    assert (piece.name, piece.sender, piece.receiver) == ("node", 1, 2)


def test_of_frames_with_losses_some_are_missing_and_none_is_wrong() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        cutter, joiner = Cutter("n", 1, 2, 60), Joiner()
        frames = [chance.randbytes(chance.choice((5, 100, 300))) for _ in range(20)]
        lost, found = set(), []
        for number, frame in enumerate(frames):
            for piece in cutter.cut(frame):
                if chance.random() < 0.1:
                    lost.add(number)
                elif (whole := joiner.take(read_piece(piece))) is not None:
                    found.append(whole)
        assert found == [frame for number, frame in enumerate(frames) if number not in lost]


@pytest.mark.parametrize("junk", [b"", b"abc", bytes(21), b"\0" * 21 + b"\2\xff\xff"])
def test_what_is_no_piece(junk: bytes) -> None:
    with pytest.raises(PieceError):
        read_piece(junk)
