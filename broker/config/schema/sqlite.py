"""The rows of `sqlite`: sessions and retained messages on disk."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import choice, flag, path, size, time, whole
from .row import Row, ignored, under


def rows() -> Iterator[Row]:
    directory = "The directory of pybroker.db and pybroker.journal; the broker creates it if it is missing."
    yield from under(
        "sqlite",
        Row("enable", flag(), "true", "Off without this section."),
        Row("mounted_file_path", path(), ".", directory),
        Row(
            "disk_cache_size",
            whole(1),
            "1000",
            "Queued messages of one session that are also in memory; the others are only on disk.",
            differs="NanoMQ: messages on disk, 102400.",
        ),
    )
    yield from under(
        "sqlite",
        Row(
            "sync",
            choice("interval", "always"),
            "interval",
            "What a power failure may lose: the last `interval`; with `always` nothing acknowledged.",
        ),
        Row("interval", time(0.01, 3600), "1s", "Time between two commits to the database."),
        Row(
            "max_size",
            size(0),
            "4GB",
            "The size of the database above which messages are refused; 0: no limit.",
        ),
        ours=True,
    )
    yield from under(
        "sqlite",
        ignored("flush_mem_threshold", "Here each message is safe from a crash before it is acknowledged."),
        ignored("resend_interval", "Here a message is sent again when its client reconnects."),
    )
