"""`pybroker start --workers N` with real processes and real clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from pybroker.broker.cluster.owner import owner_of
from pybroker.broker.packets.encoder import encode, make_publish
from tests.harness import connect_packet

from ..integration.clients import VERSIONS, Client, connected
from ..integration.support import ROOT, Endpoint, RunningBroker, wait_for

Start = Callable[..., RunningBroker]
V5 = MQTTProtocolVersion.MQTTv5
LISTENER = 'listeners.tcp.bind = "127.0.0.1:0"\n'


def names(worker: int, workers: int = 3, prefix: str = "c") -> Iterator[str]:
    """Client identifiers that belong to the worker, from 0 on."""
    return (name for n in range(10_000) if owner_of(name := f"{prefix}{n}", workers) == worker)


def name_for(worker: int, workers: int = 3, prefix: str = "c") -> str:
    return next(names(worker, workers, prefix))


def pybroker(broker: RunningBroker, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pybroker", *words],
        cwd=ROOT,
        env={**os.environ, "XDG_RUNTIME_DIR": str(broker.conf.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def workers_of(broker: RunningBroker) -> list[int]:
    """Their process numbers, oldest first."""
    pid = broker.process.pid
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def expiring(seconds: int) -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = seconds
    return properties


def keeping() -> dict[str, Any]:
    return {"clean_start": False, "properties": expiring(1000)}


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_of_all_workers_reach_each_other(start_broker: Start, version: MQTTProtocolVersion) -> None:
    broker = start_broker("", "--workers", "3")
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connected(broker.port, name_for(n % 3, prefix=f"c{n}"), version))
            for n in range(6)
        ]
        for client in clients:
            client.subscribe_and_wait("t/#", 2)
        for n, client in enumerate(clients):
            client.publish_and_wait(f"t/{n}", f"from {n}", n % 3)
        for client in clients:
            got = sorted((m.topic, m.payload) for m in client.wait(6))
            assert got == [(f"t/{n}", b"from %d" % n) for n in range(6)]


def test_a_session_is_found_whichever_worker_accepts(start_broker: Start) -> None:
    broker = start_broker("", "--workers", "3")
    client_id = name_for(2)
    with connected(broker.port, client_id, V5, connect=keeping()) as client:
        client.subscribe_and_wait("t", 1)
    with connected(broker.port, "p") as publisher:
        for n in range(10):
            publisher.publish_and_wait("t", str(n), 1)
            with connected(broker.port, client_id, V5, connect=keeping()) as client:
                assert client.session_present
                assert [int(m.payload) for m in client.wait(1)] == [n]


def test_a_client_identifier_is_connected_once(start_broker: Start) -> None:
    broker = start_broker("", "--workers", "3")
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(broker.port, "same", V5)) for _ in range(6)]
        for client in clients[:-1]:
            wait_for(client.left.is_set, "the end of the connection before")
        assert not clients[-1].left.is_set()


def test_shared_groups_over_all_workers(start_broker: Start) -> None:
    broker = start_broker("", "--workers", "2")
    with ExitStack() as stack:
        members = [
            stack.enter_context(connected(broker.port, name_for(n % 2, 2, f"m{n}"), V5)) for n in range(4)
        ]
        for member in members:
            member.subscribe_and_wait("$share/g/t", 1)
        publishers = [stack.enter_context(connected(broker.port, name_for(n, 2, "p"))) for n in range(2)]
        for n in range(200):
            publishers[n % 2].publish_and_wait("t", str(n), 1)
        wait_for(lambda: sum(len(m.received) for m in members) >= 200, "all messages")
        got = [[int(m.payload) for m in member.received] for member in members]
        assert sorted(n for some in got for n in some) == list(range(200))
        assert all(25 <= len(some) <= 75 for some in got), [len(some) for some in got]


def test_retained_messages_and_wills(start_broker: Start) -> None:
    broker = start_broker("", "--workers", "2")
    with connected(broker.port, name_for(0, 2)) as publisher:
        publisher.publish_and_wait("kept", "x", 1, retain=True)
    dying = Client(name_for(0, 2, "d"), MQTTProtocolVersion.MQTTv311)
    dying.will_set("kept/will", "gone", 1, retain=True)
    dying.connect("127.0.0.1", broker.port)
    dying.loop_start()
    assert dying.answered.wait(60)
    sock = dying.socket()
    assert sock is not None
    sock.shutdown(socket.SHUT_RDWR)
    dying.loop_stop()
    with connected(broker.port, name_for(1, 2)) as subscriber:
        subscriber.subscribe_and_wait("kept/#", 1)
        # What is published while somebody subscribes may come as it is published, and as retained.
        both = {("kept", b"x"), ("kept/will", b"gone")}
        wait_for(lambda: {(m.topic, m.payload) for m in subscriber.received} == both, "both")


@pytest.mark.parametrize("kind", ["ws", "unix", "ssl"])
def test_other_listeners(start_broker: Start, kind: str, tmp_path: Path) -> None:
    """What comes through them goes to its worker as well."""
    if kind == "ws":
        conf, options = 'listeners.ws.bind = "127.0.0.1:0"', {"transport": "websockets"}
    elif kind == "unix":
        conf, options = f'listeners.unix.bind = "{tmp_path}/s"', {"transport": "unix"}
    else:
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        (tmp_path / "cert.pem").write_bytes(b"".join(c.bytes() for c in certificate.cert_chain_pems))
        (tmp_path / "key.pem").write_bytes(certificate.private_key_pem.bytes())
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        conf = (
            f'listeners.ssl {{ bind = "127.0.0.1:0", certfile = "{tmp_path}/cert.pem", '
            f'keyfile = "{tmp_path}/key.pem" }}'
        )
        options = {}
    broker = start_broker(conf, "--workers", "3", listener="")
    facts = broker.facts["listeners"][0]
    with ExitStack() as stack:
        clients: list[Client] = []
        for n in range(6):
            client = Client(name_for(n % 3, prefix=f"c{n}"), V5, **options)
            if kind == "ssl":
                client.tls_set(str(tmp_path / "ca.pem"))
            client.connect(facts["path"] if kind == "unix" else "127.0.0.1", facts["port"] or 1)
            client.loop_start()
            stack.callback(client.loop_stop)
            stack.callback(client.disconnect)
            assert client.answered.wait(60)
            clients.append(client)
        for client in clients:
            client.subscribe_and_wait("t", 1)
        large = "x" * 1_000_000
        for n, client in enumerate(clients):
            client.publish_and_wait("t", large + str(n), 1)
        for client in clients:
            assert sorted(len(m.payload) for m in client.wait(6)) == [1_000_001] * 6


def test_connect_may_come_in_any_pieces(start_broker: Start) -> None:
    broker = start_broker("", "--workers", "2")
    for worker in range(2):
        for size in (1, 7, 1000):
            data = encode(connect_packet(name_for(worker, 2), 4), 4) + b"\xc0\x00"
            with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(data), size):
                    client.sendall(data[at : at + size])
                got = b""
                while len(got) < 6:
                    got += client.recv(100)
                assert got == b"\x20\x02\x00\x00\xd0\x00"


def test_what_comes_with_connect_goes_along(start_broker: Start) -> None:
    """Also where it is more than is read at a time."""
    broker = start_broker("", "--workers", "2")
    with connected(broker.port, name_for(0, 2)) as subscriber:
        subscriber.subscribe_and_wait("t", 0)
        for worker in range(2):
            publishes = b"".join(make_publish("t", bytes(50_000), version=4).wire for _ in range(20))
            with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as client:
                client.sendall(encode(connect_packet(name_for(worker, 2, "p"), 4), 4) + publishes)
                subscriber.wait(20 * (worker + 1))


def test_who_says_nothing_or_something_else_is_sent_away(start_broker: Start) -> None:
    broker = start_broker("limits.connect_timeout = 200ms", "--workers", "2")
    for said in (
        b"",
        b"\x10",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc0\x00",
        b"\x10\xff\xff\xff\x7f",
        b"\x10\x02\x00\x00",
    ):
        with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as client:
            client.sendall(said)
            with suppress(ConnectionResetError):
                assert client.recv(100) == b""


def test_webhooks_tell_each_event_once(start_broker: Start, endpoint: Endpoint) -> None:
    conf = f'webhook {{ url = "{endpoint.url}", events = [{{ event = "on_client_connected" }}, '
    conf += '{ event = "on_message_publish" }, { event = "on_message_delivered" }] }'
    broker = start_broker(conf, "--workers", "3")
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(broker.port, name_for(n))) for n in range(3)]
        for client in clients:
            client.subscribe_and_wait("t", 1)
        for client in clients:
            client.publish_and_wait("t", "x", 1)
        for client in clients:
            client.wait(3)
        wait_for(lambda: len(endpoint.requests) >= 3 + 3 + 9, "the events")
    broker.stop()
    actions = endpoint.actions()
    assert {action: actions.count(action) for action in set(actions)} == {
        "client_connected": 3,
        "message_publish": 3,
        "message_delivered": 9,
    }


def test_each_worker_has_a_spool_of_its_own(start_broker: Start, endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.status = 400
    conf = f'webhook.w {{ url = "{endpoint.url}", spool.path = "{tmp_path}/spool"\n'
    broker = start_broker(conf + 'events = [{ event = "on_client_connected" }] }', "--workers", "2")
    for n in range(2):
        with connected(broker.port, name_for(n, 2)):
            pass
    endpoint.wait(2)
    conf_flags = ("--conf", str(broker.conf))
    refused = pybroker(broker, "webhook", "dead", "list", *conf_flags)
    assert "say which by --worker N" in refused.stderr
    for n in range(2):
        words = ("webhook", "dead", "list", *conf_flags, "--worker", str(n + 1))
        wait_for(
            lambda words=words, n=n: name_for(n, 2) in pybroker(broker, *words).stdout, "its dead letter"
        )


def test_a_worker_that_dies_is_replaced(start_broker: Start) -> None:
    broker = start_broker("sys.interval = 1s", "--workers", "3")
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(broker.port, name_for(n))) for n in range(3)]
        for client in clients:
            client.reconnect_delay_set(1, 1)
            client.subscribe_and_wait("t", 1)
        clients[0].publish_and_wait("kept", "x", 1, retain=True)
        before = workers_of(broker)
        assert len(before) == 3
        os.kill(before[1], signal.SIGKILL)
        wait_for(
            lambda: any(client.left.is_set() for client in clients), "the end of its clients' connections"
        )
        wait_for(lambda: len(workers_of(broker)) == 3 and workers_of(broker) != before, "its replacement")
        [cut] = [client for client in clients if client.left.is_set()]
        stays = [client for client in clients if client is not cut]
        wait_for(cut.is_connected, "the client that was cut off to come back")
        cut.subscribe_and_wait("t", 1)
        stays[0].publish_and_wait("t", "again", 1)
        for client in clients:
            assert [m.payload for m in client.wait(1)] == [b"again"]
        cut.subscribe_and_wait("kept", 1)
        assert cut.wait(2)[1].payload == b"x"
        watcher = stack.enter_context(connected(broker.port, "w"))
        watcher.subscribe_and_wait("$SYS/brokers/workers/replaced")
        wait_for(lambda: any(m.payload == b"1" for m in watcher.received), "the count")
    assert "has died" in broker.output
    assert broker.stop() == 0


def test_with_sqlite_sessions_of_a_dead_worker_come_back(start_broker: Start, tmp_path: Path) -> None:
    broker = start_broker(f'sqlite {{ mounted_file_path = "{tmp_path}/state" }}', "--workers", "2")
    client_id = name_for(1, 2)
    with connected(broker.port, client_id, V5, connect=keeping()) as client:
        client.subscribe_and_wait("t", 1)
    with connected(broker.port, name_for(0, 2), V5) as publisher:
        for pid in workers_of(broker):
            publisher.publish_and_wait("t", f"before {pid}", 1)
            publisher.publish_and_wait("kept", "x", 1, retain=True)
        os.kill(_process_of(broker, 1), signal.SIGKILL)
        publisher.publish_and_wait("t", "while it is away", 1)
    with connected(broker.port, client_id, V5, connect=keeping()) as client:
        assert client.session_present
        assert [m.payload.split()[0] for m in client.wait(3)] == [b"before", b"before", b"while"]
        client.subscribe_and_wait("kept", 1)
        client.wait(4)
    assert broker.stop() == 0
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["worker-1", "worker-2"]


def _process_of(broker: RunningBroker, worker: int) -> int:
    """The worker is known by the sockets that it listens on."""
    sockets = {
        f"socket:[{line.split()[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()
        if line.endswith(f"/{worker}.control")
    }
    for pid in workers_of(broker):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if str(descriptor.readlink()) in sockets:
                return pid
    raise AssertionError(f"no process is worker {worker}")


@pytest.mark.parametrize(("before", "now"), [(2, 1), (2, 3), (1, 2)])
def test_state_of_another_number_of_workers_is_refused(
    tmp_path: Path, start_broker: Start, before: int, now: int
) -> None:
    conf = f'sqlite {{ mounted_file_path = "{tmp_path}/state" }}'
    assert start_broker(conf, "--workers", str(before)).stop() == 0
    with pytest.raises(AssertionError, match=f"not of {now} workers"):
        start_broker(conf, "--workers", str(now))


def test_commands_are_about_all_workers(start_broker: Start) -> None:
    broker = start_broker("log.level = info\n", "--workers", "3")
    with ExitStack() as stack:
        for n in range(5):
            stack.enter_context(connected(broker.port, f"c{n}"))
        wait_for(
            lambda: pybroker(broker, "health").stdout.startswith("5 clients on "), "the count of clients"
        )
        broker.conf.write_text(LISTENER + "log.level = debug\n")
        done = pybroker(broker, "reload")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("log.level: info -> debug") == 1
        broker.conf.write_text("nonsense {\n")
        assert pybroker(broker, "reload").returncode != 0
        shown = json.loads(json.dumps(pybroker(broker, "top", "--once", "--interval", "0.1").stdout))
        assert "c4" in shown
    assert pybroker(broker, "stop").returncode == 0
    assert broker.process.wait(60) == 0
    assert broker.output.rstrip().endswith("stopped")


def test_numbers_of_all_workers_are_added_up(start_broker: Start) -> None:
    broker = start_broker(
        "sys.interval = 1s\nhttp_server { port = 0, auth_type = no_auth }", "--workers", "3"
    )

    def overview() -> dict[str, Any]:
        with urlopen(broker.facts["page"] + "api/v4/overview") as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found

    with ExitStack() as stack:
        clients = [stack.enter_context(connected(broker.port, name_for(n))) for n in range(3)]
        for client in clients:
            client.subscribe_and_wait("t", 1)
        clients[0].publish_and_wait("t", "x", 1)
        for client in clients:
            client.wait(1)
        counts = ("clients", "subscriptions", "messages_received", "messages_sent")
        wait_for(lambda: [overview()[name] for name in counts] == [3, 3, 1, 3], "the sums")
        clients[0].subscribe_and_wait("$SYS/brokers/clients/connected")
        wait_for(lambda: any(m.payload == b"3" for m in clients[0].received), "the clients of all")


def test_http_is_about_all_workers(start_broker: Start, endpoint: Endpoint) -> None:
    conf = f'webhook.w {{ url = "{endpoint.url}", events = [{{ event = "on_client_connected" }}] }}\n'
    broker = start_broker(conf + "http_server { port = 0, auth_type = no_auth }", "--workers", "3")

    def ask(path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = Request(broker.facts["page"] + "api/v4" + path, data, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    with ExitStack() as stack:
        ids = [name_for(n) for n in range(3)]
        clients = [stack.enter_context(connected(broker.port, one)) for one in ids]
        for one, client in zip(ids, clients, strict=True):
            client.subscribe_and_wait([("same", 1), (f"own/{one}", 1)])
        for path in ("/clients", "/sessions"):
            assert sorted(found["clientid"] for found in ask(path)[1]["data"]) == sorted(ids)
        _, page = ask("/clients?_page=2&_limit=2")
        assert (len(page["data"]), page["meta"]["count"]) == (1, 3)
        assert len(ask("/subscriptions")[1]["data"]) == 6
        routes = [found["topic"] for found in ask("/routes")[1]["data"]]
        assert sorted(routes) == sorted(["same", *(f"own/{one}" for one in ids)])
        for one in ids:
            assert [found["clientid"] for found in ask(f"/clients/{one}")[1]["data"]] == [one]
            assert ask(f"/sessions/{one}")[1]["data"]["clientid"] == one
            assert ask(f"/clients/{one}/packets") == (200, {"code": 0, "data": []})
            wanted = {"clientid": one, "topic": "new", "qos": 1}
            assert ask("/mqtt/subscribe", "POST", wanted)[1]["code"] == 0
        message = {"topic": "new", "payload": "x", "qos": 1}
        wait_for(
            lambda: (
                ask("/mqtt/publish", "POST", message)[1]["code"] == 0
                and all(client.received for client in clients)
            ),
            "messages at all clients",
        )
        for one in ids:
            path = f"/clients/{one}/packets"
            wait_for(lambda: "PUBACK" in {each["type"] for each in ask(path)[1]["data"]}, path)  # noqa: B023
        wait_for(lambda: ask("/webhooks/w")[1]["data"]["succeeded"] == 3, "the webhooks of all workers")
        assert ask("/clients?conf=1")[0] == 400
        for one, client in zip(ids, clients, strict=True):
            client.loop_stop()
            assert ask(f"/clients/{one}", "DELETE")[1]["code"] == 0
            assert ask(f"/clients/{one}")[1]["data"] == []
        assert ask("/banned", "POST", {"as": "clientid", "who": "banned"})[0] == 200
        with connected(broker.port, "banned") as refused:
            assert refused.reason.is_failure


def test_in_the_background_no_worker_holds_the_terminal(tmp_path: Path) -> None:
    conf = tmp_path / "nanomq.conf"
    conf.write_text(f'{LISTENER}log.dir = "{tmp_path}"\n')
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pybroker"]
    started = subprocess.run(
        [*command, "start", "-d", "--workers", "2", "--conf", str(conf)],
        cwd=ROOT,
        env=environ,
        capture_output=True,  # ends only once nobody has the other ends
        text=True,
        timeout=60,
        check=False,
    )
    try:
        assert started.returncode == 0, started.stderr
        assert "2 workers" in started.stdout
    finally:
        stopped = subprocess.run(
            [*command, "stop", "--conf", str(conf)], cwd=ROOT, env=environ, timeout=60, check=False
        )
    assert stopped.returncode == 0
    log = (tmp_path / "pybroker.log").read_text()
    assert "stopped" in log


def test_the_workers_end_with_their_supervisor(start_broker: Start) -> None:
    broker = start_broker("", "--workers", "2")
    workers = workers_of(broker)
    broker.process.kill()
    wait_for(
        lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers), "the end of all workers"
    )


def test_what_prevents_a_start_is_said_once(start_broker: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError) as failed:
            start_broker("", "--workers", "3", listener=f'listeners.tcp.bind = "127.0.0.1:{port}"\n')
    assert str(failed.value).count("is in use by another program") == 1


def test_no_workers_are_refused(start_broker: Start) -> None:
    with pytest.raises(AssertionError, match=r"system\.workers"):
        start_broker("system.workers = 0")
