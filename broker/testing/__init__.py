"""A broker for tests: see, wait for, break and rewind what happens in it. docs/testing.md has the recipes.

>>> from broker.testing import TestBroker
>>> with TestBroker() as broker:
...     print(broker.url)

Nothing is imported before it is used: the pytest plugin lives here too, and must cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..faults.fault import Fault
    from ..faults.rules import FaultError
    from ..faults.seen import SeenPacket
    from .aio import AsyncTestBroker
    from .broker import MakeTestBroker, TestBroker
    from .face import Address, ConnectionLeftBehind
    from .messages import ClientView, Message, SubscriptionView
    from .waiting import WaitTimeout
    from .webhooks import Webhook, Webhooks

_HOME = {
    "Address": ".face",
    "AsyncTestBroker": ".aio",
    "ClientView": ".messages",
    "ConnectionLeftBehind": ".face",
    "Fault": "..faults.fault",
    "FaultError": "..faults.rules",
    "MakeTestBroker": ".broker",
    "Message": ".messages",
    "SeenPacket": "..faults.seen",
    "SubscriptionView": ".messages",
    "TestBroker": ".broker",
    "WaitTimeout": ".waiting",
    "Webhook": ".webhooks",
    "Webhooks": ".webhooks",
}

__all__ = [
    "Address",
    "AsyncTestBroker",
    "ClientView",
    "ConnectionLeftBehind",
    "Fault",
    "FaultError",
    "MakeTestBroker",
    "Message",
    "SeenPacket",
    "SubscriptionView",
    "TestBroker",
    "WaitTimeout",
    "Webhook",
    "Webhooks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_HOME[name], __name__), name)
