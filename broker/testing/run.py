"""`pybroker run -- CMD`: a test broker for as long as a command runs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broker import TestBroker
    from .webhooks import Try, Webhook

BAD_CONFIGURATION = 2
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""What a shell says."""
BY_SIGNAL = 128
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
SETTLE = 5.0
"""Seconds for the last webhooks to be posted, once the command has ended."""


def run_command(options: argparse.Namespace) -> int:
    """The exit status of the command, or why there is none."""
    from ..app import START_ERRORS
    from ..config import ConfigError
    from .broker import TestBroker
    from .control import served

    try:
        broker = TestBroker(
            options.conf,
            host=options.host,
            port=options.port,
            tls=options.tls,
            ws=options.ws,
            webhooks=options.webhook,
            post=options.post,
            page=options.page if options.page_port is None else options.page_port,
            users=dict(options.user) or None,
            virtual_clock=options.virtual_clock,
        )
        broker.running.clients_are_here = False
        with _webhook_log(options.webhook_log) as log:
            broker.start()
            if broker.running.setup.page is not False:
                print(f"pybroker: page at {broker.page_url}", file=sys.stderr)
            try:
                with _announced(broker, options.conf), _logged(broker, log), served(broker) as address:
                    variables = {**_variables(broker), "WEBHOOK_LOG": log.name, "PYBROKER_CONTROL": address}
                    status = _run(options.command, {**os.environ, **variables})
                if status not in (0, NOT_FOUND, NOT_EXECUTABLE):
                    print(
                        f"pybroker: {options.command[0]} ended with {status}. What the broker saw last:\n"
                        f"{broker.report()}",
                        file=sys.stderr,
                    )
                return status
            finally:
                broker.close()
    except KeyboardInterrupt:  # before there was a command
        return BY_SIGNAL + signal.SIGINT
    except (ConfigError, *START_ERRORS, OSError, ImportError) as error:
        print(error if isinstance(error, ConfigError) else f"pybroker: {error}", file=sys.stderr)
        return BAD_CONFIGURATION


def _run(command: list[str], environment: dict[str, str]) -> int:
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    with ExitStack() as handlers:
        for number in PASSED_ON:
            handlers.enter_context(_handling(number, pass_on))
        # Ctrl-C reaches the command by itself; it decides what to do, and we wait for it.
        handlers.enter_context(_handling(signal.SIGINT, lambda *_: None))
        try:
            child = subprocess.Popen(command, env=environment)  # noqa: S603 - the caller's own command
        except FileNotFoundError:
            print(f"pybroker: {command[0]}: there is no such command", file=sys.stderr)
            return NOT_FOUND
        except OSError as error:
            print(f"pybroker: {command[0]}: {error.strerror}", file=sys.stderr)
            return NOT_EXECUTABLE
        for one in early:
            child.send_signal(one)
        status = child.wait()
    return status if status >= 0 else BY_SIGNAL - status


@contextmanager
def _handling(number: signal.Signals, handler: Any) -> Iterator[None]:
    before = signal.getsignal(number)
    if before == signal.SIG_IGN:  # as under nohup: the command is to ignore it too
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _variables(broker: TestBroker) -> dict[str, str]:
    """What the command finds in its environment."""
    from ..process.instances import PID_VARIABLE

    found = {
        "MQTT_HOST": broker.host,
        "MQTT_PORT": str(broker.port),
        "MQTT_URL": broker.url,
        PID_VARIABLE: str(os.getpid()),
    }
    if broker.running.setup.page is not False:
        found["PYBROKER_PAGE"] = broker.page_url
    kinds = {one.settings.type for one in broker.running.app.listeners}
    for kind, prefix in (("ssl", "MQTT_TLS"), ("ws", "MQTT_WS"), ("wss", "MQTT_WSS")):
        if kind in kinds:
            address = broker.address(kind)
            found |= {f"{prefix}_URL": address.url, f"{prefix}_PORT": str(address.port)}
            if address.cafile is not None:
                found["MQTT_CA_FILE"] = str(address.cafile)
    return found


@contextmanager
def _webhook_log(path: Path | None) -> Iterator[IO[str]]:
    if path is not None:
        with path.absolute().open("w", encoding="utf-8") as log:
            yield log
    else:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="webhooks-", suffix=".jsonl") as log:
            yield log


@contextmanager
def _logged(broker: TestBroker, log: IO[str]) -> Iterator[None]:
    """Each try becomes a line once it has its answer, those of the command's last events too."""
    from .waiting import WaitTimeout
    from .webhooks import Webhook

    written: dict[int, int] = {}

    def write(hook: Webhook) -> None:
        done = written.get(id(hook), 0)
        for one in hook.tries[done:]:
            if one.status is None and not one.error:
                break
            log.write(json.dumps(_entry(hook, one)) + "\n")
            done += 1
        log.flush()
        written[id(hook)] = done

    recorder = broker.running.recorder
    broker.running.call(lambda: recorder.listen(Webhook, write))
    try:
        yield
        with suppress(WaitTimeout):
            broker.drain(SETTLE)
    finally:
        broker.running.call(lambda: recorder.unlisten(Webhook, write))


def _entry(hook: Webhook, one: Try) -> dict[str, Any]:
    try:
        body = hook.json()
    except (ValueError, RecursionError):
        body = hook.body.decode(errors="backslashreplace")
    return {
        "at": one.at,
        "endpoint": hook.endpoint,
        "url": hook.url,
        "id": hook.id,
        "headers": hook.headers,
        "body": body,
        "status": one.status,
        "error": one.error,
    }


@contextmanager
def _announced(broker: TestBroker, conf: Path | None) -> Iterator[None]:
    """`pybroker faults` finds the broker."""
    from ..process import instances
    from ..process.control import ControlSocket
    from ..process.faults import fault_command
    from ..process.health import health_command

    running = broker.running
    path = instances.runtime_dir() / f"{os.getpid()}.sock"
    commands = ControlSocket(
        path,
        {
            "faults": fault_command(running.faults, running.app.outage),
            "health": health_command(running.engine, running.app.listeners.all),
        },
    )
    running.run(commands.open()).result()
    listeners = [one.facts for one in running.app.listeners]
    announced = instances.announce(
        instances.Instance(os.getpid(), str(conf.resolve()) if conf else None, listeners, str(path))
    )
    try:
        yield
    finally:
        announced.unlink(missing_ok=True)
        running.call(commands.close)
