"""`faults {}` to settings."""

from __future__ import annotations

from ..faults.fault import Fault
from ..faults.rules import FaultError, make
from .reader import Report, Values, is_off, read
from .tree import Section


def faults(root: Section, report: Report) -> tuple[Fault, ...] | None:
    """The faults in force from the start. None without the section: then faults cannot be switched on."""
    section = root.section("faults")
    if section is None or is_off(section):
        return None
    report.warn(section.place, "faults", "faults may lose messages on purpose: for tests only")
    values = read(section, "faults", report)
    found = [_fault(rule, report) for rule in values["rules"] or ()]
    return tuple(fault for fault in found if fault is not None)


def _fault(rule: Values, report: Report) -> Fault | None:
    given = {key: rule[key] for key in Fault.__dataclass_fields__ if key in rule and rule[key] is not None}
    try:
        return make(given)
    except FaultError as error:
        report.error(rule.place, rule.name, str(error))
        return None
