"""`pybroker webhook listen`: the options, and a listener until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio

from ..body.signature import SecretError, key_of
from .endpoints import Subparsers, fail
from .listener import Listener


def add_listen(commands: Subparsers[argparse.ArgumentParser]) -> None:
    listen = commands.add_parser(
        "listen",
        help="receive webhooks and print them",
        description="Receive webhooks and print them, until Ctrl-C. Use it to try out webhooks.",
    )
    add = listen.add_argument
    add(
        "port",
        nargs="?",
        type=_port,
        default=8888,
        metavar="PORT",
        help="the port to listen on (8888); 0 picks a free one",
    )
    add("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    add(
        "--secret",
        action="append",
        default=[],
        metavar="whsec_...",
        help="check signatures with this secret; may be repeated",
    )
    add("--status", type=_status, default=200, metavar="CODE", help="the status of the answers (200)")
    listen.set_defaults(run=_listen)


def _port(text: str) -> int:
    return _number(text, 0, 65_535)


def _status(text: str) -> int:
    return _number(text, 200, 599)


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text} is not a number from {least} to {most}")
    return int(text)


def _listen(options: argparse.Namespace) -> int:
    try:
        for secret in options.secret:
            key_of(secret)
    except SecretError as error:
        return fail(str(error))

    def show(text: str) -> None:
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise KeyboardInterrupt from None  # nobody reads it any more: the same as Ctrl-C

    listener = Listener(options.secret, options.status, show)

    def started(port: int) -> None:
        print(f"listening on http://{options.host}:{port}/ - stop with Ctrl-C", flush=True)

    try:
        asyncio.run(listener.run(options.host, options.port, started))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        return fail(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    return 1 if listener.bad_signatures else 0
