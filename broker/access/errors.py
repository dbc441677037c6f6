"""The error of settings that access control cannot use."""


class AccessError(Exception):
    """A part of `auth {}` cannot be used: one line for people that names the key and what to do."""
