"""The command `pybroker`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .fault_cli import add_faults
from .health_cli import add_health
from .run_cli import add_run
from .which_cli import add_which

if TYPE_CHECKING:
    from .config import Settings
    from .instances import Instance

STARTED_AT = time.monotonic()
CONF_VARIABLE = "NANOMQ_CONF_PATH"
BAD_CONFIGURATION = 2
STOP_TIMEOUT = 30.0
RELOAD_TIMEOUT = 120.0
"""Webhook endpoints that are gone may take their `drain_timeout` to empty."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    if arguments is None:
        arguments = sys.argv[1:]
    options = _parser(arguments).parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser(arguments: Sequence[str] = ("webhook",)) -> argparse.ArgumentParser:
    """Made for these arguments: the parts of `webhook` are left out where another command is meant."""
    parser = argparse.ArgumentParser(
        prog="pybroker",
        description="An MQTT 3.1, 3.1.1 and 5.0 broker with built-in webhooks, configured by a nanomq.conf.",
        epilog="Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"pybroker {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_start(commands)
    _add_check(commands)
    _add_stop(commands)
    _add_reload(commands)
    _add_passwd(commands)
    add_run(commands)
    add_faults(commands, _instance)
    add_health(commands, _instance)
    if arguments and arguments[0] == "webhook":
        from .webhook_cli import add_webhook  # it takes a while to import, and the others can do without

        add_webhook(commands, _add_conf, _load, _instance)
    else:
        commands.add_parser("webhook", help="try webhooks, look after dead letters, see counters")
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _add_conf(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--conf",
        type=Path,
        metavar="FILE",
        help=f"the configuration, a nanomq.conf; without it ${CONF_VARIABLE}, else the defaults",
    )


def _add_start(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    start = commands.add_parser(
        "start",
        help="run the broker in the foreground",
        description="Run the broker until Ctrl-C or SIGTERM; a second one stops at once.",
    )
    _add_conf(start)
    add = start.add_argument
    add("--ready-file", type=Path, metavar="PATH", help="write pid and ports here once all listeners accept")
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
    start.set_defaults(run=_start)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser(
        "check",
        help="say what a configuration would serve, and what is wrong with it",
        description="Read the configuration, print what would be served and every warning; bind nothing.",
    )
    _add_conf(check)
    check.add_argument("--strict", action="store_true", help="exit with 1 where there is any warning")
    check.set_defaults(run=_check)


def _add_stop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    stop = commands.add_parser(
        "stop",
        help="stop a running broker",
        description="Stop the running broker of this user and wait until it is gone.",
    )
    add_which(stop)
    stop.set_defaults(run=_stop)


def _add_reload(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    reload = commands.add_parser(
        "reload",
        help="let a running broker read its configuration again",
        description="Let the running broker of this user read its file again, and print what has changed and "
        "what takes a restart. Where the file is wrong, nothing changes. SIGHUP does the same.",
    )
    add_which(reload)
    reload.set_defaults(run=_reload)


def _add_passwd(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    passwd = commands.add_parser(
        "passwd",
        help="set a user's password in a file, as a hash",
        description='Set a password in the file that `auth { password = {include "FILE"} }` reads, '
        "as an argon2 hash. A running broker goes by it after `pybroker reload`.",
    )
    passwd.add_argument("file", type=Path, metavar="FILE", help="made where there is none")
    passwd.add_argument("user", metavar="USER")
    how = passwd.add_mutually_exclusive_group()
    how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    how.add_argument("-D", "--delete", action="store_true", help="remove the user")
    passwd.set_defaults(run=_passwd)


def _version(_: argparse.Namespace) -> int:
    print(f"pybroker {__version__}")
    return 0


def _start(options: argparse.Namespace) -> int:
    from .config import load
    from .serve import StartOptions, serve

    try:
        overrides = _overrides(options)
    except ValueError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    settings = _load(options, overrides)
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


def _check(options: argparse.Namespace) -> int:
    from .config import describe

    settings = _load(options, {})
    if settings is None:
        return BAD_CONFIGURATION
    for line in describe(settings):
        print(line)
    for warning in settings.warnings:
        print(f"warning: {warning}")
    return 1 if options.strict and settings.warnings else 0


def _load(options: argparse.Namespace, overrides: dict[str, object]) -> Settings | None:
    """The settings, or None after every problem was printed."""
    from .config import ConfigError, load

    path: Path | None = options.conf
    if path is None and (named := os.environ.get(CONF_VARIABLE)):
        path = Path(named)
    try:
        return load(path, overrides=overrides, keys_of_environment=True)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None


def _stop(options: argparse.Namespace) -> int:
    from .instances import running

    instance = _instance(options.conf, options.pid)
    if instance is None:
        return 1
    os.kill(instance.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while time.monotonic() < deadline:
        if instance not in running():
            print(f"stopped (pid {instance.pid})")
            return 0
        time.sleep(0.02)
    print(f"pybroker: pid {instance.pid} did not stop within {STOP_TIMEOUT:g} s", file=sys.stderr)
    return 1


def _reload(options: argparse.Namespace) -> int:
    from .control import ControlError, ask

    instance = _instance(options.conf, options.pid)
    if instance is None:
        return 1
    try:
        lines = ask(instance.control, "reload", timeout=RELOAD_TIMEOUT)
    except ControlError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _passwd(options: argparse.Namespace) -> int:
    from .passwd import PasswdError, hashed, remove_user, set_password

    file, user = options.file, options.user
    try:
        if not user or not user.isprintable():
            raise PasswdError("a user name has at least one character, and no control characters")
        if options.delete:
            remove_user(file, user)
            print(f"removed {user}")
            return 0
        new = set_password(file, user, hashed(_new_password(options.password_stdin)))
    except PasswdError as error:
        print(f"pybroker: {error}", file=sys.stderr)
        return 1
    print(f"{'added' if new else 'changed'} {user}")
    return 0


def _new_password(from_stdin: bool) -> str:
    """Asked for twice, without echo. Raises PasswdError."""
    import getpass

    from .passwd import PasswdError

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise PasswdError("there is no terminal to ask for the password on; give it by --password-stdin")
    else:
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Once more: "):
            raise PasswdError("the two passwords are not the same")
    if not password:
        raise PasswdError("the password is empty")
    return password


def _instance(conf: Path | None, pid: int | None) -> Instance | None:
    """The one running broker that is meant, or None after saying why none is."""
    from .instances import running

    found = [one for one in running(conf) if pid is None or one.pid == pid]
    if len(found) == 1:
        return found[0]
    if not found:
        which = f" that serves {conf}" if conf else f" with pid {pid}" if pid else ""
        print(f"pybroker: no broker{which} is running for this user", file=sys.stderr)
    else:
        print("pybroker: several brokers are running; say which by --conf or --pid:", file=sys.stderr)
        for one in found:
            print(f"  pid {one.pid}  {one.conf or 'defaults'}", file=sys.stderr)
    return None
