"""`cluster {}`: what it may be, and what it is refused with."""

from __future__ import annotations

import re
import socket

import pytest

from pybroker.broker.commands.main import main
from pybroker.broker.config import ConfigError, describe
from pybroker.broker.config.changes import compare

from .conftest import Files


def test_the_defaults(files: Files) -> None:
    cluster = files.load("cluster {}").cluster
    assert cluster is not None
    assert re.sub(r"[^\w-]", "-", socket.gethostname())[:64] == cluster.node
    assert (cluster.name, cluster.servers, cluster.when_alone) == (
        "pybroker",
        ("nats://127.0.0.1:4222",),
        "serve",
    )
    assert files.load("").cluster is None
    assert files.load('cluster { enable = false, node = "not a name" }').cluster is None


def test_what_check_says(files: Files) -> None:
    text = 'cluster { node = a, servers = ["nats://u:secret@h:1", "tls://i:2"], when_alone = refuse }'
    line = next(line for line in describe(files.load(text)) if line.startswith("cluster"))
    assert line == (
        "cluster        node a of pybroker, by NATS at nats://h:1, tls://i:2; "
        "it refuses clients while it is alone"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster { engine = redis }", 'cluster.engine: found "redis"; allowed: nats'),
        ('cluster { node = "a.b" }', "cluster.node: "),
        ('cluster { name = "a b" }', "1 to 64 letters, digits and _ -"),
        ("cluster { when_alone = wait }", "allowed: serve, refuse"),
        ("cluster { servers = [] }", "cluster.servers: missing"),
        ('cluster { servers = ["h"] }', "cluster.servers: "),
        ("cluster { username = u }", "cluster.password: missing"),
        ("cluster { password = p }", "cluster.username: missing"),
        ("cluster { username = u, password = p, token = t }", "username and token are both set"),
        ('cluster { credentials = "x.creds" }', 'cluster.credentials: found "x.creds"; no such file'),
        ('cluster { nkey = "x.nk" }', 'cluster.nkey: found "x.nk"; no such file'),
        ('cluster { tls.cacertfile = "x.pem" }', 'found "x.pem"; no such file'),
        ("cluster {}, system.workers = 2", "system.workers: a node of a cluster is one process"),
        ("cluster {}, event_pusher.push {}", "event_pusher.push: push is not served in a cluster"),
        (
            "cluster {}, preset.session.1 { clientid = c, topic = [] }",
            "preset.session.1: sessions cannot be preset in a cluster",
        ),
    ],
)
def test_what_is_refused(files: Files, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        files.load(text)
    assert said in str(raised.value)


def test_a_bridge_is_warned_about(files: Files) -> None:
    bridge = 'bridges.mqtt.far { server = "mqtt-tcp://h:1", clientid = c }'
    warnings = [str(one) for one in files.load(f"cluster {{}}\n{bridge}").warnings]
    assert any("configure it on one node" in one for one in warnings)


def test_a_change_takes_a_restart_and_shows_no_secret(files: Files) -> None:
    before = files.load("cluster { node = a, token = before }")
    after = files.load("cluster { node = b, token = after }")
    settings, changes = compare(before, after)
    assert settings.cluster == before.cluster
    assert sorted(map(str, changes)) == [
        "cluster.node: a -> b (needs a restart)",
        "cluster.token: (hidden) -> (hidden) (needs a restart)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('servers = ["redis://h"]', "cluster: servers must be of the form nats://HOST:PORT"),
        ('tls.cacertfile = "junk.pem"', "cluster: cacertfile"),
    ],
)
def test_what_check_refuses(files: Files, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    files.write("junk", "junk.pem")
    path = files.write(f"cluster {{ node = a, {text} }}")
    assert main(["check", "--conf", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_a_library_that_is_missing(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pybroker.broker.parts.cluster as part

    monkeypatch.setattr(part, "find_spec", lambda _: None)
    path = files.write("cluster { node = a }")
    assert main(["check", "--conf", str(path)]) == 2
    assert 'needs the package nats-py; install it with: pip install "pybroker[nats]"' in (
        capsys.readouterr().err
    )
