"""What `pybroker faults` asks of a running broker, and how it is answered."""

from __future__ import annotations

from typing import Any

from .control import ControlError, Handler
from .faults.outage import Outage
from .faults.rules import FaultError, Faults, Rule, make

NONE = "this broker was started without a faults section; add `faults {}` to its configuration"


def fault_command(faults: Faults | None, outage: Outage) -> Handler:
    """Carries out the command's verbs; each answers with lines to read."""

    async def carry_out(arguments: dict[str, Any]) -> list[str]:
        if faults is None:
            raise ControlError(NONE)
        match arguments.pop("verb", None):
            case "list":
                return [_line(rule) for rule in faults] or ["no faults"]
            case "add":
                try:
                    return [_line(faults.add(make(arguments)))]
                except FaultError as error:
                    raise ControlError(str(error)) from None
            case "remove":
                number = arguments.get("number", 0)
                if not faults.remove(number):
                    raise ControlError(f"there is no fault {number}")
                return []
            case "clear":
                faults.clear()
                return []
            case "restart":
                outage.restart(arguments.get("keep_state", True), arguments.get("seconds", 0.0))
                return []
        raise ControlError("say one of list, add, remove, clear and restart")

    return carry_out


def _line(rule: Rule) -> str:
    struck = f"  (struck {rule.fired} times)" if rule.fired else ""
    return f"{rule.number}  {rule.fault}{struck}"
