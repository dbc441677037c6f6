"""A start that takes long says how far it is."""

from __future__ import annotations

import logging

import pytest

from pybroker.broker.state.restore import Progress


class Clock:
    """Goes on by so many seconds each time it is asked."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._step
        return self._now


@pytest.mark.parametrize(
    ("step", "lines"),
    [
        (0.001, []),
        (
            3.0,
            [
                "reading the state: 4096 sessions so far",
                "reading the state: 12288 sessions so far",
                "the state was read in 18.0 s",
            ],
        ),
    ],
)
def test_it_is_said_how_far_it_is(caplog: pytest.LogCaptureFixture, step: float, lines: list[str]) -> None:
    progress = Progress(Clock(step))
    with caplog.at_level(logging.INFO, "pybroker.state"):
        assert list(progress.of(range(12_500), "sessions")) == list(range(12_500))
        progress.end()
    assert caplog.messages == lines
