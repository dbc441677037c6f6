from __future__ import annotations

from dataclasses import replace

import pytest

from pybroker.broker import events
from pybroker.webhook import Rule, SettingsError
from pybroker.webhook.body.encode import EVENTS
from pybroker.webhook.rules import CACHED_TOPICS, CompiledRule, Rules

from .samples import SAMPLES, published


def rules(**of: tuple[Rule, ...]) -> Rules[str]:
    return Rules((name, CompiledRule(name, rule)) for name, some in of.items() for rule in some)


def found(compiled: Rules[str], event: events.Event) -> list[str]:
    return [name for name, _ in compiled.find(type(event), getattr(event, "topic", None))]


def test_an_event_goes_to_every_endpoint_once() -> None:
    compiled = rules(
        a=(Rule("on_message_publish", "nmq/#"), Rule("on_message_publish", "+/w")),
        b=(Rule("on_message_publish", "nmq/w"),),
        c=(Rule("on_client_connack"),),
    )
    assert found(compiled, published(topic="nmq/w")) == ["a", "b"]
    assert found(compiled, published(topic="nmq")) == ["a"]
    assert found(compiled, published(topic="x/w")) == ["a"]
    assert found(compiled, published(topic="other")) == []
    assert found(compiled, SAMPLES["on_client_connack"]) == ["c"]


def test_dollar_topics_are_for_those_who_name_them() -> None:
    compiled = rules(
        all=(Rule("on_message_publish"),),
        hash=(Rule("on_message_publish", "#"),),
        sys=(Rule("on_message_publish", "$SYS/#"),),
    )
    assert found(compiled, published(topic="$SYS/brokers")) == ["sys"]
    assert found(compiled, published(topic="a")) == ["all", "hash"]


@pytest.mark.parametrize("event", ["on_client_subscribe", "on_session_unsubscribed"])
def test_every_subscription_is_told_where_no_topic_narrows(event: str) -> None:
    compiled = rules(all=(Rule(event),), hash=(Rule(event, "#"),))
    for topic, wanted in (("$share/group/a", ["all"]), ("$SYS/#", ["all"]), ("a/+", ["all", "hash"])):
        assert found(compiled, replace(SAMPLES[event], topic=topic)) == wanted


def test_it_is_known_beforehand_what_nobody_wants() -> None:
    compiled = rules(a=(Rule("on_client_connack"),))
    assert compiled.wants(events.ClientConnack)
    assert not compiled.wants(events.MessagePublished)


def test_the_cache_of_topics_is_bounded() -> None:
    compiled = rules(a=(Rule("on_message_publish", "t/+"),))
    for number in range(CACHED_TOPICS + 10):
        assert found(compiled, published(topic=f"t/{number}")) == ["a"]
    assert len(compiled._found) <= CACHED_TOPICS


@pytest.mark.parametrize(
    ("rule", "client_id", "username", "wanted"),
    [
        (Rule("on_client_connack", clientid="sensor-*"), "sensor-7", None, True),
        (Rule("on_client_connack", clientid="sensor-*"), "panel", None, False),
        (Rule("on_client_connack", username="u?"), "c", "u1", True),
        (Rule("on_client_connack", username="u?"), "c", None, False),
        (Rule("on_client_connack", clientid="c*", username="[ab]"), "c1", "b", True),
    ],
)
def test_patterns_for_clients(rule: Rule, client_id: str, username: str | None, wanted: bool) -> None:
    event = events.ClientConnack(at=0, client=events.Client(client_id, username), conn_ack="success")
    assert CompiledRule("rule", rule).wants_client(event) is wanted


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (Rule("on_tea"), '"on_tea" is not an event; there are on_client_connect, '),
        (Rule("on_client_connack", topic="a"), "on_client_connack has no topic to narrow"),
        (Rule("on_message_publish", topic="a/#/b"), 'topic "a/#/b": # must be the whole last level'),
        (
            Rule("on_message_publish", filter="nowhere"),
            '"nowhere" is not of the form package.module:function',
        ),
        (
            Rule("on_message_publish", filter="no_such:f"),
            "cannot import no_such: No module named 'no_such'; install it, or name its directory in PYTHON",
        ),
        (Rule("on_message_publish", filter="json:nothing"), '"json:nothing": json has no nothing'),
        (Rule("on_message_publish", transform="json:__doc__"), "__doc__ is not callable"),
        (Rule("on_message_publish", filter="asyncio:sleep"), 'sleep is an "async def"; it must be a plain'),
    ],
)
def test_what_cannot_work_is_said(rule: Rule, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        CompiledRule("webhook w, events[0]", rule)
    assert str(caught.value).startswith("webhook w, events[0]")
    assert complaint in str(caught.value)


def test_every_event_can_be_named() -> None:
    assert set(EVENTS) == set(SAMPLES)
    for name, kind in EVENTS.items():
        assert CompiledRule("rule", Rule(name)).event is kind
