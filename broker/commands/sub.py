"""`pybroker sub`: subscribe and print messages, with mosquitto_sub's options."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from .client import add_connection, refuse, run, seconds, take_url, whole
from .options import Commands

if TYPE_CHECKING:
    from ..client.client import Client
    from .sub_format import Format

TIMED_OUT = 27
"""mosquitto_sub's exit status after -W."""


def add_sub(commands: Commands) -> None:
    sub = commands.add_parser(
        "sub",
        add_help=False,
        help="subscribe and print the messages",
        description="Print the payload of each message that comes. The options are named as mosquitto_sub's.",
    )
    add = sub.add_argument
    add("-t", "--topic", action="append", metavar="FILTER", help="a topic filter; may be repeated")
    add("-q", "--qos", type=int, choices=(0, 1, 2), default=0, help="(%(default)s)")
    add("-v", "--verbose", action="store_true", help="print the topic before the payload")
    add("-j", "--json", action="store_const", const="%j", dest="format", help="the same as -F %%j")
    add(
        "-F",
        "--format",
        metavar="FORMAT",
        help="print each message in this format: %%t topic, %%p payload, %%q QoS, %%r retained, %%l length,"
        " %%x payload in hexadecimal, %%j JSON, %%J JSON whose payload is JSON, %%I time, %%U seconds since"
        " the epoch, %%P user properties, @Y-@m-@d as strftime, \\n; the others are in mosquitto_sub(1)",
    )
    add("-N", "--no-eol", action="store_true", help="print no line break after a payload")
    add("-C", "--count", type=whole(1, sys.maxsize), metavar="N", help="end after N messages")
    add("-W", "--timeout", type=seconds(), metavar="SECONDS", help="end after this time, with status 27")
    add("-R", "--no-retained", action="store_true", help="do not print retained messages")
    add(
        "-c",
        "--disable-clean-session",
        action="store_false",
        dest="clean",
        help="keep the session: needs -i",
    )
    add_connection(sub)
    sub.set_defaults(run=_run, topics=True)


def _run(options: argparse.Namespace) -> int:
    from ..packets.model import SubscribeFilter

    take_url(options)
    _check(options)
    form = _format(options)

    async def subscribe(client: Client) -> int:
        wanted = options.topic
        await client.subscribe([SubscribeFilter(topic_filter, options.qos) for topic_filter in wanted])
        if options.debug:
            print(f"subscribed to {', '.join(wanted)}", file=sys.stderr)
        try:
            async with asyncio.timeout(options.timeout):
                await _print(client, options, form)
        except TimeoutError:
            return TIMED_OUT
        return 0

    return run(options, subscribe)


def _check(options: argparse.Namespace) -> None:
    from ..routing.topics import filter_error

    if not options.topic:
        refuse("-t FILTER is missing: the topic filter")
    for topic_filter in options.topic:
        if error := filter_error(topic_filter):
            refuse(f'-t "{topic_filter}": {error}')
    if options.format is not None and options.verbose:
        refuse("-F says all that is printed: leave out -v, and write %t for the topic")
    if not options.clean and not options.id:
        refuse("-c needs -i ID: a session that is kept has a client identifier")


def _format(options: argparse.Namespace) -> Format:
    from .sub_format import Format

    try:
        return Format(options.format or ("%t %p" if options.verbose else "%p"))
    except ValueError as error:
        refuse(f'-F "{options.format}": {error}')


async def _print(client: Client, options: argparse.Namespace, form: Format) -> None:
    count = 0
    async for message in client.messages():
        if message.retain and options.no_retained:
            await client.acknowledge(message)
            continue
        sys.stdout.buffer.write(form.line(message) + (b"" if options.no_eol else b"\n"))
        sys.stdout.buffer.flush()
        await client.acknowledge(message)
        count += 1
        if count == options.count:
            return
