"""`pybroker webhook dead`, `pybroker events dead`: list, show, retry or purge dead letters."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from pybroker.broker.printable import printable
from pybroker.broker.routing.topics import filter_error

from ..backends.make import sender_for
from ..delivery.deadletters import DeadLetterError, DeadLetters, Selection, moment
from ..settings import WebhookSettings
from ..spool.store import DeadLetter
from .endpoints import BAD_CONFIGURATION, AddConf, Load, Subparsers, chosen, fail
from .listener import pretty


def add_dead(commands: Subparsers[argparse.ArgumentParser], add_conf: AddConf, load: Load) -> None:
    dead = commands.add_parser(
        "dead",
        help="list, show, retry or purge dead letters",
        description="Dead letters are events that an endpoint with a spool refused, or that were given up.",
    )
    inner = dead.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, help, run in (
        ("list", "one line for each", _dead_list),
        ("show", "headers, body, and the endpoint's last answer", _dead_show),
        ("retry", "send them again; delivered ones are removed", _dead_retry),
        ("purge", "delete them", _dead_purge),
    ):
        parser = inner.add_parser(name, help=help, description=f"Dead letters: {help}.")
        add_conf(parser)
        _add_selection(parser)
        if name == "purge":
            parser.add_argument(
                "--all", action="store_true", help="all of them; required without any other selection"
            )
        parser.set_defaults(run=lambda options, run=run: _dead(options, load, run))


def _add_selection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "number",
        nargs="*",
        type=int,
        metavar="NUMBER",
        help="dead letters with these numbers, as printed by `list`",
    )
    add("--endpoint", metavar="NAME", help="only of this endpoint")
    add(
        "--worker",
        type=int,
        metavar="N",
        help="of this worker, where the broker has several (system.workers)",
    )
    add("--event", metavar="EVENT", help="only of this event, such as on_message_publish")
    add("--topic", type=_topic_filter, metavar="FILTER", help="only with a topic that this filter matches")
    add(
        "--since",
        type=_moment,
        metavar="TIME",
        help="only those that died after: an age (15m, 6h, 2d) or 2026-01-31T12:00",
    )
    add("--until", type=_moment, metavar="TIME", help="only those that died before")


def _dead(
    options: argparse.Namespace,
    load: Load,
    run: Callable[[argparse.Namespace, list[DeadLetters], Selection], int],
) -> int:
    endpoints = chosen(options, load)
    if endpoints is None:
        return BAD_CONFIGURATION
    kept = [
        DeadLetters(one if not options.worker else _of_worker(one, options.worker))
        for one in endpoints
        if one.spool
    ]
    for dead in kept:
        spool = dead.settings.spool
        if not options.worker and spool is not None and (spool.path / "worker-1").is_dir():
            return fail(f"each worker has a spool of its own below {spool.path}: say which by --worker N")
    if not kept:
        names = ", ".join(one.name for one in endpoints) or "none is configured"
        return fail(f"no {options.what} has a spool ({names}), so there are no dead letters")
    seqs = frozenset(options.number) or None
    if seqs and len(kept) > 1:
        return fail("a NUMBER needs --endpoint NAME, because several endpoints have a spool")
    selection = Selection(options.event, options.topic, options.since, options.until, seqs)
    try:
        return run(options, kept, selection)
    except DeadLetterError as error:
        return fail(str(error))


def _of_worker(endpoint: WebhookSettings, worker: int) -> WebhookSettings:
    assert endpoint.spool is not None
    path = endpoint.spool.path / f"worker-{worker}"
    return replace(endpoint, spool=replace(endpoint.spool, path=path))


def _dead_list(_: argparse.Namespace, kept: list[DeadLetters], selection: Selection) -> int:
    count = 0
    for dead in kept:
        for letter in dead.find(selection):
            if not count:
                print(
                    f"{'NUMBER':>8}  {'DIED':19}  {'ENDPOINT':12}  {'EVENT':20}  {'TOPIC OR CLIENT':28}  WHY"
                )
            count += 1
            item = letter.delivery
            about = item.topic if item.topic is not None else item.client
            died = _when(letter.died_at)
            row = f"{item.seq:>8}  {died}  {dead.settings.name:12}  {item.event:20}  {about:28}  {letter.why}"
            print(printable(row))
    print(f"{count} dead letters")
    return 0


def _dead_show(_: argparse.Namespace, kept: list[DeadLetters], selection: Selection) -> int:
    for dead in kept:
        for letter in dead.find(selection):
            print(printable("\n".join(_described(dead.settings.name, letter)), keep="\n\t"))
    return 0


def _described(endpoint: str, letter: DeadLetter) -> Iterator[str]:
    item = letter.delivery
    yield f"--- {endpoint} {item.seq}: {item.event}"
    yield f"webhook-id: {item.id}"
    yield f"happened:   {_when(item.at)}"
    yield f"died:       {_when(letter.died_at)}, {letter.why}"
    yield from (f"{name}: {value}" for name, value in item.headers)
    yield pretty(item.body)
    if letter.answer:
        yield f"the endpoint's answer: {letter.answer.decode(errors='replace')}"
    yield ""


def _dead_retry(_: argparse.Namespace, kept: list[DeadLetters], selection: Selection) -> int:
    failed = False
    for dead in kept:
        total = sum(1 for _ in dead.find(selection))
        with _progress(f"{dead.settings.label}", total) as step:
            result = asyncio.run(dead.retry(selection, sender_for, step))
        print(f"{dead.settings.label}: {result.delivered} delivered, {result.failed} failed")
        if result.stopped:
            print(f"{dead.settings.label}: stopped, {result.stopped}", file=sys.stderr)
        failed = failed or bool(result.failed)
    return 1 if failed else 0


def _dead_purge(options: argparse.Namespace, kept: list[DeadLetters], selection: Selection) -> int:
    if selection == Selection() and not (options.all or options.endpoint):
        return fail("select some: NUMBER, --endpoint, --event, --topic, --since or --until, or --all")
    for dead in kept:
        print(f"{dead.settings.label}: {dead.purge(selection)} dead letters deleted")
    return 0


@contextmanager
def _progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, where there is enough to wait for."""
    if total < 20 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda: progress.advance(task)


def _moment(text: str) -> float:
    try:
        return moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _topic_filter(text: str) -> str:
    if error := filter_error(text):
        raise argparse.ArgumentTypeError(f'"{text}": {error}')
    return text


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")[:19]
