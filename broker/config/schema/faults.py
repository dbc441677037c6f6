"""The rows of `faults`."""

from __future__ import annotations

from collections.abc import Iterator

from ...faults.fault import ACTIONS, DIRECTIONS, PACKETS
from ..units import choice, flag, number, size, text, time, topic_filter, whole
from .row import ANYTHING, Row, under


def rows() -> Iterator[Row]:
    on = "Only with this section `pybroker faults` can add faults."
    yield from under(
        "faults",
        Row("enable", flag(), "true", f"False: ignore the section. {on}"),
        Row("rules", ANYTHING, "", "Faults that are in force from the start.", "objects"),
        Row("rules[].action", choice(*ACTIONS), "", "The fault, see docs/testing.md."),
        Row("rules[].client", text(), "", "Only clients whose identifier matches: `*`, `?`, `[ab]`."),
        Row("rules[].topic", topic_filter(), "", "Only packets with a matching topic."),
        Row("rules[].packet", choice(*map(str.lower, PACKETS)), "", "Only packets of this type."),
        Row("rules[].direction", choice(*DIRECTIONS), "", "`in`: from the client; `out`: to it."),
        Row("rules[].nth", whole(1), "", "Only the nth such packet of a connection."),
        Row("rules[].times", whole(1), "", "How often at most, in all."),
        Row("rules[].probability", number(0, 1), "1", "The probability."),
        Row("rules[].seed", whole(0), "0", "The same seed gives the same faults."),
        Row("rules[].code", text(), "not_authorized", "refuse: the reason code, by name or number."),
        Row("rules[].seconds", time(), "", "delay, latency: how long; restart: how long the broker is down."),
        Row("rules[].jitter", time(), "", "latency: at most this much more, at random."),
        Row("rules[].count", whole(1), "1", "repeat: how many copies."),
        Row("rules[].byte", whole(-(1 << 28), 1 << 28), "", "corrupt: which byte; below 0 from the end."),
        Row("rules[].after_bytes", whole(0), "", "cut: how many bytes pass."),
        Row("rules[].rate", size(1), "", "limit: bytes per second."),
        Row("rules[].keep_state", flag(), "true", "restart: whether sessions and retained messages survive."),
        ours=True,
    )
