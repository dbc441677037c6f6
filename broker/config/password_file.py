"""The file that `auth { password = {include "FILE"} }` reads, as `pybroker passwd` changes it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from .errors import ConfigError
from .hocon import parse
from .marked import NAMES
from .tree import Text

_ENTRY = re.compile(r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<plain>[^\s"=:{},#]+))\s*[=:]""")
_HEAD = "# User name = password or its hash. Made by `pybroker passwd`; may be edited.\n"


class PasswdError(Exception):
    """The file cannot be changed; the message is one line."""


def hashed(password: str) -> str:
    """The argon2 hash that the file has instead of the password."""
    from pwdlib.hashers.argon2 import Argon2Hasher  # amqtt's hasher

    return Argon2Hasher().hash(password)


def users(file: Path) -> dict[str, str]:
    """The password, or its hash, of each user name. Raises PasswdError for a file that cannot be read."""
    try:
        section, _ = parse(file, within=NAMES)
    except ConfigError as error:
        raise PasswdError(str(error)) from None
    return {name: node.text for name, node in section.leaves() if isinstance(node, Text)}


def set_password(file: Path, user: str, password_hash: str) -> bool:
    """Set the hash of ``user``; creates a missing file. Returns whether the user is new. Raises PasswdError;
    then the file is unchanged."""
    before = users(file) if file.exists() else {}
    line = f"{json.dumps(user, ensure_ascii=False)} = {json.dumps(password_hash)}"
    lines = _lines(file)
    places = [index for index, text in enumerate(lines) if _user_of(text) == user]
    for index in places:
        lines[index] = line
    _replace(file, lines if places else [*lines, line], {**before, user: password_hash})
    return user not in before


def remove_user(file: Path, user: str) -> None:
    """Remove ``user``. Raises PasswdError if there is no such user; then the file is unchanged."""
    before = users(file)
    if user not in before:
        raise PasswdError(f"{file}: there is no user {user!r}")
    del before[user]
    _replace(file, [line for line in _lines(file) if _user_of(line) != user], before)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8-sig").splitlines() if file.exists() else [_HEAD.rstrip("\n")]


def _user_of(line: str) -> str | None:
    """The user of the line's password."""
    match = _ENTRY.match(line)
    if match is None:
        return None
    quoted: str | None = match["quoted"]
    if quoted is None:
        return str(match["plain"])
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return None


def _replace(file: Path, lines: list[str], expected: dict[str, str]) -> None:
    """Write the whole file beside the old one, read it as the broker does, and rename it."""
    target = file.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as written:
                written.write("".join(f"{line}\n" for line in lines))
                written.flush()
                os.fsync(written.fileno())
            if users(beside) != expected:
                raise PasswdError(
                    f"{file} has a syntax that this command does not understand; edit it by hand"
                )
            if target.exists():
                _keep_owner(target, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise PasswdError(f"{file}: {error.strerror or error}") from None


def _keep_owner(old: Path, new: Path) -> None:
    """Give the new file the owner and mode of the old one, because the broker may run as another user. Others
    get no access."""
    facts = old.stat()
    if (facts.st_uid, facts.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(new, facts.st_uid, facts.st_gid)
    new.chmod(facts.st_mode & 0o660)
