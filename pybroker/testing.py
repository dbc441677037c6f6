"""A broker for tests: see, wait for, break and rewind what happens in it. docs/testing.md has the recipes.

>>> from pybroker.testing import TestBroker
>>> with TestBroker() as broker:
...     print(broker.url)

Nothing is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broker.faults.fault import Fault
    from .broker.faults.rules import FaultError
    from .broker.faults.seen import SeenPacket
    from .broker.testing.aio import AsyncTestBroker
    from .broker.testing.broker import MakeTestBroker, TestBroker
    from .broker.testing.face import Address, ConnectionLeftBehind
    from .broker.testing.messages import ClientView, Message, SubscriptionView
    from .broker.testing.waiting import WaitTimeout
    from .broker.testing.webhooks import Webhook, Webhooks

_HOME = {
    "Address": ".broker.testing.face",
    "AsyncTestBroker": ".broker.testing.aio",
    "ClientView": ".broker.testing.messages",
    "ConnectionLeftBehind": ".broker.testing.face",
    "Fault": ".broker.faults.fault",
    "FaultError": ".broker.faults.rules",
    "MakeTestBroker": ".broker.testing.broker",
    "Message": ".broker.testing.messages",
    "SeenPacket": ".broker.faults.seen",
    "SubscriptionView": ".broker.testing.messages",
    "TestBroker": ".broker.testing.broker",
    "WaitTimeout": ".broker.testing.waiting",
    "Webhook": ".broker.testing.webhooks",
    "Webhooks": ".broker.testing.webhooks",
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
    return getattr(import_module(_HOME[name], __package__), name)
