"""The error of a plugin that cannot be used."""


class PluginError(Exception):
    """A plugin cannot be used: one line for people, which names it."""
