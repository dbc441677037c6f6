"""The brokers that can be measured, and how each is started."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf" / "nanomq.conf"
COMPILED = ROOT / "build" / "compiled" / "venv" / "bin" / "python"
"""The Python that has the wheel with the compiled hot path."""
FLOOR = ROOT / "scripts" / "benchmarks" / "floor.py"
START_TIMEOUT = 30.0
BROKER_CORE, LOAD_CORE = 0, 1

MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 2048
# pybroker is started without lines for connections, too.
connection_messages false
"""
NANOMQ_CONF = """\
mqtt { max_packet_size = 10MB, max_mqueue_len = 2048, retry_interval = 10s }
listeners.tcp { bind = "127.0.0.1:{port}" }
log { to = [console], level = warn }
"""
AMQTT_CONF = """\
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


class StartError(Exception):
    """A broker did not start; the message says which and what it printed."""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that accepts connections."""

    process: subprocess.Popen[bytes]
    port: int
    started_in: float
    """Seconds from the command until the broker said that it is ready, or accepted a connection."""
    output: Path
    """Its output."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> str:
        """Ask it to end, wait for the end, and return its output."""
        self.process.terminate()
        self.process.wait(START_TIMEOUT)
        return self.output.read_text(errors="replace")


@dataclass(frozen=True, slots=True)
class Kind:
    """A program that can be measured."""

    name: str
    label: str
    """The name for readers."""
    missing: Callable[[], str]
    """Why it cannot be measured here; empty if it can."""
    program: Callable[[], str]
    """Its name and version."""
    command: Callable[[Path, int], list[str]]
    """Returns the command that starts it, from a directory for its files and a free port."""
    picks_port: bool = False
    """Whether it chooses a free port by itself and writes the port to ``ready.json``."""
    versions: tuple[int, ...] = (4, 5)
    """The versions of MQTT that it supports."""
    slow: bool = False
    """Whether it is measured with fewer rounds and less time."""


def _without_webhooks(directory: Path) -> Path:
    return variant(directory, "webhook.enable = false")


def variant(directory: Path, *lines: str) -> Path:
    """A file that includes the default configuration and changes ``lines`` of it."""
    path = directory / "nanomq.conf"
    path.write_text("\n".join([f'include "{CONF}"', *lines]) + "\n")
    return path


def pybroker_command(directory: Path, conf: Path, port: int = 0, *python: str) -> list[str]:
    """``port`` 0: any free port; ``python``: the interpreter and its options, if it is not this one."""
    options = [
        f"--url=mqtt://127.0.0.1:{port}",
        f"--ready-file={directory / 'ready.json'}",
        "--log_level=warn",
    ]
    return [*(python or (sys.executable,)), "-m", "pybroker", "start", f"--conf={conf}", *options]


def _configured(directory: Path, text: str, port: int) -> Path:
    path = directory / "broker.conf"
    path.write_text(text.replace("{port}", str(port)))
    return path


def _amqtt_command(directory: Path, port: int) -> list[str]:
    conf = _configured(directory, AMQTT_CONF, port)
    return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(conf)]


def _not_on_path(program: str) -> Callable[[], str]:
    return lambda: "" if shutil.which(program) else f"{program} is not on the PATH"


def _not_compiled() -> str:
    return "" if COMPILED.exists() else "there is no compiled build; `make compiled` makes one"


def _not_importable(*modules: str) -> Callable[[], str]:
    def missing() -> str:
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        return f"{sys.executable} has no {', '.join(absent)}" if absent else ""

    return missing


def _first_line(*command: str) -> Callable[[], str]:
    def line() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip().split("\n")[0]

    return line


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "pybroker",
            "pybroker",
            _not_importable("aiohttp", "pyhocon"),
            lambda: f"pybroker {version_of('pybroker')}",
            lambda directory, _: pybroker_command(directory, CONF),
            picks_port=True,
        ),
        Kind(
            "plain",
            "pybroker, no webhooks",
            _not_importable("aiohttp", "pyhocon"),
            lambda: "pybroker without its webhook section",
            lambda directory, _: pybroker_command(directory, _without_webhooks(directory)),
            picks_port=True,
        ),
        Kind(
            "compiled",
            "pybroker, compiled",
            _not_compiled,
            lambda: "pybroker with its hot path compiled by mypyc",
            # -P: the installed wheel, not the sources of the working directory.
            lambda directory, _: pybroker_command(directory, CONF, 0, str(COMPILED), "-P"),
            picks_port=True,
        ),
        Kind(
            "bare",
            "compiled, no webhooks",
            _not_compiled,
            lambda: "the compiled build without its webhook section",
            lambda directory, _: pybroker_command(
                directory, _without_webhooks(directory), 0, str(COMPILED), "-P"
            ),
            picks_port=True,
        ),
        Kind(
            "mosquitto",
            "mosquitto",
            _not_on_path("mosquitto"),
            _first_line("mosquitto", "-h"),
            lambda directory, port: ["mosquitto", "-c", str(_configured(directory, MOSQUITTO_CONF, port))],
        ),
        Kind(
            "floor",
            "bytes forwarded by uvloop",
            _not_importable("uvloop"),
            lambda: f"uvloop {version_of('uvloop')}, which forwards bytes without a broker",
            lambda _, port: [sys.executable, str(FLOOR), str(port)],
            versions=(4,),
        ),
        Kind(
            "nanomq",
            "NanoMQ",
            _not_on_path("nanomq"),
            _first_line("nanomq", "--version"),
            lambda directory, port: [
                "nanomq",
                "start",
                "--conf",
                str(_configured(directory, NANOMQ_CONF, port)),
            ],
        ),
        Kind(
            "amqtt",
            "amqtt",
            _not_importable("amqtt"),
            lambda: f"amqtt {version_of('amqtt')}",
            _amqtt_command,
            versions=(4,),
            slow=True,
        ),
    )
}


def available(names: Sequence[str]) -> tuple[list[Kind], list[str]]:
    """The named brokers that can be measured here, and why the others cannot. Raises ValueError for an
    unknown name."""
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise ValueError(f"no broker is called {', '.join(unknown)}; known: {', '.join(KINDS)}")
    kinds = [KINDS[name] for name in names]
    absent = [f"{kind.name}: not measured, {why}" for kind in kinds if (why := kind.missing())]
    return [kind for kind in kinds if not kind.missing()], absent


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """``command`` on that core alone, if there are two cores."""
    if shutil.which("taskset") and (os.cpu_count() or 1) > 1:
        return ["taskset", "-c", str(core), *command]
    return list(command)


@contextmanager
def running(kind: Kind, directory: Path) -> Iterator[Running]:
    """``kind``, started in ``directory``. Raises StartError."""
    port = 0 if kind.picks_port else free_port()
    with started(kind.name, kind.command(directory, port), directory, port) as broker:
        yield broker


@contextmanager
def started(
    name: str, command: Sequence[str], directory: Path, port: int = 0, *, core: int = BROKER_CORE
) -> Iterator[Running]:
    """The broker that ``command`` starts, until the context ends. Port 0: the broker writes its port to
    ``ready.json``. The broker is killed at the end, because its queues are not needed any more."""
    output, ready_file = directory / "output.txt", directory / "ready.json"
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory), "PYTHONUNBUFFERED": "1"}
    began = time.perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen(
            pinned(core, command), cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment
        )
    try:
        while not (open_port := _accepting(port) if port else _told(ready_file)):
            if process.poll() is not None or time.perf_counter() - began > START_TIMEOUT:
                raise StartError(f"{name} did not start:\n{output.read_text(errors='replace')[-2000:]}")
            time.sleep(0.002)
        yield Running(process, open_port, time.perf_counter() - began, output)
    finally:
        process.kill()
        process.wait()
        ready_file.unlink(missing_ok=True)


def _told(ready_file: Path) -> int:
    """The port in the file; 0 if the file is not there yet."""
    try:
        return int(json.loads(ready_file.read_text())["listeners"][0]["port"])
    except FileNotFoundError:
        return 0


def _accepting(port: int) -> int:
    """``port`` if it accepts connections; 0 if it does not yet."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return port if probe.connect_ex(("127.0.0.1", port)) == 0 else 0


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
