"""Answers `pybroker faults` in a running broker."""

from __future__ import annotations

from typing import Any

from ..config.units import size, time
from ..faults.fault import Fault
from ..faults.outage import Outage
from ..faults.rules import FaultError, Faults, Rule, make
from .control import ControlError, Handler

NONE = "this broker was started without a faults section; add `faults {}` to its configuration"
MEASURED = {"seconds": time(), "jitter": time(), "rate": size(), "after_bytes": size()}
"""The arguments that may have a unit, as in the configuration."""


def fault_command(faults: Faults | None, outage: Outage) -> Handler:
    """Carries out the command's verbs; each returns readable lines."""

    async def carry_out(arguments: dict[str, Any]) -> list[str]:
        if faults is None:
            raise ControlError(NONE)
        match arguments.pop("verb", None):
            case "list":
                return [_line(rule) for rule in faults] or ["no faults"]
            case "add":
                rule = faults.add(_fault(arguments))
                await faults.in_force()
                return [_line(rule)]
            case "remove":
                number = arguments.get("number", 0)
                if not faults.remove(number):
                    raise ControlError(f"there is no fault {number}")
                await faults.in_force()
                return []
            case "clear":
                faults.clear()
                await faults.in_force()
                return []
            case "restart":
                fault = _fault({"action": "restart", **arguments})
                (faults.restart or outage.restart)(fault.keep_state is not False, fault.seconds or 0.0)
                await faults.in_force()
                return []
        raise ControlError("use one of list, add, remove, clear and restart")

    return carry_out


def _fault(values: dict[str, Any]) -> Fault:
    try:
        return make({name: _measured(name, value) for name, value in values.items()})
    except FaultError as error:
        raise ControlError(str(error)) from None


def _measured(name: str, value: Any) -> Any:
    kind = MEASURED.get(name)
    if kind is None or not isinstance(value, str):
        return value
    try:
        return kind.parse(value)
    except ValueError:
        return value  # the fault says what is wrong with it


def _line(rule: Rule) -> str:
    struck = f"  (struck {rule.struck} times)" if rule.struck else ""
    return f"{rule.number}  {rule.fault}{struck}"
