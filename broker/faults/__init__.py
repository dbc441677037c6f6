"""Faults on purpose: what goes wrong between a client and the broker, so that tests can see who copes."""
