"""`bridges.mqtt.NAME {}`: every key, and what is wrong with one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pybroker.broker.bridge.settings import BridgeSettings
from pybroker.broker.config import ConfigError, Settings, load
from pybroker.broker.config.changes import compare
from pybroker.broker.config.describe import describe
from pybroker.broker.packets.model import Will
from pybroker.broker.packets.properties import Properties

FULL = """
bridges.mqtt.cloud {
  server = "tls+mqtt-tcp://Broker.example"
  hybrid_servers = ["mqtt-tcp://[::1]:1884", "wss://b.example/ws", "unix:///run/m.sock"]
  proto_ver = 5
  clientid = edge
  keepalive = 30s
  backoff_max = 5s
  clean_start = true
  username = ann
  password = "s3cret"
  retry_qos_0 = true
  transparent = true
  hop_limit = 3
  send_retained = false
  max_send_queue_len = 32
  max_recv_queue_len = 128
  max_parallel_processes = 2
  resend_interval = 5000
  forwards = [
    { local_topic = "a/#", remote_topic = "#", qos = 1, retain = 0, prefix = "p/", suffix = "/s" }
    { local_topic = "b", remote_topic = "" }
  ]
  subscription = [ { remote_topic = "c/+", local_topic = "d", qos = 2, retain = 1, retain_as_published = 1,
                     retain_handling = 2, nolocal = false, stream_id = 3 } ]
  will { topic = w, payload = gone, qos = 1, retain = true,
         properties { will_delay_interval = 3, user_property { a = b } } }
  conn_properties { maximum_packet_size = 1024, receive_maximum = 10, topic_alias_maximum = 0,
                    session_expiry_interval = 60, request_problem_infomation = 0,
                    request_response_information = 1, user_property { k = v } }
  sub_properties { identifier = 7, user_property { x = y } }
  ssl { verify_peer = false, sni = other.example }
  tcp { nodelay = false, keepalive = true, quickack = true, keepidle = 7, keepintvl = 5, keepcnt = 3,
        bind_interface = lo }
}
"""


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "nanomq.conf"
    path.write_text(text)
    return load(path)


def one(tmp_path: Path, text: str) -> BridgeSettings:
    (bridge,) = loaded(tmp_path, text).bridges
    return bridge


def test_every_key(tmp_path: Path) -> None:
    bridge = one(tmp_path, FULL)
    assert [(a.scheme, a.host, a.port, a.path) for a in bridge.servers] == [
        ("tls+mqtt-tcp", "broker.example", 8883, ""),
        ("mqtt-tcp", "::1", 1884, ""),
        ("wss", "b.example", 443, "/ws"),
        ("unix", "", 1883, "/run/m.sock"),
    ]
    assert (bridge.name, bridge.enable, bridge.clientid, bridge.keepalive) == ("cloud", True, "edge", 30)
    assert (bridge.versions, bridge.backoff_max, bridge.clean_start) == (((5, False),), 5.0, True)
    assert (bridge.username, bridge.password) == ("ann", "s3cret")
    assert (bridge.retry_qos_0, bridge.transparent, bridge.send_retained) == (True, True, False)
    assert (bridge.hop_limit, bridge.max_queue) == (3, 32)
    first, second = bridge.forwards
    assert (first.mapping.map("a/x"), first.qos, first.retain) == ("p/x/s", 1, False)
    assert (second.mapping.map("b"), second.qos, second.retain) == ("b", None, None)
    (comes,) = bridge.subscriptions
    assert (comes.mapping.map("c/1"), comes.qos, comes.retain) == ("d", 2, True)
    assert (comes.retain_as_published, comes.retain_handling, comes.no_local) == (True, 2, False)
    assert bridge.will == Will(
        "w", b"gone", 1, True, Properties(will_delay_interval=3, user_properties=(("a", "b"),))
    )
    options = bridge.options
    assert (options.maximum_packet_size, options.receive_maximum, options.session_expiry) == (1024, 10, 60)
    assert (options.request_problem_information, options.request_response_information) == (0, 1)
    assert (options.user_properties, options.subscription_identifier) == ((("k", "v"),), 7)
    assert options.subscription_user_properties == (("x", "y"),)
    assert (bridge.tls.verify, bridge.tls.sni) == (False, "other.example")
    tcp = bridge.socket
    assert (tcp.nodelay, tcp.keepalive, tcp.quickack, tcp.bind_interface) == (False, True, True, "lo")
    assert (tcp.keepidle, tcp.keepintvl, tcp.keepcnt) == (7, 5, 3)


def test_the_defaults_lose_nothing(tmp_path: Path) -> None:
    bridge = one(tmp_path, 'bridges.mqtt { up { server = "mqtt-tcp://x", subscription = [] } }')
    assert bridge.clientid == f"{socket.gethostname()}.up"
    assert not bridge.clean_start
    assert bridge.options.session_expiry == 0xFFFFFFFF
    assert bridge.versions == ((5, False), (4, True), (4, False))
    assert bridge.tls.verify
    assert bridge.servers[0].port == 1883


@pytest.mark.parametrize(
    ("lines", "versions"),
    [
        ("proto_ver = 4", ((4, True), (4, False))),
        ("proto_ver = 3", ((3, True), (3, False))),
        ("proto_ver = 4, no_local_v4 = false", ((4, False),)),
        ("no_local_v4 = false", ((5, False), (4, False))),
    ],
)
def test_versions(tmp_path: Path, lines: str, versions: object) -> None:
    assert one(tmp_path, f'bridges.mqtt.up {{ server = "mqtt-tcp://x", {lines} }}').versions == versions


def test_aws_has_limits_and_knows_no_bridge_bit(tmp_path: Path) -> None:
    bridge = one(tmp_path, 'bridges.aws.up { server = "tls+mqtt-tcp://x.amazonaws.com" }')
    assert bridge.versions == ((5, False), (4, False))
    assert (bridge.max_qos, bridge.max_packet_size) == (1, 128 * 1024)


@pytest.mark.parametrize(("ssl", "scheme"), [("", "mqtt-tcp"), ("ssl { sni = y }", "tls+mqtt-tcp")])
def test_aws_servers_as_nanomq_writes_them(tmp_path: Path, ssl: str, scheme: str) -> None:
    (address,) = one(tmp_path, f'bridges.aws.up {{ server = "x.amazonaws.com:8883", {ssl} }}').servers
    assert (address.scheme, address.host, address.port) == (scheme, "x.amazonaws.com", 8883)


def test_what_nanomq_s_own_files_say(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
        bridges.mqtt.up {
          server = "mqtt-tcp://127.0.0.1:1"
          hybrid_bridging = false
          hybrid_servers = ["mqtt-quic://127.1:14567", "mqtt-tcp://127.1:1883"]
          tcp { keepidle = 7, keepcnt = "30s", sendtimeo = 5000 }
          transparent = true
        }
        bridges.nng.pub.t1 { pub_url = "tcp://localhost:9900" }
        """,
    )
    (bridge,) = settings.bridges
    assert [address.url for address in bridge.servers] == ["mqtt-tcp://127.0.0.1:1", "mqtt-tcp://127.1:1883"]
    warnings = " ".join(map(str, settings.warnings))
    assert "mqtt-quic://127.1:14567: QUIC is not served" in warnings
    assert "accepted, without effect: mqtt.up.hybrid_bridging" in warnings.replace("bridges: ", "")
    assert "nng" in warnings


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('bridges.mqtt.up { server = "mqtt-quic://x:1" }', "QUIC is not served; write tls"),
        ('bridges.mqtt.up { server = "x:1883" }', 'found "x:1883"; write mqtt-tcp://x:1883'),
        ('bridges.mqtt.up { server = "http://x:1" }', "allowed: mqtt-tcp://HOST:PORT"),
        ('bridges.mqtt.up { server = "mqtt-tcp://ann:pw@x" }', "have keys of their own: username"),
        ('bridges.mqtt.up { server = "mqtt-tcp://x/path" }', "no path"),
        ('bridges.mqtt.up { server = "mqtt-tcp://x:99999" }', "allowed: mqtt-tcp"),
        ("bridges.mqtt.up { enable = true }", "bridges.mqtt.up.server: missing"),
        ("bridges.mqtt.up = 3", 'found "3"; allowed: a section'),
        ('bridges.mqtt."a b" { server = "mqtt-tcp://x" }', "letters, digits"),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x" }\nbridges.aws.up { server = "mqtt-tcp://x" }',
            "another bridge of this name",
        ),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x", proto_ver = 4, password = p }',
            "a password only with a user name",
        ),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x",\n'
            'forwards = [ { local_topic = "q/#", remote_topic = "b/+" } ] }',
            r'forwards\[0\].remote_topic: "b/\+" has a wildcard, so it must be a part of "q/#"',
        ),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x", forwards = [ { local_topic = "q/#" } ] }',
            'remote_topic: missing: a topic, or "" to keep',
        ),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x", subscription = [ { local_topic = "q" } ] }',
            "remote_topic: missing: a topic filter",
        ),
        (
            'bridges.mqtt.up { server = "tls+mqtt-tcp://x", ssl { certfile = "none.pem" } }',
            "no such file",
        ),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('bridges.mqtt.up { server = "mqtt-tcp://x" }', "so it does nothing"),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x", transparent = true, ssl { verify_peer = true } }',
            "reached without TLS",
        ),
        (
            'bridges.mqtt.up { server = "tls+mqtt-tcp://x", ssl { verify_peer = false } }',
            "whoever answers",
        ),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x", clientid = c, transparent = true }\n'
            'bridges.mqtt.b { server = "mqtt-tcp://x", clientid = c, transparent = true }',
            'bridges.mqtt.b.clientid: "c" is that of bridge up too, at the same server',
        ),
        ("bridges.mqtt.cache { disk_cache_size = 1 }", "bridges: accepted, without effect: mqtt.cache"),
        (
            'bridges.mqtt.up { server = "mqtt-tcp://x",\n'
            'forwards = [ { local_topic = "$SYS/#", remote_topic = "" } ] }',
            "never forwarded",
        ),
    ],
)
def test_what_may_not_be_meant(tmp_path: Path, text: str, warning: str) -> None:
    warnings = [str(one) for one in loaded(tmp_path, text).warnings]
    assert any(warning in one for one in warnings), warnings


def test_check_shows_where_each_topic_goes(tmp_path: Path) -> None:
    lines = describe(loaded(tmp_path, FULL))
    at = next(index for index, line in enumerate(lines) if line.startswith("bridge cloud"))
    assert "tls+mqtt-tcp://Broker.example, then mqtt-tcp://[::1]:1884" in lines[at]
    assert lines[at + 1].split("  ")[-1] == "a/# -> p/#/s, such as a/some/topic -> p/some/topic/s"
    assert "s3cret" not in "".join(lines)


def test_a_reload_tells_what_has_changed_and_no_secret(tmp_path: Path) -> None:
    before = loaded(tmp_path, FULL)
    for old, new, key in (
        ("keepalive = 30s", "keepalive = 40s", "bridges.mqtt.cloud.keepalive"),
        ("s3cret", "other-s3cret", "bridges.mqtt.cloud.password"),
        ('"a/#"', '"a/b/#"', "bridges.mqtt.cloud.forwards"),
        ("Broker.example", "other.example", "bridges.mqtt.cloud.server"),
    ):
        after = loaded(tmp_path, FULL.replace(old, new))
        settings, (change,) = compare(before, after)
        assert (change.key, change.applied) == (key, True)
        assert "s3cret" not in str(change)
        assert settings.bridges == after.bridges
    settings, (change,) = compare(before, loaded(tmp_path, ""))
    assert (change.applied, settings.bridges) == (True, ())
