"""Topic plugins: who may publish, subscribe and receive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pybroker.broker.config.settings import AuthSettings
from pybroker.broker.engine.access import Credentials
from pybroker.broker.engine.publish import broadcast
from pybroker.broker.packets.model import Suback, Subscribe, SubscribeFilter, Will
from pybroker.broker.packets.reasons import ReasonCode

from .samples import Topics
from .support import SAMPLES, Hosted, settle

TOPICS = f"{SAMPLES}.Topics"
DENIED = ReasonCode.NOT_AUTHORIZED


@pytest.fixture(autouse=True)
def asked() -> Iterator[list[tuple[str | None, str | None, str]]]:
    Topics.asked.clear()
    yield Topics.asked
    Topics.asked.clear()


@pytest.fixture(params=[False, True], ids=["at once", "later"])
def slow(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def hosted(slow: bool = False, otherwise: bool | None = None, **answers: Any) -> Hosted:
    """Keywords are ``publish_a`` for the answer to publishing to ``a``."""
    told = {key.replace("_", " ", 1): answer for key, answer in answers.items()}
    return Hosted({TOPICS: {"answers": told, "otherwise": otherwise, "slow": slow}})


async def subscribe(broker: Hosted, client: Any, topic_filter: str, qos: int = 0) -> ReasonCode:
    client.send(Subscribe(client.new_id(), [SubscribeFilter(topic_filter, qos)]))
    await settle()
    return ReasonCode(client.next(Suback).reasons[0])


@pytest.mark.parametrize(("answer", "received"), [(True, [b"x"]), (False, []), (None, [b"x"]), ("raise", [])])
async def test_publishing(slow: bool, answer: Any, received: list[bytes]) -> None:
    broker = hosted(slow, publish_a=answer)
    client, other = await broker.join("c"), await broker.join("o")
    assert await subscribe(broker, other, "a") == 0

    client.send_publish("a", qos=0)
    await settle()

    assert other.payloads() == received


@pytest.mark.parametrize(("answer", "reason"), [(True, 0), (False, DENIED), (None, 0), ("raise", DENIED)])
async def test_subscribing(slow: bool, answer: Any, reason: int) -> None:
    broker = hosted(slow, subscribe_a=answer)
    client = await broker.join("c")

    assert await subscribe(broker, client, "a") == reason


@pytest.mark.parametrize(("answer", "received"), [(True, [b"x"]), (False, []), (None, [b"x"]), ("raise", [])])
async def test_receiving(slow: bool, answer: Any, received: list[bytes]) -> None:
    broker = hosted(slow, receive_a=answer)
    client, other = await broker.join("c"), await broker.join("o")
    assert await subscribe(broker, other, "+") == 0

    client.send_publish("a")
    client.send_publish("b", b"always")
    await settle()

    assert other.payloads() == [*received, b"always"]


async def test_no_opinion_is_not_a_no_unless_the_settings_say_so(slow: bool) -> None:
    broker = hosted(slow)
    broker.engine.access.no_match = False
    client = await broker.join("c")

    assert await subscribe(broker, client, "a") == DENIED


async def test_receiving_is_asked_once_for_a_session_and_topic(slow: bool, asked: list[Any]) -> None:
    broker = hosted(slow)
    client, first, second = [await broker.join(name) for name in "cfs"]
    for subscriber in (first, second):
        await subscribe(broker, subscriber, "#")
    asked.clear()

    for number in range(3):
        client.send_publish("a", b"%d" % number)
        client.send_publish("b", b"%d" % number)
        await settle()
        broker.engine.router.forget_all_routes()  # as any new wildcard subscription does
    await settle()

    assert sorted(asked) == sorted(
        [
            ("c", "a", "publish"),
            ("c", "b", "publish"),
            *((name, topic, "receive") for name in "fs" for topic in "ab"),
        ]
    )
    assert first.payloads() == second.payloads() == [b"0", b"0", b"1", b"1", b"2", b"2"]


async def test_two_publishers_at_the_same_time_wait_for_the_same_answer(asked: list[Any]) -> None:
    broker = hosted(slow=True)
    ada, bob, other = [await broker.join(name) for name in ("ada", "bob", "other")]
    await subscribe(broker, other, "a")

    ada.send_publish("a", b"from ada")
    bob.send_publish("a", b"from bob")
    await settle()

    assert sorted(other.payloads()) == [b"from ada", b"from bob"]
    assert asked.count(("other", "a", "receive")) == 1


async def test_messages_of_one_publisher_keep_their_order(slow: bool) -> None:
    broker = hosted(slow)
    client, other = await broker.join("c"), await broker.join("o")
    await subscribe(broker, other, "#", qos=1)

    sent = [(f"t/{number % 3}", b"%d" % number) for number in range(12)]
    for topic, payload in sent:
        client.send_publish(topic, payload, qos=1)
    await settle()

    assert other.payloads() == [payload for _, payload in sent]


async def test_reload_forgets_what_was_answered(slow: bool) -> None:
    broker = hosted(slow, receive_a=False, publish_b=False)
    client, other = await broker.join("c"), await broker.join("o")
    await subscribe(broker, other, "+")
    client.send_publish("a")
    client.send_publish("b")
    await settle()
    assert other.payloads() == []

    broker.plugin(Topics).config.answers.clear()
    client.send_publish("a")
    await settle()
    assert other.payloads() == [], "an answer holds until it is forgotten"

    broker.host.reload(AuthSettings())
    client.send_publish("a", b"now")
    client.send_publish("b", b"too")
    await settle()
    assert other.payloads() == [b"now", b"too"]


async def test_a_client_that_comes_back_is_asked_for_again(slow: bool, asked: list[Any]) -> None:
    broker = hosted(slow)
    client, other = await broker.join("c"), await broker.join("o", session_expiry_interval=100)
    await subscribe(broker, other, "a")
    client.send_publish("a")
    await settle()
    assert len(other.payloads()) == 1

    other.disconnect()
    other = await broker.join("o", clean_start=False, session_expiry_interval=100)
    broker.plugin(Topics).config.answers["receive a"] = False
    client.send_publish("a")
    await settle()

    assert other.payloads() == []
    assert asked.count(("o", "a", "receive")) == 2


async def test_retained_messages_are_only_sent_to_those_who_may_receive(slow: bool) -> None:
    broker = hosted(slow, **{"receive_s/secret": False})
    client, other = await broker.join("c"), await broker.join("o")
    for topic in ("s/secret", "s/open"):
        client.send_publish(topic, topic.encode(), retain=True)
    await settle()

    await subscribe(broker, other, "s/#")

    assert other.payloads() == [b"s/open"]


async def test_a_shared_subscription_skips_who_may_not_receive(slow: bool) -> None:
    broker = hosted(slow, first_receive=False)
    client, first, second = [await broker.join(name) for name in ("c", "first", "second")]
    for subscriber in (first, second):
        await subscribe(broker, subscriber, "$share/g/a")

    for number in range(4):
        client.send_publish("a", b"%d" % number)
    await settle()

    assert first.payloads() == []
    assert second.payloads() == [b"0", b"1", b"2", b"3"]


async def test_wills_and_the_brokers_own_messages_wait_for_the_answer_too(slow: bool) -> None:
    broker = hosted(slow, **{"receive_will/secret": False})
    other = await broker.join("o")
    await subscribe(broker, other, "#")
    for topic in ("will/secret", "will/open"):
        dying = await broker.join("dying", will=Will(topic, topic.encode()))
        dying.drop()
    broadcast(broker.engine, "own", b"own")
    broker.engine.flush()
    await settle()

    assert sorted(other.payloads()) == [b"own", b"will/open"]


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [(True, True, 0), (True, False, DENIED), (False, True, DENIED), (None, True, 0), (None, None, DENIED)],
)
async def test_every_plugin_with_an_opinion_must_agree(one: Any, other: Any, reason: int) -> None:
    broker = Hosted({TOPICS: {"otherwise": one}, f"{SAMPLES}.MoreTopics": {"otherwise": other}})
    broker.engine.access.no_match = False
    client = await broker.join("c")

    assert await subscribe(broker, client, "a") == reason


async def test_a_superuser_may_do_everything(slow: bool, asked: list[Any]) -> None:
    broker = hosted(slow, otherwise=False)

    def everybody_is_one(credentials: Credentials) -> ReasonCode:
        credentials.superuser = True
        return ReasonCode.SUCCESS

    broker.engine.access.authenticators += (everybody_is_one,)
    one, other = await broker.join("one"), await broker.join("other")
    assert await subscribe(broker, other, "a") == 0
    one.send_publish("a")
    await settle()

    assert other.payloads() == [b"x"]
    assert asked == []


async def test_a_superuser_waits_for_the_answers_about_others() -> None:
    broker = hosted(slow=True)
    one, other = await broker.join("one"), await broker.join("other")
    assert await subscribe(broker, other, "a") == 0
    one.channel.superuser, one.channel.checks_topics = True, False
    one.send_publish("a")
    await settle()

    assert other.payloads() == [b"x"]


async def test_topic_plugins_see_what_authentication_noted() -> None:
    broker = Hosted({f"{SAMPLES}.Answers": {"answers": {"ada": True}}, f"{SAMPLES}.Role": {}})
    client = await broker.join("c", username="ada")

    assert await subscribe(broker, client, "ada") == 0
    assert await subscribe(broker, client, "bob") == DENIED
