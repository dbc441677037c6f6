"""`pybroker pub`: publish messages, with mosquitto_pub's options."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .client import add_connection, properties_of, refuse, run, seconds, take_url, whole
from .options import Commands

if TYPE_CHECKING:
    from ..client.client import Client


def add_pub(commands: Commands) -> None:
    pub = commands.add_parser(
        "pub",
        add_help=False,
        help="publish a message",
        description="Publish a message. The options are named as mosquitto_pub's.",
    )
    add = pub.add_argument
    add("-t", "--topic", metavar="TOPIC", help="the topic to publish to")
    what = pub.add_mutually_exclusive_group()
    what.add_argument("-m", "--message", metavar="TEXT", help="the payload")
    what.add_argument("-f", "--file", type=Path, metavar="FILE", help="read the payload from this file")
    what.add_argument("-n", "--null-message", action="store_true", help="an empty payload")
    what.add_argument("-s", "--stdin-file", action="store_true", help="read the payload from standard input")
    what.add_argument(
        "-l", "--stdin-line", action="store_true", help="send one message for each line of input"
    )
    add("-q", "--qos", type=int, choices=(0, 1, 2), default=0, help="(%(default)s)")
    add(
        "--repeat",
        type=whole(1, sys.maxsize),
        metavar="N",
        help="publish the message N times; not with -l",
    )
    add("--repeat-delay", type=seconds(0), metavar="SECONDS", help="wait this long between two of them")
    add("-r", "--retain", action="store_true", help="publish a retained message")
    add("-D", "--property", nargs="+", action="append", metavar="WORD", help="publish NAME VALUE, for -V 5")
    add_connection(pub)
    pub.set_defaults(run=_run, topics=False)


def _run(options: argparse.Namespace) -> int:
    take_url(options)
    _check(options)
    properties = properties_of(options.property)
    payload = None if options.stdin_line else _payload(options)

    async def publish(client: Client) -> int:
        async for each in _lines() if payload is None else _times(payload, options):
            await client.publish(options.topic, each, options.qos, options.retain, properties)
            if options.debug:
                print(f"published {len(each)} bytes to {options.topic}", file=sys.stderr)
        return 0

    return run(options, publish)


def _check(options: argparse.Namespace) -> None:
    from ..routing.topics import topic_error

    if options.topic is None:
        refuse("-t TOPIC is missing: the topic to publish to")
    if error := topic_error(options.topic):
        refuse(f'-t "{options.topic}": {error}')
    given = options.message is not None or options.file is not None
    if not (given or options.null_message or options.stdin_file or options.stdin_line):
        refuse("the payload is missing: -m TEXT, -f FILE, -n, -s or -l")
    if options.stdin_line and options.repeat is not None:
        refuse("--repeat is not for -l, which sends a message for each line")
    if options.repeat is None and options.repeat_delay is not None:
        refuse("--repeat-delay needs --repeat N")
    if options.property and options.protocol_version not in ("5", "mqttv5"):
        refuse("-D needs -V 5: properties are MQTT 5.0's")


def _payload(options: argparse.Namespace) -> bytes:
    if options.stdin_file:
        return sys.stdin.buffer.read()
    if options.file is not None:
        try:
            content: bytes = options.file.read_bytes()
        except OSError as error:
            refuse(f"-f {options.file}: {error.strerror or error}")
        return content
    return b"" if options.null_message else os.fsencode(options.message)


async def _times(payload: bytes, options: argparse.Namespace) -> AsyncIterator[bytes]:
    for number in range(options.repeat or 1):
        if number:
            await asyncio.sleep(options.repeat_delay or 0)
        yield payload


async def _lines() -> AsyncIterator[bytes]:
    """The lines of standard input, read in a thread: while one is waited for, PINGREQs go out."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    loop = asyncio.get_running_loop()

    def read() -> None:
        # A file object of its own: at exit Python closes sys.stdin, which this thread may be reading.
        with suppress(RuntimeError), open(0, "rb", closefd=False) as stdin:  # the loop is closed
            for line in stdin:
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line.rstrip(b"\r\n")
