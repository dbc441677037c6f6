"""The test broker over HTTP: what `pybroker run` offers to tests in any language.

Every request has a JSON object in its body, or none, and gets JSON: the result, or ``{"error": text}`` with
status 400, 404, or 408 for a wait that came to nothing. The address has an unguessable path, on the loopback.
"""

from __future__ import annotations

import json
import secrets
import threading
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..faults.rules import FaultError, Rule, make
from ..faults.seen import SeenPacket
from .broker import TestBroker
from .messages import Message
from .waiting import WaitTimeout
from .webhooks import Webhook

MAX_BODY = 64 << 20
TIMEOUT = 60.0
"""Seconds for a request to come."""

Values = dict[str, Any]


class Control:
    """What can be asked, each a method that takes the request's values by name."""

    def __init__(self, broker: TestBroker) -> None:
        self._broker = broker
        self.calls: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("GET", "messages"): self.messages,
            ("GET", "packets"): self.packets,
            ("GET", "clients"): lambda: [asdict(one) for one in broker.clients.values()],
            ("GET", "sessions"): lambda: [asdict(one) for one in broker.sessions.values()],
            ("GET", "subscriptions"): lambda: [asdict(one) for one in broker.subscriptions],
            ("GET", "retained"): lambda: [_message(one) for one in broker.retained.values()],
            ("GET", "webhooks"): lambda: [_webhook(one) for one in broker.webhooks],
            ("GET", "report"): broker.report,
            ("GET", "faults"): lambda: [_fault(rule) for rule in broker.running.faults],
            ("POST", "wait_for"): self.wait_for,
            ("POST", "wait_for_packet"): self.wait_for_packet,
            ("POST", "wait_for_webhook"): self.wait_for_webhook,
            ("POST", "wait_for_client"): broker.wait_for_client,
            ("POST", "drain"): broker.drain,
            ("POST", "publish"): self.publish,
            ("POST", "disconnect"): broker.disconnect,
            ("POST", "reset"): broker.reset,
            ("POST", "restart"): broker.restart,
            ("POST", "advance"): broker.clock.advance,
            ("POST", "faults"): self.add_fault,
            ("DELETE", "faults"): self.remove_faults,
        }

    def messages(self, topic: str = "#", client: str | None = None) -> list[Values]:
        return [_message(one) for one in self._broker.messages(topic, client=client)]

    def packets(
        self, type: str | None = None, client: str | None = None, direction: str | None = None
    ) -> list[Values]:
        return [_packet(one) for one in self._broker.packets(type, client=client, direction=direction)]

    def wait_for(self, topic: str, count: int = 1, timeout: float = 5.0, **query: Any) -> list[Values]:
        return [_message(one) for one in self._broker.wait_for(topic, count=count, timeout=timeout, **query)]

    def wait_for_packet(self, type: str, count: int = 1, timeout: float = 5.0, **query: Any) -> list[Values]:
        found = self._broker.wait_for_packet(type, count=count, timeout=timeout, **query)
        return [_packet(one) for one in found]

    def wait_for_webhook(
        self, action: str | None = None, count: int = 1, timeout: float = 5.0, **query: Any
    ) -> list[Values]:
        found = self._broker.wait_for_webhook(action, count=count, timeout=timeout, **query)
        return [_webhook(one) for one in found]

    def publish(
        self, topic: str, payload: Any = None, payload_base64: str | None = None, **options: Any
    ) -> None:
        """Text goes as it is, other JSON as JSON, bytes as ``payload_base64``."""
        self._broker.publish(
            topic, payload if payload_base64 is None else b64decode(payload_base64, validate=True), **options
        )

    def add_fault(self, action: str, **values: Any) -> Values:
        fault = make({"action": action, **values})
        return _fault(self._broker.running.call(lambda: self._broker.running.faults.add(fault)))

    def remove_faults(self, number: int | None = None) -> None:
        """One, or all."""
        faults = self._broker.running.faults
        if number is None:
            self._broker.running.call(faults.clear)
        elif not self._broker.running.call(lambda: faults.remove(number)):
            raise KeyError(f"there is no fault {number}")


@contextmanager
def served(broker: TestBroker) -> Iterator[str]:
    """Serves the broker's control endpoint; gives its address, to which the name of a call is added."""
    control = Control(broker)
    token = secrets.token_urlsafe(24)
    known = {"calls": control.calls, "prefix": f"/{token}/", "timeout": TIMEOUT}
    handler = type("_Handler", (_Request,), known)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{token}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls: Mapping[tuple[str, str], Callable[..., Any]]
    prefix: str

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """The output is the command's."""

    def _answer(self) -> None:
        status, value = self._carried_out()
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _carried_out(self) -> tuple[int, Any]:
        name = self.path.removeprefix(self.prefix) if self.path.startswith(self.prefix) else ""
        try:
            values = self._values()
        except ValueError as error:
            self.close_connection = True
            return 400, {"error": str(error)}
        call = self.calls.get((self.command, name))
        if call is None:
            there = ", ".join(f"{method} {one}" for method, one in self.calls)
            return 404, {"error": f"there is no {self.command} {name}; there are {there}"}
        try:
            return 200, call(**values)
        except WaitTimeout as error:
            return 408, {"error": str(error)}
        except (ValueError, TypeError, FaultError, Base64Error, RuntimeError) as error:
            return 400, {"error": str(error)}
        except KeyError as error:
            return 404, {"error": str(error.args[0])}

    def _values(self) -> Values:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MAX_BODY):
            raise ValueError(f"the body must have a Content-Length of at most {MAX_BODY} bytes")
        body = self.rfile.read(int(length))
        try:
            values = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            raise ValueError("the body is not JSON") from None
        if not isinstance(values, dict):
            raise ValueError("the body is not a JSON object")
        return values


def _message(message: Message) -> Values:
    return {
        "topic": message.topic,
        **_payload(message.payload),
        "qos": message.qos,
        "retain": message.retain,
        "client": message.client,
        "own": message.own,
        "at": message.at,
        "properties": _properties(message.properties),
    }


def _payload(payload: bytes) -> Values:
    """Text, and always the bytes in base64; ``payload`` is null where they are no text."""
    try:
        text: str | None = payload.decode()
    except UnicodeDecodeError:
        text = None
    return {"payload": text, "payload_base64": b64encode(payload).decode()}


def _packet(packet: SeenPacket) -> Values:
    return {
        "type": packet.type,
        "direction": packet.direction,
        "client": packet.client,
        "topic": packet.topic,
        "at": packet.at,
        "fate": packet.fate,
        "text": str(packet),
    }


def _webhook(hook: Webhook) -> Values:
    return {"action": hook.action, "delivered": hook.delivered, "body": hook.json(), "tries": len(hook.tries)}


def _fault(rule: Rule) -> Values:
    return {"number": rule.number, "struck": rule.fired, "text": str(rule.fault)}


def _properties(properties: Any) -> Values:
    found = {}
    for one in fields(properties):
        value = getattr(properties, one.name)
        if value is not None and value != ():
            found[one.name] = b64encode(value).decode() if isinstance(value, bytes) else value
    return found
