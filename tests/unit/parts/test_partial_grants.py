"""`auth.acl` in a broker: subscriptions of which a part is denied, and rules that change."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from pybroker.broker.access.acl import Acl
from pybroker.broker.config.settings import AclRule, AuthSettings, Settings
from pybroker.broker.engine.access import Action
from pybroker.broker.engine.offline import add_offline_session
from pybroker.broker.engine.subscribe import add_subscription
from pybroker.broker.events import Client as Who
from pybroker.broker.packets.model import Will
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.parts.admission import Admission
from pybroker.broker.routing.subscription import Subscription
from tests.harness import FOR_EVER, Broker, Client

ALLOW = AclRule("allow")
NO_SECRETS = (AclRule("deny", "subscribe", ("secret/#",)), ALLOW)
KEPT = {"clean_start": False, "session_expiry_interval": FOR_EVER}


def use(broker: Broker, *rules: AclRule, **auth: Any) -> Admission:
    return Admission(broker.engine, Settings(auth=AuthSettings(acl=rules, **auth)), lambda _: 1883)


def change(admission: Admission, *rules: AclRule, **auth: Any) -> None:
    """As a reload does."""
    settings = Settings(auth=AuthSettings(acl=rules, **auth))
    admission.use(settings, admission.make_ready(settings))


def publish(broker: Broker, *topics: str, **options: Any) -> None:
    publisher = broker.connect("publisher")
    for topic in topics:
        publisher.publish(topic, topic.encode(), **options)


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_the_rest_of_a_subscription_is_delivered(broker: Broker) -> None:
    use(broker, *NO_SECRETS)
    client = broker.connect()
    assert client.subscribe("#") == 0
    assert client.subscribe("secret/+") == ReasonCode.NOT_AUTHORIZED
    publish(broker, "secret/a", "open/a")
    assert client.payloads() == [b"open/a"]


def test_retained_messages_are_no_way_around(broker: Broker) -> None:
    use(broker, *NO_SECRETS)
    publish(broker, "secret/a", "open/a", retain=True)
    client = broker.connect()
    client.subscribe("+/a")
    assert client.payloads() == [b"open/a"]


def test_a_shared_subscription_asks_the_members_that_may(broker: Broker) -> None:
    use(broker, AclRule("deny", "subscribe", ("secret/#",), clientid="a"), ALLOW)
    a, b = broker.connect("a"), broker.connect("b")
    for client in (a, b):
        assert client.subscribe("$share/g/#") == 0
    publish(broker, "secret/1", "secret/1", "open", "open")
    assert a.payloads() == [b"open"]
    assert b.payloads() == [b"secret/1", b"secret/1", b"open"]


def test_what_a_member_leaves_behind_goes_to_a_member_that_may(broker: Broker) -> None:
    use(broker, AclRule("deny", "subscribe", ("secret/#",), clientid="b"), ALLOW)
    a, b, c = (broker.connect(name) for name in "abc")
    for client in (a, b, c):
        client.subscribe("$share/g/#", qos=1)
    publish(broker, "secret/1", qos=1)
    a.message(acknowledge=False)
    a.disconnect()
    b.nothing()
    assert c.payloads() == [b"secret/1"]


def test_nothing_is_asked_for_each_message(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    plain = Acl.may_receive

    def counted(self: Acl, session: Any, topic: str) -> bool:
        asked.append(topic)
        return plain(self, session, topic)

    monkeypatch.setattr(Acl, "may_receive", counted)
    use(broker, *NO_SECRETS)
    for name in "ab":
        client = broker.connect(name)
        client.subscribe("#")
        client.subscribe("$share/g/#")
    publisher = broker.connect("p")
    for _ in range(10):
        publisher.publish("open", qos=1)
    first = len(asked)
    for _ in range(10):
        publisher.publish("open", qos=1)
    assert len(asked) == first


def test_without_rules_nobody_is_asked(broker: Broker) -> None:
    admission = use(broker)
    assert broker.engine.router.may_receive is None
    change(admission, *NO_SECRETS)
    assert broker.engine.router.may_receive is not None
    change(admission, *NO_SECRETS, acl_partial="refuse")
    assert broker.engine.router.may_receive is None
    assert broker.connect().subscribe("#") == ReasonCode.NOT_AUTHORIZED


def test_new_rules_hold_for_subscriptions_that_are_there(broker: Broker) -> None:
    admission = use(broker, ALLOW)
    client, away = broker.connect("c"), broker.connect("away", **KEPT)
    for one in (client, away):
        one.subscribe("#", qos=1)
    publish(broker, "secret/a", qos=1)
    assert client.payloads() == away.payloads() == [b"secret/a"]
    away.drop()
    change(admission, *NO_SECRETS)
    publish(broker, "secret/a", "open/a", qos=1)
    assert client.payloads() == [b"open/a"]
    assert away.again(session_expiry_interval=FOR_EVER).payloads() == [b"open/a"]
    change(admission, ALLOW)
    publish(broker, "secret/a", qos=1)
    assert client.payloads() == [b"secret/a"]


def test_a_session_that_comes_back_from_elsewhere_is_judged_anew(broker: Broker) -> None:
    use(broker, AclRule("deny", "subscribe", ("secret/#",), ipaddrs=("192.0.2.1",)), ALLOW)
    client = broker.connect("c", **KEPT)
    client.subscribe("#")
    publish(broker, "secret/a")
    client.nothing()
    client.drop()

    elsewhere = broker.dial()
    elsewhere.channel.peer = "198.51.100.1:50000"
    assert elsewhere.connect("c", **KEPT).session_present
    publish(broker, "secret/a")
    assert elsewhere.payloads() == [b"secret/a"]


def test_what_waits_for_the_first_client_of_a_session(broker: Broker) -> None:
    rules = (
        AclRule("deny", "subscribe", ("secret/#",)),
        AclRule("allow", "subscribe", ("news/#",), username="ann"),
        AclRule("deny", "subscribe"),
    )
    use(broker, *rules)
    session = add_offline_session(broker.engine, "c")
    add_subscription(broker.engine, session, Subscription("#", 1))
    publish(broker, "secret/a", "news/1", "other", qos=1)
    ann = broker.dial()
    ann.connect("c", username="ann", **KEPT)
    publish(broker, "news/2", "secret/b", qos=1)
    assert ann.payloads() == [b"news/1", b"news/2"]


def test_rules_and_plugins_must_both_agree(broker: Broker) -> None:
    """Plugins may take their time; nobody asks them where a rule says no."""
    admission = use(broker, *NO_SECRETS)
    asked: list[str] = []

    def plugin(session: Any, topic: str) -> bool:
        asked.append(topic)
        return topic != "also/secret"

    admission._may_receive = plugin
    change(admission, *NO_SECRETS)
    client = broker.connect()
    client.subscribe("#")
    publish(broker, "secret/a", "also/secret", "open")
    assert client.payloads() == [b"open"]
    assert asked == ["also/secret", "open"]


# Wills.


def leave_a_will(broker: Broker, delay: int = 0, **options: Any) -> Client:
    from pybroker.broker.packets.properties import Properties

    properties = Properties(will_delay_interval=delay) if delay else None
    return broker.connect("w", will=Will("w/gone", b"bye", 0, False, properties), **options)


@pytest.mark.parametrize("delay", [0, 60])
def test_a_will_that_is_denied_since_is_not_published(broker: Broker, delay: int) -> None:
    admission = use(broker, ALLOW)
    watch = broker.connect("watch")
    watch.subscribe("w/#")
    client = leave_a_will(broker, delay, **KEPT)
    if delay:
        client.drop()
    change(admission, AclRule("deny", "publish", ("w/#",)), ALLOW)
    if delay:
        broker.clock.advance(delay + 1)
    else:
        client.drop()
    watch.nothing()
    assert broker.dropped("not_authorized") == 1


@pytest.mark.parametrize("delay", [0, 60])
def test_a_will_that_is_still_allowed_is_published(broker: Broker, delay: int) -> None:
    admission = use(broker, ALLOW)
    watch = broker.connect("watch")
    watch.subscribe("w/#")
    client = leave_a_will(broker, delay, **KEPT)
    client.drop()
    change(admission, AclRule("allow", "publish", ("w/#",)))
    broker.clock.advance(delay + 1)
    assert watch.payloads() == [b"bye"]


@pytest.mark.parametrize("allowed", [True, False])
def test_whoever_takes_time_is_asked_about_the_will_again(broker: Broker, allowed: bool) -> None:
    answers = iter([True, allowed])
    access = broker.engine.access

    async def answer() -> bool:
        return next(answers)

    def slow(client: Who, topic: str, action: Action) -> Awaitable[bool] | None:
        return answer() if topic == "w/gone" and action is Action.PUBLISH else None

    access.authorizers = (slow,)
    watch = broker.connect("watch")
    watch.subscribe("w/#")
    client = broker.dial()
    client.send_connect("w", will=Will("w/gone", b"bye", 0, False, None))
    broker.answer()
    broker.engine.forget_answers()
    client.drop()
    watch.nothing()
    broker.answer()
    assert watch.payloads() == ([b"bye"] if allowed else [])


def test_nobody_is_asked_about_a_will_twice_while_the_rules_are_the_same(broker: Broker) -> None:
    asked: list[str] = []
    access = broker.engine.access
    access.authorizers = (lambda client, topic, action: asked.append(topic) or True,)  # type: ignore[func-returns-value]
    leave_a_will(broker).drop()
    assert asked == ["w/gone"]
