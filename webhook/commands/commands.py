"""`pybroker webhook listen | test | dead | status`, ready to be mounted into the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from pybroker.broker.routing.topics import filter_error

from ..backend import MakeTransport
from ..body.encode import ACTIONS
from ..body.formats import format_for, subject
from ..body.samples import sample
from ..body.signature import SecretError, key_of
from ..delivery.deadletters import DeadLetterError, DeadLetters, Selection, moment
from ..delivery.post import Poster
from ..http.client import open_transport
from ..metrics import EndpointStats
from ..parcels import Delivery
from ..reports import render
from ..rules import CompiledRule, transformed
from ..settings import Rule, WebhookSettings
from ..spool.store import DeadLetter
from .listen import Listener, pretty

Subparsers = argparse._SubParsersAction  # argparse has no public name for it
AddConf = Callable[[argparse.ArgumentParser], None]
Load = Callable[[argparse.Namespace], Sequence[WebhookSettings] | None]
"""The endpoints of the configuration; None, with the error printed, where it cannot be read."""
AskStats = Callable[[argparse.Namespace], Sequence[EndpointStats] | None]
"""The counters of the running broker; None, with the error printed, where none answers."""

BAD_CONFIGURATION = 2


def add_commands(
    commands: Subparsers[argparse.ArgumentParser], add_conf: AddConf, load: Load, ask_stats: AskStats
) -> None:
    """Add ``webhook`` to ``commands``; each parser sets ``run``, from the options to an exit status."""
    webhook = commands.add_parser(
        "webhook",
        help="try webhooks, look after dead letters, see counters",
        description="Try webhooks, look after dead letters, see the counters of the running broker.",
    )
    inner = webhook.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_listen(inner)
    _add_test(inner, add_conf, load)
    _add_dead(inner, add_conf, load)
    status = inner.add_parser("status", help="the counters of the running broker")
    add_conf(status)
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(run=lambda options: _status(options, ask_stats))


# ---- listen


def _add_listen(commands: Subparsers[argparse.ArgumentParser]) -> None:
    listen = commands.add_parser(
        "listen",
        help="receive webhooks and print them",
        description="Receive webhooks and print them, until Ctrl-C: the other end for a first try.",
    )
    add = listen.add_argument
    add(
        "port",
        nargs="?",
        type=int,
        default=8888,
        metavar="PORT",
        help="where to listen (8888); 0 picks a free one",
    )
    add("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    add(
        "--secret",
        action="append",
        default=[],
        metavar="whsec_...",
        help="check signatures with it; may be repeated",
    )
    add("--status", type=int, default=200, metavar="CODE", help="answer with it (200)")
    listen.set_defaults(run=_listen)


def _listen(options: argparse.Namespace) -> int:
    try:
        for secret in options.secret:
            key_of(secret)
    except SecretError as error:
        return _fail(str(error))
    listener = Listener(options.secret, options.status, lambda text: print(text, flush=True))

    def started(port: int) -> None:
        print(f"listening on http://{options.host}:{port}/ - stop with Ctrl-C", flush=True)

    try:
        asyncio.run(listener.run(options.host, options.port, started))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        return _fail(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    return 1 if listener.bad_signatures else 0


# ---- test


def _add_test(commands: Subparsers[argparse.ArgumentParser], add_conf: AddConf, load: Load) -> None:
    test = commands.add_parser(
        "test",
        help="send one sample of each configured event",
        description="Send one sample of each configured event to each endpoint and print what came back. "
        "The exit status is 1 where any of them was not taken.",
    )
    add_conf(test)
    test.add_argument("--endpoint", metavar="NAME", help="this endpoint alone")
    test.set_defaults(run=lambda options: _test(options, load))


def _test(options: argparse.Namespace, load: Load) -> int:
    endpoints = _chosen(options, load)
    if endpoints is None:
        return BAD_CONFIGURATION
    taken = [asyncio.run(send_samples(one, print)) for one in endpoints]
    return 0 if all(taken) else 1


async def send_samples(
    settings: WebhookSettings, show: Callable[[str], None], make_transport: MakeTransport = open_transport
) -> bool:
    """Send one sample for each rule; whether the endpoint took them all."""
    poster = Poster(settings, make_transport)
    show(f"webhook {settings.name}: {settings.url}")
    all_taken = True
    try:
        for number, rule in enumerate(settings.rules):
            try:
                delivery = _sample_delivery(settings, rule, number)
            except Exception as error:  # the transform is someone else's
                show(f"  {rule.event}: {type(error).__name__}: {error}")
                all_taken = False
                continue
            taken, said, answer = await poster.post(delivery)
            about = f"  {rule.event}" + (f" {delivery.topic}" if delivery.topic is not None else "")
            text = answer.body.decode(errors="replace").strip() if answer else ""
            show(f"{about}: {said}" + (f": {text[:200]}" if text else ""))
            all_taken = all_taken and taken
    finally:
        await poster.close()
    return all_taken


def _sample_delivery(settings: WebhookSettings, rule: Rule, number: int) -> Delivery:
    event = sample(rule, time.time())
    id = f"test_{time.time_ns():x}_{number}"
    headers, body = format_for(settings)(event, id)
    transform = CompiledRule(f"webhook {settings.name}, events[{number}]", rule).transform
    if transform is not None:
        headers, body = transformed(event, transform, headers, body)
    topic, client = subject(event)
    return Delivery(number, id, event.at, ACTIONS[type(event)], topic, client, headers, body)


# ---- dead letters


def _add_dead(commands: Subparsers[argparse.ArgumentParser], add_conf: AddConf, load: Load) -> None:
    dead = commands.add_parser(
        "dead",
        help="list, show, retry or purge dead letters",
        description="Dead letters are events that an endpoint with a spool would not take.",
    )
    inner = dead.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, help, run in (
        ("list", "one line for each", _dead_list),
        ("show", "headers, body, and the endpoint's last answer", _dead_show),
        ("retry", "post them again; those the endpoint takes are no dead letters any more", _dead_retry),
        ("purge", "throw them away", _dead_purge),
    ):
        parser = inner.add_parser(name, help=help, description=f"Dead letters: {help}.")
        add_conf(parser)
        _add_selection(parser)
        if name == "purge":
            parser.add_argument(
                "--all", action="store_true", help="every one; needed where nothing else narrows"
            )
        parser.set_defaults(run=lambda options, run=run: _dead(options, load, run))


def _add_selection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "number",
        nargs="*",
        type=int,
        metavar="NUMBER",
        help="those with these numbers, as `list` prints them",
    )
    add("--endpoint", metavar="NAME", help="of this endpoint")
    add("--event", metavar="EVENT", help="of this event, such as on_message_publish")
    add("--topic", type=_topic_filter, metavar="FILTER", help="whose topic this filter matches")
    add(
        "--since",
        type=_moment,
        metavar="TIME",
        help="that died after: an age (15m, 6h, 2d) or 2026-01-31T12:00",
    )
    add("--until", type=_moment, metavar="TIME", help="that died before")


def _dead(
    options: argparse.Namespace,
    load: Load,
    run: Callable[[argparse.Namespace, list[DeadLetters], Selection], int],
) -> int:
    endpoints = _chosen(options, load)
    if endpoints is None:
        return BAD_CONFIGURATION
    kept = [DeadLetters(one) for one in endpoints if one.spool]
    if not kept:
        names = ", ".join(one.name for one in endpoints) or "none is configured"
        return _fail(f"no webhook has a spool ({names}), so there are no dead letters")
    seqs = frozenset(options.number) or None
    if seqs and len(kept) > 1:
        return _fail("a NUMBER needs --endpoint NAME where several endpoints have a spool")
    selection = Selection(options.event, options.topic, options.since, options.until, seqs)
    try:
        return run(options, kept, selection)
    except DeadLetterError as error:
        return _fail(str(error))


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
            print(
                f"{item.seq:>8}  {died}  {dead.settings.name:12}  {item.event:20}  {about:28}  {letter.why}"
            )
    print(f"{count} dead letters")
    return 0


def _dead_show(_: argparse.Namespace, kept: list[DeadLetters], selection: Selection) -> int:
    for dead in kept:
        for letter in dead.find(selection):
            print("\n".join(_described(dead.settings.name, letter)))
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
        with _progress(f"webhook {dead.settings.name}", total) as step:
            result = asyncio.run(dead.retry(selection, step))
        print(f"webhook {dead.settings.name}: {result.delivered} delivered, {result.failed} failed")
        if result.stopped:
            print(f"webhook {dead.settings.name}: stopped, {result.stopped}", file=sys.stderr)
        failed = failed or bool(result.failed)
    return 1 if failed else 0


def _dead_purge(options: argparse.Namespace, kept: list[DeadLetters], selection: Selection) -> int:
    if selection == Selection() and not (options.all or options.endpoint):
        return _fail("say which: NUMBER, --endpoint, --event, --topic, --since or --until, or --all")
    for dead in kept:
        print(f"webhook {dead.settings.name}: {dead.purge(selection)} dead letters thrown away")
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


# ---- status


def _status(options: argparse.Namespace, ask_stats: AskStats) -> int:
    stats = ask_stats(options)
    if stats is None:
        return 1
    if options.json:
        print(json.dumps([one.to_dict() for one in stats], indent=2))
    else:
        print(render(stats))
    return 0


# ---- what they share


def _chosen(options: argparse.Namespace, load: Load) -> list[WebhookSettings] | None:
    """The enabled endpoints, or the one that --endpoint names; None, with the error printed."""
    settings = load(options)
    if settings is None:
        return None
    enabled = [one for one in settings if one.enable]
    if options.endpoint is None:
        if not enabled:
            _fail("no webhook is enabled in this configuration")
        return enabled or None
    chosen = [one for one in enabled if one.name == options.endpoint]
    if not chosen:
        names = ", ".join(one.name for one in enabled) or "none"
        _fail(f'there is no webhook "{options.endpoint}"; there is {names}')
    return chosen or None


def _fail(message: str) -> int:
    print(f"pybroker: {message}", file=sys.stderr)
    return BAD_CONFIGURATION


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
