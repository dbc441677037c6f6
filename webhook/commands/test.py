"""`pybroker webhook test`, `pybroker events test`: one sample of each configured event."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

from pybroker.broker.outgoing.urls import shown_url
from pybroker.broker.printable import printable

from ..backend import Address, MakeSender, Verdict
from ..backends.make import sender_for
from ..body.encode import ACTIONS
from ..body.formats import format_for, subject
from ..body.samples import sample
from ..delivery.post import Poster
from ..parcels import Delivery
from ..rules import CompiledRule, transformed
from ..settings import Rule, WebhookSettings
from .endpoints import BAD_CONFIGURATION, AddConf, Load, Subparsers, chosen


def add_test(commands: Subparsers[argparse.ArgumentParser], add_conf: AddConf, load: Load) -> None:
    test = commands.add_parser(
        "test",
        help="send one sample of each configured event",
        description="Send one sample of each configured event to each endpoint and print the answers. "
        "The exit status is 1 if any sample was refused.",
    )
    add_conf(test)
    test.add_argument("--endpoint", metavar="NAME", help="only this endpoint")
    test.set_defaults(run=lambda options: _test(options, load))


def _test(options: argparse.Namespace, load: Load) -> int:
    endpoints = chosen(options, load)
    if endpoints is None:
        return BAD_CONFIGURATION
    taken = [asyncio.run(send_samples(one, print)) for one in endpoints]
    return 0 if all(taken) else 1


async def send_samples(
    settings: WebhookSettings, show: Callable[[str], None], make_sender: MakeSender = sender_for
) -> bool:
    """Send one sample for each rule; whether the endpoint took them all."""
    poster = Poster(settings, make_sender)
    show(f"{settings.label}: {shown_url(settings.url) or settings.backend}")
    all_taken = True
    try:
        for number, rule in enumerate(settings.rules):
            try:
                delivery = _sample_delivery(settings, rule, number, poster.address)
            except Exception as error:  # the transform is someone else's
                show(f"  {rule.event}: {type(error).__name__}: {error}")
                all_taken = False
                continue
            outcome, said = await poster.post(delivery)
            about = f"  {rule.event}" + (f" {delivery.topic}" if delivery.topic is not None else "")
            text = outcome.body.decode(errors="replace").strip()
            show(printable(f"{about}: {said}" + (f": {text[:200]}" if text else ""), keep="\n\t"))
            all_taken = all_taken and outcome.verdict is Verdict.DELIVERED
    finally:
        await poster.close()
    return all_taken


def _sample_delivery(settings: WebhookSettings, rule: Rule, number: int, address: Address) -> Delivery:
    event = sample(rule, time.time())
    id = f"test_{time.time_ns():x}_{number}"
    headers, body = format_for(settings)(event, id)
    transform = CompiledRule(f"{settings.label}, events[{number}]", rule).transform
    if transform is not None:
        headers, body = transformed(event, transform, headers, body)
    if address is not None:
        headers = (*address(event), *headers)
    topic, client = subject(event)
    return Delivery(number, id, event.at, ACTIONS[type(event)], topic, client, headers, body)
