"""The table from packet types to their handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..packets.model import (
    AcknowledgementRun,
    Auth,
    Connect,
    Disconnect,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from .acknowledge import acknowledged, puback, pubcomp, pubrec, pubrel
from .channel import Channel
from .connect import connect
from .disconnect import disconnect
from .disconnect import leave as leave
from .engine import Engine
from .enhanced_auth import auth
from .publish import publish as publish
from .publish import publish_run as publish_run
from .subscribe import subscribe, unsubscribe

PINGRESP = b"\xd0\x00"


def pingreq(engine: Engine, channel: Channel, packet: Pingreq) -> None:
    channel.send(PINGRESP)  # [MQTT-3.12.4-1]


by_packet: dict[type, Callable[[Engine, Channel, Any], None]] = {
    Connect: connect,
    Publish: publish,
    Puback: puback,
    Pubrec: pubrec,
    Pubrel: pubrel,
    Pubcomp: pubcomp,
    AcknowledgementRun: acknowledged,
    Subscribe: subscribe,
    Unsubscribe: unsubscribe,
    Pingreq: pingreq,
    Disconnect: disconnect,
    Auth: auth,
}
