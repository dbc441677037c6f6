"""Who may connect and do what, with real clients: as a configuration file says it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
import trustme
from paho.mqtt.enums import MQTTProtocolVersion

from .clients import Client, connected
from .support import Endpoint, RunningBroker, wait_for

Start = Callable[..., RunningBroker]
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5

NOT_AUTHORIZED = 0x87


def reason(
    port: int, username: str, password: str, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
) -> int:
    """The reason code of CONNACK."""
    with connected(port, "c", version, username=username, password=password) as client:
        return int(client.reason.value)


RULES = """
auth {
    no_match = deny
    acl = {
        rules = [
            { permit = allow, username = "dashboard", action = subscribe, topics = ["$SYS/#", "#"] }
            { permit = deny, action = publish, topics = ["up/secret"] }
            { permit = allow, action = publish, topics = ["up/${clientid}", "up/all"] }
            {
                permit = allow, action = subscribe, topics = ["down/${clientid}/#", "@#"]
                and = [{ ipaddr = "127.0.0.0/8" }]
            }
            { permit = allow, topics = ["down/+"], or = [{ clientid = "a" }, { ipaddr = "192.0.2.0/24" }] }
        ]
    }
}
"""


REFUSE_PARTS = RULES.replace("acl = {", "acl = { partial = refuse,")


@pytest.mark.parametrize(("version", "refusal"), [(V5, NOT_AUTHORIZED), (V311, 0x80)])
def test_subscriptions(start_broker: Start, version: MQTTProtocolVersion, refusal: int) -> None:
    broker = start_broker(REFUSE_PARTS)
    with connected(broker.port, "a", version) as client:
        filters = ["down/a/#", "down/b/#", "#", "+/x", "down/x", "$share/g/down/a/x"]
        answers = client.subscribe_and_wait([(topic, 1) for topic in filters])
        assert answers == [1, refusal, 1, refusal, 1, 1]
    with connected(broker.port, "d", version, username="dashboard", password="") as client:
        assert client.subscribe_and_wait([("$SYS/#", 0), ("any/thing", 0)]) == [0, 0]


@pytest.mark.parametrize(("version", "refusal"), [(V5, NOT_AUTHORIZED), (V311, 0x80)])
def test_a_subscription_brings_what_is_allowed_of_it(
    start_broker: Start, version: MQTTProtocolVersion, refusal: int
) -> None:
    broker = start_broker("""
        auth.acl.rules = [
            { permit = deny, action = subscribe, topics = ["test/nosubscribe", "hidden/#"] }
            { permit = allow }
        ]
    """)
    with connected(broker.port, "p", V5) as publisher, connected(broker.port, "c", version) as client:
        for topic in ("test/nosubscribe", "test/kept"):
            publisher.publish_and_wait(topic, b"retained", 1, retain=True)
        filters = ["#", "+/+", "$share/g/test/+", "hidden/+", "test/nosubscribe"]
        answers = client.subscribe_and_wait([(topic, 1) for topic in filters])
        assert answers == [1, 1, 1, refusal, refusal]
        for topic in ("test/nosubscribe", "hidden/x", "test/seen"):
            publisher.publish_and_wait(topic, b"live", 1)
        publisher.publish_and_wait("end", b"", 1)
        wait_for(lambda: "end" in [message.topic for message in client.received], "the last message")
        # Retained twice, for # and +/+; live once for both of them, and once for the group.
        topics = sorted(message.topic for message in client.received)
        assert topics == ["end", "test/kept", "test/kept", "test/seen", "test/seen"]


def test_a_denied_publish_is_told_so_in_5_0_and_goes_nowhere(start_broker: Start) -> None:
    broker = start_broker(RULES)
    with (
        connected(broker.port, "d", V5, username="dashboard", password="") as watch,
        connected(broker.port, "a", V5) as client,
        connected(broker.port, "old", V311) as old,
    ):
        watch.subscribe_and_wait("#", 0)
        reasons: dict[int, int] = {}
        client.on_publish = lambda _c, _u, mid, reason, _p: reasons.__setitem__(mid, reason.value)
        sent = {
            topic: client.publish(topic, b"x", 1).mid for topic in ("up/a", "up/secret", "up/b", "up/all")
        }
        wait_for(lambda: len(reasons) == 4, "the acknowledgements")
        told = {topic: reasons[mid] for topic, mid in sent.items()}
        assert told == {"up/a": 0, "up/secret": NOT_AUTHORIZED, "up/b": NOT_AUTHORIZED, "up/all": 0}
        old.publish_and_wait("up/secret", b"x", 1)
        old.publish_and_wait("up/old", b"x", 1)
        assert [message.topic for message in watch.wait(3)] == ["up/a", "up/all", "up/old"]
        assert client.is_connected()
        assert old.is_connected()


def test_deny_action_disconnect(start_broker: Start) -> None:
    broker = start_broker(RULES.replace("no_match = deny", "no_match = deny, deny_action = disconnect"))
    with connected(broker.port, "a", V5) as client:
        client.publish("up/secret", b"x")
        wait_for(client.left.is_set, "the end of the connection")
        assert client.left_reason.value == NOT_AUTHORIZED


@pytest.mark.parametrize("version", [V311, V5])
def test_a_will_that_may_not_be_published_is_refused_at_connect(
    start_broker: Start, version: MQTTProtocolVersion
) -> None:
    broker = start_broker(RULES)
    for topic, verdict in (("up/a", 0), ("up/secret", NOT_AUTHORIZED), ("$SYS/x", NOT_AUTHORIZED)):
        client = Client("a", version)
        client.will_set(topic, b"gone")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        wait_for(client.answered.is_set, "CONNACK")
        client.disconnect()
        client.loop_stop()
        assert client.reason.value == verdict, topic


def http_auth(endpoint: Endpoint, requests: str = "auth_req", extra: str = "") -> str:
    fields = 'params { user = "%u", pass = "%P", client = "%c", topic = "%t", access = "%A", port = "%p" }'
    asked = "\n".join(
        f'{name} {{ url = "{endpoint.url}/{name}", method = post, {fields} }}' for name in requests.split()
    )
    return f"auth {{ http_auth {{ timeout = 1s, {extra}\n{asked} }} }}\n"


@pytest.mark.parametrize(
    ("status", "version", "verdict"),
    [(200, V5, 0), (200, V311, 0), (403, V5, 0x87), (403, V311, 0x87), (401, V5, 0x86), (500, V5, 0x88)],
)
def test_another_server_decides(
    start_broker: Start, endpoint: Endpoint, status: int, version: MQTTProtocolVersion, verdict: int
) -> None:
    broker = start_broker(http_auth(endpoint))
    endpoint.status = status
    assert reason(broker.port, "ann", "pw & more", version=version) == verdict
    (request,) = endpoint.requests
    asked = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert asked == {"user": "ann", "pass": "pw & more", "client": "c", "port": str(broker.port)}


def test_a_server_that_hangs_refuses_and_holds_up_nobody_else(
    start_broker: Start, endpoint: Endpoint
) -> None:
    broker = start_broker(http_auth(endpoint))
    with connected(broker.port, "s", V5, username="ann", password="pw") as subscriber:
        subscriber.subscribe_and_wait("t")
        endpoint.gate.clear()
        hanging = Client("h", V5)
        hanging.username_pw_set("eve", "pw")
        hanging.connect("127.0.0.1", broker.port)
        hanging.loop_start()
        wait_for(lambda: len(endpoint.requests) == 2, "the question")
        assert not hanging.answered.is_set()
        subscriber.publish_and_wait("t", b"still served", 1)
        assert subscriber.wait()[0].payload == b"still served"
        wait_for(hanging.answered.is_set, "CONNACK")
        assert hanging.reason.value == 0x88
        hanging.disconnect()
        hanging.loop_stop()
    assert "auth_req: http://127.0.0.1" in broker.output
    assert "clients are refused until it answers" in broker.output


def test_topics_and_super_users(start_broker: Start, endpoint: Endpoint) -> None:
    broker = start_broker(http_auth(endpoint, "super_req acl_req"))
    endpoint.status = 403
    with connected(broker.port, "c", V5) as client:
        assert client.subscribe_and_wait("t", 0) == [NOT_AUTHORIZED]
        for _ in range(5):
            client.publish_and_wait("t", b"x", 1)
        asked = [parse_qs(request.body.decode()) for request in endpoint.requests[1:]]
        assert [(one["topic"], one["access"]) for one in asked] == [(["t"], ["1"]), (["t"], ["2"])]
    endpoint.status = 200
    before = len(endpoint.requests)
    with connected(broker.port, "c", V5) as client:
        assert client.subscribe_and_wait("t", 0) == [0]
        client.publish_and_wait("t", b"x", 1)
        assert client.wait()[0].payload == b"x"
    assert len(endpoint.requests) == before + 1, "a super user's topics are nobody's question"


def test_tokens(start_broker: Start) -> None:
    secret = "a secret of more than thirty-two bytes"
    broker = start_broker(
        f'auth {{ allow_anonymous = false, jwt {{ secret = "{secret}", issuer = "me" }} }}\n'
    )
    claims = {"sub": "ann", "iss": "me"}

    def verdict(username: str, claims: dict[str, Any], key: str = secret) -> int:
        return reason(broker.port, username, jwt.encode(claims, key))

    now = int(time.time())
    assert verdict("ann", claims | {"exp": now + 3600}) == 0
    assert verdict("ann", claims | {"exp": now - 3600}) == 0x87
    assert verdict("ann", claims, "another secret, as long as the first") == 0x87
    assert verdict("eve", claims) == 0x86
    assert reason(broker.port, "ann", "no token") == 0x87


def test_a_certificate_on_one_listener_and_a_password_on_the_other(
    start_broker: Start, tmp_path: Path
) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    keys = ", ".join(f'{name}file = "{tmp_path / name}.pem"' for name in ("key", "cert"))
    certified = f"""
        listeners.ssl {{
            bind = "127.0.0.1:0", {keys}, cacertfile = "{tmp_path / "ca.pem"}"
            verify_peer = true, fail_if_no_peer_cert = true, peer_cert_as_username = cn
        }}
        auth {{
            allow_anonymous = false, no_match = deny
            password {{ ann = "secret" }}
            acl {{ rules = [{{ permit = allow, topics = ["d/${{username}}"] }}] }}
        }}
    """
    broker = start_broker(certified)
    ports = {one["name"]: one["port"] for one in broker.facts["listeners"]}
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert(common_name="device7").configure_cert(context)

    device = Client("dev", V5)
    device.tls_set_context(context)
    device.connect("localhost", ports["ssl"])
    device.loop_start()
    wait_for(device.answered.is_set, "CONNACK")
    assert device.reason.value == 0
    assert device.subscribe_and_wait([("d/device7", 0), ("d/ann", 0)]) == [0, NOT_AUTHORIZED]
    device.disconnect()
    device.loop_stop()

    assert reason(ports["tcp"], "ann", "secret") == 0
    assert reason(ports["tcp"], "device7", "") == 0x86


def test_a_preset_session_queues_before_its_client_first_connects(start_broker: Start) -> None:
    broker = start_broker(
        """
        preset.session.meter {
            clientid = "meter-1"
            topic = [
                { remote_topic = "cmd/meter-1", qos = 1 }
                { remote_topic = "all/#", qos = 2 }
            ]
        }
        """
    )
    with connected(broker.port, "p", V311) as publisher:
        publisher.publish_and_wait("cmd/meter-1", b"1", 1)
        publisher.publish_and_wait("cmd/meter-2", b"2", 1)
        publisher.publish_and_wait("all/of/you", b"3", 2)
        publisher.publish_and_wait("all/of/you", b"lost", 0)
        with connected(broker.port, "meter-1", V311, clean_session=False) as meter:
            assert [message.payload for message in meter.wait(2)] == [b"1", b"3"]
            assert meter.session_present
            publisher.publish_and_wait("cmd/meter-1", b"4", 1)
            assert [message.payload for message in meter.wait(3)] == [b"1", b"3", b"4"]


def test_anonymous_clients_from_outside_are_warned_of(start_broker: Start) -> None:
    broker = start_broker(listener='listeners.tcp { bind = "0.0.0.0:0" }\n')
    wait_for(lambda: "ready" in broker.output, "the ready line")
    assert "warning:" in broker.output
    assert "auth.allow_anonymous: every client that reaches tcp (0.0.0.0:0)" in broker.output
    quiet = start_broker(
        "auth { allow_anonymous = false, password { ann = x } }",
        listener='listeners.tcp { bind = "0.0.0.0:0" }\n',
    )
    wait_for(lambda: "ready" in quiet.output, "the ready line")
    assert "warning:" not in quiet.output
