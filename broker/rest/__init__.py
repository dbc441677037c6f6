"""The HTTP server: NanoMQ's API v4, and a page that shows the running broker."""
