"""`sqlite {}`: sessions and retained messages on disk."""

from __future__ import annotations

from collections.abc import Iterator

from ..units import choice, flag, path, size, time
from .row import Row, ignored, under


def rows() -> Iterator[Row]:
    directory = "The directory of pybroker.db and pybroker.journal; it is made where it is not there."
    yield from under(
        "sqlite",
        Row("enable", flag(), "true", "Off where there is no such section."),
        Row("mounted_file_path", path(), ".", directory),
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
        ignored("disk_cache_size", "`mqtt.max_mqueue_len` bounds the messages of a session."),
        ignored("flush_mem_threshold", "Each message is safe from a crash before it is acknowledged."),
        ignored("resend_interval", "A message is sent again when its client is back."),
    )
