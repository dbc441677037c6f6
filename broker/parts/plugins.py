"""The part that tells amqtt's plugins when the broker starts and stops."""

from __future__ import annotations

from ..part import Part
from .admission import Admission


class Plugins(Part):
    """Tells the plugins that access control has loaded; there may be none."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def start(self) -> None:
        if (plugins := self._admission.plugins) is not None:
            await plugins.before_listening()

    async def leave(self) -> None:
        if (plugins := self._admission.plugins) is not None:
            await plugins.before_shutdown()

    async def stop(self, grace: float | None) -> list[str]:
        if (plugins := self._admission.plugins) is not None:
            await plugins.after_shutdown()
        return []
