"""Who may connect, as the file says it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from .clients import VERSIONS, connected
from .support import Endpoint, RunningBroker

Start = Callable[..., RunningBroker]
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5

USERS = 'auth { allow_anonymous = false, password = { "ann": "secret", "b.c@d": "x" } }\n'


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("ann", "secret", 0),
        ("b.c@d", "x", 0),
        ("ann", "wrong", 0x86),
        ("bob", "secret", 0x86),
        ("ann", None, 0x86),
        (None, None, 0x87),
    ],
)
def test_passwords(
    start_broker: Start,
    version: MQTTProtocolVersion,
    username: str | None,
    password: str | None,
    reason: int,
) -> None:
    broker = start_broker(USERS)
    with connected(
        broker.port, "c", version, username=username, password=password, reconnect_on_failure=False
    ) as client:
        # 3.x has one word for it, return code 5.
        assert client.reason.value == (reason if version == V5 or not reason else 0x87)


def test_a_wrong_password_is_refused_where_anonymous_clients_are_let_in(start_broker: Start) -> None:
    broker = start_broker('auth { allow_anonymous = true, password = { "ann": "secret" } }\n')
    with connected(broker.port, "a", V5) as client:
        assert client.reason.value == 0
    with connected(broker.port, "b", V5, username="ann", password="no", reconnect_on_failure=False) as client:
        assert client.reason.value == 0x86


def test_the_webhook_says_why(start_broker: Start, endpoint: Endpoint) -> None:
    hook = (
        f'webhook {{ url = "{endpoint.url}", pool_size = 1, events = [{{ event = on_client_connack }}] }}\n'
    )
    broker = start_broker(USERS + hook)
    with connected(broker.port, "c", username="ann", password="no", reconnect_on_failure=False):
        (body,) = endpoint.wait(1)
    assert (body["conn_ack"], body["username"]) == ("bad_username_or_password", "ann")
