"""`pybroker version`: print the version, the build, and the libraries it uses."""

from __future__ import annotations

import argparse
import platform
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from .. import __version__
from .options import Commands


def add_version(commands: Commands) -> None:
    version = commands.add_parser(
        "version",
        help="print the version",
        description="Print the version, and with -v the build and what it runs on.",
    )
    version.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="also print the build, Python, the event loop, SQLite and important libraries",
    )
    version.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(f"pybroker {__version__}")
    if options.verbose:
        for name, value in details():
            print(f"  {name:<14}{value}")
    return 0


def details() -> list[tuple[str, str]]:
    """The facts that a problem report should contain, by name."""
    import sqlite3
    import ssl

    return [
        ("build", _build()),
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("event loop", _event_loop()),
        ("sqlite", sqlite3.sqlite_version),
        ("tls", ssl.OPENSSL_VERSION),
        ("amqtt", _installed("amqtt") or "not installed"),
        ("aiohttp", _installed("aiohttp") or "not installed"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}{_libc()}"),
        ("installed in", str(_package())),
    ]


def _build() -> str:
    compiled = sum(1 for path in _package().rglob("*") if path.name.endswith(tuple(EXTENSION_SUFFIXES)))
    return f"compiled ({compiled} modules of the hot path)" if compiled else "plain Python"


def _package() -> Path:
    """The folder from which pybroker is imported."""
    return Path(__file__).parents[2]


def _event_loop() -> str:
    """Which one `pybroker start` runs on."""
    try:
        import uvloop  # noqa: F401
    except ImportError as error:
        return f"asyncio (no uvloop: {error})"
    return f"uvloop {_installed('uvloop')}"


def _installed(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _libc() -> str:
    name, version = platform.libc_ver()
    return f", {name} {version}" if name else ""
