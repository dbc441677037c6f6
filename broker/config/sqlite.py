"""`sqlite {}` to settings."""

from __future__ import annotations

from pathlib import Path

from .reader import Report, is_off, read
from .settings import SqliteSettings
from .tree import Section


def sqlite(root: Section, report: Report) -> SqliteSettings | None:
    """None without such a section, or if it is off."""
    section = root.section("sqlite")
    if section is None or is_off(section):
        return None
    values = read(section, "sqlite", report)
    return SqliteSettings(
        path=Path(values["mounted_file_path"]),
        sync=values["sync"],
        interval=values["interval"],
        max_size=values["max_size"],
        disk_cache_size=values["disk_cache_size"],
    )
