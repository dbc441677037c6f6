"""What we take over from amqtt by overriding and by calling: public names, as they were reviewed.

A difference is no fault by itself: look at what has changed, take over what is new, and write it down here.
"""

from __future__ import annotations

import inspect

import amqtt
import amqtt.broker
import pytest
from amqtt.broker import BrokerContext
from amqtt.contexts import Action
from amqtt.events import BrokerEvents, MQTTEvents
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin, BaseTopicPlugin
from amqtt.plugins.manager import PluginManager
from amqtt.session import Session

from pybroker.amqtt import Broker

REVIEWED = "0.12.1"

NAMES = {
    amqtt.broker.Broker: (
        "add_subscription create_offline_session external_connected internal_message_broadcast "
        "retain_message retained_messages sessions shutdown start states stream_connected subscriptions "
        "ws_connected"
    ),
    BrokerContext: (
        "add_subscription broadcast_message get_session retain_message retained_messages sessions "
        "subscriptions"
    ),
    PluginManager: (
        "app_context close fire_event get_plugin is_topic_filtering_enabled map_plugin_auth "
        "map_plugin_close map_plugin_topic plugins wait_fired_events"
    ),
    BasePlugin: "Config close",
    BaseAuthPlugin: "Config authenticate close",
    BaseTopicPlugin: "Config close topic_filtering",
    Session: (
        "clear_queues inflight_in_count inflight_out_count next_packet_id retained_messages_count states"
    ),
}

SESSION_ATTRIBUTES = (
    "_packet_id attributes broker_uri cadata cafile capath clean_session client_id "
    "delivered_message_queue inflight_in inflight_out is_anonymous keep_alive last_connect_time "
    "last_disconnect_time parent password publish_retry_delay remote_address remote_port "
    "retained_messages ssl_object transitions username will_flag will_message will_qos will_retain "
    "will_topic"
)

EVENTS = (
    "broker_client_connected broker_client_disconnected broker_client_subscribed "
    "broker_client_unsubscribed broker_message_broadcast broker_message_received broker_post_shutdown "
    "broker_post_start broker_pre_shutdown broker_pre_start broker_retained_message "
    "mqtt_packet_received mqtt_packet_sent"
)

OVERRIDDEN = [
    name
    for name, value in vars(Broker).items()
    if not name.startswith("_") and hasattr(amqtt.broker.Broker, name)
]

CHANGED = f"amqtt {amqtt.__version__} differs from the {REVIEWED} that was reviewed"


@pytest.mark.parametrize("kind", NAMES, ids=lambda kind: kind.__name__)
def test_public_names(kind: type) -> None:
    found = sorted(name for name in dir(kind) if not name.startswith("_"))

    assert found == NAMES[kind].split(), CHANGED


def test_attributes_of_a_session() -> None:
    assert sorted(vars(Session())) == SESSION_ATTRIBUTES.split(), CHANGED


def test_events_and_actions() -> None:
    assert sorted((*BrokerEvents, *MQTTEvents)) == EVENTS.split(), CHANGED
    assert sorted(Action) == ["publish", "receive", "subscribe"], CHANGED


def test_all_of_amqtts_broker_is_overridden() -> None:
    assert sorted(OVERRIDDEN) == [name for name in NAMES[amqtt.broker.Broker].split() if name != "states"]


@pytest.mark.parametrize("name", ["__init__", *OVERRIDDEN])
def test_what_is_overridden_is_called_the_same_way(name: str) -> None:
    theirs, ours = getattr(amqtt.broker.Broker, name), getattr(Broker, name)
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        return
    expected = list(inspect.signature(theirs).parameters.values())
    found = list(inspect.signature(ours).parameters.values())

    assert [(p.name, p.kind, p.default) for p in found[: len(expected)]] == [
        (p.name, p.kind, p.default) for p in expected
    ], CHANGED
    assert all(p.default is not p.empty for p in found[len(expected) :])
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
