from __future__ import annotations

import socket

import pytest

from pybroker.broker.config import describe, load

from .conftest import Files
from .nanomq import ACL, FULL, PASSWORDS


def test_what_a_full_file_serves(files: Files) -> None:
    files.write(PASSWORDS, "nanomq_pwd.conf")
    files.write(ACL, "nanomq_acl.conf")
    for name in ("key", "cert", "ca"):
        files.write("", f"certs/{name}.pem")
    text = FULL + '\nplugins { "a.b.C" {} }\nlog.format = json\nlisteners.unix.path = "/run/m.sock"\n'
    assert files.relative(describe(files.load(text))) == [
        "configuration       nanomq.conf",
        "listener tcp        mqtt://0.0.0.0:1883",
        "listener tcp.inner  mqtt://127.0.0.1:1884",
        "listener ssl        mqtts://[::1]:8883, client certificates required",
        "listener ws         ws://127.0.0.1:8083/mqtt",
        "listener wss        wss://127.0.0.1:8086/mqtt, client certificates required",
        "listener unix       unix:/run/m.sock",
        "http_server         http://127.0.0.1:8082/, basic authentication",
        "sqlite              sessions and retained messages in .",
        "webhook webhook     POST http://127.0.0.1:80/hook; on_message_publish (a/b/c), on_client_connack",
        f"bridge emqx1        mqtt-tcp://127.0.0.1:1883 as {socket.gethostname()}.emqx1",
        "  remote -> local   cmd/# -> #, such as cmd/some/topic -> some/topic",
        "access              anonymous clients refused, 3 users, http_auth, 5 access rules, else deny",
        "preset 1            example: msg1/#, msg2/#",
        "plugin              a.b.C",
        "log                 warn and above to /var/log/nanomq.log, console, as JSON",
    ]


def test_the_defaults() -> None:
    assert describe(load(None, overrides={"listeners.tcp.bind": "127.0.0.1:0"})) == [
        "configuration  the defaults, no file",
        "listener tcp   mqtt://127.0.0.1:0 (a free port)",
        "webhook        none",
        "access         anonymous clients allowed, no users, no access rules, else allow",
        "log            info and above to console",
    ]


def test_no_secret_is_shown(files: Files) -> None:
    shown = "\n".join(
        describe(
            files.load(
                'webhook { url = "https://hush1:hush2@h:1/p?token=hush3", headers.authorization = hush4 }\n'
                "auth { password { u = hush5 }, jwt.secret = hush6 }"
            )
        )
    )
    assert "POST https://h:1/p?token=***; no events" in shown
    assert "jwt (HS256)" in shown
    assert "hush" not in shown


@pytest.mark.parametrize(
    "text",
    [
        'webhook.url = "htp://u:hush@h/p?token=hush"',
        'webhook.url = "http://u:hush@/p?token=hush"',
        'webhook.url = "http//u:hush@h/p"',
        'webhook.url = "http://[hush"',
        'auth.http_auth.auth_req.url = "htp://u:hush@h/p?token=hush"',
        'event_pusher.nats.url = "u:hush@h"',
    ],
)
def test_no_secret_of_a_url_is_in_an_error(files: Files, text: str) -> None:
    error = files.error(text)
    assert "allowed: a URL" in error
    assert "hush" not in error
