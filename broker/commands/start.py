"""`pybroker start`: run the broker."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .options import BAD_CONFIGURATION, Commands, add_conf, load_settings

if TYPE_CHECKING:
    from ..config import Settings
    from ..process.serve import StartOptions

STARTED_AT = time.monotonic()

_URL_HELP = (
    "where the listener of this kind binds: mqtt://HOST:PORT (or nmq-tcp), mqtts:// (or tls+nmq-tcp), "
    "ws:// (or nmq-ws), wss:// (or nmq-wss); port 0 picks a free one; may be repeated"
)
_WITHOUT_EFFECT = (
    ("-t", "--tq_thread", "system.num_taskq_thread"),
    ("-T", "--max_tq_thread", "system.max_taskq_thread"),
    ("-n", "--parallel", "system.parallel"),
    ("-s", "--property_size", "mqtt.property_size"),
)
"""NanoMQ's flags for settings that do not exist here, and the keys that they set."""


def add_start(commands: Commands) -> None:
    start = commands.add_parser(
        "start",
        help="run the broker in the foreground",
        description="Run the broker until Ctrl-C or SIGTERM; a second one stops at once.",
    )
    add_start_options(start)
    start.set_defaults(run=_run)


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a start."""
    add_conf(parser)
    add = parser.add_argument
    add("--ready-file", type=Path, metavar="PATH", help="write pid and ports here once all listeners accept")
    add(
        "--page",
        nargs="?",
        type=int,
        const=0,
        metavar="PORT",
        help="serve the page and the REST API on this port of 127.0.0.1; without PORT on a free one",
    )
    add("--workers", metavar="N", help="N processes that are one broker (system.workers)")
    add("--strict", action="store_true", help="do not start if the configuration has any warning")
    flags = parser.add_argument_group("NanoMQ's flags", "They win over the file.")
    add = flags.add_argument
    add("--url", action="append", default=[], metavar="URL", help=_URL_HELP)
    add("-d", "--daemon", action="store_true", default=None, help="run in the background")
    add("--cacert", metavar="FILE", help="listeners.ssl.cacertfile")
    add("--cert", "-E", metavar="FILE", help="listeners.ssl.certfile")
    add("--key", metavar="FILE", help="listeners.ssl.keyfile")
    add("--keypass", metavar="PASSWORD", help="listeners.ssl.key_password")
    add("--verify", action="store_true", default=None, help="listeners.ssl.verify_peer = true")
    add("--fail", action="store_true", default=None, help="listeners.ssl.fail_if_no_peer_cert = true")
    add("--http", action="store_true", default=None, help="http_server.enable = true")
    add("-p", "--port", metavar="PORT", help="http_server.port; with it http_server is on")
    add("--log_level", metavar="LEVEL", help="trace, debug, info, warn, error or fatal")
    add("--log_file", type=Path, metavar="FILE", help="log to this file")
    add("--log_stdout", choices=("true", "false"), help="log to the terminal")
    add("--log_syslog", choices=("true", "false"), help="log to syslog")
    add("-D", "--qos_duration", metavar="TIME", help="mqtt.retry_interval")
    add("-S", "--msq_len", metavar="N", help="mqtt.max_mqueue_len")
    for short, name, key in _WITHOUT_EFFECT:
        add(short, name, dest=key, metavar="N", help="accepted, without effect")
    add(
        "--old_conf", type=Path, metavar="FILE", help="refused: convert the file with `pybroker convert FILE`"
    )


def _run(options: argparse.Namespace) -> int:
    from ..process.serve import serve

    wanted = prepare(options)
    return BAD_CONFIGURATION if wanted is None else serve(*wanted)


def prepare(options: argparse.Namespace) -> tuple[Settings, StartOptions] | None:
    """The settings and options of the start; None if there are problems, all of which have been printed."""
    from ..config import load
    from ..process.serve import StartOptions

    try:
        overrides = _overrides(options)
    except ValueError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return None
    settings = load_settings(options, overrides)
    if settings is None:
        return None
    if options.strict and settings.warnings:
        for warning in settings.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print("pybroker: not started: there are warnings, and --strict allows none", file=sys.stderr)
        return None
    reread = (
        partial(load, settings.source, overrides=overrides, keys_of_environment=True)
        if settings.source
        else None
    )
    return settings, StartOptions(options.ready_file, STARTED_AT, reread)


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    """The keys that the flags set; None for a flag that is not given. Raises ValueError."""
    from ..config.listener_url import listener_of_url

    if options.old_conf is not None:
        raise ValueError(
            f"--old_conf: `pybroker convert {options.old_conf} > new.conf` converts the file; "
            "then start with --conf new.conf"
        )
    overrides: dict[str, object] = {
        "system.daemon": options.daemon,
        "system.workers": options.workers,
        "listeners.ssl.cacertfile": options.cacert,
        "listeners.ssl.certfile": options.cert,
        "listeners.ssl.keyfile": options.key,
        "listeners.ssl.key_password": options.keypass,
        "listeners.ssl.verify_peer": options.verify,
        "listeners.ssl.fail_if_no_peer_cert": options.fail,
        "log.level": options.log_level,
        "mqtt.retry_interval": options.qos_duration,
        "mqtt.max_mqueue_len": options.msq_len,
        "http_server.enable": True if options.http or options.port is not None else None,
        "http_server.port": options.port,
        **{key: getattr(options, key) for _, _, key in _WITHOUT_EFFECT},
    }
    if options.page is not None:
        overrides |= {
            "http_server.enable": True,
            "http_server.ip_addr": "127.0.0.1",
            "http_server.port": options.page,
        }
    for url in options.url:
        try:
            kind, bind = listener_of_url(url)
        except ValueError as error:
            raise ValueError(f"--url {error}") from None
        overrides[f"listeners.{kind}.bind"] = bind
    if options.log_file is not None:
        overrides["log.dir"] = str(options.log_file.absolute().parent)
        overrides["log.file"] = options.log_file.name
    chosen = {
        "console": options.log_stdout != "false",
        "file": options.log_file is not None,
        "syslog": options.log_syslog == "true",
    }
    if options.log_stdout is not None or chosen["file"] or chosen["syslog"]:
        overrides["log.to"] = [place for place, wanted in chosen.items() if wanted]
    return overrides
