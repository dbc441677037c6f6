"""The error of a listener that cannot be opened."""


class ListenError(Exception):
    """A listener cannot serve; the message is one line, with a remedy if one is known."""
