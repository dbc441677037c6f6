"""Who is asked, what the answers come to, and what a client is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pybroker.broker.engine.access import AccessControl, Action, Credentials, UnavailableError
from pybroker.broker.events import Client
from pybroker.broker.packets.model import Connack, Will
from pybroker.broker.packets.reasons import ReasonCode
from tests.harness import Broker

OK, NO, WRONG = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED, ReasonCode.BAD_USER_NAME_OR_PASSWORD
ANN = Client("c", "ann")


def say(answer: Any) -> Callable[..., Any]:
    """Somebody who is asked, and answers so; an exception is raised."""

    def asked(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asked


def later(answer: Any) -> Callable[..., Awaitable[Any]]:
    """The same, but it takes its time."""

    async def asked(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asked


async def settled(answer: Any) -> Any:
    return await answer if isinstance(answer, Awaitable) else answer


DOWN, BUG = UnavailableError("down"), RuntimeError("bug")

LOGINS = [
    ([], OK),
    ([OK], OK),
    ([None], NO),
    ([None, None], NO),
    ([None, OK], OK),
    ([OK, None], OK),
    ([WRONG], WRONG),
    ([OK, WRONG], WRONG),
    ([WRONG, OK], WRONG),
    ([OK, NO, WRONG], NO),
    ([DOWN], ReasonCode.SERVER_UNAVAILABLE),
    ([OK, DOWN], ReasonCode.SERVER_UNAVAILABLE),
    ([BUG, OK], ReasonCode.UNSPECIFIED_ERROR),
]


@pytest.mark.parametrize("ask", [[say], [later], [say, later], [later, say]])
@pytest.mark.parametrize(("opinions", "verdict"), LOGINS)
async def test_a_login(opinions: list[Any], verdict: ReasonCode, ask: list[Callable[[Any], Any]]) -> None:
    access = AccessControl()
    access.authenticators = tuple(ask[i % len(ask)](opinion) for i, opinion in enumerate(opinions))
    assert await settled(access.authenticate(Credentials(ANN))) is verdict


TOPICS = [
    ([], True, True),
    ([], False, False),
    ([None], True, True),
    ([None], False, False),
    ([True], False, True),
    ([False], True, False),
    ([None, True], False, True),
    ([True, None], False, True),
    ([True, False], True, False),
    ([False, True], True, False),
    ([DOWN], True, None),
    ([True, DOWN], True, None),
    ([BUG, True], True, None),
]


@pytest.mark.parametrize("ask", [[say], [later], [say, later], [later, say]])
@pytest.mark.parametrize(("opinions", "no_match", "verdict"), TOPICS)
async def test_a_topic(
    opinions: list[Any], no_match: bool, verdict: bool | None, ask: list[Callable[[Any], Any]]
) -> None:
    access = AccessControl()
    access.no_match = no_match
    access.authorizers = tuple(ask[i % len(ask)](opinion) for i, opinion in enumerate(opinions))
    assert await settled(access.authorize(ANN, "t", Action.PUBLISH)) is verdict


def test_a_bug_in_an_authenticator_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    access = AccessControl()
    access.authenticators = (say(BUG),)
    access.authenticate(Credentials(ANN))
    assert "an authenticator failed" in caplog.text
    assert "RuntimeError: bug" in caplog.text


class Book:
    """An authorizer that goes by a list, and notes what it was asked."""

    def __init__(self, *allowed: str, wait: bool = False) -> None:
        self.allowed = set(allowed)
        self.asked: list[tuple[str, Action]] = []
        self.wait = wait
        self.down = False

    def __call__(self, client: Client, topic: str, action: Action) -> bool | Awaitable[bool]:
        self.asked.append((topic, action))
        if self.down:
            raise UnavailableError
        return later(topic in self.allowed)() if self.wait else topic in self.allowed


@pytest.fixture(params=[False, True], ids=["at once", "later"])
def book(request: pytest.FixtureRequest) -> Book:
    return Book("ok", "ok/+", wait=request.param)


@pytest.fixture
def broker(book: Book) -> Broker:
    broker = Broker()
    broker.engine.access.authorizers = (book,)
    return broker


@pytest.mark.parametrize("qos", [1, 2])
def test_a_denied_publish_is_told_so_in_5_0(broker: Broker, qos: int) -> None:
    client = broker.connect("c")
    client.send_publish("no", qos=qos)
    broker.answer()
    assert client.packets()[0].reason is NO  # type: ignore[union-attr]
    assert not client.is_closed
    assert broker.dropped("not_authorized") == 1


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_denied_publish_is_dropped_and_counted_in_3_1_1(broker: Broker, qos: int) -> None:
    watch, client = broker.connect("w"), broker.connect("c", version=4)
    broker.engine.access.authorizers = ()
    watch.subscribe("#")
    broker.engine.access.authorizers = (Book(),)
    broker.engine.forget_answers()
    client.send_publish("no", qos=qos)
    broker.answer()
    assert len(client.packets()) == (1 if qos else 0)
    watch.nothing()
    assert broker.dropped("not_authorized") == 1


def test_deny_action_disconnect(broker: Broker) -> None:
    broker.engine.access.deny_disconnects = True
    client = broker.connect("c")
    client.send_publish("no")
    broker.answer()
    client.closed(NO)


def test_a_topic_is_asked_about_once(broker: Broker, book: Book) -> None:
    client = broker.connect("c")
    for _ in range(3):
        client.send_publish("ok")
        client.send_publish("no")
        broker.answer()
    assert sorted(topic for topic, _ in book.asked) == ["no", "ok"]
    assert broker.engine.counters.publish_received == 3


def test_answers_are_kept_for_so_many_topics(broker: Broker, book: Book) -> None:
    broker.engine.access.max_remembered = 2
    client = broker.connect("c")
    for topic in ("ok", "a", "b", "ok"):
        client.send_publish(topic)
        broker.answer()
    assert [topic for topic, _ in book.asked] == ["ok", "a", "b", "ok"]
    assert client.channel.session is not None
    assert len(client.channel.session.allowed) <= 2


def test_long_topics_take_no_memory(broker: Broker, book: Book) -> None:
    client = broker.connect("c")
    for number in range(20):
        client.send_publish(f"{number}/" + "x" * 60_000)
        broker.answer()
    assert client.channel.session is not None
    assert len(client.channel.session.allowed) == 1
    assert broker.dropped("not_authorized") == 20


def test_nobody_to_ask_is_a_refusal_that_is_not_remembered(broker: Broker, book: Book) -> None:
    client = broker.connect("c")
    book.down = True
    assert client.publish("ok", qos=1) is NO
    assert client.subscribe("ok") is NO
    book.down = False
    client.send_publish("ok", qos=1)
    broker.answer()
    assert client.packets()[0].reason is ReasonCode.NO_MATCHING_SUBSCRIBERS  # type: ignore[union-attr]


def test_new_rules_count_from_the_next_message_on(broker: Broker, book: Book) -> None:
    client = broker.connect("c")
    client.send_publish("ok")
    broker.answer()
    book.allowed.clear()
    client.send_publish("ok")
    broker.answer()
    assert broker.dropped("not_authorized") == 0
    broker.engine.forget_answers()
    client.send_publish("ok")
    broker.answer()
    assert broker.dropped("not_authorized") == 1


def test_an_answer_by_the_old_rules_is_not_taken() -> None:
    book, broker = Book("ok", wait=True), Broker()
    broker.engine.access.authorizers = (book,)
    client = broker.connect("c")
    client.send_publish("ok")
    book.allowed.clear()
    broker.engine.forget_answers()
    broker.answer()
    assert [topic for topic, _ in book.asked] == ["ok", "ok"]
    assert broker.dropped("not_authorized") == 1


def test_access_control_that_comes_later_asks_about_connected_clients_too() -> None:
    broker = Broker()
    client = broker.connect("c")
    client.publish("no")
    broker.engine.access.no_match = False
    broker.engine.forget_answers()
    assert client.publish("no", qos=1) is NO


def test_each_filter_of_a_subscribe_is_answered(broker: Broker) -> None:
    from pybroker.broker.packets.model import Suback, Subscribe, SubscribeFilter

    for version, refusal in ((5, NO), (4, ReasonCode.UNSPECIFIED_ERROR)):
        client = broker.connect(f"c{version}", version=version)
        client.send(Subscribe(1, [SubscribeFilter("ok/+", 1), SubscribeFilter("no", 1)]))
        broker.answer()
        assert client.next(Suback).reasons == [ReasonCode.GRANTED_QOS_1, refusal]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_will_that_may_not_be_published_is_refused(broker: Broker, version: int) -> None:
    client = broker.dial(version)
    client.send_connect("c", will=Will("no", b""))
    broker.answer()
    connack = client.next(Connack)
    assert connack.reason is NO
    assert client.is_closed
    assert "c" not in broker.engine.sessions


def test_a_will_that_may_be_published(broker: Broker) -> None:
    client = broker.dial()
    client.send_connect("c", will=Will("ok", b""))
    broker.answer()
    assert client.next(Connack).reason is OK


def test_nobody_leaves_a_will_in_the_brokers_own_topics() -> None:
    client = Broker().dial()
    assert client.connect("c", will=Will("$SYS/brokers/version", b"9")).reason is NO


@pytest.mark.parametrize(
    ("before", "after", "checked", "present"),
    [
        ("ann", "ann", True, True),
        ("ann", "eve", True, False),
        ("ann", None, True, False),
        (None, "ann", True, True),
        ("ann", "eve", False, True),
    ],
)
def test_a_session_does_not_pass_to_another_user(
    before: str | None, after: str | None, checked: bool, present: bool
) -> None:
    """What one user may subscribe to, another may not; where nothing is denied, a session is a session."""
    broker = Broker()
    if checked:
        broker.engine.access.authorizers = (Book("ok"),)
    for name, session_present in ((before, False), (after, present)):
        client = broker.dial()
        connack = client.connect("c", username=name, clean_start=False, session_expiry_interval=60)
        assert connack.session_present is session_present
        assert ("ok" in broker.engine.sessions.get("c").subscriptions) is session_present
        client.subscribe("ok")


def test_a_superuser_may_do_everything(broker: Broker, book: Book) -> None:
    def let_in(credentials: Credentials) -> ReasonCode:
        credentials.superuser = credentials.client.username == "root"
        return OK

    broker.engine.access.authenticators = (let_in,)
    client = broker.dial()
    assert client.connect("c", username="root", will=Will("no", b"")).reason is OK
    broker.engine.forget_answers()
    assert client.subscribe("no") == 0
    client.send_publish("no")
    assert client.message().topic == "no"
    assert book.asked == []


def test_an_answer_may_take_longer_than_a_connection_may_to_send_connect(broker: Broker) -> None:
    broker.engine.access.authenticators = (later(OK),)
    client = broker.dial()
    client.send_connect("c")
    broker.clock.advance(broker.engine.limits.connect_timeout * 3)
    client.nothing()
    broker.answer()
    assert client.next(Connack).reason is OK
    broker.clock.advance(broker.engine.limits.connect_timeout * 3)
    client.nothing()


def test_a_refusal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pybroker")
    broker = Broker()
    broker.engine.access.authenticators = (say(WRONG),)
    broker.dial().connect("c", username="ann", password=b"secret")
    assert caplog.messages == [
        "client c, user ann, from 192.0.2.1:50000 (listener tcp) is refused: "
        "access control refused the client (bad_username_or_password)"
    ]
