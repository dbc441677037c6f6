"""`auth.acl`: the first rule that matches decides."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import partial

from ..config.settings import AclRule
from ..engine.access import Action
from ..events import Client
from .filters import Levels, covers, filter_levels, name_levels, overlap

Condition = Callable[[Client], bool]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PLACEHOLDER = re.compile(r"(\$\{(?:clientid|username)\})")


class Acl:
    """The rules as an authorizer: True, False, or None where no rule matches.

    A rule matches a publish whose topic it covers. It allows a subscription whose whole topic filter it
    covers, and denies one that has any topic in common with it: otherwise who is denied ``secret/#`` would
    subscribe to ``#``.
    """

    def __init__(self, rules: Sequence[AclRule]) -> None:
        self._rules = tuple(_Rule(rule) for rule in rules)

    def __call__(self, client: Client, topic: str, action: Action) -> bool | None:
        wanted = filter_levels(topic) if action is Action.SUBSCRIBE else name_levels(topic)
        for rule in self._rules:
            if rule.matches(client, wanted, action):
                return rule.allows
        return None


class _Rule:
    """One entry of `auth.acl.rules`, made ready."""

    __slots__ = ("_actions", "_conditions", "_literals", "_patterns", "allows")

    def __init__(self, rule: AclRule) -> None:
        self.allows = rule.permit == "allow"
        self._actions = (
            {Action.PUBLISH, Action.SUBSCRIBE} if rule.action == "pubsub" else {Action(rule.action)}
        )
        self._conditions = _conditions(rule)
        self._literals = tuple(_pattern(topic[1:]) for topic in rule.topics if topic.startswith("@"))
        self._patterns = tuple(_pattern(topic) for topic in rule.topics if not topic.startswith("@"))

    def matches(self, client: Client, wanted: Levels, action: Action) -> bool:
        return (
            action in self._actions
            and all(holds(client) for holds in self._conditions)
            and self._is_about(client, wanted)
        )

    def _is_about(self, client: Client, wanted: Levels) -> bool:
        if not self._literals and not self._patterns:
            return True
        if any(literal(client) == wanted for literal in self._literals):
            return True
        touches = covers if self.allows else overlap
        return any(
            levels is not None and touches(levels, wanted)
            for levels in (pattern(client) for pattern in self._patterns)
        )


# Topics.


def _pattern(topic: str) -> Callable[[Client], Levels | None]:
    """The levels of a rule's topic for a client; None where it has no name that could be filled in."""
    if _PLACEHOLDER.search(topic):
        return partial(_levels_for, topic)
    levels = filter_levels(topic)
    return lambda client: levels


def _levels_for(topic: str, client: Client) -> Levels | None:
    levels: list[Levels] = []
    for level in topic.split("/"):
        if not _PLACEHOLDER.search(level):
            levels.append(filter_levels(level))
            continue
        text = _filled(level, client)
        if text is None:
            return None
        levels.append(name_levels(text))  # a client that calls itself + gets no wildcard by it
    return tuple(level for some in levels for level in some)


def _filled(text: str, client: Client) -> str | None:
    """``text`` with the client's own names in it; None where the client has no such name."""
    names = {"${clientid}": client.client_id, "${username}": client.username}
    parts = [names.get(part, part) for part in _PLACEHOLDER.split(text)]
    return None if None in parts else "".join(part for part in parts if part is not None)


# Who.


def _conditions(rule: AclRule) -> tuple[Condition, ...]:
    """What must hold of the client, all of it."""
    found: list[Condition] = []
    if rule.username is not None:
        found.append(lambda client: client.username == rule.username)
    if rule.clientid is not None:
        found.append(lambda client: client.client_id == rule.clientid)
    if rule.ipaddrs:
        networks = tuple(ipaddress.ip_network(text, strict=False) for text in rule.ipaddrs)
        found.append(partial(_is_from, networks))
    found += [condition for part in rule.all_of for condition in _conditions(part)]
    if rule.any_of:
        choices = tuple(map(_conditions, rule.any_of))
        found.append(lambda client: any(all(holds(client) for holds in conditions) for conditions in choices))
    return tuple(found)


def _is_from(networks: tuple[Network, ...], client: Client) -> bool:
    """False where there is no address: over a unix socket."""
    try:
        address = ipaddress.ip_address(client.host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
