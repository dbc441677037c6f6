"""Measures the broker from outside; `scripts/bench` is the command."""
