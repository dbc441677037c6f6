"""What keeps a broker from its state."""


class StateError(Exception):
    """The state on disk cannot be used; the message says which file, why, and what to do."""


class StateBusyError(StateError):
    """Another process has it."""
