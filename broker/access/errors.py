"""The error of settings that access control cannot use."""


class AccessError(Exception):
    """A part of `auth {}` cannot be used; the message is one line that names the key and the remedy."""
