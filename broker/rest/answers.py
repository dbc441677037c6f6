"""Answers in NanoMQ's format: compact JSON with a ``code``."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any

from aiohttp import web


class Code(IntEnum):
    """NanoMQ's result codes, which are EMQX 4's."""

    SUCCESS = 0
    RPC_ERROR = 101
    UNKNOWN_MISTAKE = 102
    WRONG_CREDENTIALS = 103
    NO_CREDENTIALS = 104
    MISSING_PARAMETER = 105
    WRONG_PARAMETER_TYPE = 106
    WRONG_PARAMETER = 107
    BAD_REQUEST = 108
    BAD_BODY = 109
    NO_SUCH_PLUGIN = 111
    NO_SUCH_CLIENT = 112
    NO_SUCH_BRIDGE = 115
    TOKEN_EXPIRED = 116
    NO_CONFIGURATION = 117
    WRITE_FAILED = 118


class Refused(Exception):  # noqa: N818 - it is an answer
    """Ends the handling of a request with this answer."""

    def __init__(self, status: int, code: Code, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        """A message for people; NanoMQ sends none."""


def as_json(value: Any, status: int = 200) -> web.Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return web.Response(body=text.encode(), status=status, content_type="application/json")


def data(value: Any) -> web.Response:
    """A success with ``data``."""
    return as_json({"code": Code.SUCCESS, "data": value})


def done() -> web.Response:
    """A success without data."""
    return as_json({"code": Code.SUCCESS})


def refusal(refused: Refused) -> web.Response:
    found: dict[str, Any] = {"code": refused.code}
    if refused.message:
        found["message"] = refused.message
    return as_json(found, refused.status)
