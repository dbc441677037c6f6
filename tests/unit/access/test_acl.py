"""`auth.acl`, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.broker.access.acl import Acl
from pybroker.broker.config.settings import AclRule
from pybroker.broker.engine.access import Action
from pybroker.broker.events import Client
from pybroker.broker.routing.subscription import Subscription
from pybroker.broker.routing.topics import filter_error, matches
from pybroker.broker.session.session import Session

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
    # A subscription is allowed where all of it is,
    ([allow("a/#")], ANN, "a/+/c", SUB, True),
    ([allow("a/#")], ANN, "#", SUB, None),
    ([allow("a/+")], ANN, "a/#", SUB, None),
    ([allow("a/b")], ANN, "a/+", SUB, None),
    ([allow("+")], ANN, "+", SUB, True),
    ([allow("#")], ANN, "#", SUB, True),
    # and denied where all of it is.
    ([deny("secret/#"), allow()], ANN, "#", SUB, True),
    ([deny("secret/#"), allow()], ANN, "+/x", SUB, True),
    ([deny("secret/#"), allow()], ANN, "open/#", SUB, True),
    ([deny("secret/#"), allow()], ANN, "secret/+/#", SUB, False),
    ([deny("secret/#"), allow()], ANN, "secret", SUB, False),
    ([deny("a/b")], ANN, "a/+", SUB, None),
    ([allow("a/b"), deny("#")], ANN, "a/+", SUB, True),
    ([allow("a/b"), deny("#")], ANN, "b/+", SUB, False),
    ([allow("a/b"), deny("@a/+")], ANN, "a/+", SUB, False),
    ([allow("x/#", "a/b"), deny("a/#")], ANN, "a/#", SUB, True),
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


# A subscription of which a part is denied.

REFUSED_ROWS = [
    ([deny("secret/#"), allow()], "#", False),
    ([deny("secret/#"), allow()], "+/x", False),
    ([deny("secret/#"), allow()], "open/#", True),
    ([deny("a/b"), allow()], "a/+", False),
    ([allow("a/b"), deny("#")], "a/+", False),
    ([allow("a/b")], "a/+", None),
]


@pytest.mark.parametrize(("rules", "topic", "answer"), REFUSED_ROWS)
@pytest.mark.parametrize("rest", [True, False, None])
def test_partial_refuse(rules: list[AclRule], topic: str, answer: bool | None, rest: bool | None) -> None:
    assert Acl(rules, refuse_parts=True, rest=rest)(ANN, topic, SUB) is answer


def test_what_no_rule_is_about_may_be_the_denied_part() -> None:
    only = [allow("a/b")]
    assert Acl(only, rest=False)(ANN, "a/+", SUB) is True
    assert Acl(only, rest=False)(ANN, "c/+", SUB) is None
    assert Acl(only, rest=None)(ANN, "a/+", SUB) is None, "others decide, of the whole subscription"


ANN = replace(ANN, listener="tcp")
UNCLAIMED = Client("c1")
"""As a session has it that waits for its first client."""


def session_of(client: Client, *filters: str) -> Session:
    session = Session(client)
    session.subscriptions = {text: Subscription(text) for text in filters}
    return session


RECEIVING = [
    ([deny("secret/#"), allow()], ["#"], "secret/x", False),
    ([deny("secret/#"), allow()], ["#"], "open", True),
    ([deny("secret/#", action="publish"), allow()], ["#"], "secret/x", True),
    ([deny("d/${clientid}"), allow()], ["#"], "d/c1", False),
    ([deny("d/${clientid}"), allow()], ["#"], "d/c2", True),
    ([deny("a", username="bob"), allow()], ["#"], "a", True),
    ([deny("a", username="ann"), allow()], ["#"], "a", False),
    ([deny("a", ipaddrs=("10.0.0.0/8",)), allow()], ["#"], "a", False),
    ([deny()], ["#"], "a", False),
    # A literal topic is about a subscription, not about what comes by others.
    ([deny("@a"), allow()], ["#"], "a", True),
    ([allow("@#"), deny()], ["#"], "a", True),
    ([allow("@#"), deny()], ["$share/g/#"], "a", True),
    ([allow("@#"), deny()], ["+"], "a", False),
    ([allow("@b/#"), deny()], ["b/#", "#"], "a", False),
    ([deny("a/x"), allow("@a/#"), deny()], ["a/#"], "a/x", False),
    # What no rule is about.
    ([allow("a")], ["#"], "b", None),
]


@pytest.mark.parametrize(("rules", "filters", "topic", "answer"), RECEIVING)
@pytest.mark.parametrize("rest", [True, False, None])
def test_receiving(
    rules: list[AclRule], filters: list[str], topic: str, answer: bool | None, rest: bool | None
) -> None:
    expected = (rest is not False) if answer is None else answer
    assert Acl(rules, rest=rest).may_receive(session_of(ANN, *filters), topic) is expected


WAITING = [
    ([deny("a"), allow()], "a", False),
    ([deny("a", username="bob"), allow()], "a", True),
    ([deny("a", ipaddrs=("10.0.0.0/8",)), allow()], "a", True),
    ([deny("a", clientid="c1"), allow()], "a", False),
    ([deny("a", clientid="c1", username="bob"), allow()], "a", True),
    ([allow("a", username="ann"), deny()], "a", True),
    ([allow("a", username="ann", clientid="c2"), deny()], "a", False),
    ([allow("a", username="ann"), deny()], "b", False),
    ([allow("d/${username}/x"), deny()], "d/ann/x", True),
    ([allow("d/${username}/x"), deny()], "d/ann/y", False),
    ([allow("d/${clientid}/x"), deny()], "d/c1/x", True),
    ([allow("d/${clientid}/x"), deny()], "d/c2/x", False),
    ([deny("d/${username}"), allow()], "d/ann", True),
    ([any_of(ANN_, C2), deny()], "a", True),
    ([all_of(TEN, C2), deny()], "a", False),
]


@pytest.mark.parametrize(("rules", "topic", "answer"), WAITING)
def test_a_session_that_waits_for_its_first_client_is_nobody_in_particular(
    rules: list[AclRule], topic: str, answer: bool
) -> None:
    assert Acl(rules, rest=False).may_receive(session_of(UNCLAIMED, "#"), topic) is answer


def test_a_super_user_receives_everything() -> None:
    session = session_of(ANN, "#")
    session.superuser = True
    assert Acl([deny()]).may_receive(session, "a")


def test_new_rules_count_for_a_session_that_was_asked_about_before() -> None:
    session = session_of(ANN, "#")
    assert Acl([allow()]).may_receive(session, "a")
    assert not Acl([deny()]).may_receive(session, "a")


LEVELS = st.sampled_from(["a", "b", "+", "$c"])
NAMES = st.lists(st.sampled_from(["a", "b", "$c", "z"]), min_size=1, max_size=4).map("/".join)
FILTERS = st.builds(
    lambda levels, more: "/".join([*levels, *more]),
    st.lists(LEVELS, min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
) | st.just("#")
RULES = st.lists(
    st.builds(
        lambda permit, topics: AclRule(permit, "subscribe", tuple(topics)),
        st.sampled_from(["allow", "deny"]),
        st.lists(FILTERS, max_size=2),
    ),
    max_size=4,
)


@given(RULES, FILTERS, st.lists(NAMES, min_size=1, max_size=20), st.booleans())
def test_what_is_granted_and_delivered_is_what_the_rules_say_of_each_topic(
    rules: list[AclRule], topic_filter: str, topics: list[str], rest: bool
) -> None:
    """The rules said in the plainest way: the first one whose filter matches the topic."""
    assert not filter_error(topic_filter)

    def plainly(topic: str) -> bool:
        for rule in rules:
            if not rule.topics or any(matches(pattern, topic) for pattern in rule.topics):
                return rule.permit == "allow"
        return rest

    acl = Acl(rules, rest=rest)
    answer = acl(ANN, topic_filter, SUB)
    granted = rest if answer is None else answer
    session = session_of(ANN, topic_filter)
    for topic in topics:
        if matches(topic_filter, topic):
            assert acl.may_receive(session, topic) == plainly(topic)
            assert granted or not plainly(topic), f"{topic} is allowed, and the subscription refused"
