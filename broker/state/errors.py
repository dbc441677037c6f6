"""The error of a state that cannot be used."""


class StateError(Exception):
    """The state on disk cannot be used; the message says which file, why, and what to do."""


class StateBusyError(StateError):
    """Another process has it."""
