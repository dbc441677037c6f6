"""The bus over a real nats-server: what becomes of it when the server goes, and how it logs in."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from pybroker.broker.cluster.bus import Transmit
from pybroker.broker.cluster.nats import NatsBus
from pybroker.broker.outgoing.nats import NatsError, NatsServers
from pybroker.webhook.settings import TlsClient
from tests.pushers.servers import Nats, running, three_as_one
from tests.waiting import until

pytest.importorskip("nats", reason='pip install "pybroker[nats]"')


class Node:
    """Keeps what the bus says."""

    def __init__(self, servers: NatsServers, cluster: str, name: str) -> None:
        self.bus = NatsBus(servers, cluster, name)
        self.ways: dict[str, Transmit] = {}
        self.frames: list[tuple[str, bytes]] = []
        self.is_alone = False

    def up(self, peer: str, transmit: Transmit) -> None:
        assert peer not in self.ways
        self.ways[peer] = transmit

    def down(self, peer: str) -> None:
        del self.ways[peer]

    def received(self, peer: str, frame: bytes) -> None:
        self.frames.append((peer, frame))

    def alone(self, is_alone: bool) -> None:
        self.is_alone = is_alone

    async def open(self) -> Node:
        await self.bus.open(self)
        return self


Open = Callable[..., Any]


@pytest.fixture
async def begin() -> Any:
    """Opens nodes, and closes them in the end."""
    cluster = secrets.token_hex(4)
    nodes = []

    async def opened(url: str, name: str, **options: Any) -> Node:
        node = await Node(NatsServers(url.split(), "cluster", **options), cluster, name).open()
        nodes.append(node)
        return node

    yield opened
    for node in nodes:
        await node.bus.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Nats]:
    """A server that the test may kill."""
    with running(Nats(tmp_path / "nats")) as server:
        yield server


def see(*nodes: Node) -> bool:
    """Whether they all see each other, and are not alone."""
    return all(len(node.ways) == len(nodes) - 1 and not node.is_alone for node in nodes)


async def get_across(source: Node, target: Node, frame: bytes) -> None:
    """Send the frame by each way that there is; a busy machine may break one."""
    wanted, used = (source.bus.name, frame), None

    def has_come() -> bool:
        nonlocal used
        way = source.ways.get(target.bus.name)
        if way is not None and way is not used:
            used = way
            way(frame)
        return wanted in target.frames

    await until(has_come)


async def test_a_server_that_dies_and_comes_back(own, begin, caplog) -> None:
    nodes = [await begin(own.url, name) for name in "ab"]
    await until(lambda: see(*nodes))
    for fail in (own.kill, own.pause):
        fail()
        await until(lambda: all(node.is_alone and not node.ways for node in nodes))
        await until(lambda: "no connection to NATS at nats:" in nodes[0].bus.trouble)
        own.revive()
        await until(lambda: see(*nodes))
        nodes[0].ways["b"](b"again")
        await until(lambda: nodes[1].frames)
        assert nodes[1].frames == [("a", b"again")]
        nodes[1].frames.clear()
    for why in ("unexpected EOF", "stale connection"):
        assert f"the connection to NATS is lost: {why}; node a is alone" in caplog.text
    assert "is not there any more" not in caplog.text


async def test_a_server_that_comes_late(tmp_path, begin, caplog) -> None:
    server = Nats(tmp_path / "nats")
    server.find()
    node = await begin(server.url, "a")
    await until(node.bus.first_try.is_set)
    assert not node.bus.is_joined
    assert node.bus.trouble.startswith(f"no connection to NATS at {server.url}: [Errno 111]")
    assert "node a is alone until this is mended" in caplog.text
    with running(server):
        await until(lambda: node.bus.is_joined)
        assert node.bus.server == f"nats://127.0.0.1:{server.port}"
        await node.bus.close()


async def test_another_server_is_taken(tmp_path, begin) -> None:
    """Three that are one NATS; the nodes name two of them, in another order each."""
    servers = three_as_one(tmp_path)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server))
        first, second, third = (server.url for server in servers)
        nodes = [
            await begin(f"{first} {second}", "a"),
            await begin(f"{second} {first}", "b"),
            await begin(third, "c"),
        ]
        await until(lambda: see(*nodes))
        for victim in servers[:2]:
            victim.kill()
            await until(lambda: see(*nodes))
            await get_across(nodes[0], nodes[2], b"x%d" % victim.port)
            await get_across(nodes[2], nodes[0], b"y%d" % victim.port)
            victim.start()
            await until(lambda: see(*nodes))


async def test_two_processes_of_one_name(own, begin, caplog) -> None:
    first, other = await begin(own.url, "a"), await begin(own.url, "b")
    await until(lambda: see(first, other))
    second = await begin(own.url, "a")
    await until(second.bus.first_try.is_set)
    assert second.bus.is_refused
    assert second.is_alone
    assert "another process is the node a of the cluster" in second.bus.trouble
    assert see(first, other)


async def test_of_two_that_could_not_see_each_other_the_later_one_stays(own, begin) -> None:
    first = await begin(own.url, "a")
    await until(lambda: first.bus.is_joined)
    first.bus._own_name = lambda *_: None  # it does not answer, as if it were stopped
    second = await begin(own.url, "a")
    await until(lambda: second.bus.is_joined)
    del first.bus._own_name
    await until(lambda: first.bus.is_refused)
    assert second.bus.is_joined
    assert first.is_alone


async def test_a_node_of_another_version_is_said(own, begin, caplog) -> None:
    import nats

    node = await begin(own.url, "a")
    await until(lambda: node.bus.is_joined)
    client = await nats.connect(own.url)
    subject = node.bus._everyone.decode()
    words = {"kind": "here", "node": "new", "instance": 5, "protocol": 99}
    for data in (json.dumps(words).encode(), b"junk", b"{}", b"[1]", b'{"kind": "here", "node": "x"}'):
        await client.publish(subject, data)
    await client.publish(node.bus._subject("a").decode(), b"junk")
    await client.close()
    await until(lambda: "node new has another version of pybroker" in caplog.text)
    assert node.ways == {}


async def test_what_is_not_the_name_of_a_node_is_ignored(own, begin, caplog, monkeypatch) -> None:
    import nats

    monkeypatch.setattr("pybroker.broker.cluster.nats.MAX_NODES", 5)
    node = await begin(own.url, "a")
    await until(lambda: node.bus.is_joined)
    client = await nats.connect(own.url)
    names = [
        ("b\r\nPUB x 0", 5),
        ("b c", 5),
        ("b.>", 5),
        ("", 5),
        ("x" * 65, 5),
        ("neg", -1),
        ("big", 1 << 64),
    ]
    for name, instance in [*names, *((f"n{number}", 5) for number in range(10))]:
        words = {"kind": "here", "node": name, "instance": instance, "protocol": 1}
        await client.publish(node.bus._everyone.decode(), json.dumps(words).encode())
    await until(lambda: "there are more than 5 nodes; 'n9' is ignored" in caplog.text)
    assert sorted(node.ways) == ["n0", "n1", "n2", "n3", "n4"]
    await client.close()


async def test_what_the_server_forbids_is_said(tmp_path, begin, caplog) -> None:
    conf = tmp_path / "nats.conf"
    conf.write_text(
        'authorization { users = [{user: u, password: p, permissions: {publish: ["only.this"]}}] }'
    )
    server = Nats(tmp_path / "nats")
    server.more = ("-c", str(conf))
    with running(server):
        node = await begin(server.url, "a", username="u", password="p")
        await until(lambda: node.bus.is_joined)
        await until(lambda: "permissions violation for publish" in caplog.text.lower())
        await node.bus.close()


LOGINS = {
    "user": ("user: u, password: p", {"username": "u", "password": "p"}),
    "token": ("token: t", {"token": "t"}),
    "nkey": ("users = [{nkey: PUBLIC}]", {}),
}


@pytest.mark.parametrize("kind", LOGINS)
async def test_login(kind, tmp_path, begin) -> None:
    rule, options = LOGINS[kind]
    if kind == "nkey":
        nkeys = pytest.importorskip("nkeys")
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        rule = rule.replace("PUBLIC", nkeys.from_seed(bytearray(seed)).public_key.decode())
        options = {"nkey": tmp_path / "user.nk"}
        options["nkey"].write_bytes(seed)
    conf = tmp_path / "nats.conf"
    conf.write_text(f"authorization {{ {rule} }}")
    server = Nats(tmp_path / "nats")
    server.more = ("-c", str(conf))
    with running(server):
        stranger = await begin(server.url, "b")
        await until(stranger.bus.first_try.is_set)
        assert not stranger.bus.is_joined
        assert "authorization" in stranger.bus.trouble.lower()
        node = await begin(server.url, "a", **options)
        await until(lambda: node.bus.is_joined)
        await node.bus.close()
        await stranger.bus.close()


async def test_tls_with_a_client_certificate(tmp_path, begin) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("127.0.0.1", "client@example.com"):
        certificate = authority.issue_cert(name)
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
    server = Nats(tmp_path / "nats")
    pem = tmp_path / "127.0.0.1.pem"
    server.more = ("--tlscert", f"{pem}", "--tlskey", f"{pem}", "--tlscacert", f"{tmp_path}/ca.pem")
    server.more = ("--tlsverify", *server.more)
    own = tmp_path / "client@example.com.pem"
    with running(server):
        good = TlsClient(keyfile=own, certfile=own, cacertfile=tmp_path / "ca.pem")
        nodes = [await begin(server.url, name, tls=good) for name in "ab"]
        await until(lambda: see(*nodes))
        await get_across(*nodes, bytes(1_000_000))
        for tls in (TlsClient(), TlsClient(cacertfile=tmp_path / "ca.pem"), None):
            stranger = await begin(server.url, f"s{secrets.token_hex(2)}", tls=tls)
            await until(stranger.bus.first_try.is_set)
            assert not stranger.bus.is_joined
            await stranger.bus.close()
        for node in nodes:
            await node.bus.close()


async def test_frames_of_a_closed_way_are_not_sent(own, begin) -> None:
    nodes = [await begin(own.url, name) for name in "ab"]
    await until(lambda: see(*nodes))
    way = nodes[0].ways["b"]
    await nodes[1].bus.close()
    await until(lambda: not nodes[0].ways)
    sent: list[bytes] = []
    nodes[0].bus._client._transport.write = sent.append
    way(b"for nobody")
    assert sent == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"credentials": Path("/nowhere/x.creds")},
            "cluster: credentials: there is no file",
        ),
        ({"nkey": Path("/nowhere/x.nk")}, "cluster: nkey: there is no file"),
    ],
)
def test_files_that_are_missing(options, said) -> None:
    with pytest.raises(NatsError, match=said):
        NatsServers(["nats://h"], "cluster", **options)


def test_a_url_of_something_else() -> None:
    with pytest.raises(NatsError, match="cluster: servers must be of the form nats://HOST:PORT"):
        NatsServers(["redis://h"], "cluster", url_key="servers")


def test_a_websocket_is_not_for_a_cluster() -> None:
    with pytest.raises(NatsError, match="cluster: servers must be of the form nats://HOST:PORT or tls://"):
        NatsServers(["ws://h"], "cluster", url_key="servers", websockets=False)
