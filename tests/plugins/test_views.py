"""What plugins see of sessions and messages, and what they may do to them."""

from __future__ import annotations

import asyncio
import re

import pytest
from amqtt.broker import RetainedApplicationMessage
from amqtt.session import Session

from pybroker.broker.config.settings import Limits
from pybroker.broker.events import Client
from pybroker.broker.packets.model import Connack, Will
from pybroker.broker.packets.reasons import ReasonCode
from pybroker.broker.plugins.amqtt_views import SessionView, SessionViews
from tests.harness import connect_packet

from .samples import Recorder
from .support import SAMPLES, Hosted, settle

RECORDER = {f"{SAMPLES}.Recorder": {}}


def message(topic: str, data: bytes, qos: int | None = 1) -> RetainedApplicationMessage:
    return RetainedApplicationMessage(None, topic, data, qos)


async def test_a_view_has_every_attribute_of_amqtts_session() -> None:
    """amqtt's session is made for comparison: whoever reads an attribute of it finds it here too."""
    broker = Hosted(RECORDER)
    await broker.join("c")
    view = broker.host.sessions["c"][0]

    for name in vars(Session()):
        getattr(view, name)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = view.no_such_thing  # type: ignore[attr-defined]


async def test_what_is_read_is_as_of_now() -> None:
    broker = Hosted(RECORDER)
    will = Will("gone", b"w", 1, True)
    client = await broker.join("c", version=4, will=will, clean_start=False)
    view = broker.host.sessions["c"][0]
    client.subscribe("a", qos=2)
    client.send_publish("a", qos=2)
    assert (view.inflight_in_count, view.inflight_out_count) == (1, 1)
    assert [type(one).__name__ for one in view.inflight_in.values()] == ["IncomingApplicationMessage"]
    [sent] = view.inflight_out.values()
    assert (sent.topic, sent.qos, sent.data) == ("a", 2, b"x")
    assert (view.will_flag, view.will_topic, view.will_message) == (True, "gone", b"w")
    assert (view.will_qos, view.will_retain, view.clean_session) == (1, True, False)
    assert repr(view) == "SessionView(clientId=c, state=connected)"

    client.drop()
    assert view.transitions.state == "disconnected"
    assert not view.will_flag


async def test_what_plugins_write_is_kept_for_the_plugins() -> None:
    broker = Hosted(RECORDER)
    await broker.join("c")
    view = broker.host.sessions["c"][0]
    view.username = "somebody"
    view.will_topic = "other"
    view.is_anonymous = False

    again = broker.host.sessions["c"][0]
    assert (again.username, again.will_topic, again.is_anonymous) == ("somebody", "other", False)


async def test_clean_session_decides_whether_the_session_stays() -> None:
    broker = Hosted(RECORDER)
    going, staying = await broker.join("going", clean_start=False, version=4), await broker.join("staying")
    broker.host.sessions["going"][0].clean_session = True
    broker.host.sessions["staying"][0].clean_session = False
    broker.host.sessions["staying"][0].clean_session = None
    going.drop()
    staying.drop()
    assert list(broker.host.sessions) == ["staying"]

    broker.host.sessions["staying"][0].clean_session = True
    assert list(broker.host.sessions) == []


async def test_messages_put_for_a_client_reach_it() -> None:
    broker = Hosted(RECORDER)
    client = await broker.join("c")
    queue = broker.host.sessions["c"][0].retained_messages
    await queue.put(message("a", b"1", 2))
    assert (client.payloads(), queue.empty()) == ([b"1"], True)

    _, away = broker.host.create_offline_session("away")
    queue = away.retained_messages
    for number, qos in enumerate((1, 0, None, 2)):
        queue.put_nowait(message("a", b"%d" % number, qos))
    assert (queue.qsize(), away.retained_messages_count, queue.full()) == (4, 4, False)
    assert (await queue.get()).data == b"0"
    client = await broker.join("away", version=4, clean_start=False)
    assert sorted(client.payloads()) == [b"1", b"2", b"3"]
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()


async def test_a_full_queue_drops_and_counts() -> None:
    broker = Hosted(RECORDER, max_mqueue_len=1)
    _, away = broker.host.create_offline_session("away")
    for _ in range(3):
        await away.retained_messages.put(message("a", b"x"))

    assert away.retained_messages_count == 1
    assert broker.dropped("queue_full") == 2
    away.clear_queues()
    assert away.retained_messages.empty()


async def test_a_client_that_is_not_admitted_has_no_queue() -> None:
    broker = Hosted(RECORDER)
    view = SessionView(broker.engine, Client("c"))
    assert view.transitions.is_new()
    assert view.retained_messages.empty()
    with pytest.raises(RuntimeError, match="not admitted"):
        view.retained_messages.put_nowait(message("a", b"x"))


async def test_retained_messages_write_through() -> None:
    broker = Hosted(RECORDER, limits=Limits(max_retained=2))
    retained = broker.host.retained_messages
    retained["a/1"] = message("a/1", b"one")
    retained["a/2"] = message("a/2", b"two", None)
    retained["a/3"] = message("a/3", b"too many")
    assert broker.dropped("quota_exceeded") == 1
    assert sorted(retained) == ["a/1", "a/2"]
    assert len(retained) == 2
    assert (retained["a/1"].data, retained["a/1"].qos, retained["a/1"].topic) == (b"one", 1, "a/1")
    client = await broker.join("c")
    client.subscribe("a/#")
    assert sorted(client.payloads()) == [b"one", b"two"]

    retained["a/1"] = message("a/1", b"")
    assert "a/1" not in retained
    del retained["a/2"]
    for missing in ("a/1", "a/2"):
        with pytest.raises(KeyError):
            _ = retained[missing]
        with pytest.raises(KeyError):
            del retained[missing]
    retained["b"] = message("b", b"x")
    retained.clear()
    assert dict(retained) == {}
    with pytest.raises(ValueError, match=re.escape("'a/+' cannot be published")):
        retained["a/+"] = message("a/+", b"x")
    await settle()
    assert broker.plugin(Recorder).of("retained_message") == [], "plugins know what plugins did"


async def test_subscriptions_are_what_sessions_subscribe_to() -> None:
    broker = Hosted(RECORDER)
    for name, qos in (("c", 0), ("d", 2)):
        client = await broker.join(name)
        client.subscribe("a/#", qos=qos)
        client.subscribe(name)

    found = {
        topic: [(session.client_id, qos) for session, qos in them]
        for topic, them in broker.host.subscriptions.items()
    }
    assert found == {"a/#": [("c", 0), ("d", 2)], "c": [("c", 0)], "d": [("d", 0)]}


async def test_a_plugin_publishes_in_the_brokers_name() -> None:
    broker = Hosted(RECORDER)
    context = broker.plugin(Recorder).context
    high, low = await broker.join("high"), await broker.join("low")
    high.subscribe("a", qos=2)
    low.subscribe("a", qos=0)

    await context.broadcast_message("a", b"as subscribed")
    assert high.message().qos == 2
    await context.broadcast_message("a", b"at most once", 0)
    await context.broadcast_message("$SYS/own", b"")

    assert [(one.payload, one.qos) for one in high.messages()] == [
        (b"at most once", 0),
    ]
    assert [one.qos for one in low.messages()] == [0, 0]
    for topic, qos in (("a/#", 0), ("", 0), ("a", 3)):
        with pytest.raises(ValueError, match=r"cannot be published|the QoS of a message"):
            await context.broadcast_message(topic, b"x", qos)


async def test_a_plugin_retains_and_clears() -> None:
    broker = Hosted(RECORDER)
    recorder = broker.plugin(Recorder)
    await recorder.context.retain_message("a", b"x")
    assert broker.retained() == {"a": b"x"}
    assert recorder.context.retained_messages["a"].data == b"x"

    await recorder.context.retain_message("a", b"")
    await broker.host.retain_message(None, None, b"nothing")
    assert broker.retained() == {}
    await settle()
    assert [facts["message"].data for facts in recorder.of("retained_message")] == [b"x", b""]


async def test_a_plugin_subscribes_for_a_session() -> None:
    broker = Hosted(RECORDER, max_qos=1)
    context = broker.plugin(Recorder).context
    await context.add_subscription("away", None, None)
    assert context.get_session("away") is not None
    assert context.get_session("nobody") is None
    await context.add_subscription("away", "a", 2)
    session = context.get_session("away")
    assert session is not None
    assert [one.client_id for one in context.sessions] == ["away"]
    assert context.subscriptions == {"a": [(session, 1)]}

    assert await broker.host.add_subscription(("a/#/b", 0), session) == 0x80
    assert await broker.host.add_subscription(("a", 7), session) == 0x80
    assert await broker.host.add_subscription(("b", 0), Session()) == 0x80
    assert await broker.host.add_subscription(("b", 0), session) == 0


async def test_sessions_are_only_made_by_the_engine() -> None:
    broker = Hosted(RECORDER)
    sessions = broker.host.sessions
    with pytest.raises(KeyError):
        _ = sessions["nobody"]
    with pytest.raises(KeyError, match="create_offline_session"):
        broker.host._sessions["nobody"] = (Session(), None)  # type: ignore[assignment]
    assert len(sessions) == 0


async def test_the_handler_of_a_session_sends_its_client_away() -> None:
    broker = Hosted(RECORDER)
    client = await broker.join("c", session_expiry_interval=100)
    handler = broker.host.sessions["c"][1]

    await handler.stop()
    client.closed(ReasonCode.ADMINISTRATIVE_ACTION)
    await handler.stop()
    assert handler.session.transitions.is_disconnected()


async def test_views_end_with_their_sessions() -> None:
    broker = Hosted(RECORDER)
    for version in (4, 5):
        for end in ("disconnect", "drop"):
            client = await broker.join(f"{version}{end}", version)
            client.subscribe("a")
            getattr(client, end)()
    kept = await broker.join("kept", session_expiry_interval=10)
    _ = broker.host.subscriptions
    kept.drop()
    assert [view.client_id for view in views_of(broker)] == ["kept"]

    broker.clock.advance(11)
    await settle()
    assert list(views_of(broker)) == []
    assert views_of(broker)._connections == {}


async def test_the_session_of_a_client_that_came_before_the_plugins() -> None:
    broker = Hosted(RECORDER)
    client = broker.dial()
    client.send(connect_packet("early", username="ada"))
    assert client.next(Connack).reason == ReasonCode.SUCCESS
    views_of(broker)._connections.clear()
    views_of(broker)._sessions.clear()

    view = broker.host.sessions["early"][0]
    assert view.username == "ada"
    client.drop()
    await settle()
    assert broker.plugin(Recorder).names[-1] == "client_disconnected"


def views_of(broker: Hosted) -> SessionViews:
    return broker.host._views
