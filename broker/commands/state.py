"""`pybroker state`: show, copy and check the state that `sqlite {}` keeps on disk."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .options import BAD_CONFIGURATION, Commands, add_conf, load_settings


def add_state(commands: Commands) -> None:
    state = commands.add_parser(
        "state",
        help="show, export, import or verify the state on disk",
        description="Read and write the sessions and retained messages that a broker with sqlite {} keeps on"
        " disk. Of a running broker you see the last commit.",
    )
    inner = state.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = _add(inner, "show", "show counts and sizes, or one client's session")
    show.add_argument("client", nargs="?", metavar="CLIENTID", help="show this client's session")
    export = _add(inner, "export", "write everything to FILE, as JSON lines")
    export.add_argument("file", metavar="FILE", help="the file to write; - is standard output")
    bring = _add(
        inner, "import", "add what FILE has, by export or mosquitto, to the state of a stopped broker"
    )
    bring.add_argument(
        "file", metavar="FILE", help="written by export (- is standard input), or a mosquitto.db"
    )
    _add(inner, "verify", "check the files")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    add_conf(parser)
    parser.add_argument("--dir", type=Path, metavar="DIR", help="the directory, instead of --conf")
    parser.set_defaults(run=_run, verb=name)
    return parser


def _run(options: argparse.Namespace) -> int:
    from ..state import tool
    from ..state.errors import StateError

    directory: Path | None = options.dir
    if directory is None:
        settings = load_settings(options)
        if settings is None:
            return BAD_CONFIGURATION
        if settings.sqlite is None:
            text = "the configuration has no sqlite {}; name the directory by --dir"
            print(f"pybroker: {text}", file=sys.stderr)
            return BAD_CONFIGURATION
        directory = settings.sqlite.path
        if settings.workers > 1:
            text = f"each worker has a directory of its own: name it by --dir {directory}/worker-1"
            print(f"pybroker: {text}", file=sys.stderr)
            return BAD_CONFIGURATION
    try:
        match options.verb:
            case "show":
                return tool.show(directory, options.client)
            case "export":
                return tool.export(directory, options.file)
            case "import":
                return tool.bring_in(directory, options.file)
        return tool.verify(directory)
    except StateError as error:
        print(f"pybroker: {error}", file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        print(f"pybroker: {error.filename}: {error.strerror}", file=sys.stderr)
    return 1
