"""From a file to settings: what is served, what is warned of, and what each mistake is answered with."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybroker.broker.config import SCHEMA, ConfigError, Settings, describe, load
from pybroker.broker.config.settings import (
    AclRule,
    HttpRequestSettings,
    ListenerSettings,
    PresetSession,
    PresetSubscription,
    TlsServer,
)
from pybroker.webhook.settings import Batch, Retry, Rule, Spool, TlsClient, WebhookSettings

from .conftest import Files
from .nanomq import ACL, FULL, PASSWORDS

ROOT = Path(__file__).parents[3]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def certificates(files: Files) -> None:
    for name in ("key", "cert", "ca"):
        files.write(f"{name} of a test", f"certs/{name}.pem")


@pytest.fixture
def full(files: Files) -> Settings:
    certificates(files)
    files.write(PASSWORDS, "nanomq_pwd.conf")
    files.write(ACL, "nanomq_acl.conf")
    return files.load(FULL)


class TestDefaults:
    def test_no_file(self) -> None:
        assert load(None) == Settings()

    def test_an_empty_file(self, files: Files) -> None:
        settings = files.load("")
        assert settings == dataclasses.replace(Settings(), source=files.folder / "nanomq.conf")

    def test_only_the_loopback_address_is_served(self) -> None:
        (listener,) = load(None).listeners
        assert (listener.type, listener.host, listener.port) == ("tcp", "127.0.0.1", 1883)

    def test_empty_sections_have_the_defaults_of_the_settings(self, files: Files) -> None:
        settings = files.load(
            "system {}\nmqtt {}\nlisteners.tcp {}\nlog {}\nauth {}\nlimits {}\nsys {}\nplugins {}\npreset {}"
        )
        assert settings == dataclasses.replace(Settings(), source=settings.source)

    def test_an_endpoint_with_nothing_but_a_url_has_the_defaults_of_the_settings(self, files: Files) -> None:
        (endpoint,) = files.load('webhook { url = "http://h/" }').webhooks
        assert endpoint == WebhookSettings("webhook", "http://h/")


class TestFullFile:
    """A NanoMQ file is understood whole."""

    def test_mqtt(self, full: Settings) -> None:
        mqtt = full.mqtt
        assert (mqtt.max_packet_size, mqtt.max_mqueue_len, mqtt.max_topic_alias) == (256 << 20, 2048, 64)
        assert (mqtt.retry_interval, mqtt.keepalive_multiplier, mqtt.max_inflight_window) == (20.0, 1.25, 512)

    def test_listeners(self, full: Settings, files: Files) -> None:
        tls = TlsServer(
            files.folder / "certs/cert.pem",
            files.folder / "certs/key.pem",
            files.folder / "certs/ca.pem",
            "of the key",
            verify_peer=True,
            fail_if_no_peer_cert=True,
        )
        assert full.listeners == (
            ListenerSettings("tcp", "tcp", "0.0.0.0", 1883),
            ListenerSettings("tcp.inner", "tcp", "127.0.0.1", 1884),
            ListenerSettings("ssl", "ssl", "::1", 8883, tls=tls),
            ListenerSettings("ws", "ws", "127.0.0.1", 8083, "/mqtt"),
            ListenerSettings("wss", "wss", "127.0.0.1", 8086, "/mqtt", tls=tls),
        )

    def test_log(self, full: Settings) -> None:
        log = full.log
        assert (log.to, log.level, log.dir, log.file) == (
            ("file", "console"),
            "warn",
            Path("/var/log"),
            "nanomq.log",
        )
        assert (log.rotation_size, log.rotation_count) == (20 << 20, 3)

    def test_http_server(self, full: Settings) -> None:
        server = full.http_server
        assert server is not None
        assert (server.host, server.port, server.limit_conn, server.username, server.password) == (
            "127.0.0.1",
            8082,
            2,
            "admin",
            "public",
        )

    def test_webhook(self, full: Settings, files: Files) -> None:
        (endpoint,) = full.webhooks
        assert endpoint.url == "http://127.0.0.1:80/hook"
        assert endpoint.headers == (("content-type", "application/json"), ("x-extra", "hello"))
        assert (endpoint.encoding, endpoint.pool_size, endpoint.cancel_timeout) == ("base62", 8, 2.5)
        assert endpoint.rules == (Rule("on_message_publish", "a/b/c"), Rule("on_client_connack"))
        assert endpoint.tls == TlsClient(cacertfile=files.folder / "certs/ca.pem")

    def test_auth(self, full: Settings) -> None:
        auth = full.auth
        assert (auth.allow_anonymous, auth.no_match, auth.deny_action) == (False, "deny", "disconnect")
        assert auth.passwords == {"admin": "public", "ann@example.org": "p#1", "a.b c": "12345"}
        assert auth.cache_max_size == 32

    def test_acl(self, full: Settings) -> None:
        assert full.auth.acl == (
            AclRule("allow", "subscribe", ("$SYS/#",), username="dashboard"),
            AclRule("allow", topics=("t/${clientid}/#", "@literal/+")),
            AclRule("deny", ipaddrs=("10.0.0.1", "192.168.0.0/16")),
            AclRule(
                "allow",
                all_of=(
                    AclRule("allow", username="u"),
                    AclRule(
                        "allow", any_of=(AclRule("allow", clientid="c1"), AclRule("allow", clientid="c2"))
                    ),
                ),
            ),
            AclRule("deny"),
        )

    def test_http_auth(self, full: Settings) -> None:
        http = full.auth.http_auth
        assert http is not None
        assert (http.timeout, http.connect_timeout, http.pool_size, http.cache_ttl) == (3.0, 0.5, 16, 30.0)
        assert http.auth_req == HttpRequestSettings(
            "http://127.0.0.1:80/mqtt/auth",
            "post",
            (("content-type", "application/x-www-form-urlencoded"),),
            (("clientid", "%c"), ("username", "%u"), ("password", "%P")),
        )
        assert http.acl_req is not None
        assert http.acl_req.method == "get"
        assert http.super_req is None

    def test_presets(self, full: Settings) -> None:
        topics = (PresetSubscription("msg1/#", 2, True), PresetSubscription("msg2/#", 1, False, 2))
        assert full.presets == (PresetSession("1", "example", topics),)

    def test_each_section_that_is_not_served_is_warned_of_once(self, full: Settings, files: Files) -> None:
        assert files.relative([str(warning) for warning in full.warnings]) == [
            "nanomq.conf:3: system: accepted, without effect: num_taskq_thread, max_taskq_thread, parallel",
            "nanomq.conf:10: mqtt: accepted, without effect: "
            "property_size, max_awaiting_rel, await_rel_timeout",
            "nanomq.conf:61: webhook.tls: has no effect on an http:// URL",
            "nanomq.conf:72: auth: accepted, without effect: cache.ttl",
            "nanomq.conf:98: preset: accepted, without effect: session.1.topic[1].retain",
            "nanomq.conf:108: rules: the section is accepted, without effect",
            "nanomq.conf:109: plugin: the section is accepted, without effect",
        ]


class TestErrors:
    """By what they print."""

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "mqtt {\n  max_packet_size = 10MX\n}",
                'nanomq.conf:2: mqtt.max_packet_size: found "10MX"; '
                "allowed: a size such as 512, 64KB or 10MB, 16B to 260MB",
            ),
            (
                "mqtt.retry_interval = soon",
                'nanomq.conf:1: mqtt.retry_interval: found "soon"; '
                "allowed: a time such as 500ms, 10s, 5m, 2h or 7d (a bare number is seconds)",
            ),
            ("mqtt.max_qos = 3", 'nanomq.conf:1: mqtt.max_qos: found "3"; allowed: a whole number, 0 to 2'),
            (
                "mqtt.keepalive_multiplier = nan",
                'nanomq.conf:1: mqtt.keepalive_multiplier: found "nan"; allowed: a number, 0.5 to 100',
            ),
            (
                "mqtt.max_mqueue_len = 0",
                'nanomq.conf:1: mqtt.max_mqueue_len: found "0"; allowed: a whole number, at least 1',
            ),
            (
                "mqtt.max_mqueue_len = [1]",
                "nanomq.conf:1: mqtt.max_mqueue_len: found a list [ ]; allowed: a whole number, at least 1",
            ),
            (
                "mqtt.max_mqueue_len {}",
                "nanomq.conf:1: mqtt.max_mqueue_len: found a section { }; "
                "allowed: a whole number, at least 1",
            ),
            ("mqtt = 5", 'nanomq.conf:1: mqtt: found "5"; allowed: a section { }'),
            ("log.rotation = 5MB", 'nanomq.conf:1: log.rotation: found "5MB"; allowed: a section { }'),
            (
                "\nlog.level = loud",
                'nanomq.conf:2: log.level: found "loud"; allowed: trace, debug, info, warn, error, fatal',
            ),
            (
                "log.to = [console, printer]",
                'nanomq.conf:1: log.to: found "printer"; allowed: console, file, syslog, uds',
            ),
            (
                "auth.allow_anonymous = maybe",
                'nanomq.conf:1: auth.allow_anonymous: found "maybe"; allowed: true or false',
            ),
            ("auth.no_match = ignore", 'nanomq.conf:1: auth.no_match: found "ignore"; allowed: allow, deny'),
            (
                'auth.password { "a b" = "" }',
                "nanomq.conf:1: auth.password.a b: found a value that does not match; "
                "allowed: text that is not empty",
            ),
            (
                "auth.password = secret",
                'nanomq.conf:1: auth.password: found "secret"; allowed: a section { name = text }',
            ),
            ("auth.acl.rules = [{}]", "nanomq.conf:1: auth.acl.rules[0].permit: missing: allow or deny"),
            (
                "auth.acl.rules {}",
                "nanomq.conf:1: auth.acl.rules: found a section { }; allowed: a list of sections [ { ... } ]",
            ),
            (
                "auth.acl.rules = [x]",
                'nanomq.conf:1: auth.acl.rules[0]: found "x"; allowed: a section { ... }',
            ),
            (
                'auth.acl.rules = [\n{permit = allow, topics = ["a/#/b"]}]',
                'nanomq.conf:2: auth.acl.rules[0].topics: found "a/#/b"; # must be the whole last level',
            ),
            (
                "auth.acl.rules = [{permit = allow, ipaddrs = []}]",
                "nanomq.conf:1: auth.acl.rules[0].ipaddrs: empty: the rule would match no client; "
                "leave the key out, or name at least one",
            ),
            (
                "auth.acl.rules = [{permit = allow, and = [{or = []}]}]",
                "nanomq.conf:1: auth.acl.rules[0].and[0].or: empty: the rule would match no client; "
                "leave the key out, or name at least one",
            ),
            (
                "auth.acl.rules = [{permit = deny, and = [{ipaddr = 10.0.0.300}]}]",
                'nanomq.conf:1: auth.acl.rules[0].and[0].ipaddr: found "10.0.0.300"; '
                "allowed: an IP address or network such as 10.0.0.7 or 10.0.0.0/8",
            ),
            (
                "auth.http_auth.auth_req {}",
                "nanomq.conf:1: auth.http_auth.auth_req.url: missing: the URL of the request",
            ),
            ("auth.jwt {}", "nanomq.conf:1: auth.jwt: needs either secret or public.keyfile"),
            (
                "auth.jwt { secret = s, algorithms = RS256 }",
                'nanomq.conf:1: auth.jwt.algorithms: found "RS256"; it needs a public key',
            ),
            (
                'listeners.tcp {\n bind = "127.0.0.1:70000"\n}',
                'nanomq.conf:2: listeners.tcp.bind: found "127.0.0.1:70000"; '
                "70000 is no port; ports are 0 to 65535",
            ),
            (
                'listeners.tcp.two { bind = "a:b" }',
                'nanomq.conf:1: listeners.tcp.two.bind: found "a:b"; '
                'allowed: host and port, such as "127.0.0.1:1883", '
                '"0.0.0.0:1883", "[::1]:1883", ":1883" or 1883',
            ),
            (
                "listeners.tcp.bind = 1884\nlisteners.ws.bind = 1884",
                "nanomq.conf:2: listeners.ws: 127.0.0.1:1884 is the address of listeners.tcp already",
            ),
            (
                "listeners.tcp.enable = off",
                "nanomq.conf:1: listeners: every listener is off, so no client could connect",
            ),
            ("listeners.unix {}", "nanomq.conf:1: listeners.unix.path: missing: the file of the socket"),
            ("listeners.tcp = 1883", 'nanomq.conf:1: listeners.tcp: found "1883"; allowed: a section { }'),
            (
                "webhook { events = [] }",
                "nanomq.conf:1: webhook.url: missing: where the events are posted to",
            ),
            ("webhook {}", "nanomq.conf:1: webhook.url: missing: where the events are posted to"),
            (
                "webhook.audit { events = [] }",
                "nanomq.conf:1: webhook.audit.url: missing: where the events are posted to",
            ),
            (
                "webhook.url = 127.0.0.1",
                'nanomq.conf:1: webhook.url: found "127.0.0.1"; '
                "allowed: a URL such as http://127.0.0.1:8888/hook "
                "or https://example.org/hook",
            ),
            (
                'webhook { url = "http://h", events = [\n'
                '{event = on_message_publish, topic = "a/#/b"}\n{}] }',
                'nanomq.conf:2: webhook.events[0].topic: found "a/#/b"; # must be the whole last level\n'
                "nanomq.conf:3: webhook.events[1].event: missing: which event is sent",
            ),
            (
                'webhook { url = "http://h", spool { max_size = 1MB } }',
                "nanomq.conf:1: webhook.spool.path: missing: the directory of the disk log",
            ),
            (
                'webhook { url = "http://h", secret = hunter2 }',
                "nanomq.conf:1: webhook.secret: found a value that does not match; "
                "allowed: whsec_ and base64, as Standard Webhooks has it",
            ),
            (
                "preset.session.x { topic = [] }",
                "nanomq.conf:1: preset.session.x.clientid: missing: the client identifier of the session",
            ),
            (
                "preset.session.x { clientid = c, topic = [{qos = 1}] }",
                "nanomq.conf:1: preset.session.x.topic[0].remote_topic: missing: the topic filter",
            ),
            (
                "plugins { a.b.c = 1 }",
                'nanomq.conf:1: plugins.a.b.c: write a plugin as "package.module.Class" { its settings }',
            ),
            (
                "plugins { a.b.c {} }",
                'nanomq.conf:1: plugins.a.b.c: quote the path: "package.module.Class" { }',
            ),
        ],
    )
    def test_message(self, files: Files, text: str, message: str) -> None:
        assert files.errors(text) == message.splitlines()

    def test_an_event_that_is_not_known_names_those_that_are(self, files: Files) -> None:
        found = files.error('webhook { url = "http://h", events = [{event = on_publish}] }')
        assert found.startswith(
            'nanomq.conf:1: webhook.events[0].event: found "on_publish"; allowed: on_client_connect, '
        )
        assert "on_message_dropped" in found

    def test_all_are_told_together_in_the_order_of_the_file(self, files: Files) -> None:
        text = (
            "webhook.url = x\nmqtt {\n max_qos = 9\n retry_interval = -1\n}\nlog.level = x\nauth.no_match = x"
        )
        assert [line.split(": ")[:2] for line in files.errors(text)] == [
            ["nanomq.conf:1", "webhook.url"],
            ["nanomq.conf:3", "mqtt.max_qos"],
            ["nanomq.conf:4", "mqtt.retry_interval"],
            ["nanomq.conf:6", "log.level"],
            ["nanomq.conf:7", "auth.no_match"],
        ]

    def test_an_included_file_is_named_with_its_own_lines(self, files: Files) -> None:
        files.write("\n\nmax_qos = 7", "mqtt.conf")
        assert files.error('mqtt = {include "mqtt.conf"}').startswith('mqtt.conf:3: mqtt.max_qos: found "7"')

    def test_no_file(self, files: Files) -> None:
        with pytest.raises(ConfigError) as caught:
            load(files.folder / "none.conf")
        assert files.relative([str(caught.value)]) == ["none.conf: no such file"]

    def test_a_repr_shows_no_secret(self, files: Files) -> None:
        certificates(files)
        shown = repr(
            files.load(
                'listeners.ssl { keyfile = "certs/key.pem", certfile = "certs/cert.pem", '
                "key_password = hush1 }\n"
                "auth { password { u = hush2 }, jwt { secret = hush3 } }\nhttp_server.password = hush4\n"
            )
        )
        assert "hush" not in shown


class TestIncludes:
    MISSING = "the file does not exist (looked for none.conf and none.conf)"

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ('include "none.conf"', "nanomq.conf:1: "),
            ('mqtt {\n include "none.conf" }', "nanomq.conf:2: mqtt: "),
            ('auth.password = {include "none.conf"}', "nanomq.conf:1: auth.password: "),
            ('auth.acl = {include "none.conf"}', "nanomq.conf:1: auth.acl: "),
            ('listeners { include "none.conf" }', "nanomq.conf:1: listeners: "),
            ('listeners.tcp { include "none.conf" }', "nanomq.conf:1: listeners.tcp: "),
            ('webhook { url = "http://h", include "none.conf" }', "nanomq.conf:1: webhook: "),
            (
                'webhook.a { url = "http://h", headers { include "none.conf" } }',
                "nanomq.conf:1: webhook.a.headers: ",
            ),
            ('plugins { include "none.conf" }', "nanomq.conf:1: plugins: "),
            ('plugins { "a.B" { include "none.conf" } }', "nanomq.conf:1: plugins.a.B: "),
            ('preset { include "none.conf" }', "nanomq.conf:1: preset: "),
            ('preset.session { include "none.conf" }', "nanomq.conf:1: preset.session: "),
        ],
    )
    def test_a_missing_one_is_an_error(self, files: Files, text: str, where: str) -> None:
        assert files.error(text) == f'{where}include "none.conf": {self.MISSING}'

    @pytest.mark.parametrize(
        "text",
        [
            'webhook { enable = false, include "none.conf" }',
            'auth { enable = false, password = {include "none.conf"} }',
            'auth.acl { enable = false, include "none.conf" }',
            'listeners.tcp {}\nlisteners.ws { enable = off, include "none.conf" }',
            'listeners.ws {}\nlisteners.tcp.x { enable = off, include "none.conf" }',
            'http_server { enable = false, include "none.conf" }',
            'bridges { include "none.conf" }',
        ],
    )
    def test_one_in_a_section_that_is_off_does_not_matter(self, files: Files, text: str) -> None:
        files.load(text)

    def test_users_are_taken_from_it_and_from_the_section(self, files: Files) -> None:
        files.write(PASSWORDS, "pwd.conf")
        auth = files.load('auth { password = {include "pwd.conf"}\n password = { "x": "y" } }').auth
        assert auth.passwords == {"admin": "public", "ann@example.org": "p#1", "a.b c": "12345", "x": "y"}


class TestUnknownKeysThatMayGuardAccess:
    """Ignored, they would leave open what was meant to be closed."""

    @pytest.mark.parametrize(
        ("text", "key", "hint"),
        [
            ("auht { allow_anonymous = false }", "auht", "; did you mean auth?"),
            ("Auth { allow_anonymous = false }", "Auth", "; did you mean auth?"),
            ("acl { rules = [] }", "acl", "; correct or remove it."),
            ("security { allow_anonymous = false }", "security", "; correct or remove it."),
            ("zzz { a { b = [ { permit = deny } ] } }", "zzz", "; correct or remove it."),
            ("pasword { ann = secret }", "pasword", "; correct or remove it."),
            ("lisener.tcp {}", "lisener", "; did you mean listeners?"),
            ('plugns { "my.Gate" {} }', "plugns", "; did you mean plugins?"),
            ("limit { max_connections = 5 }", "limit", "; did you mean limits?"),
            ("htp_server.username = x", "htp_server", "; did you mean http_server?"),
            ("auth.alow_anonymous = false", "auth.alow_anonymous", "; did you mean auth.allow_anonymous?"),
            ("auth.acl.rule = []", "auth.acl.rule", "; did you mean auth.acl.rules?"),
            (
                "auth.acl.rules = [{permit = deny, user = x}]",
                "auth.acl.rules[0].user",
                "; did you mean auth.acl.rules[0].username?",
            ),
            (
                "auth.http_auth.acl_request {}",
                "auth.http_auth.acl_request",
                "; did you mean auth.http_auth.acl_req?",
            ),
            ("limits.max_conections = 5", "limits.max_conections", "; did you mean limits.max_connections?"),
            ("listeners.tpc {}\nlisteners.tcp {}", "listeners.tpc", "; did you mean listeners.tcp?"),
            (
                "listeners.tcp { enabled = false }",
                "listeners.tcp.enabled",
                "; did you mean listeners.tcp.enable?",
            ),
            ('listeners.tcp { url = "a:1" }', "listeners.tcp.url", "; it is called listeners.tcp.bind now."),
            ("http_server { pasword = x }", "http_server.pasword", "; did you mean http_server.password?"),
            (
                "mqtt.allow_anonymous = false",
                "mqtt.allow_anonymous",
                "; it is called auth.allow_anonymous now.",
            ),
            ("system { acl { rules = [] } }", "system.acl", "; correct or remove it."),
        ],
    )
    def test_message(self, files: Files, text: str, key: str, hint: str) -> None:
        why = "The broker does not start with it, because it may be meant to control access"
        assert files.error(text) == f"nanomq.conf:1: {key}: unknown key{hint} {why}"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "rules = [ { permit = deny } ]",
                "rules: access rules have no effect here; write auth.acl.rules = [ ... ]",
            ),
            ('plugin { "my.Gate" {} }', "plugin: plugins have no effect here; write plugins { ... }"),
        ],
    )
    def test_what_stands_in_a_section_of_nanomq_for_something_else(
        self, files: Files, text: str, message: str
    ) -> None:
        assert files.error(text) == f"nanomq.conf:1: {message}"

    def test_those_of_the_environment_and_the_command_line_too(self, files: Files) -> None:
        assert files.error("", auht__allow_anonymous=False).startswith("command line: auht: unknown key; ")

    @pytest.mark.parametrize("text", ["zzz = 1", "mqtt.max_paket_size = 1KB", "webhok { url = x }"])
    def test_others_are_warnings(self, files: Files, text: str) -> None:
        assert len(files.warnings(text)) == 1

    def test_a_switch_among_the_users_is_no_user(self, files: Files) -> None:
        """As files of NanoMQ's later editions have it."""
        on = files.load('auth.password { enable = true, "ann": "x" }')
        assert on.auth.passwords == {"ann": "x"}
        off = files.load('auth.password { enable = false, "ann": "x" }')
        assert off.auth.passwords == {}
        assert "auth.password.enable: false: all users are off" in str(off.warnings[0])
        assert files.load('auth.password { "enable": "false" }').auth.passwords == {"enable": "false"}


class TestWarnings:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "mqtt.max_paket_size = 1KB",
                "mqtt.max_paket_size: unknown key, ignored; did you mean mqtt.max_packet_size?",
            ),
            ("mqtt.msq_len = 9", "mqtt.msq_len: unknown key, ignored; it is called mqtt.max_mqueue_len now"),
            (
                "mqtt.qos_duration = 9",
                "mqtt.qos_duration: unknown key, ignored; it is called mqtt.retry_interval now",
            ),
            ("log { to = [uds, console], uds_addr = x }", "log.to: uds is accepted, without effect"),
            ("log.to = uds", "log.to: uds is accepted, without effect; the log goes to the console"),
            ("web_hook { url = x }", "web_hook: unknown key, ignored; did you mean webhook?"),
            ("zzz = 1", "zzz: unknown key, ignored"),
            (
                "log.rotation.sise = 1",
                "log.rotation.sise: unknown key, ignored; did you mean log.rotation.size?",
            ),
            ("preset.sesion.a {}", "preset.sesion: unknown key, ignored; did you mean preset.session?"),
            (
                'webhook { url = "http://h", events = [{event = on_client_connack, tpic = x}] }',
                "webhook.events[0].tpic: unknown key, ignored; did you mean webhook.events[0].topic?",
            ),
            (
                'webhook { url = "http://h", events = [{event = on_client_connack, topic = x}] }',
                "webhook.events[0].topic: has no effect: on_client_connack has no topic",
            ),
            ('webhook { url = "http://h" }', "webhook.events: there are none, so nothing is sent"),
            ("auth.enable = false", "auth.enable: false: everyone may connect and do everything"),
            (
                'listeners.tcp { bind = "0.0.0.0:1883" }',
                "auth.allow_anonymous: every client that reaches tcp (0.0.0.0:1883) may connect without "
                "a user name; set it to false, or bind 127.0.0.1",
            ),
        ],
    )
    def test_message(self, files: Files, text: str, message: str) -> None:
        assert f"nanomq.conf:1: {message}" in files.warnings(text)
        assert {line.partition(": ")[0] for line in files.warnings(text)} == {"nanomq.conf:1"}

    def test_a_broker_nobody_can_use(self, files: Files) -> None:
        assert files.warnings("auth.allow_anonymous = false") == [
            "nanomq.conf: auth: allow_anonymous is false and there are no users, so no client can connect"
        ]

    def test_a_certificate_is_a_user(self, files: Files) -> None:
        for name in ("c.pem", "k.pem", "ca.pem"):
            files.write("", name)
        assert (
            files.warnings(
                "auth.allow_anonymous = false\n"
                "listeners.ssl { certfile = c.pem, keyfile = k.pem, cacertfile = ca.pem, verify_peer = true\n"
                "  fail_if_no_peer_cert = true, peer_cert_as_username = cn }"
            )
            == []
        )

    def test_a_value_cut_short_by_a_comment(self, files: Files) -> None:
        assert files.warnings("preset.session.a { clientid = c, topic = [{remote_topic = t/#\n}] }") == [
            'nanomq.conf:1: "t/" ends where the comment # begins; quote the value to keep both'
        ]

    @pytest.mark.parametrize(
        "bind", ["127.0.0.1:1883", "localhost:1883", "[::1]:1883", "127.9.9.9:0", "1883"]
    )
    def test_none_for_a_listener_of_this_machine(self, files: Files, bind: str) -> None:
        assert files.warnings(f'listeners.tcp.bind = "{bind}"') == []

    @pytest.mark.parametrize("bind", [":1883", "[::]:1883", "192.168.1.7:1883", "broker.example.org:1883"])
    def test_one_for_a_listener_that_others_reach(self, files: Files, bind: str) -> None:
        assert len(files.warnings(f'listeners.tcp.bind = "{bind}"')) == 1

    def test_none_where_clients_need_a_name_or_a_certificate(self, files: Files) -> None:
        certificates(files)
        tls = 'keyfile = "certs/key.pem", certfile = "certs/cert.pem", cacertfile = "certs/ca.pem"'
        assert not files.warnings(
            'listeners.tcp.bind = ":1"\nauth { allow_anonymous = false, password { u = p } }'
        )
        assert not files.warnings(
            f'listeners.ssl {{ bind = ":1", {tls}, verify_peer = true, fail_if_no_peer_cert = true }}'
        )


class TestListeners:
    def test_only_those_of_the_file(self, files: Files) -> None:
        (listener,) = files.load("listeners.ws {}").listeners
        assert listener == ListenerSettings("ws", "ws", "127.0.0.1", 8083, "/mqtt")

    def test_only_named_ones(self, files: Files) -> None:
        settings = files.load("listeners.tcp.a { bind = 1 }\nlisteners.tcp { b { bind = 2 } }")
        assert [(listener.name, listener.port) for listener in settings.listeners] == [
            ("tcp.a", 1),
            ("tcp.b", 2),
        ]

    def test_off_turns_off_what_is_inside(self, files: Files) -> None:
        settings = files.load("listeners { tcp { enable = false, bind = 1, a { bind = 2 } }, ws {} }")
        assert [listener.name for listener in settings.listeners] == ["ws"]
        settings = files.load("listeners.tcp { bind = 1, a { bind = 2, enable = false } }")
        assert [listener.name for listener in settings.listeners] == ["tcp"]

    def test_what_is_off_is_not_checked(self, files: Files) -> None:
        files.load('listeners { tcp {}, ssl { enable = false, keyfile = "/none", bind = nonsense:x } }')

    def test_several_on_port_0(self, files: Files) -> None:
        settings = files.load("listeners.tcp { bind = 0, b { bind = 0 } }")
        assert [listener.port for listener in settings.listeners] == [0, 0]

    def test_keys_of_ours(self, files: Files) -> None:
        (listener,) = files.load(
            "listeners.tcp { max_connections = 5, connect_rate = 2.5, backlog = 7, proxy_protocol = true }"
        ).listeners
        assert listener == ListenerSettings(
            "tcp", "tcp", proxy_protocol=True, max_connections=5, connect_rate=2.5, backlog=7
        )

    @pytest.mark.parametrize("key", ["path", "bind"])
    def test_unix(self, files: Files, key: str) -> None:
        (listener,) = files.load(f'listeners.unix.{key} = "/run/mqtt.sock"').listeners
        assert (listener.type, listener.path, listener.host, listener.port) == (
            "unix",
            "/run/mqtt.sock",
            "",
            0,
        )

    def test_default_ports(self, files: Files) -> None:
        certificates(files)
        tls = 'keyfile = "certs/key.pem", certfile = "certs/cert.pem"'
        settings = files.load(f"listeners {{ tcp {{}}, ssl {{ {tls} }}, ws {{}}, wss {{ {tls} }} }}")
        assert [listener.port for listener in settings.listeners] == [1883, 8883, 8083, 8084]

    def test_tls_needs_its_files(self, files: Files) -> None:
        files.write("", "cert.pem")
        assert files.errors('listeners.ssl {\n certfile = "cert.pem"\n}') == [
            "nanomq.conf:1: listeners.ssl.keyfile: missing: TLS needs a certificate and its key"
        ]
        assert files.errors('listeners.ssl {\n certfile = "cert.pem"\n keyfile = "none.pem"\n}') == [
            'nanomq.conf:3: listeners.ssl.keyfile: found "none.pem"; no such file'
        ]

    def test_an_authority_that_is_missing_matters_where_clients_are_checked(self, files: Files) -> None:
        certificates(files)
        tls = 'keyfile = "certs/key.pem", certfile = "certs/cert.pem"'
        assert files.warnings(f'listeners.ssl {{ {tls}, cacertfile = "none.pem" }}') == [
            'nanomq.conf:1: listeners.ssl.cacertfile: found "none.pem"; no such file'
        ]
        assert files.error(f'listeners.ssl {{ {tls}, cacertfile = "none.pem", verify_peer = true }}') == (
            'nanomq.conf:1: listeners.ssl.cacertfile: found "none.pem"; no such file'
        )
        assert "verify_peer = true needs the CA certificates" in files.error(
            f"listeners.ssl {{ {tls}, verify_peer = true }}"
        )
        assert files.warnings(f"listeners.ssl {{ {tls}, fail_if_no_peer_cert = true }}") == [
            "nanomq.conf:1: listeners.ssl.fail_if_no_peer_cert: has no effect without verify_peer = true"
        ]

    def test_wss_takes_the_certificate_of_ssl(self, files: Files) -> None:
        certificates(files)
        tls = 'keyfile = "certs/key.pem", certfile = "certs/cert.pem"'
        for ssl in (f"ssl {{ {tls} }}", f"ssl {{ enable = false, {tls} }}"):
            *_, wss = files.load(f"listeners {{ {ssl}, wss {{}} }}").listeners
            assert wss.tls == TlsServer(files.folder / "certs/cert.pem", files.folder / "certs/key.pem")
        assert len(files.errors("listeners.wss {}")) == 2

    def test_wss_keeps_what_it_says_itself_beside_the_certificate_of_ssl(self, files: Files) -> None:
        certificates(files)
        tls = 'keyfile = "certs/key.pem", certfile = "certs/cert.pem"'
        own = 'verify_peer = true, cacertfile = "certs/cert.pem"'
        *_, wss = files.load(f"listeners {{ ssl {{ {tls} }}, wss {{ {own} }} }}").listeners
        assert wss.tls is not None
        assert wss.tls.verify_peer
        assert wss.tls.cacertfile == files.folder / "certs/cert.pem"
        assert wss.tls.certfile == files.folder / "certs/cert.pem"

    def test_a_certificate_s_name_needs_the_certificate(self, files: Files) -> None:
        certificates(files)
        tls = 'keyfile = "certs/key.pem", certfile = "certs/cert.pem"'
        assert "needs verify_peer = true" in files.error(
            f"listeners.ssl {{ {tls}, peer_cert_as_username = cn }}"
        )

    def test_files_are_looked_for_beside_the_file_that_names_them_and_in_the_working_directory(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificates(files)
        files.write('keyfile = "../certs/key.pem", certfile = "certs/cert.pem"', "sub/ssl.conf")
        monkeypatch.chdir(files.folder)
        (listener,) = files.load('listeners.ssl { include "sub/ssl.conf" }').listeners
        assert listener.tls == TlsServer(Path("certs/cert.pem"), files.folder / "sub/../certs/key.pem")


class TestAuth:
    def test_off_reads_nothing_and_lets_everyone_in(self, files: Files) -> None:
        auth = files.load(
            "auth { enable = false, allow_anonymous = false, no_match = nonsense, password = 1 }"
        ).auth
        assert auth == Settings().auth

    def test_rules_that_are_off(self, files: Files) -> None:
        auth = files.load("auth.acl { enable = false, rules = [{permit = nonsense}] }").auth
        assert (auth.acl_enable, auth.acl) == (False, ())

    def test_users_with_any_name(self, files: Files) -> None:
        auth = files.load(
            'auth.password { "a.b@c d#e{}": "p w", plain = x, dotted.name = y, "ü\\"": "z" }'
        ).auth
        assert auth.passwords == {"a.b@c d#e{}": "p w", "plain": "x", "dotted.name": "y", 'ü"': "z"}
        assert isinstance(auth.passwords, MappingProxyType)

    @pytest.mark.parametrize(
        "text",
        [
            "auth.password { a = 1, a.b = 2, c.d.e = 3, c.d = 4 }",
            "auth { password { a.b = 2, a = 1, c.d = 4, c.d.e = 3 } }",
            "auth.password.a = 1\nauth.password.a.b = 2\nauth { password.c.d = 4, password.c.d.e = 3 }",
            'auth { password = {include "pwd.conf"} }',
            'auth.password { include "pwd.conf" }',
            "auth.password { a = 9 } { a = 1, a.b = 2, c.d = 4, c.d.e = 3 }",
        ],
    )
    def test_a_user_may_have_the_beginning_of_another_user_s_name(self, files: Files, text: str) -> None:
        users = {"a": "1", "a.b": "2", "c.d": "4", "c.d.e": "3"}
        files.write("a.b = 2\na = 1\nc.d.e = 3\nc.d = 4\n", "pwd.conf")
        assert files.load(text).auth.passwords == users

    @pytest.mark.parametrize("spelling", ["tls", "ssl"])
    def test_tls_of_a_request_in_both_spellings(self, files: Files, spelling: str) -> None:
        certificates(files)
        http = files.load(
            f'auth.http_auth.super_req {{ url = "https://h", '
            f'{spelling} {{ cacertfile = "certs/ca.pem", verify = no }} }}'
        ).auth.http_auth
        assert http is not None
        assert http.super_req is not None
        assert http.super_req.tls is not None
        assert (http.super_req.tls.cacertfile, http.super_req.tls.verify) == (
            files.folder / "certs/ca.pem",
            False,
        )

    def test_jwt(self, files: Files) -> None:
        files.write("", "key.pub")
        by_secret = files.load('auth.jwt { secret = "${S}", audience = mqtt }', {"S": "x"}).auth.jwt
        by_key = files.load('auth.jwt { public.keyfile = "key.pub", algorithms = [es256, EdDSA] }').auth.jwt
        assert by_secret is not None
        assert by_key is not None
        assert (by_secret.algorithms, by_secret.secret, by_secret.audience) == (("HS256",), "x", "mqtt")
        assert (by_key.algorithms, by_key.public_keyfile) == (("ES256", "EdDSA"), files.folder / "key.pub")
        assert files.error('auth.jwt { public.keyfile = "key.pub", secret = s }').endswith(
            "public.keyfile, not both"
        )
        assert files.error('auth.jwt { public.keyfile = "key.pub", algorithms = HS256 }').endswith(
            "it needs a secret"
        )


class TestWebhook:
    def test_several_endpoints(self, files: Files) -> None:
        settings = files.load(
            'webhook { url = "http://a", audit { url = "http://b", pool_size = 1 } }\n'
            'webhook.third { url = "http://c" }'
        )
        assert [(hook.name, hook.url, hook.pool_size) for hook in settings.webhooks] == [
            ("webhook", "http://a", 32),
            ("audit", "http://b", 1),
            ("third", "http://c", 32),
        ]

    def test_only_named_ones(self, files: Files) -> None:
        assert [
            hook.name for hook in files.load('webhook { enable = true, a { url = "http://b" } }').webhooks
        ] == ["a"]

    def test_off(self, files: Files) -> None:
        assert files.load('webhook { enable = false, url = nonsense, a { url = "http://b" } }').webhooks == ()
        settings = files.load('webhook { url = "http://a", b { enable = false, url = nonsense } }')
        assert [hook.name for hook in settings.webhooks] == ["webhook"]

    def test_every_key(self, files: Files) -> None:
        certificates(files)
        (hook,) = files.load(
            f"""
            webhook {{
                url = "https://h/"
                body {{ format = cloudevents, cloudevents_mode = structured }}
                filter = "m:f"
                events = [
                    {{ event = on_message_publish, topic = "a/#", clientid = "dev-*", username = "u?"
                       transform = "m:t" }}
                    {{ event = on_message_dropped, filter = "m:g" }}
                ]
                cancel_timeout = 3s
                queue {{ max_events = 10, max_bytes = 1MB, overflow = drop_oldest }}
                order = client
                retry {{ max_attempts = 3, first = 100ms, max = 5s, ttl = 1m }}
                breaker.failures = 9
                spool {{ path = "spool.db", max_size = 10MB, max_age = 1d, fsync = always }}
                batch {{ size = 100, time = 50ms, format = ndjson }}
                secret = ["{SECRET}", "{SECRET}"]
                compression = gzip
                drain_timeout = 1s
                tls {{ keyfile = "certs/key.pem", certfile = "certs/cert.pem"
                      key_password = k, verify = false }}
            }}"""
        ).webhooks
        assert (hook.format, hook.cloudevents_mode, hook.cancel_timeout) == ("cloudevents", "structured", 3.0)
        assert hook.rules == (
            Rule("on_message_publish", "a/#", "dev-*", "u?", "m:f", "m:t"),
            Rule("on_message_dropped", filter="m:g"),
        )
        assert (hook.queue_max_events, hook.queue_max_bytes, hook.overflow) == (10, 1 << 20, "drop_oldest")
        assert (hook.order, hook.retry, hook.breaker_failures) == ("client", Retry(3, 0.1, 5.0, 60.0), 9)
        assert hook.spool == Spool(Path("spool.db"), 10 << 20, 86400.0, "always")
        assert (hook.batch, hook.secrets) == (Batch(100, 0.05, "ndjson"), (SECRET, SECRET))
        assert (hook.compression, hook.drain_timeout) == ("gzip", 1.0)
        assert hook.tls == TlsClient(
            files.folder / "certs/key.pem", files.folder / "certs/cert.pem", None, "k", verify=False
        )

    def test_the_drain_timeout_of_the_whole_broker_is_for_those_without_one(self, files: Files) -> None:
        plain, own = files.load(
            """
            system.drain_timeout = 9s
            webhook { url = "https://h/" }
            webhook.own { url = "https://h/", drain_timeout = 1s }
            """
        ).webhooks
        assert (plain.drain_timeout, own.drain_timeout) == (9.0, 1.0)

    def test_sections_that_are_off(self, files: Files) -> None:
        (hook,) = files.load(
            'webhook { url = "https://h/", spool.enable = no, tls { enable = no, keyfile = none } }'
        ).webhooks
        assert (hook.spool, hook.tls) == (None, None)

    def test_the_environment_is_filled_in(self, files: Files) -> None:
        (hook,) = files.load(
            'webhook { url = "http://${HOST}/x", headers.x-auth = "Bearer ${TOKEN}", secret = ${KEY} }',
            {"HOST": "h:1", "TOKEN": "t", "KEY": SECRET},
        ).webhooks
        assert (hook.url, hook.headers, hook.secrets) == (
            "http://h:1/x",
            (("x-auth", "Bearer t"),),
            (SECRET,),
        )

    def test_a_header_has_no_line_break(self, files: Files) -> None:
        text = 'webhook {\n url = "http://h"\n headers.x = "${TOKEN}"\n}'
        assert files.errors(text, {"TOKEN": "from a file\n"}) == [
            'nanomq.conf:3: webhook.headers.x: found "${TOKEN}"; '
            "allowed: text without line breaks and other control characters"
        ]

    def test_what_the_environment_lacks_is_an_error(self, files: Files) -> None:
        text = 'webhook {\n url = "http://${HOST}"\n headers.x = "${A}${B}"\n secret = ["${KEY}"]\n}'
        assert files.errors(text, {"A": "1"}) == [
            "nanomq.conf:2: webhook.url: the environment variable HOST is not set",
            "nanomq.conf:3: webhook.headers.x: the environment variable B is not set",
            "nanomq.conf:4: webhook.secret: the environment variable KEY is not set",
        ]

    def test_a_filled_in_value_is_not_shown(self, files: Files) -> None:
        assert "hush" not in files.error('webhook.url = "${U}"', {"U": "hush"})


class TestPlugins:
    def test_quoted_and_plain_paths(self, files: Files) -> None:
        plugins = files.load(
            """
            plugins {
                "amqtt.plugins.authentication.AnonymousAuthPlugin" { allow_anonymous = false }
                amqtt.plugins.sys.broker.BrokerSysPlugin { sys_interval = 20 }
                "my.lower_case" {}
            }
            plugins.my.pkg.Other { a = [1, "2", x, 1.5], b { c = null, d = "true", e = 10s } }
            """
        ).plugins
        assert plugins == {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False},
            "amqtt.plugins.sys.broker.BrokerSysPlugin": {"sys_interval": 20},
            "my.lower_case": {},
            "my.pkg.Other": {"a": [1, "2", "x", 1.5], "b": {"d": "true", "e": "10s"}},
        }


class TestOverrides:
    def test_they_win_over_the_file(self, files: Files) -> None:
        settings = files.load(
            'listeners.tcp.bind = "127.0.0.1:1"\nlog.level = warn',
            listeners__tcp__bind="127.0.0.1:2",
            log__level="debug",
            log__to=["file", "console"],
            system__daemon=True,
            mqtt__max_mqueue_len=7,
            mqtt__retry_interval=None,
        )
        assert settings.listeners[0].port == 2
        assert (settings.log.level, settings.log.to) == ("debug", ("file", "console"))
        assert (settings.daemon, settings.mqtt.max_mqueue_len, settings.mqtt.retry_interval) == (
            True,
            7,
            10.0,
        )

    def test_without_a_file(self) -> None:
        assert load(None, overrides={"log.level": "error"}).log.level == "error"

    def test_errors_and_warnings_name_the_command_line(self, files: Files) -> None:
        assert files.error("log.level = warn", log__level="loud").startswith(
            'command line: log.level: found "loud"; allowed'
        )
        assert files.warnings("", log__lvel="warn") == [
            "command line: log.lvel: unknown key, ignored; did you mean log.level?"
        ]


class TestShippedFiles:
    def test_the_shipped_file_has_nothing_to_warn_of(self) -> None:
        settings = load(ROOT / "conf" / "nanomq.conf")
        assert settings.warnings == ()
        assert [(listener.host, listener.port) for listener in settings.listeners] == [("127.0.0.1", 1883)]
        (hook,) = settings.webhooks
        assert hook.url == "http://127.0.0.1:8888/hook"
        assert hook.rules == (
            Rule("on_client_connack"),
            Rule("on_client_disconnected"),
            Rule("on_message_publish", "a/b/c"),
        )
        assert settings.auth.allow_anonymous
        assert settings.auth.acl[-1] == AclRule("allow")

    def test_its_includes_are_found_from_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(ROOT / "conf", tmp_path / "conf")
        monkeypatch.chdir(tmp_path)
        assert load(Path("conf/nanomq.conf")).auth.acl
        monkeypatch.chdir("/")
        assert load(tmp_path / "conf/nanomq.conf").auth.acl

    def test_the_commented_listeners_work_when_uncommented(self, files: Files) -> None:
        certificates(files)
        text = (ROOT / "conf" / "nanomq.conf").read_text()
        for line in text.splitlines():
            if line.startswith("# ") and any(sign in line for sign in "{}="):
                text = text.replace(line + "\n", line[2:] + "\n")
        text = text.replace("/etc/certs", str(files.folder / "certs"))
        shutil.copy(ROOT / "conf/nanomq_pwd.conf", files.folder)
        shutil.copy(ROOT / "conf/nanomq_acl.conf", files.folder)
        assert [listener.type for listener in files.load(text).listeners] == ["tcp", "ssl", "ws"]


SNIPPETS = st.sampled_from(
    [
        *(f"{row.key.replace('NAME', 'a').replace('[]', '')} = " for row in SCHEMA),
        *("[", "]", "{", "}", ",", "\n", " ", "1", "true", "10s", '"x"', "#", "null", "-1", "a.b"),
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(SNIPPETS, max_size=20).map("".join))
def test_any_file_gives_settings_or_a_config_error(files: Files, text: str) -> None:
    try:
        loaded = files.load(text)
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - either way is right
    else:
        assert describe(loaded)
