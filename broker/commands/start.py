"""`pybroker start`: run the broker."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from .options import BAD_CONFIGURATION, Commands, add_conf, load_settings

STARTED_AT = time.monotonic()


_KINDS = {
    "mqtt": "tcp",
    "nmq-tcp": "tcp",
    "mqtts": "ssl",
    "tls+nmq-tcp": "ssl",
    "nmq-tls": "ssl",
    "ws": "ws",
    "nmq-ws": "ws",
    "wss": "wss",
    "nmq-wss": "wss",
}
"""The schemes of --url, and the listener each of them is."""
_URL_HELP = (
    "where the listener of this kind binds: mqtt://HOST:PORT (or nmq-tcp), mqtts:// (or tls+nmq-tcp), "
    "ws:// (or nmq-ws), wss:// (or nmq-wss); port 0 picks a free one; may be repeated"
)


def add_start(commands: Commands) -> None:
    start = commands.add_parser(
        "start",
        help="run the broker in the foreground",
        description="Run the broker until Ctrl-C or SIGTERM; a second one stops at once.",
    )
    add_conf(start)
    add = start.add_argument
    add("--ready-file", type=Path, metavar="PATH", help="write pid and ports here once all listeners accept")
    add(
        "--page",
        nargs="?",
        type=int,
        const=0,
        metavar="PORT",
        help="serve the page and the REST API at this port of 127.0.0.1; without PORT at a free one",
    )
    flags = start.add_argument_group("NanoMQ's flags", "They win over the file.")
    add = flags.add_argument
    add("--url", action="append", default=[], metavar="URL", help=_URL_HELP)
    add("-d", "--daemon", action="store_true", default=None, help="run in the background")
    add("--cacert", "-E", metavar="FILE", help="listeners.ssl.cacertfile")
    add("--cert", metavar="FILE", help="listeners.ssl.certfile")
    add("--key", metavar="FILE", help="listeners.ssl.keyfile")
    add("--keypass", metavar="PASSWORD", help="listeners.ssl.key_password")
    add("--verify", action="store_true", default=None, help="listeners.ssl.verify_peer = true")
    add("--fail", action="store_true", default=None, help="listeners.ssl.fail_if_no_peer_cert = true")
    add("--log_level", metavar="LEVEL", help="trace, debug, info, warn, error or fatal")
    add("--log_file", type=Path, metavar="FILE", help="log to this file")
    add("--log_stdout", choices=("true", "false"), help="log to the terminal")
    add("-D", "--qos_duration", metavar="TIME", help="mqtt.retry_interval")
    add("-S", "--msq_len", metavar="N", help="mqtt.max_mqueue_len")
    start.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..config import load
    from ..process.serve import StartOptions, serve

    try:
        overrides = _overrides(options)
    except ValueError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    settings = load_settings(options, overrides)
    if settings is None:
        return BAD_CONFIGURATION
    reread = (
        partial(load, settings.source, overrides=overrides, keys_of_environment=True)
        if settings.source
        else None
    )
    return serve(settings, StartOptions(options.ready_file, STARTED_AT, reread))


def _overrides(options: argparse.Namespace) -> dict[str, object]:
    """The keys of the file that the flags stand for; None where a flag is not given."""
    overrides: dict[str, object] = {
        "system.daemon": options.daemon,
        "listeners.ssl.cacertfile": options.cacert,
        "listeners.ssl.certfile": options.cert,
        "listeners.ssl.keyfile": options.key,
        "listeners.ssl.key_password": options.keypass,
        "listeners.ssl.verify_peer": options.verify,
        "listeners.ssl.fail_if_no_peer_cert": options.fail,
        "log.level": options.log_level,
        "mqtt.retry_interval": options.qos_duration,
        "mqtt.max_mqueue_len": options.msq_len,
    }
    if options.page is not None:
        overrides |= {
            "http_server.enable": True,
            "http_server.ip_addr": "127.0.0.1",
            "http_server.port": options.page,
        }
    for url in options.url:
        kind, bind = _listener_of(url)
        overrides[f"listeners.{kind}.bind"] = bind
    if options.log_file is not None:
        overrides["log.dir"] = str(options.log_file.absolute().parent)
        overrides["log.file"] = options.log_file.name
    if options.log_file is not None or options.log_stdout is not None:
        console = ["console"] if options.log_stdout != "false" else []
        overrides["log.to"] = console + (["file"] if options.log_file is not None else [])
    return overrides


def _listener_of(url: str) -> tuple[str, str]:
    """The kind of listener and the address that a --url stands for."""
    scheme, separator, bind = url.partition("://")
    kind = _KINDS.get(scheme)
    if not separator or kind is None or not bind:
        raise ValueError(f"--url {url}: write SCHEME://HOST:PORT with one of {', '.join(_KINDS)}")
    return kind, bind
