"""The broker goes down and comes back, as its clients see it; the process lives on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..engine.disconnect import leave
from ..engine.engine import Engine
from ..engine.forget import forget_everything
from ..transport.listener import Listener


def take_down(engine: Engine, listeners: Iterable[Listener], *, keep_state: bool) -> None:
    """Nobody can connect, and who was connected is cut off without DISCONNECT or will.

    With ``keep_state`` the sessions that outlive their connection and the retained messages are still there
    afterwards, as in a broker that has them on disk.
    """
    for listener in listeners:
        listener.settings = replace(listener.settings, port=listener.port)  # where its clients look for it
        listener.close()
    for channel in list(engine.channels):
        if channel.session is not None:
            channel.session.will = None
        leave(engine, channel, "server_shutdown")
        channel.link.abort()
    if not keep_state:
        forget_everything(engine)
    engine.flush()


async def bring_up(listeners: Iterable[Listener]) -> None:
    """Accept clients again, where they were accepted before. Raises ListenError."""
    for listener in listeners:
        await listener.open()
