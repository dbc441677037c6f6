"""`auth.acl`, row by row."""

from __future__ import annotations

import pytest

from pybroker.broker.access.acl import Acl
from pybroker.broker.config.settings import AclRule
from pybroker.broker.engine.access import Action
from pybroker.broker.events import Client

PUB, SUB = Action.PUBLISH, Action.SUBSCRIBE
ANN = Client("c1", "ann", peer="10.1.2.3:50000")
BOB = Client("c2", "bob", peer="[2001:db8::7]:50000")
NOBODY = Client("c3", None, peer="")
MAPPED = Client("c4", "eve", peer="[::ffff:10.1.2.3]:50000")
PLUS, HASH, SLASH = Client("+", "+"), Client("#", "#"), Client("a/b", "t/u")


def allow(*topics: str, action: str = "pubsub", **who: object) -> AclRule:
    return AclRule("allow", action, topics, **who)  # type: ignore[arg-type]


def deny(*topics: str, action: str = "pubsub", **who: object) -> AclRule:
    return AclRule("deny", action, topics, **who)  # type: ignore[arg-type]


def any_of(*parts: AclRule) -> AclRule:
    return AclRule("allow", any_of=parts)


def all_of(*parts: AclRule) -> AclRule:
    return AclRule("allow", all_of=parts)


ANN_ = AclRule("deny", username="ann")
TEN = AclRule("deny", ipaddrs=("10.0.0.0/8",))
C2 = AclRule("deny", clientid="c2")

ROWS = [
    # No rule, no opinion; the first one that matches decides.
    ([], ANN, "a", PUB, None),
    ([allow("a"), deny("a")], ANN, "a", PUB, True),
    ([deny("a"), allow("a")], ANN, "a", PUB, False),
    ([deny("b"), allow("a")], ANN, "a", PUB, True),
    ([allow("b")], ANN, "a", PUB, None),
    ([allow()], ANN, "any/topic", PUB, True),
    ([deny()], ANN, "#", SUB, False),
    # Actions.
    ([allow("a", action="publish")], ANN, "a", PUB, True),
    ([allow("a", action="publish")], ANN, "a", SUB, None),
    ([allow("a", action="subscribe")], ANN, "a", SUB, True),
    ([allow("a", action="subscribe")], ANN, "a", PUB, None),
    # Topic filters.
    ([allow("a/+")], ANN, "a/b", PUB, True),
    ([allow("a/+")], ANN, "a/b/c", PUB, None),
    ([allow("a/#")], ANN, "a", PUB, True),
    ([allow("#")], ANN, "$SYS/x", PUB, None),
    ([allow("$SYS/#")], ANN, "$SYS/x", SUB, True),
    ([allow("x", "y/+")], ANN, "y/1", PUB, True),
    # A subscription is allowed as a whole or not at all,
    ([allow("a/#")], ANN, "a/+/c", SUB, True),
    ([allow("a/#")], ANN, "#", SUB, None),
    ([allow("a/+")], ANN, "a/#", SUB, None),
    ([allow("a/b")], ANN, "a/+", SUB, None),
    ([allow("+")], ANN, "+", SUB, True),
    ([allow("#")], ANN, "#", SUB, True),
    # and denied if any of it is.
    ([deny("secret/#"), allow()], ANN, "#", SUB, False),
    ([deny("secret/#"), allow()], ANN, "+/x", SUB, False),
    ([deny("secret/#"), allow()], ANN, "open/#", SUB, True),
    ([deny("a/b"), allow()], ANN, "a/+", SUB, False),
    ([deny("$SYS/#"), allow()], ANN, "#", SUB, True),
    ([deny("$SYS/#"), allow()], ANN, "$SYS/+", SUB, False),
    ([allow("a/#"), deny("a/b")], ANN, "a/#", SUB, True),
    # Literal topics.
    ([deny("@#"), allow()], ANN, "#", SUB, False),
    ([deny("@#"), allow()], ANN, "a/#", SUB, True),
    ([allow("@a/+")], ANN, "a/b", PUB, None),
    ([allow("@a/+")], ANN, "a/+", SUB, True),
    ([allow("@a/b")], ANN, "a/b", PUB, True),
    ([allow("@d/${clientid}")], ANN, "d/c1", PUB, True),
    ([allow("@d/${clientid}")], ANN, "d/c2", PUB, None),
    # Names filled in.
    ([allow("d/${clientid}/#")], ANN, "d/c1/x", PUB, True),
    ([allow("d/${clientid}/#")], ANN, "d/c2/x", PUB, None),
    ([allow("d/${username}/#")], ANN, "d/ann/#", SUB, True),
    ([allow("d/${username}/#")], ANN, "d/+/#", SUB, None),
    ([allow("d/${username}/#")], NOBODY, "d//x", PUB, None),
    ([allow("d/${username}/#")], NOBODY, "d/None/x", PUB, None),
    ([deny("d/${username}"), allow()], NOBODY, "d/x", PUB, True),
    ([allow("d/x-${clientid}-${username}")], ANN, "d/x-c1-ann", PUB, True),
    ([allow("d/${clientid}/#")], SLASH, "d/a/b/c", PUB, True),
    ([allow("d/${clientid}")], SLASH, "d/a", PUB, None),
    # A name is never a wildcard.
    ([allow("d/${clientid}/x")], PLUS, "d/other/x", PUB, None),
    ([allow("d/${clientid}/x")], PLUS, "d/+/x", SUB, None),
    ([allow("${username}")], HASH, "#", SUB, None),
    ([allow("d/${clientid}")], HASH, "d/any/thing", PUB, None),
    ([allow("@d/${clientid}/x")], PLUS, "d/a/x", PUB, None),
    ([allow("@d/${clientid}/x")], PLUS, "d/+/x", SUB, None),
    ([allow("@d/${clientid}")], HASH, "d/#", SUB, None),
    ([allow("@${username}")], HASH, "#", SUB, None),
    ([allow("@${username}")], Client("c5", "a/#"), "a/#", SUB, None),
    ([allow("@d/${clientid}")], SLASH, "d/a/b", SUB, True),
    # Who.
    ([allow(username="ann")], ANN, "a", PUB, True),
    ([allow(username="ann")], BOB, "a", PUB, None),
    ([allow(username="ann")], NOBODY, "a", PUB, None),
    ([allow(clientid="c2")], BOB, "a", PUB, True),
    ([allow(clientid="c2")], ANN, "a", PUB, None),
    ([allow(username="ann", clientid="c2")], ANN, "a", PUB, None),
    ([deny("a", username="bob"), allow()], BOB, "a", PUB, False),
    # Where from.
    ([allow(ipaddrs=("10.1.2.3",))], ANN, "a", PUB, True),
    ([allow(ipaddrs=("10.1.2.4",))], ANN, "a", PUB, None),
    ([allow(ipaddrs=("10.0.0.0/8",))], ANN, "a", PUB, True),
    ([allow(ipaddrs=("10.1.2.3",))], MAPPED, "a", PUB, True),
    ([allow(ipaddrs=("192.0.2.1", "2001:db8::/32"))], BOB, "a", PUB, True),
    ([allow(ipaddrs=("0.0.0.0/0", "::/0"))], NOBODY, "a", PUB, None),
    # and, or.
    ([all_of(ANN_, TEN)], ANN, "a", PUB, True),
    ([all_of(ANN_, TEN)], MAPPED, "a", PUB, None),
    ([any_of(ANN_, C2)], ANN, "a", PUB, True),
    ([any_of(ANN_, C2)], BOB, "a", PUB, True),
    ([any_of(ANN_, C2)], NOBODY, "a", PUB, None),
    ([all_of(TEN, any_of(ANN_, C2))], ANN, "a", PUB, True),
    ([all_of(TEN, any_of(ANN_, C2))], BOB, "a", PUB, None),
    ([any_of(C2, all_of(ANN_, TEN))], ANN, "a", PUB, True),
    ([any_of(C2, AclRule("allow"))], NOBODY, "a", PUB, True),
    ([AclRule("deny", "publish", ("a",), all_of=(ANN_,))], ANN, "a", PUB, False),
    ([AclRule("deny", "publish", ("a",), all_of=(ANN_,))], ANN, "b", PUB, None),
]


@pytest.mark.parametrize(("rules", "client", "topic", "action", "answer"), ROWS)
def test_rules(rules: list[AclRule], client: Client, topic: str, action: Action, answer: bool | None) -> None:
    assert Acl(rules)(client, topic, action) is answer
