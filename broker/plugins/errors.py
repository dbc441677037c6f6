"""The error of a plugin that cannot be used."""


class PluginError(Exception):
    """A plugin cannot be used; the message is one line that names it."""
