"""`pybroker reload` and SIGHUP, on a broker that is at work."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from paho.mqtt.enums import MQTTProtocolVersion

from tests.waiting import DEADLINE

from .clients import connected
from .conftest import LISTENER
from .support import Endpoint, RunningBroker, wait_for
from .test_command import pybroker

Start = Callable[..., RunningBroker]
V5 = MQTTProtocolVersion.MQTTv5


def rewrite(broker: RunningBroker, conf: str, listener: str = LISTENER) -> None:
    broker.conf.write_text(listener + conf, encoding="utf-8")


def reload(broker: RunningBroker, conf: str, listener: str = LISTENER) -> str:
    """Let the broker read this configuration; what the command prints."""
    rewrite(broker, conf, listener)
    answer = pybroker("reload", "--conf", broker.conf, XDG_RUNTIME_DIR=str(broker.conf.parent))
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def is_let_in(broker: RunningBroker, username: str, password: str) -> bool:
    with connected(broker.port, "login", username=username, password=password) as client:
        return client.reason.value == 0


def test_under_traffic_no_message_is_lost_and_no_client_dropped(
    start_broker: Start, endpoint: Endpoint
) -> None:
    broker = start_broker()
    stop = threading.Event()
    sent = 0

    def confs() -> list[str]:
        return [
            f'webhook {{ url = "{endpoint.url}", events = [{{ event = "on_message_publish" }}] }}',
            'auth { no_match = deny, acl { rules = [{ permit = allow, topics = ["n"] }] } }',
            "limits { message_rate = 100000, max_queued_bytes = 1MB }\nmqtt { retry_interval = 1s }",
            'auth { password { ann = "secret" } }\nlog { level = debug, format = json }',
            "",
        ]

    with (
        connected(broker.port, "s", V5) as subscriber,
        connected(broker.port, "p", V5) as publisher,
        connected(broker.port, "idle") as idle,
    ):
        subscriber.subscribe_and_wait("n", 1)

        def publish() -> None:
            nonlocal sent
            while not stop.is_set():
                publisher.publish_and_wait("n", str(sent).encode(), 1)
                sent += 1

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            for conf in confs() * 2:
                before = sent
                reload(broker, conf)
                wait_for(lambda before=before: sent > before + 20, "messages after the reload")
        finally:
            stop.set()
            thread.join()
        wait_for(lambda: len(subscriber.received) >= sent, f"{sent} messages")
        assert [int(message.payload) for message in subscriber.received] == list(range(sent))
        assert endpoint.requests
        assert all(client.is_connected() for client in (subscriber, publisher, idle))


def test_what_it_prints(start_broker: Start) -> None:
    broker = start_broker('auth { password { ann = "old" } }\n')
    printed = reload(broker, 'auth { password { ann = "new" } }\nmqtt { max_qos = 1, retry_interval = 3s }\n')
    assert printed.splitlines() == [
        "mqtt.retry_interval: 10 -> 3",
        "mqtt.max_qos: 2 -> 1 (needs a restart)",
        "auth.password.ann: (hidden) -> (hidden)",
    ]
    assert "reload: mqtt.retry_interval: 10 -> 3" in broker.output
    printed = reload(broker, 'auth { password { ann = "new" } }\nmqtt { retry_interval = 3s }\nmqtx = 1\n')
    first, second = printed.splitlines()
    assert first == "the file has not changed"
    assert second.startswith("warning: ")
    assert "mqtx" in second


def test_passwords(start_broker: Start) -> None:
    broker = start_broker('auth { password { ann = "old" } }\n')
    with connected(broker.port, "stays", username="ann", password="old") as client:
        reload(broker, 'auth { password { ann = "new", bob = "too" } }\n')
        assert not is_let_in(broker, "ann", "old")
        assert is_let_in(broker, "ann", "new")
        assert is_let_in(broker, "bob", "too")
        client.publish_and_wait("t", b"", 1)
        assert client.is_connected()


def test_the_first_passwords(start_broker: Start) -> None:
    broker = start_broker()
    assert is_let_in(broker, "ann", "anything")
    reload(broker, 'auth { allow_anonymous = false, password { ann = "secret" } }\n')
    assert not is_let_in(broker, "ann", "anything")
    assert is_let_in(broker, "ann", "secret")
    with connected(broker.port, "nobody") as nobody:
        assert nobody.reason.value != 0
    reload(broker, "")
    assert is_let_in(broker, "ann", "anything")


def test_rules_hold_for_who_is_connected(start_broker: Start) -> None:
    broker = start_broker()
    with connected(broker.port, "s") as subscriber, connected(broker.port, "p") as publisher:
        subscriber.subscribe_and_wait("#")
        publisher.publish_and_wait("a", b"1", 1)
        reload(broker, 'auth { acl { rules = [{ permit = deny, action = publish, topics = ["a"] }] } }\n')
        publisher.publish_and_wait("a", b"2", 1)
        publisher.publish_and_wait("b", b"3", 1)
        assert [message.payload for message in subscriber.wait(2)] == [b"1", b"3"]


def test_webhooks(start_broker: Start, endpoint: Endpoint) -> None:
    broker = start_broker()
    with connected(broker.port, "p") as publisher:
        publisher.publish_and_wait("a", b"before", 1)
        for topic in ("a", "b"):
            rule = f'{{ event = "on_message_publish", topic = "{topic}" }}'
            reload(broker, f'webhook {{ url = "{endpoint.url}", events = [{rule}] }}\n')
            for to in ("a", "b"):
                publisher.publish_and_wait(to, b"x", 1)
        endpoint.wait(2)
        reload(broker, "")
        publisher.publish_and_wait("b", b"after", 1)
    assert [request.json["topic"] for request in endpoint.requests] == ["a", "b"]


def test_the_log(start_broker: Start) -> None:
    broker = start_broker()
    logs = broker.conf.parent / "logs"
    reload(broker, f'log {{ to = [file], dir = "{logs}", file = "x.log", format = json }}\n')
    assert "reload: log.to: console -> file" in wait_for((logs / "x.log").read_text, "a line in the log")
    assert "log.to" not in broker.output
    # Whoever has moved the file away gets a new one.
    (logs / "x.log").rename(logs / "old.log")
    broker.process.send_signal(signal.SIGHUP)
    wait_for((logs / "x.log").exists, "a new log file")


def test_limits(start_broker: Start) -> None:
    broker = start_broker()
    with connected(broker.port, "stays") as client:
        reload(broker, "limits { max_connections = 1 }\n")
        with connected(broker.port, "late") as late:
            assert late.reason.value != 0
        reload(broker, "")
        with connected(broker.port, "late") as late:
            assert late.reason.value == 0
        assert client.is_connected()


def certificate_of(port: int, authority: trustme.CA) -> bytes | None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    import socket

    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secure,
    ):
        return secure.getpeercert(True)


def test_certificates(start_broker: Start, tmp_path: Path) -> None:
    authority = trustme.CA()

    def issue() -> None:
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")

    issue()
    keys = f'keyfile = "{tmp_path / "key.pem"}", certfile = "{tmp_path / "cert.pem"}"'
    listener = f'listeners.ssl {{ bind = "127.0.0.1:0", {keys} }}\n'
    broker = start_broker(listener=listener)
    before = certificate_of(broker.port, authority)
    issue()
    assert reload(broker, "", listener) == "the file has not changed\ncertificates read again: ssl\n"
    assert certificate_of(broker.port, authority) != before
    # A key that does not belong to the certificate changes nothing.
    now = certificate_of(broker.port, authority)
    authority.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
    answer = pybroker("reload", XDG_RUNTIME_DIR=str(broker.conf.parent))
    assert answer.returncode == 1
    assert "does not belong to the certificate" in answer.stderr
    assert answer.stderr.endswith("; nothing has changed\n")
    assert certificate_of(broker.port, authority) == now


BAD = [
    ("mqtt { max_packet_size = many }", "mqtt.max_packet_size"),
    ("mqtt {", "nanomq.conf"),
    ('auth { jwt { algorithms = [rs256], secret = "x" } }', "auth.jwt"),
    ('auth { password { ann = "$argon2id$no" } }', "auth.password: the password of user 'ann'"),
    ('webhook { url = "http://127.0.0.1/", events = [{ event = nonsense }] }', "nonsense"),
    ('log { to = [file], dir = "/dev/null/x" }', "/dev/null"),
]


@pytest.mark.parametrize(("conf", "words"), BAD, ids=[words for _, words in BAD])
def test_a_bad_file_changes_nothing(start_broker: Start, conf: str, words: str) -> None:
    broker = start_broker('auth { password { ann = "secret" } }\n')
    rewrite(broker, f"limits {{ max_connections = 1 }}\n{conf}\n")
    answer = pybroker("reload", XDG_RUNTIME_DIR=str(broker.conf.parent))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert words in answer.stderr
    assert "nothing has changed" in answer.stderr
    assert "Traceback" not in broker.output
    with connected(broker.port, "one", username="ann", password="secret") as one:
        assert one.reason.value == 0
        assert is_let_in(broker, "ann", "secret")
    # and a good one is taken after it
    assert reload(broker, "limits { max_connections = 5 }").startswith(
        "auth.password.ann: (hidden) -> none\n"
    )


def test_sighup_says_in_the_log_what_came_of_it(start_broker: Start) -> None:
    broker = start_broker()
    rewrite(broker, "limits { max_connections = 1 }\n")
    broker.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload: limits.max_connections: 100000 -> 1" in broker.output, "a line in the log")
    rewrite(broker, "limits { max_connections = none }\n")
    broker.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "ERROR   pybroker: reload: nothing has changed" in broker.output, "an error in the log")
    assert f"{broker.conf}:2: limits.max_connections" in broker.output


def test_flags_of_the_start_still_win(start_broker: Start) -> None:
    broker = start_broker("", "-S", "7", "--log_level", "debug")
    printed = reload(
        broker, "mqtt { max_mqueue_len = 9 }\nlog { level = error }\nlimits { max_retained = 1 }\n"
    )
    assert printed == "limits.max_retained: 1000000 -> 1\n"


def test_two_at_a_time(start_broker: Start) -> None:
    broker = start_broker()
    rewrite(broker, "limits { max_retained = 1 }\n")
    answers: list[str] = []

    def ask() -> None:
        answers.append(pybroker("reload", XDG_RUNTIME_DIR=str(broker.conf.parent)).stdout)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers)[0] == "limits.max_retained: 1000000 -> 1\n"
    assert sorted(answers)[1:] == ["the file has not changed\n"] * 2


def test_no_broker(tmp_path: Path) -> None:
    answer = pybroker("reload", XDG_RUNTIME_DIR=str(tmp_path))
    assert (answer.returncode, answer.stderr) == (1, "pybroker: no broker is running for this user\n")


def test_nothing_to_read(tmp_path: Path) -> None:
    """A broker that was started without a file."""
    import os
    import subprocess
    import sys

    from .support import ROOT

    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pybroker",
            "start",
            "--url",
            "mqtt://127.0.0.1:0",
            "--ready-file",
            str(ready),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    try:
        wait_for(ready.exists, "the broker")
        answer = pybroker("reload", XDG_RUNTIME_DIR=str(tmp_path))
        assert (answer.returncode, answer.stdout) == (1, "")
        assert "started without a file" in answer.stderr
    finally:
        process.terminate()
        process.wait(DEADLINE)
