"""Files of NanoMQ before 0.19: refused as such, and converted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pybroker.broker.config import ConfigError, Settings, load
from pybroker.broker.config.hocon import parse
from pybroker.broker.config.old.convert import Converted, convert
from pybroker.broker.config.old.errors import ConvertError
from pybroker.broker.config.old.nested import convert_tree, flat_keys
from pybroker.broker.config.settings import AclRule, HttpRequestSettings
from pybroker.broker.config.tree import Items, Node, Place, Section, Text
from pybroker.webhook.settings import Rule

from .conftest import Files

HEAD = (
    "nanomq.conf: a file of NanoMQ before 0.19, which this version does not read; "
    "`pybroker convert nanomq.conf > new.conf` converts it"
)

FLAT = """\
# the flat format, of all versions up to 0.13
url=nmq-tcp://127.0.0.1:39801
  daemon = false
num_taskq_thread=4
max_packet_size=1024
msq_len=256
qos_duration=60
keepalive_backoff=1250
\tallow_anonymous=false
acl_enable=true
acl_nomatch=deny
acl_deny_action=disconnect
acl_cache_max_size=64
acl.rule.2={"permit": "deny"}
acl.rule.1={"permit": "allow", "username": "dash", "action": "subscribe", "topics": ["$SYS/#"]}
acl.rule.10={"permit": "allow", "clientid": "x"}
auth.1.login=edge
auth.1.password="s3#cret
auth.2.login = admin
auth.2.password = 007
auth.http.enable = true
auth.http.auth_req.url = http://127.0.0.1:80/mqtt/auth
auth.http.auth_req.method = get
auth.http.auth_req.headers.content-type = application/x-www-form-urlencoded
auth.http.auth_req.params = clientid=%c,username=%u
auth.http.timeout = 3
tls.url=tls+nmq-tcp://0.0.0.0:8883
tls.keyfile=/etc/certs/key.pem
websocket.url=nmq-ws://127.0.0.1:8083/mqtt
websocket.tls_url=nmq-wss://127.0.0.1:8084/mqtt
http_server.port=8085
http_server.jwt.private.keyfile=/q
log.to=file,console
log.level=warn
log.rotation.size=1MB
web.hook.enable=true
web.hook.url=http://127.0.0.1:80/hook
web.hook.headers.x-extra=yes
web.hook.body.encoding_of_payload_field=base64
web.hook.rule.client.connack.1={"action": "on_client_connack"}
web.hook.rule.message.publish.1={"action": "on_message_publish", "topic": "a/#"}
bridge.mqtt.emqx.address=mqtt-tcp://h:1883
bridge.mqtt.emqx.bridge_mode=true
bridge.mqtt.emqx.keepalive=60
bridge.mqtt.emqx.forwards=t1/#,t2
bridge.mqtt.emqx.subscription.2.remote_topic=r
bridge.mqtt.emqx.subscription.2.local_topic=l
bridge.mqtt.emqx.subscription.1.topic=cmd
bridge.mqtt.emqx.subscription.1.qos=1
bridge.mqtt.emqx.parallel=2
bridge.mqtt.emqx.tls.enable=false
bridge.mqtt.emqx.tls.keyfile=/x
aws.bridge.mqtt.aws.host=localhost
rule.event.publish.1.sql="SELECT * FROM "#" "
"""

NESTED = """\
system { daemon = false }
mqtt.session { max_packet_size = 1024, msq_len = 256, qos_duration = 60s, keepalive_backoff = 1250
    allow_anonymous = false, client_max_packet_size = 1024 }
listeners.tcp { enable = true, bind = "127.0.0.1:39801" }
listeners.ssl { enable = false, bind = "0.0.0.0:8883", key = "/etc/certs/key.pem" }
http_server { enable = false, parallel = 2, jwt { public.keyfile = "/p", private.keyfile = "/q" } }
webhook { enable = true, url = "http://127.0.0.1:80/hook", headers.x-extra = yes }
webhook.rule.client.connack = [{action: on_client_connack}]
webhook.rule.message.publish = [{action: on_message_publish, topic: "a/#"}]
authorization {
    no_match = deny
    deny_action = disconnect
    cache = { enable = false, max_size = 64, ttl = 1m }
    sources = [
        { type = simple, users = [ { username = "edge", password = "s3#cret" }
                                   { username = admin, password = 007 } ] },
        { type = file, rules = [ {"permit": "allow", "username": "dash", "topics": ["$SYS/#"]}
                                 {"permit": "deny"} ] },
        { type = http, enable = false, auth_req { url = "http://127.0.0.1/" } }
    ]
}
bridges.mqtt {
    nodes = [ { name = emqx, enable = true
        connector { server = "mqtt-tcp://h:1883", keepalive = 60s }
        forwards = ["t1/#"], subscription = [ { topic = "cmd", qos = 1 } ], parallel = 2
        ssl { enable = false, keyfile = "/x" } } ]
    sqlite { enable = false }
}
rules.sqlite { enable = false }
"""


def converted(files: Files, *texts: str) -> tuple[Settings, list[str]]:
    """The settings of the result, and the notes."""
    paths = [files.write(text, f"old{index}.conf") for index, text in enumerate(texts)]
    result = convert(paths)
    return load(files.write(result.text(paths))), files.relative(result.notes)


class TestRefused:
    """None of them starts a broker."""

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("url=nmq-tcp://0.0.0.0:1883", 'write listeners.tcp.bind = "HOST:PORT", or listeners.ssl.bind'),
            ("daemon=true", "write system.daemon"),
            ("num_taskq_thread=4", "remove it"),
            ("msq_len=2048", "write mqtt.max_mqueue_len"),
            ("allow_anonymous=false", "write auth.allow_anonymous"),
            ("  allow_anonymous = false", "write auth.allow_anonymous"),
            ("acl_enable=true", "write auth.acl.enable"),
            ("acl_nomatch=deny", "write auth.no_match"),
            ('acl.rule.1={"permit": "deny"}', "write auth.acl.rules = [ { permit = ... } ]"),
            ("auth.1.login=edge", 'write auth.password { "USER" = "PASSWORD" }'),
            ("auth.12.password=x", 'write auth.password { "USER" = "PASSWORD" }'),
            ("auth.http.enable = true", "write auth.http_auth.enable"),
            ("auth.http.acl_req.params = a=%u", "write auth.http_auth { }"),
            ("tls.enable=true", "write listeners.ssl.enable"),
            ("tls.verify_peer=true", "write listeners.ssl.verify_peer"),
            ("websocket.tls_url=nmq-wss://0.0.0.0:1", 'write listeners.wss.bind = "HOST:PORT/PATH"'),
            ("web.hook.url=http://h", "write webhook.url"),
            ("bridge.mqtt.x.address=mqtt-tcp://h:1", "write bridges.mqtt.NAME { }"),
            ("aws.bridge.mqtt.aws.host=h", "remove it"),
            ("rule_option=ON", "remove it"),
        ],
    )
    def test_one_flat_key_is_enough(self, files: Files, line: str, words: str) -> None:
        key = line.partition("=")[0].strip()
        head, told = files.errors(line + "\nlog.level=warn\n")
        assert head == HEAD
        assert told == f"nanomq.conf:1: {key}: an old key; {words}"

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("mqtt.session { allow_anonymous = false }", "mqtt.session"),
            ("authentication { sources = [] }", "authentication"),
            ("authorization { no_match = deny }", "authorization"),
            ("auth = [ { login = a, password = b } ]", "auth"),
            ("auth_http { }", "auth_http"),
            ("bridges.mqtt.nodes = [ ]", "bridges.mqtt.nodes"),
            ("bridges.aws { nodes = [ ] }", "bridges.aws.nodes"),
            ("webhook.rule.client.connack = [{action: on_client_connack}]", "webhook.rule"),
        ],
    )
    def test_the_sections_of_0_14_to_0_18(self, files: Files, text: str, key: str) -> None:
        head, told = files.errors(text)
        assert head == HEAD
        assert told.startswith(f"nanomq.conf:1: {key}: an old key; write ")

    def test_a_file_that_is_no_hocon_at_all(self, files: Files) -> None:
        text = 'allow_anonymous=false\nrule.event.publish.1.sql="SELECT * FROM "#" "\naws..qos=1\n'
        assert files.errors(text)[:2] == [
            HEAD,
            "nanomq.conf:1: allow_anonymous: an old key; write auth.allow_anonymous",
        ]

    def test_of_many_the_first_are_told(self, files: Files) -> None:
        found = files.errors(FLAT)
        assert len(found) == 10
        assert found[-1] == "nanomq.conf: and 39 more old keys"

    def test_one_old_key_in_a_new_file(self, files: Files) -> None:
        found = files.errors('listeners.tcp { bind = "127.0.0.1:1" }\nallow_anonymous = false\n')
        assert found[1] == "nanomq.conf:2: allow_anonymous: an old key; write auth.allow_anonymous"

    def test_the_new_format_with_dotted_keys_is_none(self, files: Files) -> None:
        files.load("log.level = warn\nauth.allow_anonymous = false\nsqlite.enable=false")

    def test_a_syntax_error_in_a_new_file_stays_one(self, files: Files) -> None:
        assert "closes nothing" in files.error("log.level = warn }")


class TestFlat:
    @pytest.fixture
    def result(self, files: Files) -> tuple[Settings, list[str]]:
        return converted(files, FLAT)

    def test_listeners(self, result: tuple[Settings, list[str]]) -> None:
        """tls.enable was not said, so TLS was off, and wss with it."""
        found = [(one.type, one.host, one.port, one.path) for one in result[0].listeners]
        assert found == [("tcp", "127.0.0.1", 39801, ""), ("ws", "127.0.0.1", 8083, "/mqtt")]

    def test_mqtt(self, result: tuple[Settings, list[str]]) -> None:
        mqtt = result[0].mqtt
        assert (mqtt.max_packet_size, mqtt.max_mqueue_len) == (1 << 20, 256)
        assert (mqtt.retry_interval, mqtt.keepalive_multiplier) == (60.0, 1.25)

    def test_access_control(self, result: tuple[Settings, list[str]]) -> None:
        auth = result[0].auth
        assert (auth.allow_anonymous, auth.no_match, auth.deny_action) == (False, "deny", "disconnect")
        assert auth.passwords == {"edge": '"s3#cret', "admin": "007"}
        assert auth.cache_max_size == 64
        assert auth.acl == (
            AclRule("allow", "subscribe", ("$SYS/#",), username="dash"),
            AclRule("deny"),
            AclRule("allow", clientid="x"),
        )
        assert auth.http_auth is not None
        assert auth.http_auth.timeout == 3.0
        assert auth.http_auth.auth_req == HttpRequestSettings(
            "http://127.0.0.1:80/mqtt/auth",
            "get",
            (("content-type", "application/x-www-form-urlencoded"),),
            (("clientid", "%c"), ("username", "%u")),
        )

    def test_webhook(self, result: tuple[Settings, list[str]]) -> None:
        (endpoint,) = result[0].webhooks
        assert (endpoint.url, endpoint.encoding) == ("http://127.0.0.1:80/hook", "base64")
        assert endpoint.headers == (("x-extra", "yes"),)
        assert endpoint.rules == (Rule("on_client_connack"), Rule("on_message_publish", "a/#"))

    def test_the_rest(self, result: tuple[Settings, list[str]]) -> None:
        settings = result[0]
        assert (settings.log.to, settings.log.level, settings.log.rotation_size) == (
            ("file", "console"),
            "warn",
            1 << 20,
        )
        assert settings.http_server is None, "http_server.enable was not said, so it was off"

    def test_bridges(self, files: Files) -> None:
        assert tree(files, FLAT)["bridges"]["mqtt"]["emqx"] == {
            "server": "mqtt-tcp://h:1883",
            "enable": "true",
            "keepalive": "60s",
            "forwards": [
                {"remote_topic": "t1/#", "local_topic": "t1/#"},
                {"remote_topic": "t2", "local_topic": "t2"},
            ],
            "max_parallel_processes": "2",
            "subscription": [
                {"remote_topic": "cmd", "local_topic": "cmd", "qos": "1"},
                {"remote_topic": "r", "local_topic": "l"},
            ],
        }

    def test_what_is_left_out_is_told(self, result: tuple[Settings, list[str]], files: Files) -> None:
        notes = [
            "old0.conf:4: num_taskq_thread: has no effect here, left out",
            "old0.conf:32: http_server.jwt.private.keyfile: has no effect here, left out",
            "old0.conf:53: aws.bridge.mqtt.aws.host: not served here, left out",
            "old0.conf:54: rule.event.publish.1.sql: not served here, left out",
        ]
        assert result[1] == notes
        text = files.relative((files.folder / "nanomq.conf").read_text().splitlines())
        assert [f"#   {note}" for note in notes] == text[2 : 2 + len(notes)]

    def test_a_file_without_url_was_served_at_every_address(self, files: Files) -> None:
        settings, _ = converted(files, "allow_anonymous=false\nauth.1.login=a\nauth.1.password=b")
        assert [(one.host, one.port) for one in settings.listeners] == [("0.0.0.0", 1883)]

    def test_several_files_become_one(self, files: Files) -> None:
        settings, _ = converted(
            files, "url=nmq-tcp://127.0.0.1:1\nallow_anonymous=false", "auth.1.login=a\nauth.1.password=b"
        )
        assert (settings.auth.allow_anonymous, settings.auth.passwords) == (False, {"a": "b"})
        assert len(settings.listeners) == 1

    @pytest.mark.parametrize(("switch", "users"), [("true", {"a": "b"}), ("false", {})])
    def test_the_switch_of_the_users(self, files: Files, switch: str, users: dict[str, str]) -> None:
        text = f"auth_enable={switch}\nallow_anonymous=false\nauth.1.login=a\nauth.1.password=b"
        auth = converted(files, text)[0].auth
        assert (auth.passwords, auth.allow_anonymous) == (users, False)

    def test_the_first_bridges_had_no_name(self, files: Files) -> None:
        text = "bridge.mqtt.address=mqtt-tcp://h:1\nbridge.mqtt.subscription.1.topic=a\n"
        assert tree(files, text)["bridges"]["mqtt"]["bridge"]["server"] == "mqtt-tcp://h:1"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('acl.rule.1={"permit" "deny"}', "old0.conf:1: acl.rule.1: is not JSON: "),
            ("acl.rule.1=deny", "old0.conf:1: acl.rule.1: is not JSON: "),
            ("acl.rule.x=deny", "old0.conf:1: acl.rule.x: access control that is not understood; "),
            ("alow_anonymous=false", "old0.conf:1: alow_anonymous: access control that is not understood; "),
            ("allow_anonymous=", "old0.conf:1: allow_anonymous: access control that is not understood; "),
            ("auth.1.password=", "old0.conf:1: auth.1.password: access control that is not understood; "),
            ("acl_ruls=1", "old0.conf:1: acl_ruls: access control that is not understood; "),
            ("auth.1.login=a", "old0.conf:1: auth.1: needs both auth.1.login and auth.1.password"),
            ("auth.http.zzz=1", "old0.conf:1: auth.http.zzz: access control that is not understood; "),
            ("auth.http.acl_req.params=x", "old0.conf:1: auth.http.acl_req.params: write NAME=VALUE,"),
            ("url=1883:x://", "old0.conf:1: url: "),
        ],
    )
    def test_access_control_that_is_not_understood(self, files: Files, text: str, message: str) -> None:
        """Left out, it would open the broker: nothing is converted."""
        with pytest.raises(ConvertError) as caught:
            converted(files, text + "\nmsq_len=1")
        assert files.relative([str(caught.value)])[0].startswith(message)


class TestNested:
    @pytest.fixture
    def result(self, files: Files) -> tuple[Settings, list[str]]:
        return converted(files, NESTED)

    def test_settings(self, result: tuple[Settings, list[str]]) -> None:
        settings = result[0]
        assert [(one.type, one.port) for one in settings.listeners] == [("tcp", 39801)]
        assert (settings.mqtt.max_packet_size, settings.mqtt.max_mqueue_len) == (1 << 20, 256)
        assert (settings.mqtt.retry_interval, settings.mqtt.keepalive_multiplier) == (60.0, 1.25)
        (endpoint,) = settings.webhooks
        assert endpoint.rules == (Rule("on_client_connack"), Rule("on_message_publish", "a/#"))

    def test_access_control(self, result: tuple[Settings, list[str]]) -> None:
        auth = result[0].auth
        assert (auth.allow_anonymous, auth.no_match, auth.deny_action) == (False, "deny", "disconnect")
        assert auth.passwords == {"edge": "s3#cret", "admin": "007"}
        assert auth.acl == (AclRule("allow", topics=("$SYS/#",), username="dash"), AclRule("deny"))
        assert auth.cache_max_size == 64
        assert auth.http_auth is None

    def test_bridges(self, files: Files) -> None:
        assert tree(files, NESTED)["bridges"]["mqtt"]["emqx"] == {
            "enable": "true",
            "server": "mqtt-tcp://h:1883",
            "keepalive": "60s",
            "forwards": [{"remote_topic": "t1/#", "local_topic": "t1/#"}],
            "subscription": [{"remote_topic": "cmd", "local_topic": "cmd", "qos": "1"}],
            "max_parallel_processes": "2",
        }

    def test_what_is_left_out_is_told(self, result: tuple[Settings, list[str]]) -> None:
        assert result[1] == [
            "old0.conf:3: mqtt.session.client_max_packet_size: has no effect here, left out",
            "old0.conf:6: http_server.jwt.private: has no effect here, left out",
            "old0.conf:19: authorization.sources[2]: http was off, left out",
            "old0.conf:27: bridges.mqtt.sqlite: not served here, left out",
        ]

    def test_users_and_http_of_their_own(self, files: Files) -> None:
        settings, _ = converted(
            files,
            "auth = [ { login = a, password = b } ]\n"
            'auth_http.auth_req { url = "http://h/", params = [ { clientid = "%c" } { username = "%u" } ] }',
        )
        assert settings.auth.passwords == {"a": "b"}
        assert settings.auth.http_auth is not None
        assert settings.auth.http_auth.auth_req is not None
        assert settings.auth.http_auth.auth_req.params == (("clientid", "%c"), ("username", "%u"))

    def test_the_rules_of_several_sources_stand_one_after_another(self, files: Files) -> None:
        settings, _ = converted(
            files,
            'authorization.sources = [ { type = file, rules = [ { permit = allow, username = "a" } ] }\n'
            "{ type = file, rules = [ { permit = deny } ] } ]",
        )
        assert settings.auth.acl == (AclRule("allow", username="a"), AclRule("deny"))

    def test_old_keys_among_new_sections(self, files: Files) -> None:
        settings, _ = converted(
            files,
            'listeners.ws { bind = "127.0.0.1:1/mqtt" }\nallow_anonymous = false\n'
            "mqtt { max_packet_size = 16 }\n"
            'acl.rule.2 { "permit": "deny" }\nacl.rule.1 { "permit": "allow", "topics": ["a", "b/#"] }\n'
            "tls { enable = false }\n",
        )
        assert [(one.type, one.port) for one in settings.listeners] == [("ws", 1)]
        assert settings.auth.allow_anonymous is False
        assert settings.auth.acl == (AclRule("allow", topics=("a", "b/#")), AclRule("deny"))
        assert settings.mqtt.max_packet_size == 16, "it is bytes outside of mqtt.session"

    @pytest.mark.parametrize(
        "text",
        [
            "acl { zzz = 1 }\nmsq_len = 1",
            "authorization = deny",
            "authorization { sources = [ { type = ldap } ] }",
            "authorization { sources = [ { users = [] } ] }",
            "authorization { sources = [ { type = simple, users = [ { username = a } ] } ] }",
            "authorization { zzz = 1 }",
            "mqtt.session.allow_anonymous { a = b }",
        ],
    )
    def test_access_control_that_is_not_understood(self, files: Files, text: str) -> None:
        with pytest.raises(ConvertError) as caught:
            converted(files, text)
        assert files.relative([str(caught.value)])[0].startswith("old0.conf:1: ")


def test_a_file_that_is_not_old_is_not_converted(files: Files) -> None:
    with pytest.raises(ConvertError, match="it has no old keys"):
        convert([files.write("log.level = warn")])
    with pytest.raises(ConvertError, match="no such file"):
        convert([files.folder / "none.conf"])


def tree(files: Files, text: str) -> Any:
    return convert([files.write(text, "old0.conf")]).tree


def test_what_a_text_holds_survives_the_writing(files: Files) -> None:
    """Whatever a password is made of."""
    password = r"""a"b\c#d//e{}[],=:+ $x ${y} null"""
    settings, _ = converted(files, f"auth.1.login=null\nauth.1.password={password}\n")
    assert settings.auth.passwords == {"null": password}


def test_an_old_file_says_how_it_is_refused_in_a_reload_too(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("allow_anonymous=false")
    with pytest.raises(ConfigError, match="pybroker convert"):
        load(file)


class TestOddFiles:
    """Every part of another kind than it should be: converted, or refused in one line; never a traceback."""

    @pytest.mark.parametrize(
        "instead", [Text("x", Place()), Items((Text("x", Place()),), Place()), Section(Place())]
    )
    def test_nested(self, files: Files, instead: Node) -> None:
        text = NESTED.replace("http, enable = false", "http")
        more = "webhook.events = [ { event = on_client_connected } ]\n"
        more += 'auth_http.acl_req.params = [ { a = "%c" } ]\n'
        root, _ = parse(files.write(text + more))
        for put_there in odd_places(root, instead):
            with put_there, suppress(ConvertError):
                convert_tree(root, Converted())
                flat_keys(root)

    def test_flat(self, files: Files) -> None:
        keys = [line.partition("=")[0].strip() for line in FLAT.splitlines() if "=" in line]
        for key in dict.fromkeys(".".join(key.split(".")[:end]) for key in keys for end in range(1, 8)):
            for text in (f"{FLAT}{key}=x\n", f"{key}=x\n{FLAT}", f"{FLAT}{key}.y=x\n", f"{key}.y=x\n{FLAT}"):
                file = files.write(text)
                with suppress(ConvertError):
                    convert([file]).text([file])


def odd_places(node: Node, instead: Node) -> Iterator[AbstractContextManager[None]]:
    """Puts ``instead`` in the place of each node below, one at a time."""
    if isinstance(node, Section):
        for key, below in list(node.values.items()):
            yield replaced(node.values, key, instead)
            yield from odd_places(below, instead)
    elif isinstance(node, Items):
        for below in node.items:
            yield from odd_places(below, instead)


@contextmanager
def replaced(values: dict[str, Node], key: str, instead: Node) -> Iterator[None]:
    before = values[key]
    values[key] = instead
    try:
        yield
    finally:
        values[key] = before
