from ..integration.conftest import endpoint, start_broker

__all__ = ["endpoint", "start_broker"]
