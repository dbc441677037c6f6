"""pybroker: an MQTT 3.1, 3.1.1 and 5.0 broker with built-in webhooks.

The public modules are `pybroker.testing`, `pybroker.amqtt`, `pybroker.events` and `pybroker.webhook`.
The folders `broker` and `webhook` at the top of the source tree are linked here, so that `pybroker` is the
one name that is installed.
"""

from .broker import __version__

__all__ = ["__version__"]
