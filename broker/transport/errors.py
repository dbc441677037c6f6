"""The error of a listener that cannot be opened."""


class ListenError(Exception):
    """A listener cannot serve: one line for people, with what to do about it where we know."""
