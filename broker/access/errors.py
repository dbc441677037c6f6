"""What keeps access control from being set up."""


class AccessError(Exception):
    """A part of `auth {}` cannot be used: one line for people that names the key and what to do."""
