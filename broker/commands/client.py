"""Shared by `pybroker pub` and `pybroker sub`: mosquitto's options for a connection."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import ssl
import sys
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from ..printable import not_reached
from .options import BAD_CONFIGURATION

if TYPE_CHECKING:
    from ..client.client import Client, Login
    from ..packets.properties import Properties

VERSIONS = {"31": 3, "mqttv31": 3, "311": 4, "mqttv311": 4, "5": 5, "mqttv5": 5}
WILL_FOR_EVER = 0xFFFFFFFF
PORTS = {(False, False): 1883, (False, True): 8883, (True, False): 80, (True, True): 443}
"""The default ports, by WebSocket and TLS."""
PROPERTIES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "content-type": ("content_type", str),
    "response-topic": ("response_topic", str),
    "correlation-data": ("correlation_data", os.fsencode),
    "message-expiry-interval": ("message_expiry_interval", int),
    "payload-format-indicator": ("payload_format_indicator", int),
}


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options for the address, and for the login."""
    add = parser.add_argument_group("connection").add_argument
    add("--help", action="help", help="show this help message and exit")
    add("-h", "--host", metavar="HOST", help="the broker (127.0.0.1)")
    add(
        "-p",
        "--port",
        type=whole(1, 65_535),
        metavar="PORT",
        help="its port (1883; with TLS 8883; WebSocket 80, with TLS 443)",
    )
    add(
        "-L",
        "--url",
        metavar="URL",
        help="mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC, or ws(s)://... for WebSocket",
    )
    add("--ws", action="store_true", help="connect by WebSocket")
    add("--ws-path", default=None, metavar="PATH", help="the path of the WebSocket (/mqtt)")
    add("-i", "--id", default="", metavar="ID", help="the client identifier; by default a random one")
    add("-u", "--username", metavar="NAME")
    add("-P", "--pw", metavar="PASSWORD")
    add("-V", "--protocol-version", choices=VERSIONS, default="311", help="31, 311 (default) or 5")
    add("-k", "--keepalive", type=whole(0, 65_535), default=60, metavar="SECONDS", help="(%(default)s)")
    add("-d", "--debug", action="store_true", help="print what pub or sub does")
    add(
        "--cafile",
        type=Path,
        metavar="FILE",
        help="connect by TLS, and check the broker's certificate",
    )
    add("--cert", type=Path, metavar="FILE", help="the client certificate, for a broker that asks for one")
    add("--key", type=Path, metavar="FILE", help="its private key")
    add("--insecure", action="store_true", help="do not check the name in the broker's certificate")
    add("--will-topic", metavar="TOPIC")
    add("--will-payload", default="", metavar="TEXT")
    add("--will-qos", type=int, choices=(0, 1, 2), default=0)
    add("--will-retain", action="store_true")


def run(options: argparse.Namespace, work: Callable[[Client], Awaitable[int]]) -> int:
    """Connect, run ``work``, disconnect. Returns the exit status."""
    from ..client.client import ClientError

    _check(options)
    try:
        return asyncio.run(_run(options, work))
    except (ClientError, ValueError) as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1


async def _run(options: argparse.Namespace, work: Callable[[Client], Awaitable[int]]) -> int:
    from ..client.client import Client, ClientError
    from ..client.stream import Place

    where = f"{options.host}:{options.port}"
    place = Place(options.host, options.port, _context(options), options.ws_path if options.ws else None)
    try:
        client = await Client.connect(place, _login(options))
    except ssl.SSLError as error:
        raise ClientError(f"TLS with {where}: {error.reason or error}") from None
    except OSError as error:
        raise ClientError(not_reached(error, where)) from None
    if options.debug:
        print(f"connected to {options.host}:{options.port}", file=sys.stderr)
    try:
        return await work(client)
    finally:
        await client.disconnect()


def refuse(text: str) -> NoReturn:
    """End with what is wrong about an option."""
    print(f"pybroker: {text}", file=sys.stderr)
    raise SystemExit(BAD_CONFIGURATION)


def whole(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number within bounds, for ``type=``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least} to {most}")
        return number

    return read


def seconds(least: float | None = None) -> Callable[[str], float]:
    """Reads a time for ``type=``: above 0, or from ``least`` on."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        enough = number > 0 if least is None else number >= least
        if not enough or number == inf:
            bound = "above 0" if least is None else f"of at least {least:g}"
            raise argparse.ArgumentTypeError(f"{text} is not a time {bound}, in seconds")
        return number

    return read


def take_url(options: argparse.Namespace) -> None:
    """Fill in the values of ``-L``, and the defaults. Exits with an error if a value is wrong."""
    secure = options.cafile is not None
    if options.url is not None:
        form = "write mqtt://HOST:PORT/TOPIC, or mqtts, ws or wss in place of mqtt"
        try:
            parts = urlsplit(options.url)
            port = parts.port
        except ValueError as error:
            refuse(f'-L "{options.url}": {error}; {form}')
        if parts.scheme not in ("mqtt", "mqtts", "ws", "wss") or not parts.hostname:
            refuse(f'-L "{options.url}": {form}')
        secure = secure or parts.scheme in ("mqtts", "wss")
        options.ws = options.ws or parts.scheme in ("ws", "wss")
        options.host = options.host or parts.hostname
        options.port = options.port or port
        options.username = options.username or (unquote(parts.username) if parts.username else None)
        options.pw = options.pw or (unquote(parts.password) if parts.password else None)
        if topic := unquote(parts.path.removeprefix("/")):
            options.topic = options.topic or ([topic] if options.topics else topic)
    options.secure = secure
    options.host = options.host or "127.0.0.1"
    options.port = options.port or PORTS[options.ws, secure]
    if options.ws_path is not None and not options.ws:
        refuse("--ws-path is for a WebSocket: add --ws, or -L ws://...")
    options.ws_path = options.ws_path or "/mqtt"
    if not options.ws_path.startswith("/"):
        refuse(f'--ws-path "{options.ws_path}": a path begins with /')


def _check(options: argparse.Namespace) -> None:
    from ..routing.topics import topic_error

    if not options.secure and (options.cert or options.key or options.insecure):
        refuse("--cert, --key and --insecure are for TLS: add --cafile FILE, or -L mqtts://... or wss://...")
    if options.key and not options.cert:
        refuse("--key needs --cert FILE")
    if options.pw is not None and options.username is None and VERSIONS[options.protocol_version] < 5:
        refuse("-P needs -u NAME: MQTT before 5.0 has no password without a user name")  # [MQTT-3.1.2-22]
    if options.will_topic is None and (options.will_payload or options.will_qos or options.will_retain):
        refuse("--will-topic TOPIC is missing")
    if options.will_topic is not None and (error := topic_error(options.will_topic)):
        refuse(f'--will-topic "{options.will_topic}": {error}')


def _login(options: argparse.Namespace) -> Login:
    from ..client.client import Login
    from ..packets.model import Will

    will = None
    if options.will_topic:
        payload = os.fsencode(options.will_payload)
        will = Will(options.will_topic, payload, options.will_qos, options.will_retain)
    clean = getattr(options, "clean", True)
    return Login(
        client_id=options.id or f"pybroker-{secrets.token_hex(6)}",
        version=VERSIONS[options.protocol_version],
        clean_start=clean,
        keepalive=options.keepalive,
        username=options.username,
        password=None if options.pw is None else os.fsencode(options.pw),
        will=will,
        session_expiry=0 if clean else WILL_FOR_EVER,
    )


def _context(options: argparse.Namespace) -> ssl.SSLContext | None:
    if not options.secure:
        return None
    try:
        context = ssl.create_default_context(cafile=options.cafile)
    except OSError as error:
        refuse(f"--cafile {options.cafile}: {error.strerror or error}")
    if options.insecure:
        context.check_hostname = False
    if options.cert is not None:
        try:
            context.load_cert_chain(options.cert, options.key)
        except OSError as error:
            refuse(f"--cert {options.cert}, --key {options.key or options.cert}: {error.strerror or error}")
    return context


def properties_of(words: list[list[str]] | None) -> Properties | None:
    """``-D publish NAME VALUE``, and ``-D publish user-property NAME VALUE``. Exits with what is wrong."""
    from ..packets.packet_type import PacketType
    from ..packets.properties import Properties, encode_properties

    if not words:
        return None
    found = Properties()
    pairs: list[tuple[str, str]] = []
    for command, *rest in words:
        if command != "publish":
            refuse(f"-D {command}: only properties of publish are taken")
        if len(rest) == 3 and rest[0] == "user-property":
            pairs.append((rest[1], rest[2]))
        elif len(rest) == 2 and rest[0] in PROPERTIES:
            name, read = PROPERTIES[rest[0]]
            try:
                setattr(found, name, read(rest[1]))
                encode_properties(found, PacketType.PUBLISH)
            except ValueError as error:
                refuse(f'-D publish {rest[0]} "{rest[1]}": {error}')
        else:
            names = ", ".join(PROPERTIES)
            refuse(f"-D publish takes user-property NAME VALUE, or NAME VALUE where NAME is one of {names}")
    found.user_properties = tuple(pairs)
    return found
