"""The broker under load for a long time."""
