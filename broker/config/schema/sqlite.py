"""`sqlite {}`: sessions and retained messages on disk."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import choice, flag, path, size, time, whole
from .row import Row, ignored, under


def rows() -> Iterator[Row]:
    directory = "The directory of pybroker.db and pybroker.journal; it is made where it is not there."
    yield from under(
        "sqlite",
        Row("enable", flag(), "true", "Off where there is no such section."),
        Row("mounted_file_path", path(), ".", directory),
        Row(
            "disk_cache_size",
            whole(1),
            "1000",
            "Messages that wait for one session and are in memory too; the others are on disk alone.",
            differs="NanoMQ: messages on disk, 102400.",
        ),
    )
    yield from under(
        "sqlite",
        Row(
            "sync",
            choice("interval", "always"),
            "interval",
            "What a loss of power may take: `interval` of time, or, with `always`, nothing acknowledged.",
        ),
        Row("interval", time(0.01, 3600), "1s", "Until a commit to the database begins."),
        Row("max_size", size(0), "4GB", "Of the database, beyond which messages are refused; 0: no limit."),
        ours=True,
    )
    yield from under(
        "sqlite",
        ignored("flush_mem_threshold", "Each message is safe from a crash before it is acknowledged."),
        ignored("resend_interval", "A message is sent again when its client is back."),
    )
