"""Real servers, as Debian packages them, on loopback; killed, stopped and started again by the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.waiting import DEADLINE


class Server:
    """One process that serves on ``port``. Subclasses say how it is started."""

    program = ""
    package = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def find(cls) -> str:
        """The program; skips the test, and says why, where it is not installed."""
        path = shutil.which(cls.program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/lib/rabbitmq/bin")
        if path is None:
            pytest.skip(f"{cls.program} is not installed; apt-get install {cls.package}")
        return path

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    @property
    def url(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        """Return when it accepts connections."""
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self.environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + DEADLINE
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.directory / "output").read_text(errors="replace")[-3000:])
            time.sleep(0.01)

    def ready(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def signal(self, number: int) -> None:
        """To all of its processes: the group is this server's own."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(DEADLINE)

    def end(self) -> None:
        """As an administrator stops it."""
        self.signal(signal.SIGTERM)
        assert self._process is not None
        self._process.wait(DEADLINE)

    def pause(self) -> None:
        """Return when it stands still."""
        self.signal(signal.SIGSTOP)
        assert self._process is not None
        state = Path(f"/proc/{self._process.pid}/stat")
        deadline = time.monotonic() + DEADLINE
        while state.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def revive(self) -> None:
        """Make it run, whether it was killed or paused."""
        self.resume()
        if self._process is None or self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.kill()


class Redis(Server):
    program = "redis-server"
    package = "redis-server"

    def command(self) -> list[str]:
        durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        port = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        return [self.find(), *port, *durable, *self.more]

    more: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


class Nats(Server):
    program = "nats-server"
    package = "nats-server"

    def command(self) -> list[str]:
        where = ["-a", "127.0.0.1", "-p", str(self.port)]
        return [self.find(), *where, "-js", "-sd", str(self.directory / "store"), *self.more]

    more: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


def three_as_one(directory: Path) -> list[Nats]:
    """Three servers that are one NATS; start all of them."""
    routes = [free_port() for _ in range(3)]
    others = ",".join(f"nats://127.0.0.1:{route}" for route in routes)
    servers = []
    for route in routes:
        server = Nats(directory / f"nats-{route}")
        cluster = ("--cluster_name", "c", "--cluster", f"nats://127.0.0.1:{route}", "--routes", others)
        server.more = ("--server_name", f"s{route}", *cluster)
        servers.append(server)
    return servers


class Rabbit(Server):
    program = "rabbitmq-server"
    package = "rabbitmq-server"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._distribution, self._epmd = free_port(), free_port()

    @classmethod
    def find(cls) -> str:
        path = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the one on PATH switches to another user
        if not Path(path).exists():
            pytest.skip("rabbitmq-server is not installed; apt-get install rabbitmq-server")
        return path

    def command(self) -> list[str]:
        return [self.find()]

    def environment(self) -> dict[str, str]:
        here = self.directory
        return {
            **os.environ,
            "HOME": str(here),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd),
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(here / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def ready(self) -> bool:
        """RabbitMQ accepts connections before it serves them: ask for the protocol's first frame."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.settimeout(5)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
        return False

    def stop(self) -> None:
        super().stop()
        self._end_epmd()

    def _end_epmd(self) -> None:
        """It detaches from all that started it; known by the port that is in its environment."""
        mark = f"ERL_EPMD_PORT={self._epmd}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if b"epmd" in (process / "cmdline").read_bytes() and mark in (
                    process / "environ"
                ).read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.find()
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Moto(Server):
    """SNS and SQS, as moto serves them. It keeps all in memory."""

    program = "moto_server"

    @classmethod
    def find(cls) -> str:
        here = Path(__file__).parents[2] / "build" / "moto" / "bin" / "moto_server"
        found = str(here) if here.exists() else shutil.which(cls.program)
        if found is None:
            pytest.skip("moto_server is not installed; .ci/run says how")
        return found

    def command(self) -> list[str]:
        return [self.find(), "-H", "127.0.0.1", "-p", str(self.port)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


MOCK_CLUSTER = """
import sys, time
from confluent_kafka import Producer
producer = Producer({"test.mock.num.brokers": "1"})
(broker,) = producer.list_topics(timeout=30).brokers.values()
open("port", "w").write(str(broker.port))
while True:
    time.sleep(60)
"""


class Kafka(Server):
    """librdkafka's mock cluster, in a process of its own: it picks its port and keeps all in memory."""

    @classmethod
    def find(cls) -> str:
        return sys.executable

    def command(self) -> list[str]:
        return [sys.executable, "-c", MOCK_CLUSTER]

    def ready(self) -> bool:
        with suppress(OSError, ValueError):
            self.port = int((self.directory / "port").read_text())
            return super().ready()
        return False

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"


class Tansu(Server):
    """A server with Kafka's protocol, at a port of its own; it keeps all in memory."""

    advertised = 0
    """The port at which clients are told to find it, where that is another."""

    @classmethod
    def find(cls) -> str:
        places = (Path(__file__).parents[2] / "build" / "tansu").glob("lib/*/site-packages/*/bin/tansu")
        found = next((str(place) for place in places), None) or shutil.which("tansu")
        if found is None:
            pytest.skip("tansu is not installed; .ci/run says how")
        return found

    def command(self) -> list[str]:
        told = f"tcp://localhost:{self.advertised}" if self.advertised else f"tcp://127.0.0.1:{self.port}"
        listeners = ["--listener-url", f"tcp://127.0.0.1:{self.port}", "--advertised-listener-url", told]
        return [self.find(), "broker", *listeners, "--storage-engine", "memory://tansu/"]

    @property
    def url(self) -> str:
        return f"kafka://{f'localhost:{self.advertised}' if self.advertised else f'127.0.0.1:{self.port}'}"
