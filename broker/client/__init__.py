"""An MQTT client over the broker's own codec: for `pybroker pub` and `sub`."""
