"""NanoMQ's environment variables, and ours for every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pybroker.broker.config import ConfigError, Settings, load
from pybroker.broker.config.changes import row_of
from pybroker.broker.config.environment import NANOMQ_VARIABLES
from pybroker.broker.config.settings import ListenerSettings

from .conftest import Files

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")


def served(files: Files, text: str = "", **environ: str) -> Settings:
    return load(files.write(text), environ=environ, keys_of_environment=True)


def warnings(files: Files, text: str = "", **environ: str) -> list[str]:
    return files.relative([str(one) for one in served(files, text, **environ).warnings])


def error(files: Files, text: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        served(files, text, **environ)
    return str(caught.value)


def addresses(settings: Settings) -> list[tuple[str, str, int]]:
    return [(one.name, one.host, one.port) for one in settings.listeners]


def test_each_stands_for_a_key_and_is_on_the_page() -> None:
    table = dict(re.findall(r"^\| `(NANOMQ_\w+)` \| `([\w.]+)` \|", PAGE, re.MULTILINE))
    assert table == NANOMQ_VARIABLES
    assert all(row_of(key) is not None for key in NANOMQ_VARIABLES.values())


def test_without_a_file(files: Files) -> None:
    settings = load(
        None,
        environ={
            "NANOMQ_BROKER_URL": "nmq-tcp://127.0.0.1:1999",
            "NANOMQ_ALLOW_ANONYMOUS": "false",
            "NANOMQ_MSQ_LEN": "7",
            "NANOMQ_QOS_DURATION": "20",
            "NANOMQ_MAX_PACKET_SIZE": "2048",
            "NANOMQ_LOG_TO": "console|syslog",
            "NANOMQ_LOG_ROTATION_SIZE": "2MB",
            "NANOMQ_DAEMON": "true",
            "NANOMQ_LOG_FILE": "",
        },
        keys_of_environment=True,
    )
    assert addresses(settings) == [("tcp", "127.0.0.1", 1999)]
    assert settings.auth.allow_anonymous is False
    assert (settings.mqtt.max_mqueue_len, settings.mqtt.retry_interval) == (7, 20.0)
    assert settings.mqtt.max_packet_size == 2048
    assert (settings.log.to, settings.log.rotation_size) == (("console", "syslog"), 2 << 20)
    assert settings.log.file == "pybroker.log"
    assert settings.daemon


def test_the_file_wins_and_the_other_value_is_told(files: Files) -> None:
    text = "\nauth.allow_anonymous = true\n"
    assert served(files, text, NANOMQ_ALLOW_ANONYMOUS="false").auth.allow_anonymous is True
    assert warnings(files, text, NANOMQ_ALLOW_ANONYMOUS="false") == [
        "environment variable NANOMQ_ALLOW_ANONYMOUS: auth.allow_anonymous: has no effect, "
        "because nanomq.conf:2 says otherwise"
    ]
    assert warnings(files, text, NANOMQ_ALLOW_ANONYMOUS="true") == []


def test_our_own_win_over_both_and_flags_over_all(files: Files) -> None:
    file = files.write("mqtt.max_qos = 2")
    environ = {"PYBROKER__MQTT__MAX_QOS": "1", "PYBROKER__LOG__LEVEL": "warn", "NANOMQ_LOG_LEVEL": "error"}
    settings = load(file, environ=environ, overrides={"log.level": "debug"}, keys_of_environment=True)
    assert (settings.mqtt.max_qos, settings.log.level) == (1, "debug")


class TestListeners:
    def test_what_is_added_comes_beside_tcp(self, files: Files) -> None:
        added = served(files, NANOMQ_WEBSOCKET_URL="nmq-ws://127.0.0.1:8099/mqtt")
        assert addresses(added) == [("ws", "127.0.0.1", 8099), ("tcp", "127.0.0.1", 1883)]
        alone = served(files, NANOMQ_WEBSOCKET_URL="nmq-ws://127.0.0.1:8099/mqtt", NANOMQ_TCP_ENABLE="false")
        assert [one.name for one in alone.listeners] == ["ws"]

    def test_a_file_that_names_listeners_gets_no_others_than_those(self, files: Files) -> None:
        settings = served(files, "listeners.ws {}", NANOMQ_ALLOW_ANONYMOUS="false")
        assert [one.name for one in settings.listeners] == ["ws"]

    def test_tls_takes_its_switch(self, files: Files) -> None:
        for name in ("key", "cert"):
            files.write("x", f"{name}.pem")
        tls = {
            "NANOMQ_TLS_URL": "tls+nmq-tcp://127.0.0.1:8899",
            "NANOMQ_TLS_KEY_PATH": str(files.folder / "key.pem"),
            "NANOMQ_TLS_CERT_PATH": str(files.folder / "cert.pem"),
        }
        assert addresses(served(files, **tls)) == [("tcp", "127.0.0.1", 1883)]
        assert warnings(files, **tls)[0] == (
            "environment variable NANOMQ_TLS_URL: listeners.ssl.bind: "
            "has no effect without NANOMQ_TLS_ENABLE=true"
        )
        on = served(files, NANOMQ_TLS_ENABLE="true", **tls)
        assert addresses(on) == [("ssl", "127.0.0.1", 8899), ("tcp", "127.0.0.1", 1883)]
        assert on.listeners[0].tls is not None
        both = served(
            files, NANOMQ_TLS_ENABLE="true", NANOMQ_WEBSOCKET_TLS_URL="nmq-wss://127.0.0.1:8898", **tls
        )
        assert "wss" in [one.name for one in both.listeners]

    def test_a_broker_url_may_be_of_tls(self, files: Files) -> None:
        assert "listeners.ssl.certfile: missing" in error(
            files, NANOMQ_BROKER_URL="tls+nmq-tcp://127.0.0.1:8883"
        )

    def test_a_file_with_named_listeners_of_the_kind_gets_no_more(self, files: Files) -> None:
        text = 'listeners.tcp.a { bind = "127.0.0.1:1" }'
        environ = {"NANOMQ_BROKER_URL": "nmq-tcp://127.0.0.1:2"}
        assert addresses(served(files, text, **environ)) == [("tcp.a", "127.0.0.1", 1)]
        assert "has no effect, because nanomq.conf:1 says otherwise" in warnings(files, text, **environ)[0]

    def test_a_file_that_leaves_the_address_open_gets_it(self, files: Files) -> None:
        settings = served(files, "listeners.tcp { backlog = 9 }", NANOMQ_BROKER_URL="nmq-tcp://127.0.0.1:2")
        assert settings.listeners == (ListenerSettings("tcp", "tcp", "127.0.0.1", 2, backlog=9),)


def test_http_server_takes_its_switch(files: Files) -> None:
    assert served(files, NANOMQ_HTTP_SERVER_PORT="8082").http_server is None
    on = served(
        files,
        NANOMQ_HTTP_SERVER_ENABLE="true",
        NANOMQ_HTTP_SERVER_PORT="8082",
        NANOMQ_HTTP_SERVER_USERNAME="u",
        NANOMQ_HTTP_SERVER_PASSWORD="p",
    )
    assert on.http_server is not None
    assert (on.http_server.port, on.http_server.username, on.http_server.password) == (8082, "u", "p")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("NANOMQ_ALLOW_ANONYMOUS", "maybe", 'auth.allow_anonymous: found "maybe"; allowed: true or false'),
        ("NANOMQ_TLS_ENABLE", "perhaps", 'listeners.ssl.enable: found "perhaps"; allowed: true or false'),
        (
            "NANOMQ_BROKER_URL",
            "127.0.0.1:1883",
            "127.0.0.1:1883: write SCHEME://HOST:PORT with one of mqtt, ",
        ),
        ("NANOMQ_ALOW_ANONYMOUS", "false", "unknown variable; did you mean NANOMQ_ALLOW_ANONYMOUS?"),
        ("NANOMQ_TLS_VERIFY_PER", "true", "unknown variable; did you mean NANOMQ_TLS_VERIFY_PEER?"),
        ("PYBROKER__AUHT__ALLOW_ANONYMOUS", "false", "auht: unknown key; did you mean auth?"),
    ],
)
def test_mistakes_name_the_variable(files: Files, name: str, text: str, message: str) -> None:
    assert error(files, **{name: text}).startswith(f"environment variable {name}: {message}")


def test_what_is_only_odd_is_a_warning(files: Files) -> None:
    assert warnings(files, NANOMQ_MSQ_LENG="5") == [
        "environment variable NANOMQ_MSQ_LENG: unknown variable; did you mean NANOMQ_MSQ_LEN?"
    ]
    assert warnings(files, NANOMQ_VIN="5") == ["environment variable NANOMQ_VIN: accepted, without effect"]


def test_those_of_others_are_left_alone(files: Files) -> None:
    """Kubernetes names the address of a service `nanomq` like this."""
    assert warnings(files, NANOMQ_SERVICE_HOST="10.0.0.1", NANOMQ_PORT="tcp://10.0.0.1:1883") == []


def test_only_the_commands_read_them(files: Files) -> None:
    assert load(files.write(""), environ={"NANOMQ_BROKER_URL": "nmq-tcp://127.0.0.1:9"}).listeners == (
        ListenerSettings("tcp", "tcp"),
    )
