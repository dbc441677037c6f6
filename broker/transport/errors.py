"""What can go wrong when a listener is opened."""


class ListenError(Exception):
    """A listener cannot serve: one line for people, with what to do about it where we know."""
