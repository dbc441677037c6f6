"""Connections that the broker makes to servers; independent of what they carry."""
