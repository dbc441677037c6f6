"""The faults in force: checks them, counts them, and applies them to each packet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import count
from math import isfinite
from random import Random
from typing import Any

from ..packets.reasons import ReasonCode, reason_name
from ..routing.topics import filter_error, matches
from .fault import ACTIONS, DIRECTIONS, PACKETS, Fault
from .seen import SeenPacket

CONNECTION_ACTIONS = frozenset({"stall", "limit", "latency", "cut"})
"""The actions that apply to a connection as long as they are in force, not to single packets."""


class FaultError(ValueError):
    """An invalid fault; the message says why, and what is allowed."""


class Rule:
    """A fault in force."""

    __slots__ = ("code", "dice", "elsewhere", "fault", "fired", "number")

    def __init__(self, fault: Fault, number: int) -> None:
        check(fault)
        self.fault = fault
        self.number = number
        """The number of the rule on the command line."""
        self.code = reason_code(fault.code) if fault.action == "refuse" else ReasonCode.SUCCESS
        self.dice = Random(fault.seed)  # noqa: S311 - repeatable on purpose
        self.elsewhere: dict[str, int] = {}
        """How often it has struck in each other process of the broker."""
        self.fired = 0
        """How often the fault has been applied."""

    def strikes(self, seen: SeenPacket, matched: dict[Rule, int]) -> bool:
        """Whether it strikes this packet; ``matched`` counts for each rule the connection's packets it is
        aimed at."""
        fault = self.fault
        if not self.is_aimed_at(seen):
            return False
        matched[self] = matched.get(self, 0) + 1
        if fault.nth is not None and matched[self] != fault.nth:
            return False
        if self.is_spent:
            return False
        if fault.probability < 1 and self.dice.random() >= fault.probability:
            return False
        self.fired += 1
        return True

    def is_aimed_at(self, seen: SeenPacket) -> bool:
        fault = self.fault
        if fault.action in CONNECTION_ACTIONS:
            return False
        if fault.action in ("refuse", "lose_session") and seen.type != "CONNECT":
            return False
        return (
            (fault.packet is None or fault.packet == seen.type)
            and (fault.direction is None or fault.direction == seen.direction)
            and (fault.client is None or fits(fault.client, seen.client))
            and (fault.topic is None or _about(fault.topic, seen))
        )

    @property
    def is_spent(self) -> bool:
        """Whether it has been applied as often as ``times`` allows."""
        return self.fault.times is not None and self.struck >= self.fault.times

    @property
    def struck(self) -> int:
        """How often it has struck, in all processes of the broker."""
        return self.fired + sum(self.elsewhere.values()) if self.elsewhere else self.fired

    def is_on(self, client: str, direction: str) -> bool:
        """Whether a fault of a whole connection is on this direction of the client's."""
        fault = self.fault
        if self.is_spent:
            return False
        wanted = fault.direction or ("in" if fault.action == "stall" else None)
        return (wanted is None or wanted == direction) and (
            fault.client is None or fits(fault.client, client)
        )


class Faults:
    """All faults in force, in the order they came. Used on the broker's event loop only."""

    def __init__(self) -> None:
        self.rules: tuple[Rule, ...] = ()
        self.restart: Callable[[bool, float], None] | None = None
        """Restarts the broker: whether it keeps its state, and for how many seconds it is away."""
        self.struck: Callable[[Rule], None] | None = None
        """Called when a fault has struck."""
        self.known: Callable[[], Awaitable[Any] | None] | None = None
        """Waits until the other processes of the broker know the faults."""
        self.topics: dict[str, dict[str, dict[int, str]]] = {}
        """Client, direction, packet identifier: the topic of each message not acknowledged to its end."""
        self._numbers = count(1)
        self._watchers: set[Callable[[], None]] = set()

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def add(self, fault: Fault) -> Rule:
        """Put ``fault`` in force. Raises FaultError."""
        rule = Rule(fault, next(self._numbers))
        self.rules = (*self.rules, rule)
        self._changed()
        return rule

    def remove(self, number: int) -> bool:
        """Remove the fault with that number; False if there is none."""
        left = tuple(rule for rule in self.rules if rule.number != number)
        found = len(left) < len(self.rules)
        self.rules = left
        self._changed()
        return found

    def clear(self) -> None:
        """Remove all faults, and forget the topics of unacknowledged messages."""
        self.rules = ()
        self.topics.clear()
        self._changed()

    def replace(self, rules: Iterable[Rule]) -> None:
        """Have these in force, and no others."""
        self.rules = tuple(rules)
        self._numbers = count(max((rule.number for rule in self.rules), default=0) + 1)
        self._changed()

    async def in_force(self) -> None:
        """Until a change holds in all processes of the broker."""
        answer = self.known() if self.known is not None else None
        if answer is not None:
            await answer

    def watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` whenever a fault is added or removed."""
        self._watchers.add(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        self._watchers.discard(changed)

    def _changed(self) -> None:
        for changed in list(self._watchers):
            changed()


def make(values: Mapping[str, Any]) -> Fault:
    """A fault from names and values; texts are read as the command line writes them. Raises FaultError."""
    unknown = values.keys() - Fault.__dataclass_fields__.keys()
    if unknown:
        known = ", ".join(Fault.__dataclass_fields__)
        raise FaultError(f"{', '.join(sorted(unknown))} is not a key of a fault; there are {known}")
    if "action" not in values:
        raise FaultError(f"a fault needs an action: {', '.join(ACTIONS)}")
    fault = Fault(**{name: _read(name, value) for name, value in values.items()})
    check(fault)
    return fault


def check(fault: Fault) -> None:
    """Raise FaultError if ``fault`` is invalid."""
    if fault.action not in ACTIONS:
        raise FaultError(f'"{fault.action}" is not a fault; there are {", ".join(ACTIONS)}')
    aims, needed, possible = ACTIONS[fault.action]
    given = fault.given().keys() - {"action"}
    for name in given - aims - needed - possible:
        allowed = ", ".join(sorted(aims | needed | possible))
        raise FaultError(f"{fault.action} has no key {name}; its keys are {allowed}")
    for name in sorted(needed - given):
        raise FaultError(f"{fault.action} needs {name}")
    if fault.packet is not None and fault.packet not in PACKETS:
        raise FaultError(f'packet "{fault.packet}" is not one of {", ".join(PACKETS)}')
    if fault.direction is not None and fault.direction not in DIRECTIONS:
        raise FaultError(f'direction "{fault.direction}" is neither in (from the client) nor out (to it)')
    if fault.topic is not None and (error := filter_error(fault.topic)):
        raise FaultError(f'topic "{fault.topic}": {error}')
    for name, least in _LEAST.items():
        value = getattr(fault, name)
        if value is not None and value < least:
            raise FaultError(f"{name} = {value} is less than {least}")
    for name in ("seconds", "jitter", "rate"):
        value = getattr(fault, name)
        if value is not None and not isfinite(value):
            raise FaultError(f"{name} = {value} is not a finite number")
    if fault.rate is not None and fault.rate <= 0:
        raise FaultError(f"rate = {fault.rate} stops all traffic; use stall for that")
    if not 0 <= fault.probability <= 1:
        raise FaultError(f"probability = {fault.probability} is not between 0 and 1")
    if fault.action == "refuse":
        reason_code(fault.code)


_LEAST = {"nth": 1, "times": 0, "seconds": 0, "jitter": 0, "count": 1, "after_bytes": 0}


def reason_code(code: int | str | None) -> ReasonCode:
    """The code that refuses a CONNECT; names are those of webhooks and logs. Raises FaultError."""
    if code is None:
        return ReasonCode.NOT_AUTHORIZED
    for known in ReasonCode:
        if known >= ReasonCode.UNSPECIFIED_ERROR and code in (known.value, reason_name(known)):
            return known
    names = ", ".join(reason_name(known) for known in ReasonCode if known >= ReasonCode.UNSPECIFIED_ERROR)
    raise FaultError(f'code "{code}" is not a refusal; write a number from 0x80 or one of {names}')


def fits(pattern: str, client: str) -> bool:
    """Whether a client identifier, once it is known, fits a pattern."""
    return bool(client) and fnmatchcase(client, pattern)


def _about(topic_filter: str, seen: SeenPacket) -> bool:
    return any(topic == topic_filter or matches(topic_filter, topic) for topic in seen.topics)


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        if name in ("nth", "times", "seed", "count", "byte", "after_bytes"):
            return int(value)
        if name in ("probability", "seconds", "jitter", "rate"):
            return float(value)
        if name == "code":
            return int(value, 0) if value[:1].isdigit() else value
        if name == "keep_state":
            return {"true": True, "false": False}[value.lower()]
    except (ValueError, KeyError):
        kind = "true or false" if name == "keep_state" else "a number"
        raise FaultError(f'{name} = "{value}": write {kind}') from None
    return value.upper() if name == "packet" else value
