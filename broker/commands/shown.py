"""Numbers as the commands print them."""

from __future__ import annotations

UNITS = ("B", "KiB", "MiB", "GiB")


def shown_bytes(count: float) -> str:
    """Such as ``512 B``, ``1.5 MiB``."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:,.0f} {UNITS[unit]}" if not unit else f"{count:,.1f} {UNITS[unit]}"


def shown_time(seconds: float) -> str:
    """The two largest units, such as ``5 s``, ``3 min 20 s``, ``2 d 4 h``."""
    whole = int(seconds)
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")
