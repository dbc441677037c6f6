"""`pybroker passwd`: set a user's password in a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .options import Commands


def add_passwd(commands: Commands) -> None:
    passwd = commands.add_parser(
        "passwd",
        help="set a user's password in a file, as a hash",
        description='Set a password in the file that `auth { password = {include "FILE"} }` reads, '
        "as an argon2 hash. A running broker uses it after `pybroker reload`.",
    )
    passwd.add_argument("file", type=Path, metavar="FILE", help="created if it is missing")
    passwd.add_argument("user", metavar="USER")
    how = passwd.add_mutually_exclusive_group()
    how.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    how.add_argument("-D", "--delete", action="store_true", help="remove the user")
    passwd.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..config.password_file import PasswdError, hashed, remove_user, set_password

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

    from ..config.password_file import PasswdError

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise PasswdError("there is no terminal to ask for the password; use --password-stdin")
    else:
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Once more: "):
            raise PasswdError("the two passwords are not the same")
    if not password:
        raise PasswdError("the password is empty")
    return password
