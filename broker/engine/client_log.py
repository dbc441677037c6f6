"""Log lines about clients that connect, disconnect, or do something that is not allowed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..events import Client
from ..packets.errors import ProtocolError
from ..packets.model import VERSION_NAMES
from ..packets.reasons import ReasonCode, reason_name

if TYPE_CHECKING:
    from .channel import Channel

log = logging.getLogger("pybroker.clients")


def connected(client: Client, session_present: bool) -> None:
    if not log.isEnabledFor(logging.INFO):  # before the words are put together
        return
    session = "clean start" if client.clean_start else "session resumed" if session_present else "new session"
    log.info(
        "client %s connected from %s: MQTT %s, %s%s, keepalive %d s",
        client.client_id,
        _where(client.peer, client.listener),
        VERSION_NAMES.get(client.protocol_version, client.protocol_version),
        f"user {client.username}, " if client.username is not None else "",
        session,
        client.keepalive,
    )


def refused(client: Client, reason: ReasonCode, text: str) -> None:
    log.info(
        "client %s%s from %s is refused: %s (%s)",
        client.client_id,
        f", user {client.username}," if client.username is not None else "",
        _where(client.peer, client.listener),
        text,
        reason_name(reason),
    )


def disconnected(client: Client, reason: str) -> None:
    log.info("client %s disconnected: %s", client.client_id, reason)


def broke_rule(channel: Channel, error: ProtocolError) -> None:
    """Log a broken rule of the protocol; ``channel`` may have no client yet."""
    client = channel.client
    who = f"client {client.client_id} from " if client is not None else "a connection from "
    where = _where(channel.peer, channel.listener)
    log.info("%s%s broke the protocol: %s (%s)", who, where, error, reason_name(error.reason))


def silent(peer: str, listener: str, seconds: float) -> None:
    log.info("a connection from %s sent no CONNECT within %g s", _where(peer, listener), seconds)


def not_subscribed(client: Client, refused: Sequence[tuple[str, ReasonCode]]) -> None:
    """Log one line for all refused topic filters of a SUBSCRIBE, with the reason."""
    topic_filter, reason = refused[0]
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    log.info(
        "client %s may not subscribe to %s: %s%s", client.client_id, topic_filter, reason_name(reason), more
    )


def no_websocket(peer: str, listener: str, why: str) -> None:
    log.info("a connection from %s was closed: %s", _where(peer, listener), why)


def _where(peer: str, listener: str) -> str:
    return f"{peer} (listener {listener})" if peer else f"listener {listener}"
