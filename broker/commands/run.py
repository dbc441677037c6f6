"""`pybroker run`: a test broker for as long as a command runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import Commands

_DESCRIPTION = """\
Start a broker on free ports, run CMD with MQTT_HOST, MQTT_PORT, MQTT_URL and WEBHOOK_LOG in its
environment, stop the broker, and exit with CMD's status.

  pybroker run --conf nanomq.conf -- npm test

More variables, if there are such listeners: MQTT_TLS_URL, MQTT_TLS_PORT, MQTT_CA_FILE,
MQTT_WS_URL, MQTT_WS_PORT, MQTT_WSS_URL, MQTT_WSS_PORT. With --page, PYBROKER_PAGE
is the address of the page. PYBROKER_CONTROL is an HTTP address for tests in any language, to see
packets, wait for messages and inject faults; docs/testing.md lists its calls. Each webhook request is
a line of JSON in WEBHOOK_LOG; it is posted only with --post. `pybroker faults` works in CMD."""


def add_run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run a command, such as a test suite, with its own broker",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add("--conf", type=Path, metavar="FILE", help="a nanomq.conf; its addresses and spools are not used")
    add("--host", default="127.0.0.1", help="the address to bind; default %(default)s")
    add("--port", type=int, default=0, help="the port of the tcp listener; 0, the default, picks a free one")
    add("--tls", action="store_true", help="add an ssl listener, with a new certificate")
    add("--ws", action="store_true", help="add a ws listener; with --tls also a wss listener")
    add(
        "--webhook",
        action="append",
        default=[],
        metavar="EVENT",
        help="log this event, such as on_message_publish",
    )
    add(
        "--webhook-log",
        type=Path,
        metavar="FILE",
        help="keep the log in this file; by default it is a temporary file",
    )
    add(
        "--user",
        action="append",
        default=[],
        type=_user,
        metavar="NAME:PASSWORD",
        help="a user that may connect; other clients may not; may be repeated",
    )
    add("--virtual-clock", action="store_true", help="time moves only when the test advances it")
    add(
        "--page",
        action="store_true",
        help="serve a page that shows the broker in a browser; print its address",
    )
    add("--page-port", type=int, metavar="PORT", help="the port of the page; by default a free one")
    add("--post", action="store_true", help="also post webhooks to the URLs of the configuration")
    add("command", nargs=argparse.REMAINDER, metavar="CMD", help="the command and its arguments")
    run.set_defaults(run=_run, usage=run.error)


def _user(text: str) -> tuple[str, str]:
    name, separator, password = text.partition(":")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f'"{text}": write NAME:PASSWORD')
    return name, password


def _run(options: argparse.Namespace) -> int:
    from ..testing.run import run_command

    # Options end at the first word of CMD: what follows is the command's own. ``--`` may stand before it.
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        options.usage("the command to run is missing: pybroker run CMD")
    return run_command(options)
