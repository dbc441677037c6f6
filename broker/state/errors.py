class StateError(Exception):
    """The state on disk cannot be used; the message says which file, why, and what to do."""
