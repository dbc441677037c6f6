"""`cluster { engine = nats }` with real processes, a real nats-server and real clients."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.pushers.servers import Nats, Server, running, three_as_one

from ..integration.clients import VERSIONS, Client, connected
from ..integration.support import ROOT, RunningBroker, wait_for
from .test_directory import until_made

pytest.importorskip("nats", reason='pip install "pybroker[nats]"')

V5 = MQTTProtocolVersion.MQTTv5
LISTENER = 'listeners.tcp.bind = "127.0.0.1:0"\n'


class Hosts:
    """Nodes of one cluster, each as on a host of its own."""

    def __init__(self, directory: Path, servers: list[Server], stack: ExitStack) -> None:
        self._directory = directory
        self._servers = servers
        self._stack = stack
        self.nodes: dict[str, RunningBroker] = {}

    def conf(self, name: str, more: str = "", cluster: str = "") -> str:
        urls = ", ".join(f'"{server.url}"' for server in self._servers)
        return f"{LISTENER}{more}\ncluster {{ node = {name}, servers = [{urls}], {cluster} }}\n"

    def start(self, name: str, more: str = "", cluster: str = "") -> RunningBroker:
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        (directory / "ready.json").unlink(missing_ok=True)
        more = more.replace("DIRECTORY", str(directory))
        broker = self.nodes[name] = RunningBroker(directory, self.conf(name, more, cluster))
        self._stack.callback(broker.stop, signal.SIGKILL)
        return broker

    def __getitem__(self, name: str) -> RunningBroker:
        return self.nodes[name]

    def see(self, *names: str) -> None:
        """Wait until these nodes have joined and see each other."""
        for name in names:
            for other in set(names) - {name}:
                wait_for(lambda name=name, other=other: self.sees(name, other), f"{name} to see {other}")

    def sees(self, name: str, other: str) -> bool:
        lines = self[name].output.splitlines()
        found = [line for line in lines if f"node {other} is " in line or f"node {name} is alone" in line]
        return bool(found) and found[-1].endswith(f"node {other} is there")


StartHosts = Callable[..., Hosts]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[StartHosts]:
    """Starts nodes a, b and c, and their nats-server."""
    with ExitStack() as stack:

        def start(*names: str, more: str = "", cluster: str = "") -> Hosts:
            server = stack.enter_context(running(Nats(tmp_path / "nats")))
            found = Hosts(tmp_path, [server], stack)
            found.server = server
            for name in names:
                found.start(name, more, cluster)
            found.see(*names)
            return found

        yield start


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Nodes a, b and c for the tests that leave them as they were."""
    directory = tmp_path_factory.mktemp("three")
    with ExitStack() as stack:
        server = stack.enter_context(running(Nats(directory / "nats")))
        found = Hosts(directory, [server], stack)
        for name in "abc":
            found.start(name)
        found.see("a", "b", "c")
        yield found


def client_at(stack: ExitStack, hosts: Hosts, node: str, client_id: str, **options: Any) -> Client:
    return stack.enter_context(connected(hosts[node].port, client_id, options.pop("version", V5), **options))


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_of_all_nodes_reach_each_other(three: Hosts, version: MQTTProtocolVersion) -> None:
    with ExitStack() as stack:
        clients = [client_at(stack, three, "abc"[n % 3], f"c{n}", version=version) for n in range(6)]
        for client in clients:  # overlapping filters: each message comes once for each
            client.subscribe_and_wait("t/#", 2)
        for n, client in enumerate(clients):
            client.publish_and_wait(f"t/{n}", f"from {n}", n % 3)
        for client in clients:
            got = sorted((m.topic, m.payload, m.qos) for m in client.wait(6))
            assert got == [(f"t/{n}", b"from %d" % n, n % 3) for n in range(6)]


def keeping(seconds: int = 1000) -> dict[str, Any]:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = seconds
    return {"clean_start": False, "properties": properties}


def test_a_session_follows_its_client(three: Hosts) -> None:
    """Numbered messages check loss, order and repeats, while the client goes round."""
    with ExitStack() as stack:
        publishers = [client_at(stack, three, node, f"walk-p{node}") for node in "abc"]
        with connected(three["a"].port, "walker", V5, connect=keeping()) as client:
            assert not client.session_present
            client.subscribe_and_wait("walk/+", 2)
        found: list[tuple[str, int]] = []
        for n in range(12):
            for node, publisher in zip("abc", publishers, strict=True):
                publisher.publish_and_wait(f"walk/{node}", str(n), 2)
            with connected(three["bca"[n % 3]].port, "walker", V5, connect=keeping()) as client:
                assert client.session_present
                found += [(m.topic[-1], int(m.payload)) for m in client.wait(3)]
                assert len(client.received) == 3
        for node in "abc":
            assert [number for name, number in found if name == node] == list(range(12))


def test_a_client_identifier_is_connected_once_over_nodes(three: Hosts) -> None:
    with ExitStack() as stack:
        clients = [client_at(stack, three, "abc"[n % 3], "the same") for n in range(6)]
        for client in clients[:-1]:
            wait_for(client.left.is_set, "the end of the connection before")
        assert not clients[-1].left.is_set()


def test_a_clean_start_on_another_node_ends_the_session(three: Hosts) -> None:
    with ExitStack() as stack:
        with connected(three["a"].port, "cleaned", V5, connect=keeping()) as client:
            client.subscribe_and_wait("cleaned", 1)
        client_at(stack, three, "c", "cleaned-p").publish_and_wait("cleaned", "x", 1)
        with connected(three["b"].port, "cleaned", V5) as client:
            assert not client.session_present
        with connected(three["a"].port, "cleaned", V5, connect=keeping()) as client:
            assert not client.session_present
            assert client.received == []


def wait_for_a_new_session(node: RunningBroker, client_id: str) -> None:
    """Until the node has admitted the client, whose session is not there any more."""

    def served() -> bool:
        with connected(node.port, client_id, V5, connect=keeping()) as client:
            return client.reason.value == 0 and not client.session_present

    wait_for(served, "a new session on the other node")


@pytest.mark.slow
def test_a_client_of_a_node_that_was_killed_is_served_by_another(hosts: StartHosts) -> None:
    found = hosts("a", "b")
    with ExitStack() as stack:
        with connected(found["a"].port, "moves", V5, connect=keeping()) as client:
            client.subscribe_and_wait("t", 1)
            found["a"].stop(signal.SIGKILL)
        wait_for_a_new_session(found["b"], "moves")
        again = client_at(stack, found, "b", "moves", connect=keeping())
        assert again.session_present


DISK = 'sqlite { mounted_file_path = "DIRECTORY" }'


def test_a_session_on_disk_moves_to_the_disk_of_another_node(hosts: StartHosts) -> None:
    found = hosts("a", "b", more=DISK)
    with ExitStack() as stack:
        publisher = client_at(stack, found, "b", "p")
        with connected(found["b"].port, "kept", V5, connect=keeping()) as client:
            client.subscribe_and_wait("t", 1)
        publisher.publish_and_wait("t", "0", 1)
        with connected(found["a"].port, "kept", V5, connect=keeping()) as client:
            assert client.session_present
            assert [m.payload for m in client.wait(1)] == [b"0"]
        found["a"].stop(signal.SIGKILL)
        sent = publisher.publish("t", "1", 1)  # acknowledged when the other node has it on its disk
        found.start("a", more=DISK)
        found.see("a", "b")
        sent.wait_for_publish(60)
        assert sent.is_published()
        found["a"].stop(signal.SIGKILL)
        found.start("a", more=DISK)
        found.see("a", "b")
        with connected(found["b"].port, "kept", V5, connect=keeping()) as client:
            assert client.session_present
            wait_for(lambda: b"1" in [m.payload for m in client.received], "what waited for the node")
            # The client may have left before it acknowledged the first.
            assert [m.payload for m in client.received if not m.dup] == [b"1"]


@pytest.mark.slow
def test_a_session_on_the_disk_of_a_dead_node_is_replaced(hosts: StartHosts) -> None:
    found = hosts("a", "b", more=DISK)
    with ExitStack() as stack:
        with connected(found["b"].port, "kept", V5, connect=keeping()) as client:
            client.subscribe_and_wait("t", 1)
        found["b"].stop(signal.SIGKILL)
        wait_for_a_new_session(found["a"], "kept")
        found.start("b", more=DISK)
        found.see("a", "b")
        client = client_at(stack, found, "a", "kept", connect=keeping())
        assert client.session_present
        client.subscribe_and_wait("t", 1)
        client_at(stack, found, "b", "p").publish_and_wait("t", "2", 1)
        assert [m.payload for m in client.wait(1)] == [b"2"]


def test_without_jetstream_it_says_what_to_do(tmp_path: Path) -> None:
    server = Nats(tmp_path / "nats")
    command = server.command()
    server.command = lambda: [word for word in command if word != "-js"]  # type: ignore[method-assign]
    with ExitStack() as stack:
        stack.enter_context(running(server))
        found = Hosts(tmp_path, [server], stack)
        with pytest.raises(AssertionError, match="the broker did not start") as refused:
            found.start("a")
        assert "JetStream is off; start nats-server with -js, or set cluster.sessions = stay" in str(
            refused.value
        )
        for name in "ab":
            found.start(name, cluster="sessions = stay")
        found.see("a", "b")
        watcher = client_at(stack, found, "b", "w")
        watcher.subscribe_and_wait("t", 1)
        client_at(stack, found, "a", "p").publish_and_wait("t", "x", 1)
        assert [m.payload for m in watcher.wait(1)] == [b"x"]


def test_retained_messages_and_a_node_that_joins_later(hosts: StartHosts) -> None:
    found = hosts("a", "b")
    with ExitStack() as stack:
        client_at(stack, found, "a", "p").publish_and_wait("kept", "x", 1, retain=True)
        client_at(stack, found, "b", "q").publish_and_wait("large", bytes(900_000), 1, retain=True)
        found.start("c")
        late = client_at(stack, found, "c", "late")
        late.subscribe_and_wait("#", 1)
        assert {m.topic: len(m.payload) for m in late.wait(2)} == {"kept": 1, "large": 900_000}
        late.publish_and_wait("kept", "", 1, retain=True)
        fresh = client_at(stack, found, "a", "fresh")
        fresh.subscribe_and_wait("#", 1)
        assert [m.topic for m in fresh.wait(1)] == ["large"]


def test_shared_groups_over_nodes(three: Hosts) -> None:
    with ExitStack() as stack:
        members = [client_at(stack, three, "abc"[n], f"m{n}") for n in range(3)]
        for member in members:
            member.subscribe_and_wait("$share/g/group", 1)
        publisher = client_at(stack, three, "a", "p")
        for n in range(90):
            publisher.publish_and_wait("group", str(n), 1)
        wait_for(lambda: sum(len(member.received) for member in members) == 90, "all messages")
        assert sorted(int(m.payload) for member in members for m in member.received) == list(range(90))
        assert [len(member.received) for member in members] == [30, 30, 30]


def test_a_will_reaches_another_node(three: Hosts) -> None:
    with ExitStack() as stack:
        watcher = client_at(stack, three, "b", "w")
        watcher.subscribe_and_wait("will", 1)
        dying = Client("dying", V5)
        dying.will_set("will", "gone", 1)
        dying.connect("127.0.0.1", three["a"].port)
        dying.loop_start()
        assert dying.answered.wait(60)
        dying.socket().shutdown(2)  # type: ignore[union-attr]
        assert [m.payload for m in watcher.wait(1)] == [b"gone"]
        dying.loop_stop()


def test_the_last_messages_of_a_node_that_stops_arrive(hosts: StartHosts) -> None:
    found = hosts("a", "b")
    with ExitStack() as stack:
        watcher = client_at(stack, found, "b", "w")
        watcher.subscribe_and_wait("#", 1)
        client = Client("leaving", V5)
        client.will_set("will", "stopped", 1)
        client.connect("127.0.0.1", found["a"].port)
        client.loop_start()
        assert client.answered.wait(60)
        assert found["a"].stop() == 0
        assert [m.payload for m in watcher.wait(1)] == [b"stopped"]
        assert "node a is not there any more: it has left" in found["b"].output
        client.loop_stop()


def test_a_node_is_killed_and_comes_back(hosts: StartHosts) -> None:
    found = hosts("a", "b", "c")
    with ExitStack() as stack:
        publisher = client_at(stack, found, "a", "p")
        stays = client_at(stack, found, "c", "stays")
        stays.subscribe_and_wait("t", 1)
        with connected(found["b"].port, "s", V5) as subscriber:
            subscriber.subscribe_and_wait("t", 1)
            publisher.publish_and_wait("t", "0", 1)
            subscriber.wait(1)
            found["b"].stop(signal.SIGKILL)
        for n in range(1, 5):
            publisher.publish_and_wait("t", str(n), 1)
        found.start("b")
        found.see("a", "b", "c")
        again = client_at(stack, found, "b", "s2")
        again.subscribe_and_wait("t", 1)
        publisher.publish_and_wait("t", "5", 1)
        assert [int(m.payload) for m in stays.wait(6)] == list(range(6))
        assert [int(m.payload) for m in again.wait(1)] == [5]


def test_a_node_that_stands_still_is_left_out_and_gets_what_it_missed(hosts: StartHosts) -> None:
    found = hosts("a", "b")
    with ExitStack() as stack:
        publisher = client_at(stack, found, "a", "p")
        subscriber = client_at(stack, found, "b", "s")
        subscriber.subscribe_and_wait("t", 1)
        found["b"].process.send_signal(signal.SIGSTOP)
        for n in range(100):
            publisher.publish_and_wait("t", str(n), 1)
        wait_for(lambda: "node b is not there any more: no sign of life" in found["a"].output, "b's death")
        found["b"].process.send_signal(signal.SIGCONT)
        assert [int(m.payload) for m in subscriber.wait(100)] == list(range(100))


@pytest.mark.parametrize("way", ["killed", pytest.param("stopped", marks=pytest.mark.slow)])
def test_while_the_server_is_away_messages_wait_and_none_is_lost(hosts: StartHosts, way: str) -> None:
    """Clients of one node reach each other meanwhile; numbered messages check loss, order and repeats."""
    found = hosts("a", "b")
    server: Nats = found.server
    with ExitStack() as stack:
        publisher = client_at(stack, found, "a", "p")
        near = client_at(stack, found, "a", "near")
        far = client_at(stack, found, "b", "far")
        for client in (near, far):
            client.subscribe_and_wait("t/+", 2)
        for n in range(50):
            publisher.publish_and_wait(f"t/{n % 3}", str(n), n % 3)
        far.wait(50)
        server.kill() if way == "killed" else server.pause()
        wait_for(lambda: "node a is alone until this is mended" in found["a"].output, "the loss")
        for n in range(50, 200):
            publisher.publish_and_wait(f"t/{n % 3}", str(n), n % 3)
        near.wait(200)
        server.revive()
        for n in range(200, 250):
            publisher.publish_and_wait(f"t/{n % 3}", str(n), n % 3)
        for client in (near, far):
            numbers = [(int(m.payload), m.topic) for m in client.wait(250)]
            for rest in range(3):
                own = [n for n, topic in numbers if topic == f"t/{rest}"]
                assert own == [n for n in range(250) if n % 3 == rest]


def test_when_alone_refuse(hosts: StartHosts) -> None:
    found = hosts("a", "b", cluster="when_alone = refuse")
    found.server.kill()
    wait_for(lambda: "node a is alone until this is mended" in found["a"].output, "the loss")
    with connected(found["a"].port, "late", V5) as client:
        assert client.reason.value == 0x88
    found.server.start()
    found.see("a", "b")
    with connected(found["a"].port, "late", V5) as client:
        assert client.reason.value == 0


def test_it_starts_while_nats_is_down_and_joins_later(tmp_path: Path) -> None:
    server = Nats(tmp_path / "nats")
    server.find()
    with ExitStack() as stack:
        found = Hosts(tmp_path, [server], stack)
        broker = found.start("a")
        assert "no connection to NATS at nats://127.0.0.1:" in broker.output
        assert "node a is alone until this is mended" in broker.output
        client = client_at(stack, found, "a", "c")
        client.subscribe_and_wait("t", 1)
        client.publish_and_wait("t", "local", 1)
        client.wait(1)
        stack.enter_context(running(server))
        found.start("b")
        found.see("a", "b")
        client_at(stack, found, "b", "p").publish_and_wait("t", "far", 1)
        assert [m.payload for m in client.wait(2)] == [b"local", b"far"]


def test_a_name_that_is_taken_is_refused(three: Hosts, tmp_path: Path) -> None:
    conf = tmp_path / "again.conf"
    conf.write_text(three.conf("a"))
    command = [sys.executable, "-m", "pybroker", "start", "--conf", str(conf)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "another process is the node a of the cluster pybroker" in done.stderr
    assert "give each node its own cluster.node" in done.stderr


def test_sys_topics_are_published_once_for_all(hosts: StartHosts) -> None:
    found = hosts("a", "b", more="sys.interval = 1s")
    with ExitStack() as stack:
        watcher = client_at(stack, found, "b", "w")
        watcher.subscribe_and_wait("$SYS/brokers/cluster/nodes", 0)
        for number in range(3):
            client_at(stack, found, "a", f"c{number}")
        wait_for(lambda: [m.payload for m in watcher.received][-2:] == [b"2", b"2"], "two nodes")
        counts = client_at(stack, found, "b", "counts")
        counts.subscribe_and_wait("$SYS/brokers/clients/connected", 0)
        wait_for(lambda: b"5" in [m.payload for m in counts.received], "all clients")


@pytest.mark.slow
def test_each_of_three_servers_may_die(tmp_path: Path) -> None:
    """Numbered messages check loss, order and repeats, and a session goes round meanwhile."""
    servers = three_as_one(tmp_path)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server))
        asyncio.run(until_made(servers[0].url, "pybroker"))
        found = Hosts(tmp_path, list(servers), stack)
        for name in "abc":
            found.start(name, cluster="replicas = 3")
        found.see("a", "b", "c")
        publisher = client_at(stack, found, "a", "p")
        far = client_at(stack, found, "b", "far")
        far.subscribe_and_wait("t", 2)
        with connected(found["a"].port, "walker", V5, connect=keeping()) as client:
            client.subscribe_and_wait("t", 2)
        number, walked = 0, []
        for round_, victim in enumerate((*servers, *servers)):
            for _ in range(20):
                publisher.publish_and_wait("t", str(number), 1 + number % 2)
                number += 1
            victim.kill()
            for _ in range(20):
                publisher.publish_and_wait("t", str(number), 1 + number % 2)
                number += 1
            far.wait(number)

            def goes_on(node: str) -> bool:
                """Retried: three servers without their leader need seconds for another."""
                with connected(found[node].port, "walker", V5, connect=keeping()) as client:
                    if client.reason.value == 0x88:
                        return False
                    assert client.session_present
                    walked.extend(int(m.payload) for m in client.wait(40))
                    return True

            wait_for(partial(goes_on, "bca"[round_ % 3]), "the session")
            victim.start()
            found.see("a", "b", "c")
        for rest in range(2):  # the order of one QoS
            got = [n for m in far.received if (n := int(m.payload)) % 2 == rest]
            assert got == [n for n in range(number) if n % 2 == rest]
        for rest in range(2):  # it may have left before it acknowledged the last of QoS 1
            own = [n for n in dict.fromkeys(walked) if n % 2 == rest]
            assert own == [n for n in range(number) if n % 2 == rest]
