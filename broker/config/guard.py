"""Decides which unknown keys are errors: those that may be meant to control access. If they were ignored, a
spelling mistake would open the broker."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from .tree import Items, Node, Section

SECTIONS = ("auth", "listeners", "limits", "http_server")
"""Any unknown key in these is an error."""

_TOP = (*SECTIONS, "acl", "authentication", "authorization", "password", "access", "plugins")
_NAMES = (
    *("allow_anonymous", "no_match", "deny_action", "passwords", "http_auth", "username", "clientid"),
    *("verify_peer", "fail_if_no_peer_cert", "cacertfile", "peer_cert_as_username", "super_req"),
)
_WORDS = re.compile(r"auth|anonym|passw|permit|verif|deny|(?:^|_)acls?(?:$|_)", re.IGNORECASE)


def may_guard(key: str, node: Node) -> bool:
    """Whether an unknown key, or anything in it, is in a section that controls access, or has a similar
    name."""
    first, *below = parts = key.split(".")
    if first in SECTIONS or (not below and difflib.get_close_matches(first.lower(), _TOP, 1, 0.75)):
        return True
    return any(map(_is_named_so, parts)) or any(map(_is_named_so, _names(node)))


def _is_named_so(name: str) -> bool:
    return bool(_WORDS.search(name)) or bool(difflib.get_close_matches(name.lower(), _NAMES, 1, 0.8))


def _names(node: Node) -> Iterator[str]:
    """The keys of a section, and of all that is in it."""
    if isinstance(node, Section):
        for name, below in node.values.items():
            yield name
            yield from _names(below)
    elif isinstance(node, Items):
        for item in node.items:
            yield from _names(item)
