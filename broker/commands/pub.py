"""`pybroker pub`: publish, with mosquitto_pub's options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .client import add_connection, properties_of, run
from .options import Commands

if TYPE_CHECKING:
    from ..client.client import Client


def add_pub(commands: Commands) -> None:
    pub = commands.add_parser(
        "pub",
        add_help=False,
        help="publish a message",
        description="Publish a message, or each line of standard input. The options are mosquitto_pub's.",
    )
    add = pub.add_argument
    add("-t", "--topic", metavar="TOPIC", help="where it is published")
    what = pub.add_mutually_exclusive_group()
    what.add_argument("-m", "--message", metavar="TEXT", help="the payload")
    what.add_argument("-f", "--file", type=Path, metavar="FILE", help="the payload is in this file")
    what.add_argument("-n", "--null-message", action="store_true", help="an empty payload")
    what.add_argument("-s", "--stdin-file", action="store_true", help="the payload is standard input")
    what.add_argument("-l", "--stdin-line", action="store_true", help="a message for each line of input")
    add("-q", "--qos", type=int, choices=(0, 1, 2), default=0, help="(%(default)s)")
    add("-r", "--retain", action="store_true", help="the broker keeps it for later subscribers")
    add("-D", "--property", nargs="+", action="append", metavar="WORD", help="publish NAME VALUE, for -V 5")
    add_connection(pub)
    pub.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..routing.topics import topic_error

    properties = properties_of(options.property)

    async def publish(client: Client) -> int:
        for payload in _payloads(options):
            await client.publish(options.topic, payload, options.qos, options.retain, properties)
            if options.debug:
                print(f"published {len(payload)} bytes to {options.topic}", file=sys.stderr)
        return 0

    if options.topic is None and options.url is None:
        print("pybroker: -t TOPIC is missing: where to publish", file=sys.stderr)
        return 2
    if not any(
        (
            options.message is not None,
            options.file,
            options.null_message,
            options.stdin_file,
            options.stdin_line,
        )
    ):
        print("pybroker: what is to be published? -m TEXT, -f FILE, -n, -s or -l", file=sys.stderr)
        return 2
    if options.topic is not None and (error := topic_error(options.topic)):
        print(f'pybroker: -t "{options.topic}": {error}', file=sys.stderr)
        return 2
    if properties is not None and options.protocol_version not in ("5", "mqttv5"):
        print("pybroker: -D needs -V 5: properties are MQTT 5.0's", file=sys.stderr)
        return 2
    return run(options, publish)


def _payloads(options: argparse.Namespace) -> list[bytes] | _Lines:
    if options.stdin_line:
        return _Lines()
    if options.stdin_file:
        return [sys.stdin.buffer.read()]
    if options.file is not None:
        return [options.file.read_bytes()]
    return [b"" if options.null_message else options.message.encode()]


class _Lines:
    """The lines of standard input, as they come."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> bytes:
        line = sys.stdin.buffer.readline()
        if not line:
            raise StopIteration
        return line.rstrip(b"\r\n")
