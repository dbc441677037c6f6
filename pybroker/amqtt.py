"""The broker for programs that embed `amqtt.broker.Broker`: the same configuration, methods and plugins.

>>> from pybroker.amqtt import Broker
"""

from .broker.plugins.amqtt_host import Broker

__all__ = ["Broker"]
