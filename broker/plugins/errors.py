"""What can be wrong with the plugins that the configuration names."""


class PluginError(Exception):
    """A plugin cannot be used: one line for people, which names it."""
