"""`/faults`: faults injected on purpose, if the configuration has a section `faults {}`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from ...faults.fault import ACTIONS
from ...faults.rules import FaultError, Faults, Rule, make
from ..answers import Code, Refused, data, done
from ..calls import Call, Route


def _faults(call: Call) -> Faults:
    if call.served.faults is None:
        raise Refused(404, Code.BAD_REQUEST, "this broker was started without a section faults { }")
    return call.served.faults


def _element(rule: Rule) -> dict[str, Any]:
    values = {key: value for key, value in asdict(rule.fault).items() if value is not None}
    return {"number": rule.number, "struck": rule.struck, "text": str(rule.fault), **values}


async def faults(call: Call) -> web.Response:
    return data([_element(rule) for rule in _faults(call)])


async def actions(call: Call) -> web.Response:
    """The keys of each action, for forms."""
    _faults(call)
    return data(
        {
            action: {"needed": sorted(needed), "possible": sorted(possible), "aims": sorted(aims)}
            for action, (aims, needed, possible) in ACTIONS.items()
        }
    )


async def add(call: Call) -> web.Response:
    """The keys are those of `pybroker faults add`."""
    found = _faults(call)
    try:
        rule = found.add(make(await call.object()))
    except FaultError as error:
        raise Refused(400, Code.BAD_REQUEST, str(error)) from None
    await found.in_force()
    return data(_element(rule))


async def remove(call: Call) -> web.Response:
    found, number = _faults(call), call.arguments[0]
    if not (number.isascii() and number.isdigit() and found.remove(int(number[:9]))):
        raise Refused(404, Code.BAD_REQUEST, f"there is no fault {number}")
    await found.in_force()
    return done()


async def clear(call: Call) -> web.Response:
    found = _faults(call)
    found.clear()
    await found.in_force()
    return done()


ROUTES = (
    Route("GET", "/faults", faults, "list_faults", "The faults in force"),
    Route("GET", "/faults/actions", actions, "list_fault_actions", "What can go wrong, and its keys"),
    Route("POST", "/faults", add, "add_fault", "Put a fault in force", True),
    Route("DELETE", "/faults/:number", remove, "remove_fault", "Lift one fault", True),
    Route("DELETE", "/faults", clear, "clear_faults", "Lift all faults", True),
)
