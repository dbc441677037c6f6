"""The access rules of `auth.acl`: the first rule that matches decides."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ..config.settings import AclRule
from ..engine.access import Action
from ..events import Client
from ..routing.topics import split_share
from ..session.session import Session
from .filters import Levels, Wildcard, covers, filter_levels, name_levels, overlap

Condition = Callable[[Client], bool]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PLACEHOLDER = re.compile(r"(\$\{(?:clientid|username)\})")


class Acl:
    """The rules as an authorizer: True, False, or None where no rule matches.

    A rule matches a publish whose topic it covers. Of a subscription a rule may allow or deny a part. A
    subscription is refused where all of it is denied; where a part is allowed it is granted, and
    :meth:`may_receive` keeps the denied topics from it.
    """

    def __init__(
        self, rules: Sequence[AclRule], *, refuse_parts: bool = False, rest: bool | None = None
    ) -> None:
        """``refuse_parts``: refuse a subscription that is denied in part, or not allowed as a whole.
        ``rest``: whether a client may do what no rule mentions; None if others decide that."""
        self._rules = tuple(_Rule(rule) for rule in rules)
        self._refuse_parts = refuse_parts
        self._rest = rest
        self._publisher: Client | None = None
        """The client that published last. It may be the next, too."""
        self._publisher_rules: tuple[_Topics, ...] = ()

    def __call__(self, client: Client, topic: str, action: Action) -> bool | None:
        if action is Action.SUBSCRIBE:
            return self._may_subscribe(client, filter_levels(topic))
        if client is not self._publisher:
            self._publisher = client
            self._publisher_rules = tuple(self._rules_for(client, Action.PUBLISH))
        wanted: Levels = ()
        for rule in self._publisher_rules:
            if rule.every:
                return rule.allows
            wanted = wanted or name_levels(topic)
            if wanted in rule.literals or rule.covers(wanted):
                return rule.allows
        return None

    def may_receive(self, session: Session, topic: str) -> bool:
        """Whether the session may receive messages of the topic."""
        if session.superuser:
            return True
        screen: _Screen | None = session.screen
        if screen is None or screen.acl is not self:
            client = session.client
            known = bool(client.listener)  # otherwise the session waits for its first client
            rules = tuple(
                self._rules_for(client, Action.SUBSCRIBE) if known else self._rules_for_somebody(client)
            )
            screen = session.screen = _Screen(self, rules)
        wanted = name_levels(topic)
        for rule in screen.rules:
            if rule.covers(wanted) or rule.grants_by_name(session.subscriptions, wanted):
                return rule.allows
        return self._rest is not False

    def _may_subscribe(self, client: Client, wanted: Levels) -> bool | None:
        partly = False
        for rule in self._rules_for(client, Action.SUBSCRIBE):
            if wanted in rule.literals:
                return rule.allows
            if rule.covers(wanted):
                return rule.allows or partly
            if rule.touches(wanted):
                if not rule.allows and self._refuse_parts:
                    return False
                partly = partly or (rule.allows and not self._refuse_parts)
        return True if partly and self._rest is not None else None

    def _rules_for(self, client: Client, action: Action) -> Iterator[_Topics]:
        for rule in self._rules:
            if action in rule.actions and all(holds(client) for holds in rule.conditions):
                yield rule.topics_for(client)

    def _rules_for_somebody(self, client: Client) -> Iterator[_Topics]:
        """The rules for receiving if only the client identifier is known. They assume the user name and
        address that are allowed the most, so that no message is lost because its client has not connected
        yet."""
        for rule in self._rules:
            if Action.SUBSCRIBE in rule.actions and all(holds(client) for holds in rule.conditions_at_best):
                yield rule.topics_for(client, at_best=True)


class _Screen:
    """The rules for receiving of one client, computed once and kept in its session."""

    __slots__ = ("acl", "rules")

    def __init__(self, acl: Acl, rules: tuple[_Topics, ...]) -> None:
        self.acl = acl
        self.rules = rules


class _Rule:
    """One entry of `auth.acl.rules`, compiled."""

    __slots__ = (
        "_literals",
        "_patterns",
        "_rule",
        "_same_for_all",
        "actions",
        "allows",
        "conditions",
        "conditions_at_best",
    )

    def __init__(self, rule: AclRule) -> None:
        self._rule = rule
        self.actions = (
            {Action.PUBLISH, Action.SUBSCRIBE} if rule.action == "pubsub" else {Action(rule.action)}
        )
        self.allows = rule.permit == "allow"
        self.conditions = _conditions(rule)
        self.conditions_at_best = _conditions(rule, unknown=self.allows)
        """The conditions if user name and address are unknown, as favourable to the client as possible."""
        self._literals = tuple(_pattern(topic[1:]) for topic in rule.topics if topic.startswith("@"))
        self._patterns = tuple(_pattern(topic) for topic in rule.topics if not topic.startswith("@"))
        names = any(_PLACEHOLDER.search(topic) for topic in rule.topics)
        self._same_for_all = None if names else self._fill_in(Client(""))

    def topics_for(self, client: Client, *, at_best: bool = False) -> _Topics:
        """``at_best``: a rule that allows matches any user name."""
        return self._same_for_all or self._fill_in(client, any_name=at_best and self.allows)

    def _fill_in(self, client: Client, *, any_name: bool = False) -> _Topics:
        literals = (literal(client, False) for literal in self._literals)
        patterns = (pattern(client, any_name) for pattern in self._patterns)
        return _Topics(
            self.allows,
            not self._rule.topics,
            tuple(levels for levels in literals if levels is not None),
            tuple(levels for levels in patterns if levels is not None),
        )


class _Topics:
    """A rule for one client, with its topics."""

    __slots__ = ("_patterns", "allows", "every", "literals")

    def __init__(
        self, allows: bool, every: bool, literals: tuple[Levels, ...], patterns: tuple[Levels, ...]
    ) -> None:
        self.allows = allows
        self.every = every
        """Whether it is about every topic."""
        self.literals = literals
        """Topic filters that are compared only as text."""
        self._patterns = patterns

    def covers(self, wanted: Levels) -> bool:
        """Whether the rule matches all topics of ``wanted``."""
        return self.every or any(covers(levels, wanted) for levels in self._patterns)

    def touches(self, wanted: Levels) -> bool:
        """Whether the rule matches some topics of ``wanted``."""
        return any(overlap(levels, wanted) for levels in self._patterns)

    def grants_by_name(self, subscriptions: Iterable[str], topic: Levels) -> bool:
        """Whether the client receives the topic by a subscription whose text the rule allows."""
        if not self.allows or not self.literals:
            return False
        filters = (filter_levels(split_share(text)[1]) for text in subscriptions)
        return any(levels in self.literals and covers(levels, topic) for levels in filters)


# Topics.


def _pattern(topic: str) -> Callable[[Client, bool], Levels | None]:
    """The levels of a rule's topic for a client. If the client lacks a name that the topic needs: with true,
    any name matches, otherwise the result is None."""
    if _PLACEHOLDER.search(topic):
        return partial(_levels_for, topic)
    levels = filter_levels(topic)
    return lambda client, any_name: levels


def _levels_for(topic: str, client: Client, any_name: bool) -> Levels | None:
    levels: list[Levels] = []
    for level in topic.split("/"):
        if not _PLACEHOLDER.search(level):
            levels.append(filter_levels(level))
            continue
        text = _filled(level, client)
        if text is not None:
            levels.append(name_levels(text))  # a client named + does not get a wildcard
        elif any_name:
            levels.append((Wildcard.ONE,))
        else:
            return None
    return tuple(level for some in levels for level in some)


def _filled(text: str, client: Client) -> str | None:
    """``text`` with the client's names filled in; None if the client has no such name."""
    names = {"${clientid}": client.client_id, "${username}": client.username}
    parts = [names.get(part, part) for part in _PLACEHOLDER.split(text)]
    return None if None in parts else "".join(part for part in parts if part is not None)


# Who.


def _conditions(rule: AclRule, unknown: bool | None = None) -> tuple[Condition, ...]:
    """The conditions, all of which the client must meet. ``unknown``: user name and address are not known;
    conditions about them have this result."""
    found: list[Condition] = []
    if unknown is not None and (rule.username is not None or rule.ipaddrs):
        found.append(lambda client: unknown)
    elif rule.username is not None:
        found.append(lambda client: client.username == rule.username)
    if rule.clientid is not None:
        found.append(lambda client: client.client_id == rule.clientid)
    if rule.ipaddrs and unknown is None:
        networks = tuple(ipaddress.ip_network(text, strict=False) for text in rule.ipaddrs)
        found.append(partial(_is_from, networks))
    found += [condition for part in rule.all_of for condition in _conditions(part, unknown)]
    if rule.any_of:
        choices = tuple(_conditions(part, unknown) for part in rule.any_of)
        found.append(lambda client: any(all(holds(client) for holds in conditions) for conditions in choices))
    return tuple(found)


def _is_from(networks: tuple[Network, ...], client: Client) -> bool:
    """False without an address, as over a unix socket."""
    try:
        address = ipaddress.ip_address(client.host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
