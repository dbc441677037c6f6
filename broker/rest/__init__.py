"""The HTTP side of the broker: NanoMQ's API v4, and a page that shows what goes on."""
